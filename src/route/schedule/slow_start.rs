//! How many attempts may be under way on a route that knows nothing of its webhook yet: few, and one more with each
//! that is delivered. So a webhook that takes one request a second refuses a handful and not as many as there are
//! workers.

use std::{num::NonZeroUsize, time::Duration};

use crate::base::clock::Time;

/// How many to begin with, over all lanes.
pub const FIRST: NonZeroUsize = NonZeroUsize::new(8).expect("eight is not zero");

/// A webhook that takes its time gets one more in this time, delivered or not: those that limit the rate say so at once.
const STEP: Duration = Duration::from_millis(50);

/// The window of one lane. It only grows: a webhook that gets into trouble later is the business of breaker and pace.
#[derive(Clone, Copy, Debug)]
pub struct SlowStart {
    window: usize,
    full: usize,
    /// When the window grows next without a delivery.
    next: Option<Time>,
}

impl SlowStart {
    /// Begins with `first`, and ends at `full`.
    pub fn new(first: NonZeroUsize, full: usize) -> Self {
        Self { window: first.get().min(full), full, next: None }
    }

    /// How many attempts may be under way.
    pub const fn window(&self) -> usize {
        self.window
    }

    /// How many may be in the end.
    pub const fn full(&self) -> usize {
        self.full
    }

    /// Takes note of a delivery. Each one makes room for one more, so the window doubles with each round trip.
    pub const fn delivered(&mut self) {
        if self.window < self.full {
            self.window += 1;
        }
    }

    /// Takes note that there is more to do at `now` than the window allows. When it grows next; none where it is full.
    pub fn wanted(&mut self, now: Time) -> Option<Time> {
        if self.window >= self.full {
            return None;
        }
        let mut next = self.next.unwrap_or(now + STEP);
        if next <= now {
            self.delivered();
            next = now + STEP;
        }
        self.next = Some(next);
        (self.window < self.full).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_with_each_round_trip_up_to_the_concurrency() {
        let mut start = SlowStart::new(FIRST, 20);
        let mut windows = Vec::new();
        for _ in 0..3 {
            windows.push(start.window());
            (0..start.window()).for_each(|_| start.delivered());
        }
        assert_eq!(windows, [8, 16, 20]);
        assert_eq!(SlowStart::new(FIRST, 2).window(), 2);
    }

    #[test]
    fn it_grows_at_a_webhook_that_takes_its_time() {
        let mut start = SlowStart::new(FIRST, 10);
        let ms = |ms| Time::from_start(Duration::from_millis(ms));
        assert_eq!((start.wanted(ms(0)), start.window()), (Some(ms(50)), 8));
        assert_eq!((start.wanted(ms(49)), start.window()), (Some(ms(50)), 8));
        assert_eq!((start.wanted(ms(50)), start.window()), (Some(ms(100)), 9));
        assert_eq!((start.wanted(ms(100)), start.window()), (None, 10));
    }
}
