//! Subjects that NATS and broadcaster use between themselves. A route that takes these for messages would post what
//! nobody has published for it, and answer in place of whom it was meant for.

use std::borrow::Cow;

use super::checks::Outline;
use crate::config::{BucketName, PublishSubject, Subject, reader::Section};

/// A part of all subjects that is kept for something.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct Reserved {
    subjects: Cow<'static, str>,
    what: &'static str,
    /// One of its subjects that really occurs: a pattern that matches it covers what is going on there.
    example: Cow<'static, str>,
}

impl Reserved {
    const fn of(subjects: &'static str, what: &'static str, example: &'static str) -> Self {
        Self { subjects: Cow::Borrowed(subjects), what, example: Cow::Borrowed(example) }
    }

    /// The values of the bucket of endpoints.
    pub(in crate::config) fn bucket(name: &BucketName) -> Self {
        let start = format!("$KV.{}.", name.as_str());
        Self {
            subjects: format!("{start}>").into(),
            what: "the bucket of endpoints",
            example: format!("{start}routes.a").into(),
        }
    }

    /// What the daemon is asked as a service of NATS.
    pub(in crate::config) fn service(name: &str) -> Self {
        Self {
            subjects: format!("{name}.service.>").into(),
            what: "questions to the service",
            example: format!("{name}.service.read.status").into(),
        }
    }

    /// What came of attempts.
    pub(in crate::config) fn history(subject: &PublishSubject) -> Self {
        let subject = subject.to_string();
        Self { subjects: subject.clone().into(), what: "the history", example: subject.into() }
    }

    /// The inboxes of this process, where they are not the usual ones.
    fn inboxes(prefix: &PublishSubject) -> Self {
        Self {
            subjects: format!("{prefix}.>").into(),
            what: INBOXES,
            example: format!("{prefix}.id.1").into(),
        }
    }
}

const INBOXES: &str = "answers to clients";

const RESERVED: [Reserved; 6] = [
    Reserved::of("_INBOX.>", INBOXES, "_INBOX.id.1"),
    Reserved::of("$JS.API.>", "requests to JetStream", "$JS.API.INFO"),
    Reserved::of("$JS.ACK.>", "acks to JetStream", "$JS.ACK.s.c.1.2.3.4.5"),
    Reserved::of("$SYS.REQ.>", "requests to servers", "$SYS.REQ.SERVER.PING"),
    Reserved::of("broadcaster.handover.>", "messages that replicas hand over", "broadcaster.handover.group"),
    Reserved::of(
        "broadcaster.replay.>",
        "claims of those who replay dead letters",
        "broadcaster.replay.STREAM",
    ),
];

/// All of JetStream's own subjects; of those, its events are for whoever wants them.
const JETSTREAM: [&str; 2] = ["$JS.>", "$JS.EVENT.>"];

/// No route takes only what is kept, and none that takes it among other things does so unsaid, or at all where that `is_strict`.
/// Answers are kept in `inboxes`, too, and `more` beside that.
pub(super) fn check(
    at: &Section<'_>,
    outlines: &[Outline],
    inboxes: &PublishSubject,
    more: &[Reserved],
    is_strict: bool,
) {
    let mut all = [&RESERVED, more].concat();
    let inboxes = Reserved::inboxes(inboxes);
    if !all.iter().any(|reserved| is_within(&inboxes.subjects, &reserved.subjects)) {
        all.push(inboxes);
    }
    for route in outlines {
        let Outline { path, subject, publishes, .. } = route;
        if let Some(subject) = subject {
            let covered = receive(at, &all, format!("{path}.subject"), subject, route.is_core());
            match covered {
                Some((key, problem)) if is_strict => drop(at.report_at(key, problem)),
                Some((key, problem)) => at.warn_at(key, problem),
                None => {}
            }
        }
        for (key, published) in publishes {
            publish(at, &all, format!("{path}.{key}"), published);
        }
    }
}

/// What is wrong with receiving `subject`: told where that is no question, else the key and what could be.
fn receive(
    at: &Section<'_>,
    all: &[Reserved],
    key: String,
    subject: &Subject,
    is_core: bool,
) -> Option<(String, String)> {
    if let Some((subjects, what)) = kept(all, subject.as_str()) {
        let problem =
            format!("expected a subject of your own: \"{subject}\" is among \"{subjects}\", kept for {what}");
        at.report_at(key, problem);
        return None;
    }
    let covered = all.iter().filter(|reserved| covers(subject, reserved));
    let covered: Vec<_> =
        covered.map(|reserved| format!("{} ({})", reserved.subjects, reserved.what)).collect();
    // A stream has what its own subjects are, which nobody lets be these.
    let is_wide = is_core && !covered.is_empty();
    let problem = || format!("\"{subject}\" also receives {}: take a narrower one", covered.join(", "));
    is_wide.then(|| (key, problem()))
}

fn publish(at: &Section<'_>, all: &[Reserved], key: String, published: &PublishSubject) {
    if let Some((subjects, what)) = kept(all, published.as_str()) {
        let problem = format!(
            "expected a subject of your own: \"{published}\" is among \"{subjects}\", kept for {what}"
        );
        at.report_at(key, problem);
    }
}

fn kept<'r>(all: &'r [Reserved], subject: &str) -> Option<(&'r str, &'static str)> {
    let [jetstream, events] = JETSTREAM;
    let reserved = all.iter().find(|reserved| is_within(subject, &reserved.subjects));
    let reserved = reserved.map(|reserved| (&*reserved.subjects, reserved.what));
    let other =
        || (is_within(subject, jetstream) && !is_within(subject, events)).then_some((jetstream, "JetStream"));
    reserved.or_else(other)
}

fn covers(subject: &Subject, reserved: &Reserved) -> bool {
    reserved.example.parse().is_ok_and(|example: PublishSubject| subject.matches(&example))
}

/// Whether all that `subject` matches is matched by `pattern`, which is literal, but for a `>` that it may end with.
fn is_within(subject: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('>') {
        Some(start) => subject.len() > start.len() && subject.starts_with(start),
        None => subject == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::{RESERVED, covers, kept};

    #[test]
    fn what_is_wholly_kept_is_told_from_what_covers_it() {
        let cases: &[(&str, Option<&str>, usize)] = &[
            ("todos.events", None, 0),
            ("*.created", None, 0),
            ("_INBOX", None, 0),
            ("broadcaster.>", None, 2),
            ("*.handover.*", None, 1),
            ("*.*", None, 0),
            ("*.*.*", None, 4),
            (">", None, 6),
            ("*.>", None, 6),
            ("$SYS.>", None, 1),
            ("$SYS.ACCOUNT.*.CONNECT", None, 0),
            ("$JS.EVENT.ADVISORY.>", None, 0),
            ("$KV.bucket.>", None, 0),
            ("$JS.>", Some("$JS.>"), 2),
            ("$JS.*", Some("$JS.>"), 0),
            ("$JS.API.>", Some("$JS.API.>"), 1),
            ("_INBOX.*", Some("_INBOX.>"), 0),
            ("broadcaster.handover.x", Some("broadcaster.handover.>"), 0),
        ];
        for (subject, whole, covered) in cases {
            assert_eq!(kept(&RESERVED, subject).map(|(subjects, _)| subjects), *whole, "{subject}");
            let parsed = subject.parse().expect("a subject");
            let count = RESERVED.iter().filter(|reserved| covers(&parsed, reserved)).count();
            assert_eq!(count, *covered, "{subject}");
        }
    }
}
