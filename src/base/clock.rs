//! Time as the decisions see it: monotonic, counted from a day before the start of the process, so that there is a time
//! for what began before it: a message that was handed over by another replica. Only headers need
//! the wall clock.
//!
//! Decisions never ask for the time, they are told it. That keeps them testable with literal times, and a clock that
//! is set back or forward by an operator or by NTP moves no retry.

use std::{
    fmt::Display,
    ops::Add,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// How long before the start of the process time begins. A message that is older counts as received then.
const BEFORE: Duration = Duration::from_secs(24 * 3600);

/// A point in time: how many nanoseconds after the start of time. Each message has some of these, and this takes half
/// the memory of a [`Duration`]; the numbers last for 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// The start of time, before all that happens here: as a deadline it has always passed.
    pub const START: Self = Self(0);

    /// The point in time `since_start` after the start of time.
    pub const fn from_start(since_start: Duration) -> Self {
        Self(nanos(since_start))
    }

    /// The point in time so many nanoseconds after the start of time.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// How many nanoseconds after the start of time this is.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after the start of time this is.
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// How long after `earlier` this is; zero where it is not after it. Times that were read by different threads may
    /// be in the other order by a moment, and that must not panic.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The point in time `span` before this one, as far back as time goes.
    #[must_use]
    pub const fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }
}

/// `span` in nanoseconds, or as many as can be counted.
pub(crate) const fn nanos(span: Duration) -> u64 {
    let below_a_second = span.subsec_nanos() as u64;
    span.as_secs().saturating_mul(1_000_000_000).saturating_add(below_a_second)
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

/// Where the loops read the time from, to tell it to the decisions.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Of the runtime and not of the system: in tests it can be paused.
    start: Instant,
}

impl Clock {
    /// Starts counting now. Made once, when the process starts, and copied from there.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        // Read several times for each message: one addition, where a sum of two spans would carry and check.
        Time(nanos(BEFORE) + nanos(self.start.elapsed()))
    }

    /// `time` for the timers of the runtime.
    pub fn instant(&self, time: Time) -> Instant {
        // A time too far away to be represented is as good as never; ten years keep the arithmetic safe.
        const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
        self.start + time.since_start().saturating_sub(BEFORE).min(NEVER)
    }

    /// `time` on the wall clock, reckoned back from the wall clock's present reading.
    pub fn wall(&self, time: Time) -> SystemTime {
        let age = self.now().since(time);
        SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// `time` to the millisecond, in UTC and as RFC 3339 has it.
pub fn rfc3339(time: SystemTime) -> String {
    timestamp(time).to_string()
}

/// The same, to be written where it belongs.
pub fn timestamp(time: SystemTime) -> impl Display {
    // The library panics for times before 1970 and after the year 9999.
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_millis(time.clamp(SystemTime::UNIX_EPOCH, last))
}
