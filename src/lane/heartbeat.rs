//! A lane's sign that its thread moves: what a supervisor wants to know before it restarts the process.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::interval;

use crate::base::clock::{Clock, Time};

/// How often a lane gives a sign.
pub const BEAT: Duration = Duration::from_secs(1);

/// When a lane last gave a sign.
#[derive(Debug, Default)]
pub struct Heartbeat(AtomicU64);

impl Heartbeat {
    /// Nothing is expected of a lane that has ended.
    const ENDED: u64 = u64::MAX;

    /// A sign.
    pub fn beat(&self, now: Time) {
        self.0.store(u64::try_from(now.since_start().as_nanos()).unwrap_or(Self::ENDED), Relaxed);
    }

    /// Beats for as long as the runtime gets round to polling it.
    pub async fn keep(&self, clock: Clock) {
        let mut beat = interval(BEAT);
        loop {
            beat.tick().await;
            self.beat(clock.now());
        }
    }

    /// The last sign.
    pub fn end(&self) {
        self.0.store(Self::ENDED, Relaxed);
    }

    /// For how long there was none.
    pub fn silence(&self, now: Time) -> Duration {
        now.since(Time::from_start(Duration::from_nanos(self.0.load(Relaxed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_lasts_from_the_last_beat_to_the_next_and_ends_with_the_lane() {
        let heartbeat = Heartbeat::default();
        let start = Time::START + 100 * SECOND;
        heartbeat.beat(start);
        assert_eq!(heartbeat.silence(start + 7 * SECOND), 7 * SECOND);
        heartbeat.beat(start + 8 * SECOND);
        assert_eq!(heartbeat.silence(start + 9 * SECOND), SECOND);
        assert_eq!(heartbeat.silence(start), Duration::ZERO, "a reading from before the beat");
        heartbeat.end();
        assert_eq!(heartbeat.silence(start + 1000 * SECOND), Duration::ZERO);
    }
}
