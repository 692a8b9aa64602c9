//! Pulls the messages of one route in one lane: asks for as many as there is room for, and takes what comes.

use std::{future::poll_fn, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use async_nats::{Client, Message as Raw, StatusCode, Subscriber, jetstream::Context};
use futures_core::Stream as _;
use thiserror::Error;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Condition, Feed,
    appetite::Appetite,
    consumer::{self, ConsumerError, Facts},
    credit::{Credit, EXPIRES},
    keeper::Keeper,
};
use crate::{
    acks::Acks,
    clock::{Clock, Time},
    config::Jitter,
    deliver::Deliver,
    dispatch::backoff::Backoff,
    message::{Id, Message},
    nats::Link,
    receipt::{Origin, Receipt, Word},
    source,
};

/// How often the server says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// After so long without a word from it something is wrong.
const SILENCE: Duration = Duration::from_secs(11);
/// How often to look whether there is room again, and whether the connection is still the same.
const LOOK: Duration = Duration::from_millis(50);
/// How often the lag is asked for.
const LAG: Duration = Duration::from_secs(10);
/// What a message may be larger than its payload: subject, headers, reply.
const ENVELOPE: usize = 8 * 1024;

/// See the module.
pub(super) struct Puller<D> {
    pub(super) feed: Feed<D>,
    pub(super) link: Rc<Link>,
    pub(super) context: Context,
    pub(super) acks: Acks,
    pub(super) keeper: Keeper,
    pub(super) clock: Clock,
    /// No more is asked for from here on.
    pub(super) stop: CancellationToken,
    /// Nothing more is taken from here on.
    pub(super) close: CancellationToken,
    /// Whether it is this lane that asks for the lag.
    pub(super) reports_lag: bool,
}

/// Why pulling has to begin anew.
#[derive(Debug, Error)]
enum Trouble {
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    #[error("not connected to NATS")]
    Disconnected,
    #[error("the connection to NATS was made anew")]
    Reconnected,
    #[error("the server is silent: a heartbeat is missing")]
    Silence,
    #[error("the server has ended the request: {0}")]
    Ended(String),
    #[error("nobody answers for JetStream")]
    NoResponders,
    #[error("the client failed: {0}")]
    Client(String),
}

impl<D: Deliver + 'static> Puller<D> {
    /// Pulls until `close`.
    pub(super) async fn run(self) {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 2.0, Jitter::Full);
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let serving = tokio::select! {
                () = self.close.cancelled() => return,
                serving = self.serve() => serving,
            };
            let Err(trouble) = serving else { return };
            // What worked for a while begins with a short wait again.
            failures = if began.elapsed() > SILENCE { 1 } else { failures + 1 };
            self.report(&trouble);
            tokio::select! {
                () = self.close.cancelled() => return,
                () = sleep(backoff.delay(failures)) => {}
            }
        }
    }

    /// Pulls until something is wrong, or until `close`.
    async fn serve(&self) -> Result<(), Trouble> {
        while !self.link.is_connected() {
            self.feed.status.trouble(&Trouble::Disconnected);
            // The event of it may get lost.
            drop(timeout(Duration::from_millis(250), self.link.state().connection()).await);
        }
        let (facts, differences) =
            consumer::open(&self.context, &self.feed.jetstream, &self.feed.subject).await?;
        self.keeper.adapt(facts.ack_wait);
        let client = self.link.client().clone();
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(inbox.clone()).await.map_err(client_failed)?;
        let mut session = Session {
            puller: self,
            client,
            inbox,
            subscriber,
            credit: Credit::default(),
            appetite: Appetite::new(self.feed.line.concurrency()),
            asked: self.clock.now(),
            heard: self.clock.now(),
            connections: self.link.connections(),
            subject: self.feed.subject.as_str().into(),
        };
        session.ask().await?;
        self.announce(&differences);
        self.show_lag(facts);
        session.take_in().await
    }

    fn announce(&self, differences: &[String]) {
        let Feed { route, jetstream, .. } = &self.feed;
        let (route, stream, consumer) =
            (route.as_str(), jetstream.stream.as_str(), jetstream.consumer.as_str());
        match self.feed.status.went_live() {
            Condition::Live => return,
            Condition::Starting(_) => info!(route, stream, consumer, "route is live"),
            Condition::Failing(after) => info!(route, stream, consumer, after, "route is live again"),
        }
        for difference in differences {
            warn!(route, consumer, difference, "the consumer is not as it should be");
        }
    }

    fn report(&self, trouble: &Trouble) {
        let Feed { route, jetstream, .. } = &self.feed;
        if self.feed.status.trouble(trouble) {
            let stream = jetstream.stream.as_str();
            warn!(route = route.as_str(), stream, error = %trouble, "stream in trouble, trying again");
        }
    }

    /// Shows how far behind the consumer is.
    fn show_lag(&self, facts: Facts) {
        if !self.reports_lag {
            return;
        }
        let lag = &self.feed.stats.lag;
        lag.pending.set(usize::try_from(facts.pending).unwrap_or(usize::MAX));
        lag.ack_pending.set(usize::try_from(facts.ack_pending).unwrap_or(usize::MAX));
        let limit = facts.max_ack_pending.unwrap_or_default();
        lag.max_ack_pending.set(usize::try_from(limit).unwrap_or(usize::MAX));
        let at_limit = limit > 0 && facts.ack_pending >= limit && facts.pending > 0;
        if at_limit != lag.at_limit.replace(at_limit) && at_limit {
            warn!(
                route = self.feed.route.as_str(),
                max_ack_pending = limit,
                "the consumer delivers no more: as many messages as it allows are in hand, over all replicas"
            );
        }
    }
}

