//! The log: lines on standard error, as text for people or as JSON for machines.

use std::io::{self, IsTerminal};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::log_level::LevelControl;
use crate::config::{Log, LogFormat};

/// How many lines may wait to be written.
const WAITING_LINES: usize = 4096;

/// Starts the log, where there is none yet. It ends when the guard is dropped, with what was waiting. By the control its
/// level can be another one for a while.
///
/// A thread of its own writes: when whoever reads the log is stuck, lines are lost and messages are not.
#[must_use = "dropping it ends the log"]
pub fn start(log: &Log) -> (WorkerGuard, LevelControl) {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES);
    let (writer, guard) = builder.thread_name("log").finish(io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match log.format {
        LogFormat::Text => lines.with_target(false).with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_target(false).boxed()
        }
    };
    let (control, filter) = LevelControl::new(log.level);
    let started = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    if started.is_err() {
        tracing::debug!("the log was started before");
    }
    (guard, control)
}
