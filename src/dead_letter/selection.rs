//! Which dead letters are meant. No I/O.

use std::{collections::BTreeSet, fmt, time::SystemTime};

use super::Stored;
use crate::{
    base::clock::timestamp,
    config::{PublishSubject, Route, RouteName, Subject},
};

/// What letters are chosen by; several of these narrow it down, and none of them means all letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The id of their message.
    pub id: Option<String>,
    /// Why they died.
    pub reason: Option<String>,
    /// How the last attempt failed.
    pub failure: Option<String>,
    /// Those that the stream took at this time or later.
    pub since: Option<SystemTime>,
    /// Those that it took before this time.
    pub until: Option<SystemTime>,
    /// What their message was published to.
    pub subject: Option<Subject>,
    /// Where they are in their stream.
    pub sequences: Option<BTreeSet<u64>>,
}

/// What is meant with letters that are nobody's: of routes that are not configured any more, and those that name none where
/// several routes could have made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// They are meant, too: somebody has to see to them.
    Included,
    /// They are not meant: nobody has said that they are for this webhook.
    Excluded,
}

/// Tells the letters of a route that are meant from others.
#[derive(Clone, Debug)]
pub struct Selected {
    selection: Selection,
    route: RouteName,
    /// Other routes whose letters go to the same subject, sorted: there may be thousands.
    others: Vec<RouteName>,
    orphans: Orphans,
}

impl Selection {
    /// Whether all letters are meant.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    fn has(&self, letter: &Stored) -> bool {
        let is = |wanted: &Option<String>, text: &dyn Fn() -> Option<String>| {
            wanted.is_none() || wanted.as_ref() == text().as_ref()
        };
        is(&self.id, &|| Some(letter.id().to_string()))
            && is(&self.reason, &|| letter.reason().map(Into::into))
            && is(&self.failure, &|| letter.last_failure().map(Into::into))
            && self.since.is_none_or(|since| letter.at >= since)
            && self.until.is_none_or(|until| letter.at < until)
            && self.subject.as_ref().is_none_or(|subject| was_published_to(letter, subject))
            && self.sequences.as_ref().is_none_or(|sequences| sequences.contains(&letter.sequence))
    }
}

fn was_published_to(letter: &Stored, subject: &Subject) -> bool {
    // What a letter says of itself may be no subject at all.
    letter.original_subject().parse::<PublishSubject>().is_ok_and(|original| subject.matches(&original))
}

/// In the words of a log: what is asked for, or `all`.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("all");
        }
        let time = |time: SystemTime| timestamp(time).to_string();
        let sequences = |sequences: &BTreeSet<u64>| match (sequences.first(), sequences.last()) {
            (Some(first), Some(last)) => format!("{} from {first} to {last}", sequences.len()),
            _ => "none".to_owned(),
        };
        let parts = [
            ("id", self.id.clone()),
            ("reason", self.reason.clone()),
            ("failure", self.failure.clone()),
            ("since", self.since.map(time)),
            ("until", self.until.map(time)),
            ("subject", self.subject.as_ref().map(Subject::to_string)),
            ("sequences", self.sequences.as_ref().map(sequences)),
        ];
        let mut before = "";
        for (name, value) in parts {
            if let Some(value) = value {
                write!(f, "{before}{name}={value}")?;
                before = " ";
            }
        }
        Ok(())
    }
}

/// A time, or how long ago it was at `now`.
///
/// # Errors
/// `text` is neither; what would be right.
pub fn time_or_age(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    if let Ok(age) = humantime::parse_duration(text) {
        return Ok(now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH));
    }
    let wrong = |_| "expected a time such as 2026-11-23T12:00:00Z, or a duration such as 2h".to_owned();
    humantime::parse_rfc3339_weak(text).map_err(wrong)
}

