//! What the service manager is told, where one listens: systemd, by `sd_notify(3)`.
//!
//! Its watchdog is meant for the lanes: where one of them stands still for as long as the watchdog has patience, that is
//! reported, however well the rest of the process is, and the service manager restarts it.

use std::{env, io, sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::{error, warn};

use super::health::Health;
use crate::lane::heartbeat;

/// How often health is looked at, where the watchdog does not want to hear more often.
const LOOK: Duration = Duration::from_secs(1);
/// The least patience with a lane, whatever the watchdog's is: one late beat is no reason for a restart.
const LEAST_PATIENCE: Duration = heartbeat::BEAT.saturating_mul(3);
/// How long a stop takes beyond the grace, at most: hand-over, last acks and last dead letters have some seconds each.
const AFTER_THE_GRACE: Duration = Duration::from_secs(30);
/// How long a stop is held up at most by a service manager that does not read what it is told.
const HEARING: Duration = Duration::from_secs(1);

/// The service manager, and what it is told from: health alone.
#[derive(Debug)]
pub struct ServiceManager {
    health: Arc<Health>,
    /// It restarts a process that it has not heard from for this long.
    watchdog: Option<Duration>,
    /// Whether it could not be told something: the log says that once.
    unheard: bool,
}

impl ServiceManager {
    /// The one that the environment names, if it does.
    pub fn listening(health: Arc<Health>) -> Option<Self> {
        let watchdog = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero());
        env::var_os("NOTIFY_SOCKET").map(|_| Self { health, watchdog, unheard: false })
    }

    /// Says that the start is done, and from then on how things are, for as long as it is polled.
    pub async fn run(mut self) {
        self.tell(|| sd_notify::notify(&[NotifyState::Ready])).await;
        let mut status = String::new();
        let mut was_stuck = false;
        // It hears of us three times within its patience, so that one late notification costs nothing.
        let mut look = interval(self.watchdog.map_or(LOOK, |patience| LOOK.min(patience / 3)));
        // Two looks are never one directly after the other: after a sleep of the whole process both would find the
        // lanes silent, and a good process would be restarted.
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let report = self.health.report();
            let mut now = report.reasons;
            if now.is_empty() {
                now.push(report.status.to_owned());
            }
            now.extend(
                report.configuration.into_iter().map(|complaint| format!("configuration: {complaint}")),
            );
            let now = now.join("; ");
            if now != status {
                status.clone_from(&now);
                self.tell(move || sd_notify::notify(&[NotifyState::Status(&now)])).await;
            }
            let Some(patience) = self.watchdog else { continue };
            let stuck = self.health.stuck(patience.max(LEAST_PATIENCE));
            if stuck.is_empty() {
                self.tell(|| sd_notify::notify(&[NotifyState::Watchdog])).await;
            } else if was_stuck {
                error!(reasons = stuck.join("; "), "asking the service manager for a restart");
                self.tell(|| sd_notify::notify(&[NotifyState::WatchdogTrigger])).await;
            }
            // A lane has to be stuck at two looks in a row: at the first one the whole process may have been asleep,
            // with the lane about to move.
            was_stuck = !stuck.is_empty();
        }
    }

    async fn tell(&mut self, telling: impl FnOnce() -> io::Result<()> + Send + 'static) {
        self.unheard = report(aside(telling).await, self.unheard);
    }
}

/// Says that the configuration is read again, until [`reloaded`]: `systemctl reload` waits for that, where the unit is of
/// the type `notify-reload`.
pub async fn reloading() {
    let told = aside(|| {
        let now = NotifyState::monotonic_usec_now()?;
        sd_notify::notify(&[NotifyState::Reloading, now])
    });
    report(timeout(HEARING, told).await.unwrap_or_else(|late| Err(late.into())), false);
}

/// Says that the reload is over, whatever came of it: the state says whether it was refused.
pub async fn reloaded() {
    let told = aside(|| sd_notify::notify(&[NotifyState::Ready]));
    report(timeout(HEARING, told).await.unwrap_or_else(|late| Err(late.into())), false);
}

/// Says that a stop has begun, which may take the `grace` and what comes after, whatever the unit says.
pub async fn stopping(grace: Duration) {
    let longest = u32::try_from((grace + AFTER_THE_GRACE).as_micros()).unwrap_or(u32::MAX);
    let told =
        aside(move || sd_notify::notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(longest)]));
    report(timeout(HEARING, told).await.unwrap_or_else(|late| Err(late.into())), false);
}

/// Notifies on a thread of its own: a socket that nobody reads blocks whoever writes to it, and here that would be the
/// runtime of health and metrics.
async fn aside(telling: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    spawn_blocking(telling).await.unwrap_or_else(|failed| Err(io::Error::other(failed)))
}

/// Returns whether a notification has failed, this one or one before; the first one is logged.
fn report(told: io::Result<()>, before: bool) -> bool {
    match told {
        Ok(()) => before,
        Err(error) => {
            if !before {
                warn!(%error, "cannot tell the service manager (NOTIFY_SOCKET)");
            }
            true
        }
    }
}
