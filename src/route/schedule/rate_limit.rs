//! The route's rate limit, shared by its lanes. It is told the time and never waits. The only file that names the
//! `governor` crate.

use std::{cell::Cell, fmt, rc::Rc, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore},
};

use super::gate::Gate;
use crate::{base::clock::Time, config::RateLimit};

/// The part of a rate limit that all lanes of a route share, so that together they keep it.
#[derive(Clone, Debug)]
pub struct SharedLimit {
    quota: Quota,
    state: Arc<InMemoryState>,
}

impl SharedLimit {
    /// A limit that nothing has been taken from yet.
    pub fn new(limit: RateLimit) -> Self {
        let quota = Quota::per_second(limit.per_second).allow_burst(limit.burst);
        Self { quota, state: Arc::default() }
    }
}

impl StateStore for SharedLimit {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, key: &NotKeyed, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.state.measure_and_replace(key, f)
    }
}

/// The limit of a route as one lane asks it. Each lane has its own clock, which is told the time, over the shared
/// state.
pub struct Limiter {
    limiter: RateLimiter<NotKeyed, SharedLimit, ToldClock, NoOpMiddleware<Duration>>,
}

impl Limiter {
    /// Takes part in `shared`.
    pub fn new(shared: SharedLimit) -> Self {
        let limiter = RateLimiter::new(shared.quota, shared, ToldClock::default());
        Self { limiter }
    }
}

impl Gate for Limiter {
    /// When the next permit will be free shows only when one is asked for, and asking takes it. So this says "now", and
    /// [`Self::admit`] may still refuse.
    fn opens(&self, _now: Time) -> Time {
        Time::START
    }

    /// One at a time: of many workers that were woken, most would only find that there is no permit. Each one that gets
    /// its permit wakes the next.
    fn capacity(&self, _now: Time) -> usize {
        1
    }

    fn admit(&self, now: Time) -> Result<(), Time> {
        self.limiter.clock().0.set(now.since_start());
        self.limiter.check().map_err(|not_until| Time::from_start(not_until.earliest_possible()))
    }

    /// A limited webhook is not left alone: messages go on being taken from the stream, at the rate at which they
    /// leave.
    fn paused_until(&self, _now: Time) -> Option<Time> {
        None
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").finish_non_exhaustive()
    }
}

/// The crate asks a clock for the time, where decisions here are told it: this clock says what it was told last.
/// Counted from the same start on all lanes, so that they can share the state.
#[derive(Clone, Debug, Default)]
struct ToldClock(Rc<Cell<Duration>>);

impl Clock for ToldClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn shared(per_second: u32, burst: u32) -> SharedLimit {
        let nonzero = |n| NonZeroU32::new(n).unwrap();
        SharedLimit::new(RateLimit { per_second: nonzero(per_second), burst: nonzero(burst) })
    }

    fn ms(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn lets_a_burst_through_and_then_the_rate() {
        let limiter = Limiter::new(shared(10, 3));
        let taken = (0..5).filter(|_| limiter.admit(ms(1000)).is_ok()).count();
        assert_eq!(taken, 3);
        assert_eq!(limiter.admit(ms(1000)), Err(ms(1100)));
        assert_eq!(limiter.admit(ms(1100)), Ok(()));
        assert_eq!(limiter.admit(ms(1100)), Err(ms(1200)));
    }

    #[test]
    fn lanes_share_one_limit() {
        let shared = shared(10, 2);
        let (left, right) = (Limiter::new(shared.clone()), Limiter::new(shared));
        assert!(left.admit(ms(5)).is_ok());
        assert!(right.admit(ms(5)).is_ok());
        assert!(left.admit(ms(5)).is_err());
        assert!(right.admit(ms(5)).is_err());
    }

    #[test]
    fn a_second_gives_no_more_than_the_rate_and_the_burst() {
        let limiter = Limiter::new(shared(100, 5));
        let taken = (0..10_000).filter(|tenth| limiter.admit(ms(tenth / 10)).is_ok()).count();
        assert!((100..=105).contains(&taken), "{taken} permits in a second");
    }
}
