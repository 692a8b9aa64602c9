//! How long to wait before the next attempt. It reads no clock and never waits itself. The only file that names the
//! `backoff` crate.

use std::time::Duration;

use backoff::{backoff::Backoff as _, exponential::ExponentialBackoff};

/// Whether waits are spread by chance, so that what failed together does not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// A wait is anything between 0 and what the schedule says.
    Full,
    /// A wait is exactly what the schedule says.
    None,
}

/// A schedule of waits: exponential, capped, with or without jitter.
///
/// It keeps no state between messages. What it needs to know of a message is how many attempts failed.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    multiplier: f64,
    jitter: Jitter,
    still: Still,
}

impl Backoff {
    /// Waits from zero to `initial` after the first failure, the upper end growing by `multiplier` up to `max`.
    pub fn new(initial: Duration, max: Duration, multiplier: f64, jitter: Jitter) -> Self {
        let still = Still(std::time::Instant::now());
        Self { initial, max, multiplier, jitter, still }
    }

    /// The wait after `failures` failed attempts, of which there was at least one.
    ///
    /// Full jitter: any wait from zero to the step is equally likely, which spreads a herd of retries best
    /// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
    pub fn delay(&self, failures: u32) -> Duration {
        let step = self.step(failures);
        let (interval, randomization_factor) = match self.jitter {
            // The crate spreads evenly over interval ± factor × interval: this is zero to the step.
            Jitter::Full => (step / 2, 1.0),
            Jitter::None => (step, 0.0),
        };
        // The crate would grow its interval with each call; here it is made for one wait and thrown away, because a
        // state for each message would cost more memory than the number of its attempts.
        let mut schedule = ExponentialBackoff {
            current_interval: interval,
            initial_interval: interval,
            randomization_factor,
            multiplier: self.multiplier,
            max_interval: interval,
            start_time: self.still.0,
            max_elapsed_time: None,
            clock: self.still,
        };
        schedule.next_backoff().unwrap_or(step).min(step)
    }

    /// The longest possible wait after `failures` failed attempts.
    fn step(&self, failures: u32) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.multiplier.powi(exponent);
        // A float above the cap, infinity included, is the cap.
        if seconds < self.max.as_secs_f64() { Duration::from_secs_f64(seconds) } else { self.max }
    }
}

/// A clock that stands still: attempts are limited by their number, so nothing depends on the time that has passed.
#[derive(Clone, Copy, Debug)]
struct Still(std::time::Instant);

impl backoff::Clock for Still {
    fn now(&self) -> std::time::Instant {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(jitter: Jitter) -> Backoff {
        Backoff::new(Duration::from_millis(500), Duration::from_secs(300), 2.0, jitter)
    }

    #[test]
    fn doubles_up_to_the_cap() {
        let steps: Vec<_> = (1..=12).map(|n| backoff(Jitter::None).delay(n).as_secs_f64()).collect();
        assert_eq!(steps, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]);
    }

    #[test]
    fn never_leaves_zero_to_the_step() {
        for failures in 1..=40 {
            let step = backoff(Jitter::None).delay(failures);
            for _ in 0..200 {
                assert!(backoff(Jitter::Full).delay(failures) <= step, "after {failures} failures");
            }
        }
    }

    #[test]
    fn full_jitter_uses_the_whole_range() {
        let delays: Vec<_> = (0..1000).map(|_| backoff(Jitter::Full).delay(1).as_millis()).collect();
        for tenth in 0..10 {
            let range = tenth * 50..(tenth + 1) * 50;
            let hits = delays.iter().filter(|delay| range.contains(*delay)).count();
            assert!(hits > 40, "only {hits} of 1000 delays in {range:?} ms");
        }
    }

    #[test]
    fn any_number_of_failures_is_bounded() {
        assert_eq!(backoff(Jitter::None).delay(u32::MAX), Duration::from_secs(300));
        assert_eq!(backoff(Jitter::None).delay(0), Duration::from_millis(500));
    }
}
