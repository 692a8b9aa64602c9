//! The log: lines on standard error, as text for people or as JSON for machines.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat, LogLevel};

/// How many lines may wait to be written.
const WAITING_LINES: usize = 4096;

/// Starts the log, where there is none yet. It ends when the guard is dropped, with what was waiting.
///
/// A thread of its own writes: when whoever reads the log is stuck, lines are lost and messages are not.
#[must_use = "dropping it ends the log"]
pub fn start(log: &Log) -> WorkerGuard {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES);
    let (writer, guard) = builder.thread_name("log").finish(io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match log.format {
        LogFormat::Text => lines.with_target(false).with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_target(false).boxed()
        }
    };
    let started = tracing_subscriber::registry().with(lines.with_filter(filter(log.level))).try_init();
    if started.is_err() {
        tracing::debug!("the log was started before");
    }
    guard
}

/// Our own lines from `level` on. The libraries' are for their developers: async-nats writes one for every message that
/// it drops, and one for every attempt to connect.
fn filter(level: LogLevel) -> Targets {
    let (ours, theirs) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::OFF),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::OFF),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::OFF),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    Targets::new().with_target(env!("CARGO_PKG_NAME"), ours).with_default(theirs)
}
