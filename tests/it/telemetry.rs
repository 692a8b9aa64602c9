//! What the daemon says about itself: health, metrics, logs.

mod followers;
mod health;
mod logs;
mod many_routes;
mod metrics;
mod secrets;
mod status;
