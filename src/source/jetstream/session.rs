//! One subscription to the messages of a consumer, and the pull requests over it.
//!
//! The requests are made here and not by async-nats' own `pull::Stream`: that one holds up to one and a half batches,
//! can't be told to ask for nothing while a webhook is left alone, and does not ask again after a missed heartbeat.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_nats::{Client, Message as Raw, StatusCode, Subscriber};
use futures_core::Stream as _;
use tokio::{sync::watch, time::timeout};
use tracing::debug;

use super::{
    credit::{Credit, EXPIRES},
    feed::{Common, Feed},
    heartbeats::Heartbeats,
    prefetch::Prefetch,
    trouble::Trouble,
};
use crate::{
    base::{clock::Time, timer::Timer},
    deliver::Deliver,
    message::{
        Headers, Id, Message,
        acknowledgement::{AckHandle, Origin},
        header_names::nats as names,
    },
    nats::{end_subscription, next},
};

/// After so long without anything from the server something is wrong: two of its heartbeats and a second.
pub(super) const SILENCE: Duration = Duration::from_secs(11);
/// How often the server says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often to look whether the client is still connected: the event that tells of it may get lost.
const LOOK: Duration = Duration::from_secs(5);
/// How many bytes a message may have beside the payload, for the subject, the headers and the reply.
const ENVELOPE: usize = 8 * 1024;
/// How many bytes of the bounds a message takes at least, about.
const SMALLEST: usize = 512;
/// How long the server may take to confirm that the subscription has ended.
const LEAVING: Duration = Duration::from_secs(1);
/// For how long what was asked for is taken before the subscription ends.
const TAKING: Duration = Duration::from_secs(2);
/// When nothing has come for so long, nothing is on its way either, as far as can be told.
const QUIET: Duration = Duration::from_millis(100);
/// How many requests are with the server at the same time: while one is served, the next one is there already.
const MOST_REQUESTS: usize = 2;

pub(super) struct PullSession<'a, D> {
    feed: &'a Feed<D>,
    common: &'a Common,
    heartbeats: &'a Heartbeats,
    client: Client,
    inbox: String,
    subscriber: Subscriber,
    credit: Credit,
    prefetch: Prefetch,
    /// Whether more messages would have been asked for, but for the bytes.
    is_short_of_bytes: bool,
    /// When messages were last asked for.
    asked: Time,
    /// When the server was last heard of.
    heard: Time,
    connection_changed: watch::Receiver<u64>,
    connections: u64,
    timer: Timer,
    subject: Arc<str>,
}

