//! What has to hold between the routes.

use std::num::NonZeroUsize;

use super::{reader::Section, routes::Draft};

/// No two routes take the messages of each other, and no dead letter comes back.
pub(super) fn routes(at: &Section<'_>, drafts: &[Draft]) {
    for (i, route) in drafts.iter().enumerate() {
        for earlier in &drafts[..i] {
            share(at, earlier, route);
        }
        for receiver in drafts {
            loops(at, route, receiver);
        }
    }
}

/// Two routes in one queue group would split the messages between two webhooks.
fn share(at: &Section<'_>, earlier: &Draft, route: &Draft) {
    if let (Some(a), Some(b)) = (earlier.stream(), route.stream()) {
        if a.stream == b.stream && a.consumer == b.consumer {
            let problem = format!(
                "expected another consumer than {}: with the same consumer, each message would reach only one of the two",
                earlier.path
            );
            at.report_at(format!("{}.jetstream.consumer", route.path), problem);
        }
        return;
    }
    if earlier.stream().or_else(|| route.stream()).is_some() {
        return;
    }
    let (Some(a), Some(b)) = (&earlier.subject, &route.subject) else {
        return;
    };
    let (Some(group), Some(other)) = (&earlier.queue_group, &route.queue_group) else {
        return;
    };
    if a.overlaps(b) && group == other {
        let problem = format!(
            "expected another subject or another queue_group than {}: with \"{a}\" and \"{b}\" in the same group \
             \"{group}\", each message would reach only one of the two",
            earlier.path
        );
        at.report_at(format!("{}.subject", route.path), problem);
    }
}

/// A dead letter that a route receives would be delivered, fail and die again.
fn loops(at: &Section<'_>, route: &Draft, receiver: &Draft) {
    let Some(Some(dead_letter)) = &route.dead_letter else {
        return;
    };
    let Some(subject) = &receiver.subject else { return };
    if subject.matches(&dead_letter.subject) {
        let problem = format!(
            "expected a subject that no route receives: \"{}\" would come back by {}.subject = \"{subject}\"",
            dead_letter.subject, receiver.path
        );
        at.report_at(format!("{}.dead_letter.subject", route.path), problem);
    }
}

/// The threads divide these numbers between them, so that each has to be enough for all.
pub(super) fn threads(at: &Section<'_>, threads: NonZeroUsize, drafts: &[Draft]) {
    for draft in drafts {
        let divided = [
            ("webhook.concurrency", draft.webhook.as_ref().map(|webhook| webhook.concurrency)),
            ("queue.messages", draft.queue.as_ref().map(|queue| queue.bounds.messages)),
            ("retry.messages", draft.retry.as_ref().map(|retry| retry.bounds.messages)),
        ];
        for (key, number) in divided {
            let Some(number) = number.filter(|number| *number < threads) else {
                continue;
            };
            let problem = format!(
                "expected no more threads than {}.{key}, which they divide between them: {threads} are more than \
                 {number}",
                draft.path
            );
            at.report_at("runtime.threads".to_owned(), problem);
        }
    }
}
