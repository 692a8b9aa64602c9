//! What is relied on of a stream and of the consumer of a route, and what is not as it should be. No I/O: the answers of
//! JetStream come in as they are.

use std::time::Duration;

use async_nats::jetstream::{
    consumer::{self, AckPolicy, PriorityPolicy, ReplayPolicy},
    stream,
};

use crate::{
    config::{self, DeliverPolicy, Jetstream, Subject},
    message::ledger::{Life, Limits},
};

/// What is relied on of a consumer, and how far behind it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// How long it waits for an ack or a heartbeat before it delivers a message again.
    pub(super) ack_wait: Duration,
    /// How many messages of it may be in hand, over all replicas; none where there is no limit.
    pub(super) max_ack_pending: Option<u64>,
    /// How many messages it has not delivered yet.
    pub(super) pending: u64,
    /// How many it has delivered, and heard of no end of.
    pub(super) ack_pending: u64,
    /// The last sequence up to which it knows the end of all.
    pub(super) floor: u64,
    /// The last sequence that it has delivered.
    pub(super) delivered: u64,
    /// What a single request may ask for.
    pub(super) request: RequestLimits,
}

/// What a consumer lets a single request ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestLimits {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) expires: Duration,
}

/// Something about a stream or a consumer that is not as it should be, worded for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it can be lived with.
    pub severity: Severity,
    /// What it is, what comes of it, and what would be right.
    pub text: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Messages are delivered, but not quite as one would expect.
    Warning,
    /// Nothing is pulled before it is put right.
    Unusable,
}

impl Finding {
    fn warning(text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, text: text.into() }
    }

    fn unusable(text: impl Into<String>) -> Self {
        Self { severity: Severity::Unusable, text: text.into() }
    }
}

impl Facts {
    pub(super) fn of(info: &consumer::Info) -> Self {
        let config = &info.config;
        // What the server does with a consumer that says nothing of it.
        let ack_wait = if config.ack_wait.is_zero() { Duration::from_secs(30) } else { config.ack_wait };
        let limit = |limit: i64| usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        Self {
            // The server takes the first step of a backoff in place of ack_wait.
            ack_wait: config.backoff.first().copied().unwrap_or(ack_wait),
            max_ack_pending: u64::try_from(config.max_ack_pending).ok().filter(|limit| *limit > 0),
            pending: info.num_pending,
            ack_pending: info.num_ack_pending as u64,
            floor: info.ack_floor.stream_sequence,
            delivered: info.delivered.stream_sequence,
            request: RequestLimits {
                messages: limit(config.max_batch),
                bytes: limit(config.max_bytes),
                expires: if config.max_expires.is_zero() { Duration::MAX } else { config.max_expires },
            },
        }
    }
}

/// Which stream and consumer they are.
pub(super) fn life(stream: Option<&stream::Info>, consumer: &consumer::Info) -> Life {
    Life {
        stream: age(stream),
        consumer: consumer.created.unix_timestamp_nanos(),
        last_sequence: stream.map_or(u64::MAX, |stream| stream.state.last_sequence),
        continues: consumer.config.metadata.contains_key(CONTINUES),
    }
}

/// When a stream was made, in nanoseconds since 1970; 0 where that is not known.
pub(super) fn age(stream: Option<&stream::Info>) -> i128 {
    stream.map_or(0, |stream| stream.created.unix_timestamp_nanos())
}

/// What decides whether a message would come back.
pub(super) fn limits(stream: Option<&stream::Info>, consumer: &consumer::Info) -> Limits {
    Limits {
        max_age: stream.map(|stream| stream.config.max_age).filter(|age| !age.is_zero()),
        max_deliver: u64::try_from(consumer.config.max_deliver).ok().filter(|most| *most > 0),
    }
}

/// What is not as it should be in the stream of `route`, whatever its consumer.
pub fn judge_stream(stream: &stream::Info, route: &config::Route) -> Vec<Finding> {
    let subjects = subjects_kept(stream);
    let mut findings = Vec::new();
    if let Some(subjects) = &subjects
        && !subjects.iter().any(|kept| kept.overlaps(&route.subject))
    {
        findings.push(Finding::unusable(format!(
            "stream {} keeps no subject that {} matches, so that nothing would ever come: it keeps {}",
            stream.config.name,
            route.subject,
            listed(subjects)
        )));
    }
    findings
}

/// What is not as it should be in the `consumer` of `route` and its `stream`. NATS takes messages of up to
/// `max_payload` bytes.
pub fn judge(
    stream: &stream::Info,
    consumer: &consumer::Info,
    route: &config::Route,
    max_payload: usize,
) -> Vec<Finding> {
    let Some(jetstream) = &route.jetstream else { return Vec::new() };
    let config = &consumer.config;
    let mut findings = judge_stream(stream, route);
    findings.extend(kind(config, jetstream));
    findings.extend(subjects(stream, config, route));
    findings.extend(deliveries(consumer));
    findings.extend(sizes(stream, config, route, max_payload));
    if jetstream.create {
        findings.extend(differences(config, jetstream));
    }
    findings
}

