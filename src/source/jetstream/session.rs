//! One subscription to what is pulled, and the requests over it.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_nats::{Client, Message as Raw, StatusCode, Subscriber};
use futures_core::Stream as _;
use tokio::time::{interval, timeout};
use tracing::debug;

use super::{
    credit::{Credit, EXPIRES},
    prefetch::Appetite,
    puller::{Puller, SILENCE, Trouble},
};
use crate::{
    base::clock::Time,
    deliver::Deliver,
    message::{
        Id, Message,
        acknowledgement::{Origin, Receipt, Word},
    },
    source::core,
};

/// How often the server says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often to look whether there is room again, and whether the connection is still the same.
const LOOK: Duration = Duration::from_millis(50);
/// What a message may be larger than its payload: subject, headers, reply.
const ENVELOPE: usize = 8 * 1024;

/// One subscription to what is pulled.
pub(super) struct Session<'a, D> {
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

impl<'a, D: Deliver + 'static> Session<'a, D> {
    /// Subscribes for `puller`, and asks for the first messages.
    pub(super) async fn open(puller: &'a Puller<D>) -> Result<Self, Trouble> {
        let client = puller.link.client().clone();
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(inbox.clone()).await.map_err(client_failed)?;
        let now = puller.clock.now();
        let mut session = Self {
            puller,
            client,
            inbox,
            subscriber,
            credit: Credit::default(),
            appetite: Appetite::new(puller.feed.line.concurrency()),
            asked: now,
            heard: now,
            connections: puller.link.connections(),
            subject: puller.feed.subject.as_str().into(),
        };
        session.ask().await?;
        Ok(session)
    }

    /// Takes messages until something is wrong, which it returns, or until it is time to leave.
    pub(super) async fn run(mut self) -> Option<Trouble> {
        let puller = self.puller;
        let trouble = tokio::select! {
            ended = self.take_in() => ended.err(),
            () = puller.leave.cancelled() => None,
            () = puller.watch_lag(), if puller.reports_lag => None,
        };
        // There was room for what has arrived meanwhile, and its stream would wait for it in vain.
        let now = puller.clock.now();
        while let Some(raw) = self.arrived() {
            match &trouble {
                Some(_) if raw.status.is_none_or(|status| status == StatusCode::OK) => self.accept(raw, now),
                Some(_) => {}
                None => self.give_back(&raw),
            }
        }
        puller.feed.line.summon();
        trouble
    }

    /// Gives a message back to its stream without having taken it: it is not counted.
    fn give_back(&self, raw: &Raw) {
        let reply = raw.reply.as_deref().filter(|reply| Origin::parse(reply).is_some());
        if let Some(reply) = reply {
            self.puller.acks.say(Receipt::new(reply).settle(Word::Nak(Duration::ZERO)));
        }
    }

    /// The next message that is here already.
    fn arrived(&mut self) -> Option<Raw> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.subscriber).poll_next(&mut context) {
            Poll::Ready(raw) => raw,
            Poll::Pending => None,
        }
    }

    async fn take_in(&mut self) -> Result<(), Trouble> {
        let puller = self.puller;
        let mut look = interval(LOOK);
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
            }
        }
    }

    /// Takes `raw` and whatever else is there already, and calls the workers once for all of it.
    fn take_all(&mut self, raw: Raw) -> Result<(), Trouble> {
        const TURN: usize = 256;
        let now = self.puller.clock.now();
        self.heard = now;
        let mut result = self.take(raw, now);
        for _ in 1..TURN {
            if result.is_err() {
                break;
            }
            let Some(raw) = self.arrived() else { break };
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
        let mut message: Message = core::accept(raw, &self.subject, now);
        if matches!(message.id, Id::Made(_)) {
            // The same for every delivery and every replica. No dots: signatures are computed over it.
            message.id = Id::given(&format!("{}:{}", origin.stream, origin.sequence));
        }
        message.attempts = u32::try_from(origin.delivered.saturating_sub(1)).unwrap_or(u32::MAX);
        let receipt = Receipt::new(&reply);
        puller.keeper.keep(&receipt, now);
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
