//! One inbox for the messages of a consumer, and the pull requests that they come for.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tracing::debug;

use super::{
    acks::Acks,
    consumer::RequestLimits,
    credit::{Credit, FEW},
    feed::{Common, Feed},
    observer::Observer,
    prefetch::Prefetch,
    trouble::Trouble,
};
use crate::{
    base::{clock::Time, timer::Timer},
    deliver::Deliver,
    message::{
        Id, Message,
        acknowledgement::{AckHandle, Origin},
        header_names::nats as names,
    },
    nats::{Attached, Incoming, Outgoing, Sink},
    route::pipeline::Pipeline,
    source::core,
};

/// After so long without anything from the server something is wrong: two of its heartbeats and a second.
pub(super) const SILENCE: Duration = Duration::from_secs(11);
/// How often the server says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long the server keeps a request for a few messages, and one for many: it can't be taken back.
const EXPIRES: Duration = Duration::from_secs(30);
const BRIEF: Duration = Duration::from_secs(1);
/// How much longer a request is remembered here: the last that the server sent for it may still be on its way.
const LATE: Duration = Duration::from_secs(5);
/// How often to look whether all is well, though nothing tells otherwise.
const LOOK: Duration = Duration::from_secs(5);
/// How many bytes a message may have beside the payload, for the subject, the headers and the reply.
const ENVELOPE: usize = 8 * 1024;
/// The largest message that NATS can be told to take, with all that may be around it.
const LARGEST: usize = (64 << 20) + ENVELOPE;
/// How many bytes of the bounds a message takes at least, about.
const SMALLEST: usize = 512;
/// How long the server may take to confirm that the inbox has ended.
const LEAVING: Duration = Duration::from_secs(1);
/// How long the server may take to say that it is still there, before a route is taken for live.
const ANSWER: Duration = Duration::from_secs(1);
/// For how long what was asked for is taken at most before the inbox ends, and after how long without a message no more.
const TAKING: Duration = Duration::from_secs(1);
const QUIET: Duration = Duration::from_millis(200);
/// How many requests are with the server at the same time: while one is served, the next one is there already.
const MOST_REQUESTS: usize = 2;

pub(super) struct PullSession<'a, D> {
    feed: &'a Feed,
    common: &'a Common,
    pipeline: &'a Pipeline<D>,
    inbox: String,
    taker: Rc<Taker<D>>,
    attached: Attached,
    /// Where messages are asked for.
    next: String,
    /// How often that had been refused before.
    refusals: u64,
    limits: RequestLimits,
    prefetch: Prefetch,
    /// Whether more messages would have been asked for, but for the bytes.
    is_short_of_bytes: bool,
    /// When messages were last asked for.
    asked: Time,
    connection_changed: watch::Receiver<u64>,
    connections: u64,
    timer: Timer,
}

/// Takes what comes, straight from the block that it was read into.
struct Taker<D> {
    pipeline: Rc<Pipeline<D>>,
    acks: Rc<Acks>,
    subject: Arc<str>,
    credit: RefCell<Credit>,
    /// When the server was last heard of.
    heard: Cell<Time>,
    /// Why nothing more will come.
    ended: RefCell<Option<Trouble>>,
    /// Notified when there is something to look at.
    news: Notify,
}

impl<D: Deliver + 'static> Sink for Taker<D> {
    fn take(&self, message: Incoming, now: Time) {
        self.heard.set(now);
        // What has come from a stream is a message, whatever status its publisher has given it.
        let origin = message.reply().and_then(|reply| Some((reply, Origin::parse(reply)?)));
        let Some((reply, origin)) = origin else { return self.hear(&message) };
        self.credit.borrow_mut().came(message.length(), origin.pending, now);
        if let Some((ack, attempts)) = self.acks.ledger.arrived(&origin, reply, now) {
            self.pipeline.offer(self.accept(message, ack, attempts, now));
        }
    }

    fn taken(&self) {
        self.pipeline.wake_workers();
        self.news.notify_one();
    }
}