/// One subscription to what is pulled.
struct Session<'a, D> {
    puller: &'a Puller<D>,
    client: Client,
    inbox: String,
    subscriber: Subscriber,
    credit: Credit,
    appetite: Appetite,
    /// When messages were last asked for.
    asked: Time,
    /// When the server was last heard of.
    heard: Time,
    connections: u64,
    subject: Arc<str>,
}

impl<D: Deliver + 'static> Session<'_, D> {
    async fn take_in(&mut self) -> Result<(), Trouble> {
        let puller = self.puller;
        let mut look = interval(LOOK);
        let mut lag = interval(LAG);
        lag.reset();
        loop {
            tokio::select! {
                raw = next(&mut self.subscriber) => {
                    let raw = raw.ok_or(Trouble::Disconnected)?;
                    self.take_all(raw)?;
                    self.ask().await?;
                }
                () = puller.feed.line.ran_low(self.appetite.wanted() / 2) => {
                    self.appetite.ran_low(puller.clock.now().since(self.asked));
                    self.ask().await?;
                }
                _ = look.tick() => {
                    self.look()?;
                    self.ask().await?;
                }
                _ = lag.tick(), if puller.reports_lag => {
                    if let Ok(Ok(facts)) =
                        timeout(LAG / 2, consumer::look(&puller.context, &puller.feed.jetstream)).await
                    {
                        puller.show_lag(facts);
                    }
                }
            }
        }
    }

    /// Takes `raw` and whatever else is there already, and calls the workers once for all of it.
    fn take_all(&mut self, raw: Raw) -> Result<(), Trouble> {
        const TURN: usize = 256;
        let now = self.puller.clock.now();
        self.heard = now;
        let mut result = self.take(raw, now);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for _ in 1..TURN {
            if result.is_err() {
                break;
            }
            let std::task::Poll::Ready(Some(raw)) = Pin::new(&mut self.subscriber).poll_next(&mut context)
            else {
                break;
            };
            result = self.take(raw, now);
        }
        self.puller.feed.line.summon();
        result
    }

    fn take(&mut self, raw: Raw, now: Time) -> Result<(), Trouble> {
        match raw.status {
            None | Some(StatusCode::OK) => {
                self.credit.settle(1);
                self.accept(raw, now);
                Ok(())
            }
            Some(StatusCode::IDLE_HEARTBEAT) => Ok(()),
            Some(StatusCode::NO_RESPONDERS) => Err(Trouble::NoResponders),
            Some(_) => self.ended(&raw),
        }
    }

