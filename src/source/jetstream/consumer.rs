//! The durable consumer of a route: found, made where that is asked for, and compared with what is relied on.

use std::time::Duration;

use async_nats::jetstream::{
    Context,
    consumer::{self, AckPolicy, pull},
    context::{ConsumerInfoError, ConsumerInfoErrorKind},
    stream::ConsumerCreateStrictErrorKind,
};
use thiserror::Error;

use crate::config::{DeliverPolicy, Jetstream, Subject};

/// What is relied on of a consumer, and how far behind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// How long it waits for an ack or a heartbeat before it delivers a message again.
    pub(super) ack_wait: Duration,
    /// How many messages of it may be in hand, over all replicas; none where there is no limit.
    pub(super) max_ack_pending: Option<u64>,
    /// How many messages it has not delivered yet.
    pub(super) pending: u64,
    /// How many it has delivered, and heard of no end of.
    pub(super) ack_pending: u64,
}

/// Why the consumer can't be used, worded for operators.
#[derive(Debug, Error)]
pub(super) enum ConsumerError {
    #[error("there is no consumer {consumer} of stream {stream}: make it, or set jetstream.create")]
    Missing { stream: String, consumer: String },
    #[error("there is no stream {stream}")]
    NoStream { stream: String },
    #[error("consumer {consumer} of stream {stream} is a push consumer: expected a pull consumer")]
    Push { stream: String, consumer: String },
    /// Messages come to an end in any order, so that an ack must stand for one message and no other.
    #[error("consumer {consumer} of stream {stream} has another ack policy than explicit")]
    AckPolicy { stream: String, consumer: String },
    #[error("JetStream does not answer: {0}")]
    Unavailable(#[from] ConsumerInfoError),
    #[error("cannot look up the consumer: {0}")]
    LookUp(String),
    #[error("cannot make the consumer: {0}")]
    Create(String),
}

/// Looks up the consumer of a route, and makes it where that is asked for. The second part of the result says what is
/// not as expected, though it can be lived with.
pub(super) async fn open(
    context: &Context,
    jetstream: &Jetstream,
    subject: &Subject,
) -> Result<(Facts, Vec<String>), ConsumerError> {
    match info(context, jetstream).await {
        Err(ConsumerError::Missing { .. }) if jetstream.create => {
            create(context, jetstream, subject).await?;
            info(context, jetstream).await
        }
        found => found,
    }
    .map(|info| (facts(&info), differences(&info.config, subject)))
}

/// What the consumer says of itself now.
pub(super) async fn facts_now(context: &Context, jetstream: &Jetstream) -> Result<Facts, ConsumerError> {
    Ok(facts(&info(context, jetstream).await?))
}

async fn info(context: &Context, jetstream: &Jetstream) -> Result<consumer::Info, ConsumerError> {
    let (stream, consumer) = (jetstream.stream.to_string(), jetstream.consumer.to_string());
    let handle = match context.get_stream_no_info(&stream).await {
        Ok(handle) => handle,
        Err(error) => return Err(ConsumerError::LookUp(error.to_string())),
    };
    let info = handle.consumer_info(&consumer).await.map_err(|error| match error.kind() {
        ConsumerInfoErrorKind::NotFound => {
            ConsumerError::Missing { stream: stream.clone(), consumer: consumer.clone() }
        }
        ConsumerInfoErrorKind::StreamNotFound => ConsumerError::NoStream { stream: stream.clone() },
        _ => ConsumerError::Unavailable(error),
    })?;
    if info.config.deliver_subject.is_some() {
        return Err(ConsumerError::Push { stream, consumer });
    }
    if info.config.ack_policy != AckPolicy::Explicit {
        return Err(ConsumerError::AckPolicy { stream, consumer });
    }
    Ok(info)
}

async fn create(context: &Context, jetstream: &Jetstream, subject: &Subject) -> Result<(), ConsumerError> {
    let deliver_policy = match jetstream.deliver_policy {
        DeliverPolicy::All => consumer::DeliverPolicy::All,
        DeliverPolicy::Last => consumer::DeliverPolicy::Last,
        DeliverPolicy::New => consumer::DeliverPolicy::New,
    };
    let config = pull::Config {
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
        ..pull::Config::default()
    };
    // Strict, since the plain request would overwrite the settings of a consumer that is there. Another replica may
    // have been quicker: then it is there, which is all that is wanted.
    match context.create_consumer_strict_on_stream(config, jetstream.stream.as_str()).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ConsumerCreateStrictErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(ConsumerError::Create(error.to_string())),
    }
}

fn facts(info: &consumer::Info) -> Facts {
    let config = &info.config;
    // What the server does with a consumer that says nothing of it.
    let ack_wait = if config.ack_wait.is_zero() { Duration::from_secs(30) } else { config.ack_wait };
    Facts {
        // The server takes the first step of a backoff in place of ack_wait.
        ack_wait: config.backoff.first().copied().unwrap_or(ack_wait),
        max_ack_pending: u64::try_from(config.max_ack_pending).ok().filter(|limit| *limit > 0),
        pending: info.num_pending,
        ack_pending: info.num_ack_pending as u64,
    }
}

fn differences(config: &consumer::Config, subject: &Subject) -> Vec<String> {
    let mut differences = Vec::new();
    if config.max_deliver > 0 {
        differences.push(format!(
            "max_deliver is {}, expected -1: after so many deliveries the server gives a message up in silence, before \
             broadcaster can make it a dead letter",
            config.max_deliver
        ));
    }
    let filters: Vec<_> = if config.filter_subject.is_empty() {
        config.filter_subjects.iter().map(String::as_str).collect()
    } else {
        vec![config.filter_subject.as_str()]
    };
    if !filters.is_empty() && filters != [subject.as_str()] {
        differences
            .push(format!("it filters by {}, not by the route's subject {subject}", filters.join(", ")));
    }
    if !config.backoff.is_empty() {
        differences.push("it has a backoff, which takes the place of ack_wait".to_owned());
    }
    if config.ack_wait < Duration::from_secs(1) && !config.ack_wait.is_zero() {
        differences.push(format!("ack_wait is {:?}: heartbeats may come too late for it", config.ack_wait));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> consumer::Config {
        consumer::Config { max_deliver: -1, ack_wait: Duration::from_secs(30), ..consumer::Config::default() }
    }

    #[test]
    fn what_differs_is_named() {
        let subject = "todos.events".parse().unwrap();
        assert_eq!(differences(&config(), &subject), Vec::<String>::new());
        let odd = consumer::Config {
            max_deliver: 5,
            filter_subject: "other".to_owned(),
            backoff: vec![Duration::from_secs(1)],
            ..config()
        };
        let named = differences(&odd, &subject);
        assert_eq!(named.len(), 3, "{named:#?}");
        assert!(named[0].starts_with("max_deliver is 5, expected -1"));
    }
}