/// What is not as it should be in the `consumer` of `route`, whose stream can't be looked at.
pub(super) fn judge_alone(consumer: &consumer::Info, route: &config::Route) -> Vec<Finding> {
    let Some(jetstream) = &route.jetstream else { return Vec::new() };
    let mut findings = kind(&consumer.config, jetstream);
    findings.extend(deliveries(consumer));
    findings.push(Finding::warning(format!(
        "the user lacks the permission to look at the stream ($JS.API.STREAM.INFO.{}): whether its messages come is not \
         known, nor whether one that is made anew is another one",
        jetstream.stream
    )));
    findings
}

/// What can't be lived with in any consumer.
fn kind(config: &consumer::Config, jetstream: &Jetstream) -> Vec<Finding> {
    let name = format!("consumer {} of stream {}", jetstream.consumer, jetstream.stream);
    let mut findings = Vec::new();
    let mut refuse = |text: String| findings.push(Finding::unusable(text));
    if config.deliver_subject.is_some() {
        refuse(format!("{name} is a push consumer: expected a pull consumer"));
    }
    if config.ack_policy != AckPolicy::Explicit {
        // Messages come to an end in any order, so that an ack must stand for one message and no other.
        refuse(format!("{name} has another ack policy than explicit"));
    }
    if config.headers_only {
        refuse(format!("{name} delivers headers without bodies: expected headers_only to be off"));
    }
    if config.priority_policy != PriorityPolicy::None {
        refuse(format!(
            "{name} has priority groups ({}), which broadcaster takes no part in: expected none",
            config.priority_groups.join(", ")
        ));
    }
    findings
}

/// Whether it delivers what the route is for, and nothing else.
fn subjects(stream: &stream::Info, config: &consumer::Config, route: &config::Route) -> Vec<Finding> {
    let kept = subjects_kept(stream);
    let filters: Vec<Subject> = if config.filter_subject.is_empty() {
        config.filter_subjects.iter().filter_map(|filter| filter.parse().ok()).collect()
    } else {
        config.filter_subject.parse().into_iter().collect()
    };
    let has_filter = !filters.is_empty();
    let delivered = if has_filter { filters } else { kept.clone().unwrap_or_default() };
    let mut findings = Vec::new();
    let is_kept =
        |subject: &Subject| kept.as_ref().is_none_or(|kept| kept.iter().any(|kept| kept.overlaps(subject)));
    if has_filter && !delivered.iter().any(is_kept) {
        findings.push(Finding::unusable(format!(
            "it filters by {}, of which the stream keeps nothing: nothing would ever come",
            listed(&delivered)
        )));
    }
    let foreign: Vec<_> =
        delivered.iter().filter(|subject| !route.subject.covers(subject)).cloned().collect();
    if !foreign.is_empty() {
        let how = if has_filter { "it filters by" } else { "it has no filter, and the stream keeps" };
        findings.push(Finding::warning(format!(
            "{how} {}, not only the route's subject {}: all of that is posted",
            listed(&foreign),
            route.subject
        )));
    }
    if let Some(letters) = &route.dead_letter
        && kept.is_some_and(|kept| kept.iter().any(|kept| kept.matches(&letters.subject)))
        && delivered.iter().any(|subject| subject.matches(&letters.subject))
    {
        findings.push(Finding::unusable(format!(
            "it delivers {}, where the route's dead letters go: each would come back and die again. Expected a filter \
             without it",
            letters.subject
        )));
    }
    findings
}

/// What keeps messages from being delivered, or ends them.
fn deliveries(info: &consumer::Info) -> Vec<Finding> {
    let config = &info.config;
    let mut findings = Vec::new();
    let mut warn = |text: String| findings.push(Finding::warning(text));
    if config.max_deliver > 0 {
        warn(format!(
            "max_deliver is {}, expected -1: after so many deliveries the server gives a message up in silence, before \
             broadcaster can make it a dead letter",
            config.max_deliver
        ));
    }
    if info.paused {
        let remaining = info.pause_remaining.unwrap_or_default().as_secs();
        warn(format!("it is paused: nothing comes for another {remaining} s"));
    }
    if !config.inactive_threshold.is_zero() {
        warn(format!(
            "inactive_threshold is {:?}: the server deletes it when nothing was pulled for so long, as while the \
             webhook is down. Expected none",
            config.inactive_threshold
        ));
    }
    if !config.backoff.is_empty() {
        warn("it has a backoff, which takes the place of ack_wait".to_owned());
    }
    if config.ack_wait < Duration::from_secs(1) && !config.ack_wait.is_zero() {
        warn(format!("ack_wait is {:?}: heartbeats may come too late for it", config.ack_wait));
    }
    if config.replay_policy == ReplayPolicy::Original {
        warn("replay_policy is original: messages come no faster than they were published".to_owned());
    }
    if config.memory_storage {
        warn("it keeps its state in memory: with its server it forgets what was acknowledged".to_owned());
    }
    findings
}

