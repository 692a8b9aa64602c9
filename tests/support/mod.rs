//! The test kit: real parts, started by a test and ended with it.
//!
//! A [`nats::NatsServer`], the [`daemon::Daemon`] under test as a child process, and a [`webhook::Webhook`] that counts
//! what arrives. A [`raw::RawPeer`] does to the daemon what no HTTP server would do.
#![allow(
    dead_code,
    reason = "the tests and the demo share this kit, and neither of them uses the whole of it"
)]
#![expect(clippy::panic, reason = "a test fails by a panic that says what was lost")]

use std::time::{Duration, Instant};

pub(crate) mod background;
pub(crate) mod daemon;
pub(crate) mod http;
pub(crate) mod metrics;
pub(crate) mod nats;
pub(crate) mod process;
pub(crate) mod publisher;
pub(crate) mod raw;
pub(crate) mod reading;
pub(crate) mod stage;
pub(crate) mod tally;
pub(crate) mod tls;
pub(crate) mod webhook;

/// How often a condition is looked at: often enough to be quick, seldom enough to cost no CPU that the daemon needs.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `look` finds something; `None` when `deadline` has passed without it.
pub(crate) async fn poll<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
