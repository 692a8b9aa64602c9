//! Looking at the process and steering it: the two HTTP servers, what they answer, health, metrics, signals, systemd and the log.

pub mod api;
pub mod health;
pub mod letters;
pub mod log;
pub mod log_level;
pub mod metrics;
pub mod page;
pub mod reload;
pub mod server;
pub mod service;
pub mod signals;
pub mod status;
pub mod systemd;