/// Whether the largest message fits everywhere that it has to go through.
fn sizes(
    stream: &stream::Info,
    config: &consumer::Config,
    route: &config::Route,
    max_payload: usize,
) -> Vec<Finding> {
    let own = usize::try_from(stream.config.max_message_size).ok().filter(|size| *size > 0);
    let largest = own.map_or(max_payload, |own| own.min(max_payload));
    let mut findings = Vec::new();
    let asked = usize::try_from(config.max_bytes).ok().filter(|bytes| *bytes > 0);
    if let Some(asked) = asked.filter(|asked| *asked < largest) {
        findings.push(Finding::warning(format!(
            "max_bytes is {asked}, and messages may have up to {largest} bytes: one with more would hold up all that \
             come after it"
        )));
    }
    let room = route.queue.bounds.bytes.get();
    if room < largest {
        findings.push(Finding::warning(format!(
            "queue.bytes is {room}, and messages may have up to {largest} bytes: one with more is never taken"
        )));
    }
    let concurrency = route.webhook.concurrency.most().get() as u64;
    if let Ok(limit) = u64::try_from(config.max_ack_pending)
        && limit > 0
        && limit < concurrency
    {
        findings.push(Finding::warning(format!(
            "max_ack_pending is {limit}, less than the route's concurrency of {concurrency}: what waits for another \
             attempt counts too, so that a few failures could hold up all others"
        )));
    }
    findings
}

/// What the configuration says of a consumer that it would make, and this one does not have.
fn differences(config: &consumer::Config, jetstream: &Jetstream) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut differ = |key: &str, has: String, expected: String| {
        findings.push(Finding::warning(format!(
            "{key} is {has}, and jetstream.{key} {expected}: a consumer that is there is never changed"
        )));
    };
    if config.ack_wait != jetstream.ack_wait && !config.ack_wait.is_zero() && config.backoff.is_empty() {
        differ("ack_wait", format!("{:?}", config.ack_wait), format!("{:?}", jetstream.ack_wait));
    }
    let limit = i64::from(jetstream.max_ack_pending.get());
    if config.max_ack_pending != limit {
        differ("max_ack_pending", config.max_ack_pending.to_string(), limit.to_string());
    }
    // One that was made to go on where another one ended begins elsewhere by right.
    if !config.metadata.contains_key(CONTINUES) {
        let expected = match jetstream.deliver_policy {
            DeliverPolicy::All => consumer::DeliverPolicy::All,
            DeliverPolicy::Last => consumer::DeliverPolicy::Last,
            DeliverPolicy::New => consumer::DeliverPolicy::New,
        };
        if config.deliver_policy != expected {
            differ("deliver_policy", format!("{:?}", config.deliver_policy), format!("{expected:?}"));
        }
    }
    findings
}

/// By this in its metadata a consumer says that it goes on where one of the same name ended, which was deleted.
pub(super) const CONTINUES: &str = "broadcaster.continues_after";

/// The consumer that is made for a route with this subject. Where one was deleted, it goes on after the sequence up to
/// which that one knew the end of all.
pub(super) fn made(jetstream: &Jetstream, subject: &Subject, after: Option<u64>) -> consumer::Config {
    let deliver_policy = match (after, jetstream.deliver_policy) {
        (Some(after), _) => {
            consumer::DeliverPolicy::ByStartSequence { start_sequence: after.saturating_add(1) }
        }
        (None, DeliverPolicy::All) => consumer::DeliverPolicy::All,
        (None, DeliverPolicy::Last) => consumer::DeliverPolicy::Last,
        (None, DeliverPolicy::New) => consumer::DeliverPolicy::New,
    };
    consumer::Config {
        durable_name: Some(jetstream.consumer.to_string()),
        description: Some("made by broadcaster".to_owned()),
        deliver_policy,
        ack_policy: AckPolicy::Explicit,
        ack_wait: jetstream.ack_wait,
        max_ack_pending: i64::from(jetstream.max_ack_pending.get()),
        // The server would give a message up in silence after so many deliveries. `retry.attempts` is the limit, which
        // leaves a dead letter.
        max_deliver: -1,
        filter_subject: subject.to_string(),
        metadata: after.map(|after| (CONTINUES.to_owned(), after.to_string())).into_iter().collect(),
        ..consumer::Config::default()
    }
}

/// The subjects whose messages a stream keeps; none where they can't be told, as it has them from another stream or keeps
/// them under other names.
fn subjects_kept(stream: &stream::Info) -> Option<Vec<Subject>> {
    let config = &stream.config;
    let is_elsewhere = config.mirror.is_some() || config.subject_transform.is_some();
    if is_elsewhere || config.sources.as_ref().is_some_and(|sources| !sources.is_empty()) {
        return None;
    }
    Some(config.subjects.iter().filter_map(|subject| subject.parse().ok()).collect())
}

fn listed(subjects: &[Subject]) -> String {
    subjects.iter().map(Subject::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