    /// A request is over, or all of them are.
    fn ended(&mut self, raw: &Raw) -> Result<(), Trouble> {
        let left = raw.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
        if let Some(left) = left.and_then(|left| left.as_str().parse().ok()) {
            self.credit.settle(left);
            return Ok(());
        }
        Err(Trouble::Ended(raw.description.clone().unwrap_or_else(|| "no reason given".to_owned())))
    }

    fn accept(&self, raw: Raw, now: Time) {
        let puller = self.puller;
        let Some(reply) = raw.reply.clone() else { return };
        let Some(origin) = Origin::parse(&reply) else {
            debug!(reply = reply.as_str(), "a message without an origin");
            return;
        };
        let mut message: Message = source::accept(raw, &self.subject, now);
        if matches!(message.id, Id::Made(_)) {
            // The same for every delivery and every replica. No dots: signatures are computed over it.
            message.id = Id::given(&format!("{}:{}", origin.stream, origin.sequence));
        }
        message.attempts = u32::try_from(origin.delivered.saturating_sub(1)).unwrap_or(u32::MAX);
        let receipt = Receipt::new(&reply);
        puller.keeper.keep(&receipt, now);
        if puller.close.is_cancelled() {
            return puller.acks.say(receipt.settle(Word::Nak(Duration::ZERO)));
        }
        message.receipt = Some(receipt);
        puller.feed.line.offer(message);
    }

    /// Looks whether anything is wrong.
    fn look(&mut self) -> Result<(), Trouble> {
        let now = self.puller.clock.now();
        self.credit.forget(now);
        if !self.puller.link.is_connected() {
            return Err(Trouble::Disconnected);
        }
        if self.puller.link.connections() != self.connections {
            // The requests ended with the old connection.
            return Err(Trouble::Reconnected);
        }
        if self.credit.messages() > 0 && now.since(self.heard) > SILENCE {
            return Err(Trouble::Silence);
        }
        Ok(())
    }

    /// How many more messages, and how many bytes of them, there is room for.
    fn room(&self) -> (usize, usize) {
        let room = self.puller.feed.line.room();
        let (wanted, asked) = (self.appetite.wanted(), self.credit.messages());
        // Retries that wait here are work too. With many of them there is no point in more.
        let held = room.queued + asked + room.retrying / 4;
        // Half of what is wanted at a time: two requests are on their way, and none is for a handful.
        let messages = if held <= wanted / 2 { wanted - held } else { 0 };
        (messages.min(room.messages.saturating_sub(asked)), room.bytes)
    }

    /// Asks for what there is room for.
    async fn ask(&mut self) -> Result<(), Trouble> {
        const MOST_REQUESTS: usize = 2;
        let puller = self.puller;
        let now = puller.clock.now();
        if puller.stop.is_cancelled()
            || puller.feed.line.is_paused(now)
            || self.credit.requests() >= MOST_REQUESTS
        {
            return Ok(());
        }
        let (messages, bytes) = self.room();
        // Less than the largest message would be answered with nothing, again and again.
        let least = self.client.max_payload() + ENVELOPE;
        let bytes = bytes / (1 + self.credit.requests());
        if messages == 0 || bytes < least {
            return Ok(());
        }
        if self.credit.messages() == 0 {
            self.heard = now;
        }
        self.credit.ask(messages, now);
        self.asked = now;
        puller.feed.stats.lag.last_pull.set(unix_seconds());
        let request = serde_json::json!({
            "batch": messages,
            "max_bytes": bytes,
            "expires": nanos(EXPIRES),
            "idle_heartbeat": nanos(HEARTBEAT),
        });
        let jetstream = &puller.feed.jetstream;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", jetstream.stream, jetstream.consumer);
        let sent = self.client.publish_with_reply(subject, self.inbox.clone(), request.to_string().into());
        timeout(SILENCE, sent).await.map_err(|_| Trouble::Disconnected)?.map_err(client_failed)
    }
}

async fn next(subscriber: &mut Subscriber) -> Option<Raw> {
    poll_fn(|cx| Pin::new(&mut *subscriber).poll_next(cx)).await
}

fn client_failed(error: impl std::fmt::Display) -> Trouble {
    Trouble::Client(error.to_string())
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn unix_seconds() -> usize {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    usize::try_from(since.as_secs()).unwrap_or(usize::MAX)
}
