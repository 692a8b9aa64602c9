//! Whether the process is short of descriptors, ports or memory for connections.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::base::clock::Time;

/// How long a shortage counts after the last connection that could not be made for it. Each lane looks every second.
const LASTS: Duration = Duration::from_secs(2);

/// When the last connection could not be made; 0 where none was refused lately.
///
/// While it lasts, connections that are idle are closed: else those of one route, or lane, would be kept for a minute
/// while another has none.
#[derive(Debug, Default)]
pub(super) struct Shortage(AtomicU64);

impl Shortage {
    pub(super) fn note(&self, now: Time) {
        self.0.store(seconds(now), Relaxed);
    }

    /// Whether it lasts. Told the time only where there is something to compare it with.
    pub(super) fn lasts(&self, now: impl FnOnce() -> Time) -> bool {
        let noted = self.0.load(Relaxed);
        if noted == 0 {
            return false;
        }
        let lasts = seconds(now()).saturating_sub(noted) <= LASTS.as_secs();
        if !lasts {
            // A later one by another thread may be lost: it is noted again by the next connection.
            self.0.store(0, Relaxed);
        }
        lasts
    }
}

const fn seconds(time: Time) -> u64 {
    time.since_start().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_for_a_moment_after_the_last_refusal() {
        let at = |second| Time::from_start(Duration::from_secs(second));
        let shortage = Shortage::default();
        assert!(!shortage.lasts(|| unreachable!("there is nothing to compare with")));
        shortage.note(at(100));
        assert!(shortage.lasts(|| at(100)) && shortage.lasts(|| at(102)));
        assert!(!shortage.lasts(|| at(103)));
        assert!(!shortage.lasts(|| unreachable!("it is over")));
    }
}
