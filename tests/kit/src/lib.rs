//! The test kit: real parts, started by a test and ended with it.
//!
//! A [`nats::NatsServer`], the [`daemon::Daemon`] under test as a child process, and a [`webhook::Webhook`] that counts
//! what arrives. A [`raw::RawPeer`] does to the daemon what no HTTP server would do.
#![expect(clippy::panic, reason = "a test fails by a panic that says what was lost")]
#![expect(
    clippy::new_without_default,
    reason = "nothing here is made in passing, as part of another's default"
)]

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

pub mod background;
pub mod collector;
pub mod control_group;
pub mod daemon;
pub mod dice;
pub mod distance;
pub mod haproxy;
pub mod http;
pub mod http2_server;
pub mod metrics;
pub mod names;
pub mod namespace;
pub mod nats;
pub mod nginx;
pub mod process;
pub mod proxy;
pub mod publisher;
pub mod raw;
pub mod stage;
pub mod tally;
pub mod terminal;
pub mod tls;
pub mod token_server;
pub mod webhook;

/// How often a condition is looked at: often enough to be quick, seldom enough to cost no CPU that the daemon needs.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `look` finds something; `None` when `deadline` has passed without it.
pub async fn poll<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
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

/// How often something is asked for that takes a question to somebody.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Waits until what `ask` comes to is as `wanted`, and returns it.
///
/// # Panics
/// When `deadline` has passed without it: with what it was at last.
pub async fn wait_for<T: Debug>(
    deadline: Duration,
    mut ask: impl AsyncFnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        let found = ask().await;
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < end, "not as wanted after {deadline:?}: {found:?}");
        tokio::time::sleep(ASK_EVERY).await;
    }
}