impl<D: Deliver + 'static> Taker<D> {
    /// A message that is ours from now on, and was attempted so often before.
    fn accept(&self, incoming: Incoming, ack: AckHandle, attempts: u32, now: Time) -> Message {
        let id = || Id::of_stream(ack.stream(), ack.sequence(), ack.published());
        let mut message = core::accept(incoming, &self.subject, now, id);
        message.attempts = attempts;
        message.ack = Some(ack);
        message
    }

    /// Takes note of what the server says beside messages.
    fn hear(&self, said: &Incoming) {
        match said.status() {
            Some(100) => {}
            Some(503) => self.end(Trouble::NoResponders),
            Some(_) => self.request_ended(said),
            None => debug!("what has come to the inbox for messages is none"),
        }
    }

    /// The server says of a request that is over how many messages it leaves undone. Where it does not (the leader has
    /// changed, the consumer was deleted), nothing is known of any request, and pulling begins anew.
    fn request_ended(&self, said: &Incoming) {
        let left = said.header(names::PENDING_MESSAGES);
        match left.and_then(|left| left.parse().ok()) {
            Some(left) => {
                self.credit.borrow_mut().ended(left, said.description().contains("MaxBytes"));
            }
            None => {
                let why = said.description();
                self.end(Trouble::Ended(if why.is_empty() { "no reason given" } else { why }.to_owned()));
            }
        }
    }

    fn end(&self, why: Trouble) {
        // The first one is the cause of those that follow.
        self.ended.borrow_mut().get_or_insert(why);
    }
}

