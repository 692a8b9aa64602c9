//! A connection to NATS that heals itself, as those who use it see it: subscribe, publish, and ask whether the server has
//! handled what was sent.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    sync::oneshot,
    task::spawn_local,
    time::{Instant, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    dial::Dialer,
    info::ServerInfo,
    keeper::Keeper,
    subscription::Subscription,
    subscriptions::{Entry, Sink, Subscriptions},
    wire::{Awaited, Outgoing, PublishError, Wire},
};
use crate::{base::clock::Clock, config::Nats, nats::ConnectionState};

/// The largest message that a server takes by default, in bytes.
const USUAL_PAYLOAD: usize = 1 << 20;

/// What is published comes back where it is subscribed to: that is how it is found out whether answers would arrive.
const ECHO: bool = true;

/// The server did not answer in time, or there was no connection. What was sent before may have arrived or not.
#[derive(Debug, Error)]
#[error("no answer from the NATS server")]
pub struct NoAnswer;

/// A connection to NATS, which heals itself. It lives on the thread that opened it; clones are the same connection, which
/// ends with the last of them.
#[derive(Clone)]
pub struct Connection {
    shared: Rc<Shared>,
    _end: Rc<DropGuard>,
}

/// What a connection is, whichever server it is connected to.
pub(super) struct Shared {
    pub(super) state: Arc<ConnectionState>,
    pub(super) clock: Clock,
    pub(super) subscriptions: Subscriptions,
    /// The way out of the present link; none while there is none.
    current: RefCell<Option<Rc<Wire>>>,
    /// Those of the links that another one has taken the place of, and that have not ended yet.
    former: RefCell<Vec<Rc<Wire>>>,
    /// How many connections there were.
    connections: Cell<u64>,
    max_payload: Cell<usize>,
    pub(super) dialer: Dialer,
    inbox_prefix: Box<str>,
}

impl Connection {
    /// Begins to connect to one of the servers of `config`, for as long as that takes. Needs a runtime that takes local
    /// tasks.
    pub fn open(config: &Nats, name: &str, clock: Clock) -> Self {
        let shared = Rc::new(Shared {
            state: Arc::new(ConnectionState::new(name.to_owned())),
            clock,
            subscriptions: Subscriptions::default(),
            current: RefCell::default(),
            former: RefCell::default(),
            connections: Cell::new(0),
            max_payload: Cell::new(USUAL_PAYLOAD),
            dialer: Dialer::new(config, ECHO, clock, None),
            inbox_prefix: config.inbox_prefix.as_str().into(),
        });
        let end = CancellationToken::new();
        drop(spawn_local(Keeper::new(Rc::clone(&shared)).run(end.clone())));
        Self { shared, _end: Rc::new(end.drop_guard()) }
    }

    /// What is known of it, for other threads too.
    pub fn state(&self) -> &Arc<ConnectionState> {
        &self.shared.state
    }

    /// Whether there is a connection to publish over.
    pub fn is_connected(&self) -> bool {
        self.shared.current.borrow().is_some()
    }

    /// How many connections there were, the present one included: another number is another connection.
    pub fn connections(&self) -> u64 {
        self.shared.connections.get()
    }

    /// The largest message that the server takes, headers included, in bytes. Until there was a connection, what servers
    /// take by default.
    pub fn max_payload(&self) -> usize {
        self.shared.max_payload.get()
    }

    /// How many bytes wait to be written.
    pub fn backlog(&self) -> usize {
        self.shared.current.borrow().as_ref().map_or(0, |wire| wire.backlog())
    }

    /// A subject for answers that nobody else has.
    pub fn new_inbox(&self) -> String {
        self.shared.new_inbox()
    }

    /// What the inboxes of all connections of broadcaster begin with, of this process and of others.
    pub fn inboxes(&self) -> String {
        self.shared.inboxes()
    }

    /// Subscribes to `subject`. What comes waits to be taken. The subscription is made again on each connection.
    pub fn subscribe(&self, subject: &str, queue_group: Option<&str>) -> Subscription {
        Subscription::new(|sink| self.attach(subject, queue_group, sink))
    }

    /// Subscribes to `subject`, with a `sink` that takes each message as soon as it was read.
    pub fn attach(&self, subject: &str, queue_group: Option<&str>, sink: Rc<dyn Sink>) -> Attached {
        let entry = self.shared.subscriptions.add(subject, queue_group, sink);
        if let Some(wire) = &*self.shared.current.borrow() {
            wire.subscribe(&entry);
        }
        Attached { shared: Rc::clone(&self.shared), entry }
    }

