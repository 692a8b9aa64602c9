//! `[routes.NAME]`: one way from one source to one webhook. Each section of it has its own file: the type, its defaults
//! and how it is read.

mod answer;
mod auth;
mod batch;
mod body;
mod breaker;
mod checks;
mod cloud_events;
mod compression;
mod concurrency;
mod dead_letter;
mod egress;
mod filter;
mod forward;
pub(super) mod headers;
mod http_version;
mod jetstream;
mod method;
mod neighbours;
mod no_proxy;
mod notices;
mod placeholders;
mod proxy_url;
mod proxy_variables;
mod queue;
mod rate_limit;
pub(super) mod reserved;
mod retry;
mod signing;
mod statuses;
mod stray;
mod template_secrets;
mod webhook;
pub(super) mod webhook_tls;
mod webhook_url;

use std::sync::Arc;

pub(super) use self::dead_letter::read as dead_letters;
pub use self::{
    answer::Answer,
    auth::{Aws, Basic, ClientAuth, Oauth2, WebhookAuth},
    batch::{Batch, BatchFormat},
    body::{Body, BodyTemplate},
    breaker::Breaker,
    cloud_events::{Attribute, CloudEventMode, CloudEvents},
    compression::{Compression, ContentCoding},
    concurrency::Concurrency,
    dead_letter::DeadLetter,
    egress::{Egress, Proxying},
    forward::Forward,
    headers::{HeaderTemplate, header_in_file},
    http_version::HttpVersion,
    jetstream::{DeliverPolicy, Jetstream},
    method::Method,
    neighbours::unfit,
    placeholders::TargetTemplate,
    proxy_url::{ProxyLogin, ProxyScheme, ProxyUrl, ProxyUrlError},
    proxy_variables::{NamedProxy, ProxyVariables},
    queue::{Bounds, Overflow, Queue},
    rate_limit::RateLimit,
    retry::Retry,
    signing::{
        Algorithm, Convention, Encoding, PUBLIC_PREFIX, Part, Pattern, SECRET_PREFIX, SYMMETRIC_PREFIX,
        Scheme, Signing, SigningKey, SigningSecret,
    },
    statuses::{Statuses, StatusesError},
    webhook::Webhook,
    webhook_tls::{Authorities, CertifiedPair, Identity, WebhookTls},
    webhook_url::{WebhookUrl, WebhookUrlError},
};
use self::{
    checks::{Outline, Source},
    stray::Stray,
};
use super::{
    PublishSubject, QueueGroup, RouteName, Subject,
    endpoints::Around,
    parse,
    reader::{Reported, Section},
};
use crate::expression::Expression;

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
    /// `filter`: which messages are delivered; the others are acknowledged and counted as filtered. Default: all.
    pub filter: Option<Expression>,
    /// `[routes.NAME.jetstream]`: the stream that messages come from. Default: none, they come as they are published.
    pub jetstream: Option<Jetstream>,
    /// `[routes.NAME.webhook]`: the address that messages are posted to, and how.
    pub webhook: Webhook,
    /// `[routes.NAME.batch]`: how many messages go together into one request. Default: each has one of its own.
    pub batch: Batch,
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
    /// `[routes.NAME.answer]`: what is made of the webhook's answers. Default: nothing.
    pub answer: Option<Answer>,
}

impl Route {
    /// The subjects that it publishes to, each with its key.
    pub(super) fn published(&self) -> Vec<(&'static str, PublishSubject)> {
        published(&Ok(self.dead_letter.clone()), &Ok(self.answer.clone()))
    }
}

/// All routes, sorted by name.
pub(super) fn read_all(
    at: &Section<'_>,
    around: &Around,
    may_be_empty: bool,
) -> Result<Vec<Route>, Reported> {
    if at.entries().is_empty() && !may_be_empty {
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
        routes.push(at.below(key, entry, |at| read(at, name, &around.proxies, &mut outlines)));
    }
    if let Some(stray) = stray {
        stray.tell(at, &mut outlines);
    }
    check(at, &outlines, around);
    routes.into_iter().collect()
}