impl<'a, D: Deliver + 'static> PullSession<'a, D> {
    /// Subscribes for what `observer` looks at, and asks for the first messages for `pipeline`.
    pub(super) fn open(
        observer: &'a Observer,
        pipeline: &'a Rc<Pipeline<D>>,
        limits: RequestLimits,
    ) -> Result<Self, Trouble> {
        let Observer { feed, common, acks, api, .. } = observer;
        let now = common.clock.now();
        let batch = feed.route.settings.batch.max_messages.get();
        let taker = Rc::new(Taker {
            pipeline: Rc::clone(pipeline),
            acks: Rc::clone(acks),
            subject: feed.route.settings.subject.as_str().into(),
            credit: RefCell::new(Credit::new(Prefetch::most(batch).min(limits.messages))),
            heard: Cell::new(now),
            ended: RefCell::default(),
            news: Notify::new(),
        });
        let connection = &common.connection;
        let inbox = connection.new_inbox();
        let attached = connection.attach(&inbox, None, Rc::clone(&taker) as Rc<dyn Sink>);
        let next = api.next_subject();
        let mut session = Self {
            refusals: connection.state().surely_refused_publications(&next),
            feed,
            common,
            pipeline,
            inbox,
            taker,
            attached,
            next,
            limits,
            prefetch: Prefetch::new(pipeline.concurrency(), batch),
            is_short_of_bytes: false,
            asked: now,
            connection_changed: connection.state().changes(),
            connections: connection.connections(),
            timer: Timer::new(common.clock),
        };
        session.ask()?;
        Ok(session)
    }

    /// Returns when the server has taken the first request, or with why it has not. Where it says nothing, its silence will
    /// tell.
    pub(super) async fn heard(&self) -> Result<(), Trouble> {
        drop(self.common.connection.round_trip(ANSWER).await);
        self.check_refusals()
    }

    fn check_refusals(&self) -> Result<(), Trouble> {
        let refusals = self.common.connection.state().surely_refused_publications(&self.next);
        if refusals > self.refusals { Err(Trouble::Refused(self.next.clone())) } else { Ok(()) }
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
        let Self { pipeline, taker, connection_changed, timer, .. } = self;
        let mut is_look = false;
        tokio::select! {
            () = taker.news.notified() => {}
            // Its queue is low, and what is under way takes the bytes: nothing comes of asking before some of it ends.
            () = pipeline.freed_bytes(), if is_short_of_bytes => {}
            () = pipeline.ran_low(low), if !is_short_of_bytes => {
                self.prefetch.ran_low(self.common.clock.now().since(self.asked));
            }
            trouble = taker.acks.troubled() => return Err(trouble.into()),
            _ = connection_changed.changed() => is_look = true,
            () = poll_fn(|cx| timer.poll_passed(cx, look)) => is_look = true,
        }
        if let Some(trouble) = self.taker.ended.borrow_mut().take() {
            return Err(trouble);
        }
        if is_look {
            self.check()?;
        }
        self.ask()
    }

    /// When to look next whether anything is wrong, or whether the webhook may be called again.
    fn next_look(&self) -> Time {
        let now = self.common.clock.now();
        let look = now + LOOK;
        let resumed = self.pipeline.paused_until(now).unwrap_or(look);
        look.min(resumed)
    }

    /// Ends the inbox. What the server has sent before it heard of that has arrived, and is in the pipeline then.
    ///
    /// In a cluster, the one that hears of it may not be the one that sends: what is under way between the two is dropped, and
    /// its stream would deliver it again only after `ack_wait`. So what was asked for is taken before, where that is soon.
    pub(super) async fn leave(&self) {
        let Taker { credit, news, .. } = &*self.taker;
        let asked = async {
            while credit.borrow().messages() > 0 && timeout(QUIET, news.notified()).await.is_ok() {}
        };
        drop(timeout(TAKING, asked).await);
        self.end().await;
    }

    /// Ends the inbox at once.
    pub(super) async fn end(&self) {
        self.attached.end();
        if self.common.connection.round_trip(LEAVING).await.is_err() {
            debug!("the NATS server does not confirm the end of an inbox");
        }
    }

    /// Looks for what no message tells of: a connection that is lost or another one, a server that is silent, requests
    /// that have expired.
    fn check(&mut self) -> Result<(), Trouble> {
        let now = self.common.clock.now();
        let mut credit = self.taker.credit.borrow_mut();
        credit.forget(now);
        if !self.common.connection.is_connected() {
            return Err(Trouble::Disconnected);
        }
        if self.common.connection.connections() != self.connections {
            // The requests ended with the old connection.
            return Err(Trouble::Reconnected);
        }
        if let Some(refusal) = self.attached.refusal() {
            return Err(Trouble::Inbox(refusal));
        }
        self.check_refusals()?;
        // The server sends heartbeats only while it has a request.
        if credit.messages() > 0 && now.since(self.taker.heard.get()) > SILENCE {
            return Err(Trouble::Silence);
        }
        credit.forget_too_small();
        Ok(())
    }

    /// How many more messages to ask for now, and of how many bytes at most; none where there is no room.
    fn wanted(&mut self) -> Option<(usize, usize)> {
        let capacity = self.pipeline.capacity();
        let credit = self.taker.credit.borrow();
        let (wanted, asked) = (self.prefetch.wanted(), credit.messages());
        // Retries that wait here are work too. With many of them there is no point in more.
        let held = capacity.queued + asked + capacity.retrying / 4;
        let messages = if held <= wanted / 2 { wanted - held } else { 0 };
        let messages = messages.min(credit.room()).min(capacity.messages.saturating_sub(asked));
        if messages == 0 {
            return None;
        }
        let least = self.common.connection.max_payload() + ENVELOPE;
        // A lane whose part is smaller than one message may take a single one of what the others leave.
        let bytes = capacity.bytes.max(capacity.bytes_at_most.min(least));
        let free = bytes.saturating_sub(credit.bytes());
        // Some are left for the next request.
        let bytes = if free >= least { least.max(free / 2) } else { free };
        // Less than a message takes would be answered with nothing, again and again.
        let too_small = credit.too_small().unwrap_or_default().max(SMALLEST);
        if bytes > too_small {
            // What the server does not count: what keeping even the smallest message takes.
            return Some((messages.min((free / SMALLEST).max(1)), bytes));
        }
        // An empty queue takes any one message that fits into it at all. It may be larger than NATS takes today.
        let alone = least.max(2 * too_small).min(LARGEST);
        let whole = self.feed.route.settings.queue.bounds.bytes.get();
        // Other lanes draw ahead a little, also when they have nothing.
        let empty = whole - whole / 8;
        if held == 0 && self.pipeline.is_idle() && capacity.bytes_at_most >= alone.min(empty) {
            return Some((1, alone));
        }
        self.is_short_of_bytes = true;
        None
    }

    /// Asks for what there is room for.
    fn ask(&mut self) -> Result<(), Trouble> {
        let now = self.common.clock.now();
        self.is_short_of_bytes = false;
        let open = self.taker.credit.borrow().requests();
        if self.pipeline.paused_until(now).is_some() || open >= MOST_REQUESTS {
            return Ok(());
        }
        let Some((messages, bytes)) = self.wanted() else { return Ok(()) };
        let (messages, bytes) = (messages.min(self.limits.messages), bytes.min(self.limits.bytes));
        let expires = if messages > FEW { BRIEF } else { EXPIRES }.min(self.limits.expires);
        let mut credit = self.taker.credit.borrow_mut();
        // Before this request the server had no reason to say anything.
        if credit.messages() == 0 {
            self.taker.heard.set(now);
        }
        credit.ask(messages, bytes, now + expires + LATE);
        self.asked = now;
        self.feed.stats.lag.last_pull.set(unix_seconds());
        let request = serde_json::json!({
            "batch": messages,
            "max_bytes": bytes,
            "expires": nanos(expires),
            // The server takes none that is longer than half of it.
            "idle_heartbeat": nanos(HEARTBEAT.min(expires / 2)),
        });
        let request = request.to_string();
        let request = Outgoing::new(&self.next, request.as_bytes()).replying_to(&self.inbox);
        self.common.connection.publish(request).map_err(|_| Trouble::Disconnected)
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn unix_seconds() -> usize {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    usize::try_from(since.as_secs()).unwrap_or(usize::MAX)
}
