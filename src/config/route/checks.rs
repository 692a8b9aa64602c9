//! What has to hold between the routes, and between them and the threads.

use std::{collections::HashMap, num::NonZeroUsize};

use super::{Jetstream, Route};
use crate::config::{
    PublishSubject, QueueGroup, StreamName, Subject,
    reader::{Reported, Section},
};

/// What a route is compared with the others by, each part of it that was right: so a mistake anywhere else in a route
/// hides none between routes.
pub(super) struct Outline {
    /// Where mistakes about it are reported: the path of its table.
    pub(super) path: String,
    pub(super) subject: Option<Subject>,
    /// Among whom NATS divides its messages.
    pub(super) source: Option<Source>,
    /// What the route publishes to, each with its key.
    pub(super) publishes: Vec<(&'static str, PublishSubject)>,
    /// The numbers that threads divide between them, each with its key.
    pub(super) divided: Vec<(&'static str, NonZeroUsize)>,
}

/// What splits messages: two routes that have it in common get each message only once.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Of core NATS, as far as the subjects overlap.
    QueueGroup(QueueGroup),
    /// Of JetStream, always.
    Consumer { stream: StreamName, consumer: StreamName },
}

impl Source {
    pub(super) fn of(
        jetstream: &Result<Option<Jetstream>, Reported>,
        queue_group: &Result<QueueGroup, Reported>,
    ) -> Option<Self> {
        match (jetstream, queue_group) {
            (Ok(Some(Jetstream { stream, consumer, .. })), _) => {
                Some(Self::Consumer { stream: stream.clone(), consumer: consumer.clone() })
            }
            (Ok(None), Ok(group)) => Some(Self::QueueGroup(group.clone())),
            _ => None,
        }
    }
}

impl Outline {
    /// That of a route that is read already.
    pub(super) fn of(route: &Route) -> Self {
        let Route { name, subject, queue_group, jetstream, .. } = route;
        Self {
            path: format!("routes.{name}"),
            subject: Some(subject.clone()),
            source: Source::of(&Ok(jetstream.clone()), &Ok(queue_group.clone())),
            publishes: route.published(),
            divided: Vec::new(),
        }
    }

    /// Whether the messages come as they are published, and not out of a stream.
    pub(super) const fn is_core(&self) -> bool {
        matches!(self.source, Some(Source::QueueGroup(_)))
    }

    /// Whether each of some messages would reach only one of both.
    pub(super) fn splits_messages_with(&self, other: &Self) -> bool {
        self.source.is_some()
            && self.source == other.source
            && match (&self.source, &self.subject, &other.subject) {
                (Some(Source::QueueGroup(_)), Some(a), Some(b)) => a.overlaps(b),
                (source, ..) => matches!(source, Some(Source::Consumer { .. })),
            }
    }
}

/// No two routes take the messages of each other, and nothing that a route publishes comes back.
pub(super) fn compare(at: &Section<'_>, outlines: &[Outline]) {
    let mut earlier = BySource::default();
    let receivers = BySubject::of(outlines);
    for route in outlines {
        earlier.like(route).for_each(|earlier| share(at, earlier, route));
        earlier.add(route);
        for (key, subject) in &route.publishes {
            let receivers = receivers.receiving(subject.as_str());
            receivers
                .iter()
                .for_each(|receiver| loops(at, &format!("{}.{key}", route.path), subject, receiver));
        }
    }
}

/// Routes by what they take their messages from. Of ten thousand routes, few can have something to do with each other.
#[derive(Default)]
pub(super) struct BySource<'o>(HashMap<&'o Source, BySubject<'o>>);

impl<'o> BySource<'o> {
    pub(super) fn add(&mut self, route: &'o Outline) {
        if let Some(source) = &route.source {
            self.0.entry(source).or_default().add(route);
        }
    }

