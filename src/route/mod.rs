//! One route on one lane: from the queue that takes a message in to the count of what became of it.

mod capacity;
mod drain;
pub mod pipeline;
pub mod schedule;
pub mod settle;
pub mod shared;
#[cfg(test)]
mod tests;
pub mod webhook_health;
mod worker;
