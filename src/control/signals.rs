//! SIGTERM and SIGINT: the first begins the stop, the second ends the process at once.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_local,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Signals that come together are one request to stop: a terminal signals the whole process group, and a parent in that
/// group passes the signal on (`timeout`, `make`, `tini -g`).
const ONE_REQUEST: Duration = Duration::from_millis(300);

/// What the signals have asked for so far. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Cancelled by the first signal: stop in order.
    pub stop: CancellationToken,
    /// Cancelled by the second one: end at once.
    pub abort: CancellationToken,
}

/// Listens to the signals, which don't end the process by themselves from now on. Needs a runtime that takes local
/// tasks.
///
/// # Errors
/// The system refuses to have a signal handled.
pub fn listen() -> io::Result<Signals> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let signals = Signals::default();
    let Signals { stop, abort } = signals.clone();
    drop(spawn_local(async move {
        // This wait is not among the fields of the log line below: those are not evaluated where the level hides the
        // line, and the daemon would stop as soon as it has started.
        let signal = next(&mut terminate, &mut interrupt).await;
        info!(signal, "stopping");
        stop.cancel();
        let first = Instant::now();
        loop {
            let signal = next(&mut terminate, &mut interrupt).await;
            if first.elapsed() >= ONE_REQUEST {
                warn!(signal, "stopping at once: what is in hand is lost");
                return abort.cancel();
            }
        }
    }));
    Ok(signals)
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
