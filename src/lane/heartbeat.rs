//! A lane's heartbeat: the sign that its thread moves, which tells whether a restart of the process would help.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::interval;

use crate::base::clock::{Clock, Time};

/// How long it is from one beat to the next.
pub const BEAT: Duration = Duration::from_secs(1);

/// When the heart of a lane last beat.
#[derive(Debug, Default)]
pub struct Heartbeat(AtomicU64);

impl Heartbeat {
    /// A time that never comes: nothing is expected of a lane that has ended, so that its silence is always 0.
    const ENDED: u64 = u64::MAX;

    /// Notes that the lane moves at `now`.
    pub fn beat(&self, now: Time) {
        self.0.store(u64::try_from(now.since_start().as_nanos()).unwrap_or(Self::ENDED), Relaxed);
    }

    /// Beats for as long as it is polled. A lane that is stuck polls nothing, and so is silent.
    pub async fn keep(&self, clock: Clock) {
        let mut beat = interval(BEAT);
        loop {
            beat.tick().await;
            self.beat(clock.now());
        }
    }

    /// Expects no more beats.
    pub fn end(&self) {
        self.0.store(Self::ENDED, Relaxed);
    }

    /// For how long there has been no beat; 0 after [`Self::end`].
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
