//! `[routes.NAME]`: one way from one source to one webhook. Each section of it has its own file: the type, its defaults
//! and how it is read.

mod auth;
mod breaker;
mod checks;
mod dead_letter;
mod headers;
mod jetstream;
mod notices;
mod queue;
mod rate_limit;
mod reserved;
mod retry;
mod statuses;
mod stray;
mod webhook;
mod webhook_url;

use std::num::NonZeroUsize;

pub use self::{
    auth::{Aws, Basic, ClientAuth, Oauth2, WebhookAuth},
    breaker::Breaker,
    dead_letter::DeadLetter,
    jetstream::{DeliverPolicy, Jetstream},
    queue::{Bounds, Overflow, Queue},
    rate_limit::RateLimit,
    retry::Retry,
    statuses::{Statuses, StatusesError},
    webhook::{Webhook, WebhookTls},
    webhook_url::{WebhookUrl, WebhookUrlError},
};
use self::{
    checks::{Outline, Source},
    stray::Stray,
};
use super::{
    PublishSubject, QueueGroup, RouteName, Subject, parse,
    reader::{Reported, Section},
};

/// `[routes.NAME]`: one way from one source to one webhook, independent of every other.
///
/// Two are equal when every setting of them is, secrets and the contents of files included.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The name: the label in metrics and logs, and the path in environment variables.
    pub name: RouteName,
    /// `subject`: what is subscribed to; `*` and `>` are wildcards. Default `todos.events`.
    pub subject: Subject,
    /// `queue_group`: the replicas of one group share the messages between them. Default `broadcaster-workers`.
    pub queue_group: QueueGroup,
    /// `[routes.NAME.jetstream]`: the stream that messages come from. Default: none, they come as they are published.
    pub jetstream: Option<Jetstream>,
    /// `[routes.NAME.webhook]`: the address that messages are posted to, and how.
    pub webhook: Webhook,
    /// `[routes.NAME.queue]`: how much may wait for its first attempt.
    pub queue: Queue,
    /// `[routes.NAME.retry]`: what happens after an attempt that failed.
    pub retry: Retry,
    /// `[routes.NAME.rate_limit]`: how many attempts a second at most. Default: no limit.
    pub rate_limit: Option<RateLimit>,
    /// `[routes.NAME.breaker]`: when the webhook is left alone for a while; none with `enabled = false`.
    pub breaker: Option<Breaker>,
    /// `[routes.NAME.dead_letter]`: where messages go that will not be delivered. Default: nowhere, they are dropped
    /// (counted and logged).
    pub dead_letter: Option<DeadLetter>,
}

/// All routes, sorted by name. `threads` is how many divide the numbers of a route between them, where that is fixed, and
/// `inboxes` what the subjects for answers begin with.
pub(super) fn read_all(
    at: &Section<'_>,
    threads: Option<NonZeroUsize>,
    inboxes: &PublishSubject,
) -> Result<Vec<Route>, Reported> {
    if at.entries().is_empty() {
        return Err(at.report_general(
            "no route is configured: set WEBHOOK_URL, or add [routes.NAME] with webhook.url to the file",
        ));
    }
    let mut outlines = Vec::new();
    let mut routes = Vec::new();
    let stray = Stray::among(at);
    for (key, entry) in at.entries() {
        if stray.as_ref().is_some_and(|stray| stray.is(key) && !stray.has_url()) {
            continue;
        }
        let name = key
            .parse::<RouteName>()
            .map_err(|error| at.report(key, format!("{error} as the name of a route")));
        routes.push(at.below(key, entry, |at| read(at, name, &mut outlines)));
    }
    if let Some(stray) = stray {
        stray.tell(at, &mut outlines);
    }
    checks::compare(at, &outlines);
    reserved::check(at, &outlines, inboxes);
    if let Some(threads) = threads {
        checks::threads(at, threads, &outlines);
    }
    routes.into_iter().collect()
}

/// One route. Its outline is noted even when something is wrong with it, so that it is compared with the others.
fn read(
    at: &Section<'_>,
    name: Result<RouteName, Reported>,
    outlines: &mut Vec<Outline>,
) -> Result<Route, Reported> {
    // A route whose name is wrong is reported for that; what would be named after it needs some name to go on with.
    let named = name.as_ref().map_or("route", RouteName::as_str);
    let jetstream = at.optional_section("jetstream", |at| jetstream::read(at, named));
    let dead_letter = at.optional_section("dead_letter", |at| dead_letter::read(at, named));
    let subject = at.optional("subject", parse::name).map(|subject| subject.unwrap_or_else(default_subject));
    let queue_group =
        at.optional("queue_group", parse::name).map(|group| group.unwrap_or_else(default_group));
    let webhook = at.section("webhook", webhook::read);
    let queue = at.section("queue", queue::read);
    let retry = at.section("retry", retry::read);
    let rate_limit = at.optional_section("rate_limit", rate_limit::read);
    let breaker = at.section("breaker", breaker::read);
    let divided = [
        webhook.as_ref().ok().map(|webhook| ("webhook.concurrency", webhook.concurrency)),
        queue.as_ref().ok().map(|queue| ("queue.messages", queue.bounds.messages)),
        retry.as_ref().ok().map(|retry| ("retry.messages", retry.bounds.messages)),
    ];
    outlines.push(Outline {
        path: at.here().to_owned(),
        subject: subject.as_ref().ok().cloned(),
        source: Source::of(&jetstream, &queue_group),
        dead_letter: dead_letter.as_ref().ok().and_then(Option::as_ref).map(|letter| letter.subject.clone()),
        divided: divided.into_iter().flatten().collect(),
    });
    Ok(Route {
        name: name?,
        subject: subject?,
        queue_group: queue_group?,
        jetstream: jetstream?,
        webhook: webhook?,
        queue: queue?,
        retry: retry?,
        rate_limit: rate_limit?,
        breaker: breaker?,
        dead_letter: dead_letter?,
    })
}

fn default_subject() -> Subject {
    "todos.events".parse().expect("the default subject is valid")
}

fn default_group() -> QueueGroup {
    "broadcaster-workers".parse().expect("the default queue group is valid")
}
