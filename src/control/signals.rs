//! Signals, and what each asks for. None ends the process by itself, since what it has in hand would be lost.

use std::{future::poll_fn, io, sync::Arc, task::Poll, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    task::spawn_local,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Signals that come together are one request to stop: a terminal signals the whole process group, and a parent in that
/// group passes the signal on (`timeout`, `make`, `tini -g`).
const ONE_REQUEST: Duration = Duration::from_millis(300);

/// What a signal asks for.
#[derive(Clone, Copy)]
enum Wish {
    Stop,
    Reload,
    /// What a process is free to give a meaning to. There is none here.
    Nothing,
}

/// Every signal that ends a process by default and that others send to it: service managers, log rotation, a terminal
/// that is closed. SIGPIPE is ignored from the start, as in every program in Rust.
const HEARD: [(SignalKind, &str, Wish); 6] = [
    (SignalKind::terminate(), "SIGTERM", Wish::Stop),
    (SignalKind::interrupt(), "SIGINT", Wish::Stop),
    (SignalKind::quit(), "SIGQUIT", Wish::Stop),
    (SignalKind::hangup(), "SIGHUP", Wish::Reload),
    (SignalKind::user_defined1(), "SIGUSR1", Wish::Nothing),
    (SignalKind::user_defined2(), "SIGUSR2", Wish::Nothing),
];

/// What the signals have asked for so far. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Cancelled by the first request to stop: stop in order.
    pub stop: CancellationToken,
    /// Cancelled by the second one: end at once.
    pub abort: CancellationToken,
    /// Notified by each request to read the configuration again.
    pub reload: Arc<Notify>,
}

/// Listens to the signals, which don't end the process by themselves from now on. Needs a runtime that takes local
/// tasks.
///
/// # Errors
/// The system refuses to have a signal handled.
pub fn listen() -> io::Result<Signals> {
    let mut heard = Vec::with_capacity(HEARD.len());
    for (kind, name, wish) in HEARD {
        heard.push((signal(kind)?, name, wish));
    }
    let signals = Signals::default();
    drop(spawn_local(follow(heard, signals.clone())));
    Ok(signals)
}

/// Does what the signals ask for, until the end.
async fn follow(mut heard: Vec<(Signal, &'static str, Wish)>, signals: Signals) {
    let mut stopping: Option<Instant> = None;
    loop {
        // This wait is not among the fields of the log lines below: those are not evaluated where the level hides the
        // line, and the daemon would stop as soon as it has started.
        let (signal, wish) = next(&mut heard).await;
        match (wish, stopping) {
            (Wish::Stop, None) => {
                info!(signal, "stopping");
                signals.stop.cancel();
                stopping = Some(Instant::now());
            }
            (Wish::Stop, Some(since)) if since.elapsed() < ONE_REQUEST => {}
            (Wish::Stop, Some(_)) => {
                warn!(signal, "stopping at once: what is in hand is lost");
                return signals.abort.cancel();
            }
            (Wish::Reload, _) => signals.reload.notify_one(),
            (Wish::Nothing, _) => info!(signal, "ignored"),
        }
    }
}

async fn next(heard: &mut [(Signal, &'static str, Wish)]) -> (&'static str, Wish) {
    poll_fn(|cx| {
        let ready = heard
            .iter_mut()
            .find_map(|(signal, name, wish)| signal.poll_recv(cx).is_ready().then_some((*name, *wish)));
        ready.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}