    /// Publishes `message`; it never waits. It goes out in one write with what else is published at the time.
    pub fn publish(&self, message: Outgoing<'_>) -> Result<(), PublishError> {
        self.shared.publish(message)
    }

    /// Returns when the server has handled all that was sent before, and all that it had sent by then has arrived: how long
    /// that took. It needs no permission.
    pub async fn round_trip(&self, patience: Duration) -> Result<Duration, NoAnswer> {
        let began = Instant::now();
        let answers: Vec<_> = self.shared.wires().iter().map(|wire| ask(wire)).collect();
        if !self.is_connected() {
            return Err(NoAnswer);
        }
        let all = async {
            for answer in answers {
                answer.await.map_err(|_lost| NoAnswer)?;
            }
            Ok(began.elapsed())
        };
        timeout(patience, all).await.unwrap_or(Err(NoAnswer))
    }
}

fn ask(wire: &Wire) -> oneshot::Receiver<()> {
    let (answer, answered) = oneshot::channel();
    wire.ping(Awaited::RoundTrip(answer));
    answered
}

impl Shared {
    pub(super) fn new_inbox(&self) -> String {
        format!("{}{}", self.inboxes(), uuid::Uuid::now_v7().simple())
    }

    fn inboxes(&self) -> String {
        format!("{}.broadcaster-", self.inbox_prefix)
    }

    pub(super) fn publish(&self, message: Outgoing<'_>) -> Result<(), PublishError> {
        let current = self.current.borrow();
        let wire = current.as_ref().ok_or(PublishError::Disconnected)?;
        let headers = message.headers.map_or(0, |headers| headers.as_bytes().len());
        if message.payload.len() + headers > self.max_payload.get() {
            return Err(PublishError::TooLarge);
        }
        wire.publish(message)
    }

    /// All ways out, so that whoever is told something is told on each.
    fn wires(&self) -> Vec<Rc<Wire>> {
        let current = self.current.borrow();
        self.former.borrow().iter().chain(current.as_ref()).cloned().collect()
    }

    /// Makes `wire` the way out, to a server that has said `info`: all subscriptions are made there. Returns what is
    /// answered when the server has handled those.
    pub(super) fn switch_to(&self, wire: &Rc<Wire>, info: &ServerInfo) -> oneshot::Receiver<()> {
        self.learn(info);
        self.connections.set(self.connections.get() + 1);
        self.subscriptions.wanted().iter().for_each(|entry| wire.subscribe(entry));
        let former = self.current.replace(Some(Rc::clone(wire)));
        self.former.borrow_mut().extend(former);
        ask(wire)
    }

    /// Tells the server at the other end of `wire` to send nothing more. Returns what is answered when it has heard that,
    /// and all that it has sent before has arrived.
    pub(super) fn leave(&self, wire: &Wire) -> oneshot::Receiver<()> {
        self.subscriptions.wanted().iter().for_each(|entry| wire.unsubscribe(entry.sid));
        ask(wire)
    }

    /// Notes that the link of `wire` has ended.
    pub(super) fn ended(&self, wire: &Rc<Wire>) {
        self.former.borrow_mut().retain(|former| !Rc::ptr_eq(former, wire));
        let mut current = self.current.borrow_mut();
        if current.as_ref().is_some_and(|current| Rc::ptr_eq(current, wire)) {
            *current = None;
        }
    }

    /// Takes note of what a server says of itself.
    pub(super) fn learn(&self, info: &ServerInfo) {
        self.max_payload.set(info.max_payload);
        self.dialer.note(info);
    }

    /// The server has refused a subscription: the one that it has just been asked for over `wire`, or one that it took
    /// before and names.
    pub(super) fn subscription_refused(&self, wire: &Wire, text: &str) {
        match wire.complain_of_subscription(text) {
            Some(entry) => entry.refuse(text),
            None => self.subscriptions.named_in(text).iter().for_each(|entry| entry.refuse(text)),
        }
    }
}

/// A subscription whose messages go to a [`Sink`]. Dropped, it ends, and what is on the wire then is lost.
pub struct Attached {
    shared: Rc<Shared>,
    entry: Rc<Entry>,
}

impl Attached {
    /// Tells the server to send nothing more. What it has sent before still comes: after a
    /// [round trip](Connection::round_trip), all of it has.
    pub fn end(&self) {
        if Subscriptions::end(&self.entry) {
            self.shared.wires().iter().for_each(|wire| wire.unsubscribe(self.entry.sid));
        }
    }

    /// Why the server refuses it, in its own words; none while it does not.
    pub fn refusal(&self) -> Option<String> {
        self.entry.refusal()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.end();
        self.shared.subscriptions.forget(self.entry.sid);
    }
}
