//! What the daemon says about itself: health, metrics, logs.

mod health;
mod logs;
mod metrics;
mod secrets;
mod status;