/// The route `name`, the only one that is there.
pub(super) fn read_alone(at: &Section<'_>, name: &RouteName, around: &Around) -> Result<Route, Reported> {
    let mut outlines = Vec::new();
    let Some((key, entry)) = at.entries().first_key_value() else { return Err(at.missing(name.as_str())) };
    let route = at.below(key, entry, |at| read(at, Ok(name.clone()), &around.proxies, &mut outlines));
    check(at, &outlines, around);
    route
}

/// What has to hold between these routes, and between them and what is around.
fn check(at: &Section<'_>, outlines: &[Outline], around: &Around) {
    checks::compare(at, outlines);
    if let Some(inboxes) = &around.inboxes {
        reserved::check(at, outlines, inboxes, &around.reserved, around.is_strict);
    }
    if let Some(threads) = around.threads {
        checks::threads(at, threads, outlines);
    }
}

/// One route. Its outline is noted even when something is wrong with it, so that it is compared with the others.
fn read(
    at: &Section<'_>,
    name: Result<RouteName, Reported>,
    proxies: &Arc<ProxyVariables>,
    outlines: &mut Vec<Outline>,
) -> Result<Route, Reported> {
    // A route whose name is wrong is reported for that; what would be named after it needs some name to go on with.
    let named = name.as_ref().map_or("route", RouteName::as_str);
    let jetstream = at.optional_section("jetstream", |at| jetstream::read(at, named));
    let dead_letter = at.optional_section("dead_letter", |at| dead_letter::read(at, named));
    let answer = at.optional_section("answer", |at| answer::read(at, &jetstream));
    let subject = at.optional("subject", parse::name).map(|subject| subject.unwrap_or_else(default_subject));
    let queue_group =
        at.optional("queue_group", parse::name).map(|group| group.unwrap_or_else(default_group));
    let filter = filter::read(at);
    let webhook = at.section("webhook", |at| webhook::read(at, proxies));
    let batch = at.section("batch", batch::read);
    if let Ok(batch) = &batch {
        batch::check(
            at,
            batch,
            webhook.as_ref().ok(),
            answer.as_ref().ok().and_then(Option::as_ref),
            jetstream.as_ref().ok().and_then(Option::as_ref),
        );
    }
    let queue = at.section("queue", queue::read);
    let retry = at.section("retry", retry::read);
    let rate_limit = at.optional_section("rate_limit", rate_limit::read);
    let breaker = at.section("breaker", breaker::read);
    let divided = [
        webhook.as_ref().ok().map(|webhook| (webhook.concurrency.key_of_most(), webhook.concurrency.most())),
        queue.as_ref().ok().map(|queue| ("queue.messages", queue.bounds.messages)),
        retry.as_ref().ok().map(|retry| ("retry.messages", retry.bounds.messages)),
    ];
    outlines.push(Outline {
        path: at.here().to_owned(),
        subject: subject.as_ref().ok().cloned(),
        source: Source::of(&jetstream, &queue_group),
        publishes: published(&dead_letter, &answer),
        divided: divided.into_iter().flatten().collect(),
    });
    Ok(Route {
        name: name?,
        subject: subject?,
        queue_group: queue_group?,
        filter: filter?,
        jetstream: jetstream?,
        webhook: webhook?,
        batch: batch?,
        queue: queue?,
        retry: retry?,
        rate_limit: rate_limit?,
        breaker: breaker?,
        dead_letter: dead_letter?,
        answer: answer?,
    })
}

/// The subjects that a route publishes to, each with its key.
fn published(
    dead_letter: &Result<Option<DeadLetter>, Reported>,
    answer: &Result<Option<Answer>, Reported>,
) -> Vec<(&'static str, PublishSubject)> {
    let letters = dead_letter.as_ref().ok().and_then(Option::as_ref).map(|letter| letter.subject.clone());
    let answers = answer.as_ref().ok().and_then(Option::as_ref).and_then(|answer| answer.publish.clone());
    let letters = letters.map(|subject| ("dead_letter.subject", subject));
    letters.into_iter().chain(answers.map(|subject| ("answer.publish", subject))).collect()
}

fn default_subject() -> Subject {
    "todos.events".parse().expect("the default subject is valid")
}

fn default_group() -> QueueGroup {
    "broadcaster-workers".parse().expect("the default queue group is valid")
}
