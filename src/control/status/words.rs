//! How a route is doing: decided from what it shows, and put into words for operators.

use std::{fmt, time::Duration};

use super::model::{Load, Severity};
use crate::{
    base::clock::Time,
    config::HttpVersion,
    route::{
        shared::Route,
        trouble::{Trouble, rounded},
    },
};

/// A queue that is so full, in percent, will soon turn messages away.
const NEARLY_FULL: usize = 90;

/// What was seen of a route.
pub(super) struct Seen<'l> {
    /// Why its messages wait, where they do.
    pub(super) trouble: Option<Trouble>,
    /// What is in hand.
    pub(super) load: &'l Load,
    /// Whether messages come, when there are any.
    pub(super) comes: bool,
    /// Whether some were delivered in the last seconds.
    pub(super) delivers: bool,
}

/// How a route is doing.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// No messages come, on one lane at least.
    NoMessages,
    /// Its messages wait, for this reason.
    Troubled(Trouble),
    /// Its attempts fail, several in a row, for so long.
    Failing(Duration),
    /// So many percent of the room in its queue are taken.
    NearlyFull(usize),
    /// It delivers.
    Delivering,
    /// Attempts are under way, and none has been delivered lately.
    Waiting,
    /// There is nothing to do.
    Idle,
}

impl Condition {
    /// How `route` is doing at `now`, with what else was seen of it.
    pub(super) fn of(route: &Route, seen: &Seen<'_>, now: Time) -> Self {
        let Seen { trouble, load, comes, delivers } = seen;
        // Somebody has decided it, and knows.
        if let Some(decided @ (Trouble::Held | Trouble::Drained)) = trouble {
            return Self::Troubled(*decided);
        }
        if !comes {
            return Self::NoMessages;
        }
        if let Some(trouble) = trouble {
            return Self::Troubled(*trouble);
        }
        if let Some(since) = route.health.failing_since() {
            return Self::Failing(now.since(since));
        }
        let taken = fullness(route, load);
        match load.in_flight {
            // A stream gives as much as there is room for.
            _ if taken >= NEARLY_FULL && !route.is_durable() => Self::NearlyFull(taken),
            _ if *delivers => Self::Delivering,
            0 => Self::Idle,
            _ => Self::Waiting,
        }
    }

    /// How far from well that is.
    pub(super) const fn severity(&self) -> Severity {
        match self {
            Self::NoMessages | Self::Troubled(Trouble::LeftAlone(..)) => Severity::Error,
            Self::Troubled(Trouble::Held | Trouble::Drained) => Severity::Held,
            Self::Troubled(Trouble::Paused(_) | Trouble::Login(_) | Trouble::Slowed(_))
            | Self::Failing(_)
            | Self::NearlyFull(_) => Severity::Warning,
            Self::Delivering | Self::Waiting => Severity::Ok,
            Self::Idle => Severity::Idle,
        }
    }

    /// The same in one word.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::NoMessages => "source",
            Self::Troubled(trouble) => trouble.label(),
            Self::Failing(_) => "failing",
            Self::NearlyFull(_) => "full",
            Self::Delivering => "delivering",
            Self::Waiting => "waiting",
            Self::Idle => "idle",
        }
    }
}

/// How much of its queue is taken, in percent, by messages or by bytes.
fn fullness(route: &Route, load: &Load) -> usize {
    let bounds = route.settings.queue.bounds;
    let percent = |taken: usize, bound: usize| taken.saturating_mul(100) / bound.max(1);
    percent(load.queue.messages, bounds.messages.get()).max(percent(load.queue.bytes, bounds.bytes.get()))
}

/// What is said of a route.
pub(super) struct Worded<'a> {
    pub(super) condition: &'a Condition,
    /// Messages that wait for an attempt.
    pub(super) waiting: usize,
    /// Attempts under way.
    pub(super) in_flight: usize,
    /// Messages delivered per second.
    pub(super) rate: f64,
    /// How long ago the last message came.
    pub(super) last_message: Option<Duration>,
    /// Which HTTP is spoken.
    pub(super) http: HttpVersion,
}

