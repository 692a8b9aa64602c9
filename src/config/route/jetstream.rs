//! `[routes.NAME.jetstream]`: the stream that a route takes its messages from.

use std::{num::NonZeroU32, time::Duration};

use crate::config::{
    PublishSubject, StreamName,
    parse::{self, Choice},
    reader::{Reported, Section},
};

/// `[routes.NAME.jetstream]`: the route takes its messages from a stream, by a durable pull consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jetstream {
    /// `stream`: the stream. Required in this section.
    pub stream: StreamName,
    /// `consumer`: the durable consumer, which all replicas share. Default `broadcaster-NAME`.
    pub consumer: StreamName,
    /// `create`: whether the consumer is made where it is missing. One that is there is never changed. Default false:
    /// the operator makes it.
    pub create: bool,
    /// `ack_wait`: how long a created consumer waits for an ack or a heartbeat before it delivers a message again.
    /// Default `30s`.
    pub ack_wait: Duration,
    /// `max_ack_pending`: how many messages of a created consumer may be in hand, over all replicas, 1 to 1,000,000.
    /// Default 10,000.
    pub max_ack_pending: NonZeroU32,
    /// `deliver_policy`: where a created consumer begins. Default `all`.
    pub deliver_policy: DeliverPolicy,
    /// `domain`: the JetStream domain that the stream is in, where that is another one than that of the servers.
    pub domain: Option<StreamName>,
    /// `api_prefix`: what the subjects of JetStream's API begin with, where the account imports it under another name
    /// than `$JS.API`. Not with `domain`.
    pub api_prefix: Option<PublishSubject>,
}

impl Jetstream {
    /// What the subjects of JetStream's API begin with.
    pub fn api(&self) -> String {
        match (&self.api_prefix, &self.domain) {
            (Some(prefix), _) => prefix.to_string(),
            (None, Some(domain)) => format!("$JS.{domain}.API"),
            (None, None) => "$JS.API".to_owned(),
        }
    }
}

/// Where a consumer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliverPolicy {
    /// With the oldest message of the stream.
    All,
    /// With the newest message of the stream.
    Last,
    /// With the first message that comes after the consumer was made.
    New,
}

/// The server's own default of 1,000 is less than a single lane may hold, which is 2,048.
const MAX_ACK_PENDING: NonZeroU32 = NonZeroU32::new(10_000).expect("it is not 0");

/// Reads the section of the route that is called `route`.
pub(super) fn read(at: &Section<'_>, route: &str) -> Result<Jetstream, Reported> {
    let stream = at.required("stream", parse::name);
    let default = || format!("broadcaster-{route}").parse().expect("a route's name is good for a consumer's");
    let consumer = at.optional("consumer", parse::name).map(|consumer| consumer.unwrap_or_else(default));
    let create = at.or("create", false, parse::switch);
    let ack_wait = at.or("ack_wait", Duration::from_secs(30), parse::duration);
    let max_ack_pending = at.or("max_ack_pending", MAX_ACK_PENDING, parse::count(1_000_000));
    let deliver_policy = at.or("deliver_policy", DeliverPolicy::All, parse::choice);
    let domain = at.optional("domain", parse::name);
    let api_prefix = at.optional("api_prefix", parse::name);
    let both = matches!((&domain, &api_prefix), (Ok(Some(_)), Ok(Some(_))));
    if both {
        return Err(at.report("api_prefix", "set it or domain, not both"));
    }
    Ok(Jetstream {
        stream: stream?,
        consumer: consumer?,
        create: create?,
        ack_wait: ack_wait?,
        max_ack_pending: max_ack_pending?,
        deliver_policy: deliver_policy?,
        domain: domain?,
        api_prefix: api_prefix?,
    })
}

impl Choice for DeliverPolicy {
    const ALL: &'static [(&'static str, Self)] =
        &[("all", Self::All), ("last", Self::Last), ("new", Self::New)];
}