impl<'a, D: Deliver + 'static> PullSession<'a, D> {
    /// Subscribes for `feed`, and asks for the first messages.
    pub(super) async fn open(
        feed: &'a Feed<D>,
        common: &'a Common,
        heartbeats: &'a Heartbeats,
    ) -> Result<Self, Trouble> {
        let client = common.connection.client().clone();
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(inbox.clone()).await.map_err(Trouble::of_client)?;
        let now = common.clock.now();
        let mut session = Self {
            feed,
            common,
            heartbeats,
            client,
            inbox,
            subscriber,
            credit: Credit::default(),
            prefetch: Prefetch::new(feed.pipeline.concurrency()),
            is_short_of_bytes: false,
            asked: now,
            heard: now,
            connection_changed: common.connection.state().changes(),
            connections: common.connection.connections(),
            timer: Timer::new(common.clock),
            subject: feed.route.settings.subject.as_str().into(),
        };
        session.ask().await?;
        Ok(session)
    }

    /// Takes messages until something is wrong, which it returns.
    pub(super) async fn take_in(&mut self) -> Trouble {
        loop {
            if let Err(trouble) = self.step().await {
                return trouble;
            }
        }
    }

    /// Waits for the next event, and asks for more where it has made room.
    async fn step(&mut self) -> Result<(), Trouble> {
        let (low, look) = (self.prefetch.wanted() / 2, self.next_look());
        let is_short_of_bytes = self.is_short_of_bytes;
        let Self { subscriber, feed, connection_changed, timer, .. } = self;
        tokio::select! {
            raw = next(subscriber) => {
                let raw = raw.ok_or(Trouble::Disconnected)?;
                self.take_all(raw)?;
            }
            // Its queue is low, and what is under way takes the bytes: nothing comes of asking before some of it ends.
            () = feed.pipeline.freed_bytes(), if is_short_of_bytes => {}
            () = feed.pipeline.ran_low(low), if !is_short_of_bytes => {
                self.prefetch.ran_low(self.common.clock.now().since(self.asked));
            }
            _ = connection_changed.changed() => self.check()?,
            () = poll_fn(|cx| timer.poll_passed(cx, look)) => self.check()?,
        }
        self.ask().await
    }

    /// When to look next whether anything is wrong, or whether the webhook may be called again.
    fn next_look(&self) -> Time {
        let now = self.common.clock.now();
        let look = now + LOOK;
        let resumed = self.feed.pipeline.paused_until(now).unwrap_or(look);
        look.min(resumed)
    }

    /// Takes what was asked for already, for as long as it keeps coming. Between a consumer and the subscription it delivers
    /// to there are queues of the server, and in a cluster another server. Not they but the subscription hears at once of
    /// its end, and what they still have is dropped: the stream would deliver that again only after `ack_wait`.
    pub(super) async fn take_asked(&mut self) {
        let asked = async {
            while self.credit.messages() > 0
                && let Ok(Some(raw)) = timeout(QUIET, next(&mut self.subscriber)).await
                && self.take_all(raw).is_ok()
            {}
        };
        if timeout(TAKING, asked).await.is_err() {
            debug!("there is no end to the messages that were asked for");
        }
    }

    /// Ends the subscription. What the server has sent before it heard of that has arrived then.
    pub(super) async fn end(&mut self) {
        end_subscription(&mut self.subscriber).await;
        if self.common.connection.is_connected() && self.common.barrier.pass(LEAVING).await.is_err() {
            debug!("the NATS server does not confirm the end of a subscription");
        }
    }

    /// Takes what has arrived, when no more is to come: there was room for it when it was asked for, and its stream would
    /// wait for it in vain.
    pub(super) fn take_rest(&mut self) {
        let now = self.common.clock.now();
        while let Some(raw) = self.arrived() {
            if raw.status.is_none_or(|status| status == StatusCode::OK) {
                self.accept(raw, now);
            }
        }
        self.feed.pipeline.wake_workers();
    }

    /// The next message that is here already.
    fn arrived(&mut self) -> Option<Raw> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.subscriber).poll_next(&mut context) {
            Poll::Ready(raw) => raw,
            Poll::Pending => None,
        }
    }

    /// Takes `raw` and whatever else is there already, and wakes the workers once for all of it.
    fn take_all(&mut self, raw: Raw) -> Result<(), Trouble> {
        // So many in one go, so that a burst does not keep the other tasks of the lane waiting.
        const TURN: usize = 256;
        let now = self.common.clock.now();
        self.heard = now;
        let mut result = self.take(raw, now);
        for _ in 1..TURN {
            if result.is_err() {
                break;
            }
            let Some(raw) = self.arrived() else { break };
            result = self.take(raw, now);
        }
        self.feed.pipeline.wake_workers();
        result
    }

    fn take(&mut self, raw: Raw, now: Time) -> Result<(), Trouble> {
        match raw.status {
            None | Some(StatusCode::OK) => {
                self.credit.came(raw.length);
                self.accept(raw, now);
                Ok(())
            }
            Some(StatusCode::IDLE_HEARTBEAT) => Ok(()),
            Some(StatusCode::NO_RESPONDERS) => Err(Trouble::NoResponders),
            Some(_) => self.request_ended(&raw),
        }
    }

    /// The server says of a request that is over how many messages it leaves undone. Where it does not (the leader has
    /// changed, the consumer was deleted), nothing is known of any request, and pulling begins anew.
    fn request_ended(&mut self, raw: &Raw) -> Result<(), Trouble> {
        let left = raw.headers.as_ref().and_then(|headers| headers.get(names::PENDING_MESSAGES));
        if let Some(left) = left.and_then(|left| left.as_str().parse().ok()) {
            self.credit.settle(left);
            return Ok(());
        }
        Err(Trouble::Ended(raw.description.clone().unwrap_or_else(|| "no reason given".to_owned())))
    }

    fn accept(&self, raw: Raw, now: Time) {
        let Some(reply) = raw.reply.clone() else { return };
        let Some(origin) = Origin::parse(&reply) else {
            debug!(reply = reply.as_str(), "a message without an origin");
            return;
        };
        let mut message: Message = accepted(raw, &self.subject, now);
        if matches!(message.id, Id::Made(_)) {
            // The same for every delivery and every replica. Without dots, which separate the signed parts of a request
            // in Standard Webhooks.
            message.id = Id::given(format!("{}:{}", origin.stream, origin.sequence));
        }
        // What became of earlier deliveries is not known here. Each counts as an attempt, so that `retry.attempts` also
        // ends a message that no replica ever came to an end with.
        message.attempts = u32::try_from(origin.delivered.saturating_sub(1)).unwrap_or(u32::MAX);
        let ack = AckHandle::new(&reply);
        self.heartbeats.keep(&ack, now);
        message.ack = Some(ack);
        self.feed.pipeline.offer(message);
    }

    /// Looks for what no message tells of: a connection that is lost or another one, a server that is silent, requests
    /// that have expired.
    fn check(&mut self) -> Result<(), Trouble> {
        let now = self.common.clock.now();
        self.credit.forget(now);
        if !self.common.connection.is_connected() {
            return Err(Trouble::Disconnected);
        }
        if self.common.connection.connections() != self.connections {
            // The requests ended with the old connection.
            return Err(Trouble::Reconnected);
        }
        // The server sends heartbeats only while it has a request.
        if self.credit.messages() > 0 && now.since(self.heard) > SILENCE {
            return Err(Trouble::Silence);
        }
        Ok(())
    }

    /// How many more messages there should be, and how many bytes of them there is room for.
    fn capacity(&self) -> (usize, usize) {
        let capacity = self.feed.pipeline.capacity();
        let (wanted, asked) = (self.prefetch.wanted(), self.credit.messages());
        // Retries that wait here are work too. With many of them there is no point in more.
        let held = capacity.queued + asked + capacity.retrying / 4;
        // Half of what is wanted at a time: two requests are on their way, and none is for a handful.
        let messages = if held <= wanted / 2 { wanted - held } else { 0 };
        // A lane whose part is smaller than one message may take a single one of what the others leave.
        let bytes = capacity.bytes.max(capacity.bytes_at_most.min(self.largest_message()));
        let messages = messages.min(capacity.messages.saturating_sub(asked));
        (messages, bytes.saturating_sub(self.credit.bytes()))
    }

    fn largest_message(&self) -> usize {
        self.client.max_payload() + ENVELOPE
    }

    /// Asks for what there is room for.
    async fn ask(&mut self) -> Result<(), Trouble> {
        let now = self.common.clock.now();
        self.is_short_of_bytes = false;
        if self.feed.pipeline.paused_until(now).is_some() || self.credit.requests() >= MOST_REQUESTS {
            return Ok(());
        }
        let (messages, free) = self.capacity();
        if messages == 0 {
            return Ok(());
        }
        // Less than the largest message would be answered with nothing, again and again.
        let least = self.largest_message();
        self.is_short_of_bytes = free < least;
        if self.is_short_of_bytes {
            return Ok(());
        }
        // What the server does not count: what keeping even the smallest message takes.
        let messages = messages.min(free / SMALLEST);
        // Some are left for the next request.
        let bytes = least.max(free / 2);
        // Before this request the server had no reason to say anything.
        if self.credit.messages() == 0 {
            self.heard = now;
        }
        self.credit.ask(messages, bytes, now);
        self.asked = now;
        self.feed.stats.lag.last_pull.set(unix_seconds());
        let request = serde_json::json!({
            "batch": messages,
            "max_bytes": bytes,
            "expires": nanos(EXPIRES),
            "idle_heartbeat": nanos(HEARTBEAT),
        });
        let jetstream = &self.feed.jetstream;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", jetstream.stream, jetstream.consumer);
        let sent = self.client.publish_with_reply(subject, self.inbox.clone(), request.to_string().into());
        // A client that is not connected may have its queue full, and would take this only after the outage.
        timeout(SILENCE, sent).await.map_err(|_| Trouble::Disconnected)?.map_err(Trouble::of_client)
    }
}

fn accepted(message: Raw, subscribed: &Arc<str>, now: Time) -> Message {
    let subject = if *message.subject == **subscribed {
        Arc::clone(subscribed)
    } else {
        message.subject.as_str().into()
    };
    let headers = message.headers.map_or_else(Headers::default, |headers| {
        Headers::new(headers.iter().flat_map(|(name, values)| {
            values.iter().map(move |value| (AsRef::<str>::as_ref(name), value.as_str()))
        }))
    });
    let id = headers.get_bytes(names::MESSAGE_ID).map_or_else(Id::fresh, Id::given);
    Message::new(id, subject, headers, message.payload, now)
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn unix_seconds() -> usize {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    usize::try_from(since.as_secs()).unwrap_or(usize::MAX)
}
