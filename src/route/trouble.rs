//! Why the messages of a route wait, in the words that log, metric, `/health` and documents share.

use std::{fmt, time::Duration};

use super::schedule::breaker::Why;

/// What is wrong with a webhook, or why else its messages wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trouble {
    /// An operator has paused the route.
    Held,
    /// An operator has drained the route: what it has goes on, and nothing new comes.
    Drained,
    /// It is left alone because of this, for so long.
    LeftAlone(Why, Duration),
    /// It has asked for a pause, which ends in this time.
    Paused(Duration),
    /// There is no token to log in with. The next try to get one is in this time; none where one is under way.
    Login(Option<Duration>),
    /// It takes no more than so many attempts a second; none where that is not known yet.
    Slowed(Option<f64>),
}

impl Trouble {
    /// The labels of all kinds.
    pub const LABELS: [&'static str; 8] =
        ["held", "drained", "down", "refused", "gone", "paused", "login", "slowed"];

    /// Its value in the metric label `trouble`.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Drained => "drained",
            Self::LeftAlone(Why::Down, _) => "down",
            Self::LeftAlone(Why::Refused, _) => "refused",
            Self::LeftAlone(Why::Gone, _) => "gone",
            Self::Paused(_) => "paused",
            Self::Login(_) => "login",
            Self::Slowed(_) => "slowed",
        }
    }
}

/// What the log says when a webhook is left alone.
pub const fn opened(why: Why) -> &'static str {
    match why {
        Why::Down => "breaker open: the webhook is left alone",
        Why::Refused => "breaker open: the webhook refuses what it gets, its messages are held",
        Why::Gone => "breaker open: the webhook is gone for good (410), the route is disabled",
    }
}

/// The same, as `/health` says it for as long as it lasts.
fn left_alone(why: Why) -> &'static str {
    let line = opened(why);
    line.strip_prefix("breaker open: ").unwrap_or(line)
}

/// What the log says when a webhook wants less, and `/health` for as long as it does.
pub const SLOWED: &str = "the webhook wants less, its messages go out at its pace";

/// What the log says when an operator holds a route, and `/health` for as long as that lasts.
pub const HELD: &str = "held by an operator: nothing is attempted, its messages wait";

/// What the log says when an operator lets it go on.
pub const RELEASED: &str = "held by an operator no more: its messages go on";

/// What the log says when an operator drains a route, and `/health` for as long as that lasts.
pub const DRAINED: &str = "drained by an operator: nothing is taken from NATS, what it has is delivered";

/// What the log says when an operator lets it take messages again.
pub const REFILLED: &str = "drained by an operator no more: it takes messages again";

/// What `/health` says while there is nothing to log in with. The log says it when a try has failed.
const NO_LOGIN: &str = "there is no token to log in to the webhook with, its messages wait";

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Held => f.write_str(HELD),
            Self::Drained => f.write_str(DRAINED),
            Self::LeftAlone(why, wait) if wait.is_zero() => write!(f, "{}, being tried now", left_alone(why)),
            Self::LeftAlone(why, wait) => write!(f, "{}, next try in {}", left_alone(why), rounded(wait)),
            Self::Paused(wait) => write!(f, "the webhook asked for a pause, which ends in {}", rounded(wait)),
            Self::Login(None) => write!(f, "{NO_LOGIN}, one is being fetched"),
            Self::Login(Some(wait)) => write!(f, "{NO_LOGIN}, next try in {}", rounded(wait)),
            Self::Slowed(None) => f.write_str(SLOWED),
            Self::Slowed(Some(rate)) => write!(f, "{SLOWED}, {rate:.2} a second"),
        }
    }
}

/// `span` in whole seconds, rounded up, or in milliseconds where it is less than one: nobody needs to read nanoseconds.
pub fn rounded(span: Duration) -> humantime::FormattedDuration {
    let unit = if span < Duration::from_secs(1) { 1_000_000 } else { 1_000_000_000 };
    let units = span.as_nanos().div_ceil(unit) * unit;
    humantime::format_duration(Duration::from_nanos(u64::try_from(units).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_label_and_its_words() {
        let second = Duration::from_millis(900);
        let all = [
            Trouble::Held,
            Trouble::Drained,
            Trouble::LeftAlone(Why::Down, second),
            Trouble::LeftAlone(Why::Refused, Duration::from_millis(19_001)),
            Trouble::LeftAlone(Why::Gone, Duration::ZERO),
            Trouble::Paused(second),
            Trouble::Login(None),
            Trouble::Slowed(Some(1.0)),
        ];
        assert_eq!(all.map(|trouble| trouble.label()), Trouble::LABELS);
        let words = all.map(|trouble| trouble.to_string());
        assert!(words[2].ends_with("next try in 900ms"), "{words:?}");
        assert!(words[3].ends_with("next try in 20s"), "{words:?}");
        assert!(words[4].ends_with("being tried now"), "{words:?}");
    }
}