impl Selected {
    /// Letters of `route`, which is one of `routes`, that `selection` is about.
    pub fn new<'r>(
        routes: impl IntoIterator<Item = &'r Route>,
        route: &Route,
        selection: Selection,
        orphans: Orphans,
    ) -> Self {
        let subject = |route: &Route| route.dead_letter.as_ref().map(|to| to.subject.clone());
        let own = subject(route);
        let shares = |other: &&Route| other.name != route.name && subject(other) == own;
        let mut others: Vec<_> = routes.into_iter().filter(shares).map(|other| other.name.clone()).collect();
        others.sort_unstable();
        Self { selection, route: route.name.clone(), others, orphans }
    }

    /// The same, which takes none for a letter of nobody that is of a route of these `names`.
    #[must_use]
    pub fn sparing(mut self, names: impl IntoIterator<Item = RouteName>) -> Self {
        self.others.extend(names.into_iter().filter(|name| *name != self.route));
        self.others.sort_unstable();
        self.others.dedup();
        self
    }

    /// What they are chosen by.
    pub const fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Whether nothing but what is meant goes to the subject.
    pub fn is_all(&self) -> bool {
        self.selection.is_all() && self.others.is_empty() && self.orphans == Orphans::Included
    }

    /// Whether `letter` is meant.
    pub fn has(&self, letter: &Stored) -> bool {
        self.would_have(letter) && (self.is_own(letter) || self.orphans == Orphans::Included)
    }

    /// Whether `letter` is left alone only because it is nobody's.
    pub fn leaves_orphan(&self, letter: &Stored) -> bool {
        self.orphans == Orphans::Excluded && self.would_have(letter) && !self.is_own(letter)
    }

    fn is_own(&self, letter: &Stored) -> bool {
        letter.route().map_or(self.others.is_empty(), |route| *self.route.as_str() == *route)
    }

    /// Whether `letter` is meant, were it the route's own, and is not that of another route.
    fn would_have(&self, letter: &Stored) -> bool {
        let is_others = |route: &str| self.others.binary_search_by(|other| other.as_str().cmp(route)).is_ok();
        self.selection.has(letter) && !letter.route().is_some_and(|route| is_others(&route))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn letter(sequence: u64, lines: &str) -> Stored {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(sequence);
        let block = format!("NATS/1.0\r\n{lines}\r\n");
        Stored::new(("DEAD", sequence), "dead.a", at, &block.into(), Bytes::new())
    }

    fn at(seconds: u64) -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn letters_are_chosen_by_what_they_say() {
        let letter = letter(
            7,
            "Broadcaster-Id: x\r\nBroadcaster-Reason: rejected\r\nBroadcaster-Last-Failure: 422\r\n\
             Broadcaster-Subject: orders.new\r\n",
        );
        let all = Selection::default;
        let subject = |text: &str| Some(text.parse().unwrap());
        for (selection, has) in [
            (all(), true),
            (Selection { id: Some("x".to_owned()), ..all() }, true),
            (Selection { id: Some("y".to_owned()), ..all() }, false),
            (Selection { reason: Some("rejected".to_owned()), since: at(7), until: at(8), ..all() }, true),
            (Selection { reason: Some("shutdown".to_owned()), ..all() }, false),
            (Selection { failure: Some("422".to_owned()), ..all() }, true),
            (Selection { failure: Some("timeout".to_owned()), ..all() }, false),
            (Selection { since: at(8), ..all() }, false),
            (Selection { until: at(7), ..all() }, false),
            (Selection { subject: subject("orders.*"), ..all() }, true),
            (Selection { subject: subject("orders"), ..all() }, false),
            (Selection { sequences: Some([6, 7].into()), ..all() }, true),
            (Selection { sequences: Some([8].into()), ..all() }, false),
        ] {
            assert_eq!(selection.has(&letter), has, "{selection}");
        }
    }

    #[test]
    fn a_time_may_be_told_by_its_age() {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_435_200);
        assert_eq!(time_or_age("2026-11-23T12:00:00Z", SystemTime::UNIX_EPOCH), Ok(noon));
        assert_eq!(time_or_age("1h 30m", noon), Ok(noon - Duration::from_secs(5400)));
        assert!(time_or_age("yesterday", noon).is_err());
    }

    #[test]
    fn a_letter_that_says_nothing_is_chosen_by_nothing() {
        let letter = letter(1, "Broadcaster-Subject: a b\r\n");
        let reason = Selection { reason: Some("rejected".to_owned()), ..Selection::default() };
        let subject = Selection { subject: ">".parse().ok(), ..Selection::default() };
        assert!(!reason.has(&letter) && !subject.has(&letter) && Selection::default().has(&letter));
    }

    #[test]
    fn a_log_says_what_was_meant() {
        let selection = Selection {
            reason: Some("rejected".to_owned()),
            until: at(60),
            sequences: Some([3, 9].into()),
            ..Selection::default()
        };
        let words = "reason=rejected until=1970-01-01T00:01:00.000Z sequences=2 from 3 to 9";
        assert_eq!(selection.to_string(), words);
        assert_eq!(Selection::default().to_string(), "all");
    }
}