impl fmt::Display for Worded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.condition {
            Condition::NoMessages => return f.write_str("gets no messages"),
            Condition::Troubled(trouble) => write!(f, "{trouble}")?,
            Condition::Failing(span) => write!(f, "attempts have failed for {}", rounded(*span))?,
            Condition::NearlyFull(percent) => write!(f, "the queue is {percent} % full")?,
            Condition::Delivering => return self.delivering(f),
            Condition::Waiting => {
                return write!(f, "waits for the webhook's answer to {}", Grouped(self.in_flight));
            }
            Condition::Idle => return self.idle(f),
        }
        match self.waiting {
            0 => Ok(()),
            1 => f.write_str(", 1 message waits"),
            waiting => write!(f, ", {} messages wait", Grouped(waiting)),
        }
    }
}

impl Worded<'_> {
    fn delivering(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rate >= 9.95 {
            #[expect(clippy::cast_possible_truncation, reason = "no machine delivers that many in a second")]
            #[expect(clippy::cast_sign_loss, reason = "it is more than nine")]
            let whole = self.rate.round() as usize;
            write!(f, "delivering {}/s", Grouped(whole))?;
        } else {
            write!(f, "delivering {:.1}/s", self.rate)?;
        }
        match self.http {
            HttpVersion::Auto => Ok(()),
            HttpVersion::Http1 => f.write_str(" over HTTP/1.1"),
            HttpVersion::Http2 => f.write_str(" over HTTP/2"),
        }
    }

    fn idle(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last_message {
            None => f.write_str("no messages since the start"),
            Some(ago) if ago < Duration::from_secs(60) => write!(f, "no messages for {}", rounded(ago)),
            // To the minute: what happened hours ago need not count the seconds.
            Some(ago) => {
                let minutes = Duration::from_secs(ago.as_secs() / 60 * 60);
                write!(f, "no messages for {}", humantime::format_duration(minutes))
            }
        }
    }
}

/// A number with its thousands apart: `3,112`.
struct Grouped(usize);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.char_indices() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::schedule::breaker::Why;

    const SECOND: Duration = Duration::from_secs(1);

    fn worded(condition: &Condition) -> String {
        let words = Worded {
            condition,
            waiting: 3_112,
            in_flight: 7,
            rate: 812.4,
            last_message: Some(190 * SECOND),
            http: HttpVersion::Http2,
        };
        words.to_string()
    }

    #[test]
    fn every_condition_has_its_words() {
        let all = [
            (Condition::NoMessages, "gets no messages"),
            (
                Condition::Troubled(Trouble::LeftAlone(Why::Down, 3 * SECOND)),
                "the webhook is left alone, next try in 3s, 3,112 messages wait",
            ),
            (
                Condition::Troubled(Trouble::Paused(40 * SECOND)),
                "the webhook asked for a pause, which ends in 40s, 3,112 messages wait",
            ),
            (
                Condition::Troubled(Trouble::Drained),
                "drained by an operator: nothing is taken from NATS, what it has is delivered, 3,112 messages \
                 wait",
            ),
            (Condition::Failing(4 * SECOND), "attempts have failed for 4s, 3,112 messages wait"),
            (Condition::NearlyFull(93), "the queue is 93 % full, 3,112 messages wait"),
            (Condition::Delivering, "delivering 812/s over HTTP/2"),
            (Condition::Waiting, "waits for the webhook's answer to 7"),
            (Condition::Idle, "no messages for 3m"),
        ];
        for (condition, words) in all {
            assert_eq!(worded(&condition), words);
        }
    }

    #[test]
    fn the_worst_come_first() {
        let order =
            [Condition::NoMessages, Condition::Failing(SECOND), Condition::Delivering, Condition::Idle];
        assert!(order.windows(2).all(|pair| pair[0].severity() < pair[1].severity()));
    }

    #[test]
    fn thousands_stand_apart() {
        let all = [0, 12, 999, 1_000, 31_415, 1_234_567].map(|number| Grouped(number).to_string());
        assert_eq!(all, ["0", "12", "999", "1,000", "31,415", "1,234,567"]);
    }
}
