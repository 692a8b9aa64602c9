//! What strangers send and what webhooks answer: never a panic, never a hang, and the right counter.

mod addresses;
mod messages;
mod webhooks;
