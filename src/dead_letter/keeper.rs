//! What keeps the letters of a route, and whether it is fit for that. No I/O.

use serde::Deserialize;

use crate::config::{PublishSubject, Subject};

/// Who keeps the letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keeper {
    /// The stream; none where it is not known which one has the subject, so that any one will do that confirms.
    pub(super) stream: Option<Box<str>>,
    /// The largest letter that it takes, with its headers; none where that is not known, or where there is no limit.
    pub(super) largest: Option<usize>,
    /// Whether it keeps only what a consumer wants. It confirms what nobody wants, too, and removes it at once.
    pub(super) needs_interest: bool,
    /// What an operator may not expect of it.
    pub(super) warning: Option<Box<str>>,
}

/// Why a stream can't keep letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it is sealed")]
    Sealed,
    #[error("it confirms nothing (no_ack)")]
    NoAck,
}

/// The settings of a stream, as far as they matter to letters. Servers of other versions may say more.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamSettings {
    retention: String,
    discard: String,
    storage: String,
    max_bytes: i64,
    max_msg_size: i64,
    max_msgs_per_subject: i64,
    no_ack: bool,
    sealed: bool,
}

/// A consumer, as far as it tells what it wants.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ConsumerSettings {
    filter_subject: String,
    filter_subjects: Vec<String>,
}

impl StreamSettings {
    /// What it is as the keeper of letters.
    pub(super) fn keeper(&self, stream: &str) -> Result<Keeper, Unfit> {
        if self.sealed {
            return Err(Unfit::Sealed);
        }
        if self.no_ack {
            return Err(Unfit::NoAck);
        }
        // 0 and -1 are no limit.
        let limit = |limit: i64| usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let largest = [limit(self.max_bytes), limit(self.max_msg_size)].into_iter().flatten().min();
        let needs_interest = self.retention == "interest";
        Ok(Keeper { stream: Some(stream.into()), largest, needs_interest, warning: self.warning() })
    }

    /// That letters go which nobody has removed.
    fn warning(&self) -> Option<Box<str>> {
        if self.storage == "memory" {
            return Some("it keeps them in memory only".into());
        }
        // All letters of a route have the same subject.
        let most = self.max_msgs_per_subject;
        (most > 0 && self.discard != "new")
            .then(|| format!("it keeps the last {most} of a subject, and removes the others").into())
    }
}

impl ConsumerSettings {
    /// Whether it wants what is published to `subject`.
    pub(super) fn wants(&self, subject: &PublishSubject) -> bool {
        let mut filters = self.filter_subjects.iter().chain(Some(&self.filter_subject));
        let is_filtered = filters.clone().any(|filter| !filter.is_empty());
        // A filter that we can't read may want it.
        let wants = |filter: &String| filter.parse().map_or(true, |filter: Subject| filter.matches(subject));
        !is_filtered || filters.any(|filter| !filter.is_empty() && wants(filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> StreamSettings {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_smaller_limit_counts() {
        let largest = |text: &str| settings(text).keeper("DEAD").unwrap().largest;
        assert_eq!(largest(r#"{ "max_bytes": -1, "max_msg_size": -1 }"#), None);
        assert_eq!(largest(r#"{ "max_bytes": 10000, "max_msg_size": -1, "of_tomorrow": {} }"#), Some(10_000));
        assert_eq!(largest(r#"{ "max_bytes": 10000, "max_msg_size": 100 }"#), Some(100));
    }

    #[test]
    fn a_stream_that_confirms_nothing_or_takes_nothing_is_unfit() {
        assert_eq!(settings(r#"{ "no_ack": true }"#).keeper("A"), Err(Unfit::NoAck));
        assert_eq!(settings(r#"{ "sealed": true }"#).keeper("A"), Err(Unfit::Sealed));
        assert!(settings(r#"{ "retention": "interest" }"#).keeper("A").unwrap().needs_interest);
        assert!(!settings(r#"{ "retention": "workqueue" }"#).keeper("A").unwrap().needs_interest);
    }

    #[test]
    fn letters_that_go_by_themselves_are_warned_of() {
        let warning = |text: &str| settings(text).keeper("DEAD").unwrap().warning;
        assert_eq!(warning(r#"{ "storage": "file", "max_msgs_per_subject": -1, "discard": "old" }"#), None);
        assert!(warning(r#"{ "storage": "memory" }"#).is_some());
        assert!(warning(r#"{ "storage": "file", "max_msgs_per_subject": 1, "discard": "old" }"#).is_some());
        assert_eq!(warning(r#"{ "storage": "file", "max_msgs_per_subject": 1, "discard": "new" }"#), None);
    }

    #[test]
    fn a_consumer_wants_what_its_filters_say() {
        let wants = |text: &str| {
            let consumer: ConsumerSettings = serde_json::from_str(text).unwrap();
            consumer.wants(&"broadcaster.dead.a".parse().unwrap())
        };
        for text in [
            "{}",
            r#"{ "filter_subject": "broadcaster.dead.>" }"#,
            r#"{ "filter_subjects": ["x", "*.*.a"] }"#,
        ] {
            assert!(wants(text), "{text}");
        }
        for text in [r#"{ "filter_subject": "x" }"#, r#"{ "filter_subjects": ["x", "broadcaster.dead.b"] }"#]
        {
            assert!(!wants(text), "{text}");
        }
    }
}
