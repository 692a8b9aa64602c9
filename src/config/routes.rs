//! Reading `[routes.NAME]`.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    Bounds, Breaker, DeadLetter, Jetstream, Jitter, Overflow, Queue, QueueGroup, RateLimit, Retry, Route,
    RouteName, Subject, Webhook, WebhookTls, WebhookUrl, WebhookUrlError, breaker, files, jetstream, parse,
    reader::Section,
    tree::{Entry, Value},
};

/// Headers that broadcaster or HTTP itself sets on every request.
const RESERVED: [&str; 13] = [
    "broadcaster-attempt",
    "broadcaster-subject",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
];

/// A route whose parts are read, each as far as it was right: enough to compare the routes, whatever else is wrong.
pub(super) struct Draft {
    /// The path of the route's table.
    pub(super) path: String,
    pub(super) name: Option<RouteName>,
    pub(super) subject: Option<Subject>,
    pub(super) queue_group: Option<QueueGroup>,
    pub(super) jetstream: Option<Option<Jetstream>>,
    pub(super) webhook: Option<Webhook>,
    pub(super) queue: Option<Queue>,
    pub(super) retry: Option<Retry>,
    pub(super) rate_limit: Option<Option<RateLimit>>,
    pub(super) breaker: Option<Option<Breaker>>,
    pub(super) dead_letter: Option<Option<DeadLetter>>,
}

impl Draft {
    /// The stream it takes its messages from, if it does.
    pub(super) fn stream(&self) -> Option<&Jetstream> {
        self.jetstream.as_ref()?.as_ref()
    }

    /// The route, unless something is wrong with it.
    pub(super) fn finish(self) -> Option<Route> {
        Some(Route {
            name: self.name?,
            subject: self.subject?,
            queue_group: self.queue_group?,
            jetstream: self.jetstream?,
            webhook: self.webhook?,
            queue: self.queue?,
            retry: self.retry?,
            rate_limit: self.rate_limit?,
            breaker: self.breaker?,
            dead_letter: self.dead_letter?,
        })
    }
}

/// All routes, sorted by name.
pub(super) fn read(at: &Section<'_>) -> Option<Vec<Draft>> {
    if at.entries().is_empty() {
        at.report_general(
            "no route is configured: set WEBHOOK_URL, or add [routes.NAME] with webhook.url to the file",
        );
    }
    Some(at.entries().iter().filter_map(|(key, entry)| route(at, key, entry)).collect())
}

fn route<'r>(routes: &Section<'r>, key: &str, entry: &'r Entry) -> Option<Draft> {
    let name = key
        .parse::<RouteName>()
        .map_err(|error| routes.report(key, format!("{error} as the name of a route")))
        .ok();
    routes.below(key, entry, |at| {
        let jetstream = at.optional_section("jetstream", |at| jetstream::read(at, name.as_ref()));
        let dead_letter = at.optional_section("dead_letter", |at| dead_letter(at, name.as_ref()));
        Some(Draft {
            path: routes.path(key),
            name,
            subject: at
                .optional("subject", parse::name)
                .map(|subject| subject.unwrap_or_else(default_subject)),
            queue_group: at
                .optional("queue_group", parse::name)
                .map(|group| group.unwrap_or_else(default_group)),
            jetstream,
            webhook: at.section("webhook", webhook),
            queue: at.section("queue", queue),
            retry: at.section("retry", retry),
            rate_limit: at.optional_section("rate_limit", rate_limit),
            breaker: at.section("breaker", breaker::read),
            dead_letter,
        })
    })
}

fn default_subject() -> Subject {
    "todos.events".parse().expect("the default subject is valid")
}

fn default_group() -> QueueGroup {
    "broadcaster-workers".parse().expect("the default queue group is valid")
}

fn webhook(at: &Section<'_>) -> Option<Webhook> {
    let url = files::secret(at, "url", "url_file", |text| {
        text.parse::<WebhookUrl>().map_err(|error: WebhookUrlError| error.to_string())
    });
    if matches!(url, Some(None)) {
        at.report_missing("url");
    }
    let headers = at.section("headers", headers);
    let timeout = at.or("timeout", Duration::from_secs(30), parse::duration);
    let limit = timeout.unwrap_or(Duration::MAX);
    let connect_timeout = at.or("connect_timeout", Duration::from_secs(5).min(limit), parse::duration);
    if connect_timeout.is_some_and(|connect| connect > limit) {
        at.report("connect_timeout", "expected no more than timeout, which it is a part of");
    }
    let idle_timeout = at.or("idle_timeout", Duration::from_secs(50), parse::duration);
    let max_connection_age = at.or("max_connection_age", Duration::from_secs(5 * 60), parse::duration);
    let concurrency = at.or("concurrency", count(64), parse::count(10_000));
    let tls = at.section("tls", webhook_tls);
    Some(Webhook {
        url: url??,
        headers: headers?,
        timeout: timeout?,
        connect_timeout: connect_timeout?,
        idle_timeout: idle_timeout?,
        max_connection_age: max_connection_age?,
        concurrency: concurrency?,
        tls: tls?,
    })
}