    /// Those that may split the messages of `route`.
    pub(super) fn like(&self, route: &'o Outline) -> impl Iterator<Item = &'o Outline> {
        let same = route.source.as_ref().and_then(|source| self.0.get(source));
        same.into_iter().flat_map(|routes| match (&route.source, &route.subject) {
            (Some(Source::QueueGroup(_)), Some(subject)) if !subject.has_wildcard() => {
                routes.receiving(subject.as_str())
            }
            _ => routes.all.clone(),
        })
    }
}

#[derive(Default)]
pub(super) struct BySubject<'o> {
    all: Vec<&'o Outline>,
    literal: HashMap<&'o str, Vec<&'o Outline>>,
    with_wildcard: Vec<&'o Outline>,
}

impl<'o> BySubject<'o> {
    fn of(outlines: &'o [Outline]) -> Self {
        let mut routes = Self::default();
        outlines.iter().for_each(|route| routes.add(route));
        routes
    }

    pub(super) fn add(&mut self, route: &'o Outline) {
        self.all.push(route);
        match &route.subject {
            Some(subject) if !subject.has_wildcard() => {
                self.literal.entry(subject.as_str()).or_default().push(route);
            }
            Some(_) => self.with_wildcard.push(route),
            None => {}
        }
    }

    /// Those that may receive what is published to `subject`.
    pub(super) fn receiving(&self, subject: &str) -> Vec<&'o Outline> {
        let literal = self.literal.get(subject).into_iter().flatten();
        literal.chain(&self.with_wildcard).copied().collect()
    }
}

/// Says so where two routes with one source would split the messages between two webhooks.
fn share(at: &Section<'_>, earlier: &Outline, route: &Outline) {
    if let Some((key, problem)) = shared(earlier, route) {
        at.report_at(key, problem);
    }
}

/// Why `route` can't stand beside `earlier`, where both would get the messages of each other: the key, and in words.
pub(super) fn shared(earlier: &Outline, route: &Outline) -> Option<(String, String)> {
    if !earlier.splits_messages_with(route) {
        return None;
    }
    match (&route.source, &earlier.subject, &route.subject) {
        (Some(Source::Consumer { .. }), ..) => {
            let problem = format!(
                "expected another consumer than {}: with the same consumer, each message would reach only one of the two",
                earlier.path
            );
            Some((format!("{}.jetstream.consumer", route.path), problem))
        }
        (Some(Source::QueueGroup(group)), Some(a), Some(b)) => {
            let problem = format!(
                "expected another subject or another queue_group than {}: with \"{a}\" and \"{b}\" in the same group \
                 \"{group}\", each message would reach only one of the two",
                earlier.path
            );
            Some((format!("{}.subject", route.path), problem))
        }
        _ => None,
    }
}

/// A dead letter that a route receives would be delivered, fail and die again; an answer would be answered.
fn loops(at: &Section<'_>, key: &str, published: &PublishSubject, receiver: &Outline) {
    if let Some(problem) = looped(published, receiver) {
        at.report_at(key.to_owned(), problem);
    }
}

/// Why nothing can be published to `published` beside `receiver`, where that would get it.
pub(super) fn looped(published: &PublishSubject, receiver: &Outline) -> Option<String> {
    let subject = receiver.subject.as_ref().filter(|subject| subject.matches(published))?;
    Some(format!(
        "expected a subject that no route receives: \"{published}\" would come back by {}.subject = \"{subject}\"",
        receiver.path
    ))
}

/// Each number is divided among the threads, and has to be enough for all of them.
pub(super) fn threads(at: &Section<'_>, threads: NonZeroUsize, outlines: &[Outline]) {
    for Outline { path, divided, .. } in outlines {
        for (key, number) in divided.iter().filter(|(_, number)| *number < threads) {
            let problem = format!(
                "expected no more threads than {path}.{key}, which they divide between them: {threads} are more than \
                 {number}"
            );
            at.report_at("runtime.threads".to_owned(), problem);
        }
    }
}