fn headers(at: &Section<'_>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, entry) in at.entries() {
        // A name that is none may hold a whole header with its secret, so it is not shown.
        let Ok(header) = name.parse::<HeaderName>() else {
            at.report_table("expected names of headers such as \"x-token\" as the keys of this table");
            continue;
        };
        match header_value(&entry.value) {
            _ if RESERVED.contains(&header.as_str()) => {
                at.report(name, "expected another header: broadcaster sets this one itself");
            }
            _ if headers.contains_key(&header) => {
                at.report(
                    name,
                    "expected each header once: write it in lower case, case makes no difference",
                );
            }
            Ok(value) => drop(headers.insert(header, value)),
            Err(problem) => at.report(name, problem),
        }
    }
    Some(headers)
}

fn header_value(value: &Value) -> Result<HeaderValue, String> {
    let wrong = |_| "expected printable ASCII".to_owned();
    let mut header = HeaderValue::from_str(&parse::text(value)?).map_err(wrong)?;
    header.set_sensitive(true);
    Ok(header)
}

fn webhook_tls(at: &Section<'_>) -> Option<WebhookTls> {
    let file = at.optional("ca_file", files::certificates)?;
    Some(file.map_or_else(WebhookTls::default, |(path, ca)| WebhookTls { ca_file: Some(path), ca }))
}

fn bounds(at: &Section<'_>) -> Option<Bounds> {
    let messages = at.or("messages", count(65_536), parse::count(100_000_000));
    let bytes = at.or("bytes", count(32 << 20), parse::size);
    Some(Bounds { messages: messages?, bytes: bytes? })
}

fn queue(at: &Section<'_>) -> Option<Queue> {
    let bounds = bounds(at);
    let overflow = at.or("overflow", Overflow::DeadLetter, parse::choice);
    Some(Queue { bounds: bounds?, overflow: overflow? })
}

fn retry(at: &Section<'_>) -> Option<Retry> {
    let attempts = at.or("attempts", NonZeroU32::new(8).expect("8 is not 0"), parse::count(1_000_000));
    let max = at.or("max", Duration::from_secs(5 * 60), parse::duration);
    let limit = max.unwrap_or(Duration::MAX);
    let initial = at.or("initial", Duration::from_millis(500).min(limit), parse::duration);
    if initial.is_some_and(|initial| initial > limit) {
        at.report("initial", "expected no more than max, the longest wait");
    }
    let multiplier = at.or("multiplier", 2.0, parse::multiplier);
    let jitter = at.or("jitter", Jitter::Full, parse::choice);
    let bounds = bounds(at);
    let statuses = at.optional("statuses", parse::statuses).map(Option::unwrap_or_default);
    Some(Retry {
        attempts: attempts?,
        initial: initial?,
        max: max?,
        multiplier: multiplier?,
        jitter: jitter?,
        bounds: bounds?,
        statuses: statuses?,
    })
}

fn rate_limit(at: &Section<'_>) -> Option<RateLimit> {
    let per_second = at.required("per_second", parse::count(1_000_000));
    let burst = at.optional("burst", parse::count(1_000_000));
    let per_second = per_second?;
    Some(RateLimit { per_second, burst: burst?.unwrap_or(per_second) })
}

fn dead_letter(at: &Section<'_>, route: Option<&RouteName>) -> Option<DeadLetter> {
    // A route whose name is wrong is reported for that.
    let default = || format!("broadcaster.dead.{}", route.map_or("route", RouteName::as_str));
    let subject = at.optional("subject", parse::name).map(|subject| {
        subject.unwrap_or_else(|| default().parse().expect("a route's name is good for a subject"))
    });
    let stream = at.optional("stream", parse::name);
    let create = at.or("create", false, parse::switch);
    if create == Some(true) && stream == Some(None) {
        at.report_missing("stream");
    }
    Some(DeadLetter { subject: subject?, stream: stream?, create: create? })
}

fn count(default: usize) -> NonZeroUsize {
    NonZeroUsize::new(default).expect("a default count is not 0")
}
