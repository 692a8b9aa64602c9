//! The core source: the memberships of one lane in the queue groups of its routes, over one connection. It takes
//! messages as fast as they come, and never waits for a pipeline.
//!
//! A lane has one session, and for a moment two when it moves from a server that is about to stop to another. Routes join
//! and leave it one by one.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_nats::Subscriber;
use futures_core::Stream as _;
use tokio::{
    task::{coop::unconstrained, spawn_local},
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use crate::{
    base::{
        clock::{Clock, Time},
        throttle::Throttle,
    },
    config::{QueueGroup, Subject},
    deliver::Deliver,
    message::{Headers, Id, Message, header_names::nats as names},
    nats::{ConnectionState, NatsConnection, SetUpError, SharedBarrier, end_subscription},
    route::pipeline::Pipeline,
    stats::Counter,
};

/// How many messages of a route are taken before the others get their turn.
const TURN: usize = 256;
/// How many turns there are in one go. The client reads 4 MiB in one go, and what it finds no room for it drops, where
/// the queue would know what to do with it.
const TURNS: usize = 64;
/// How long the server may take to confirm the subscriptions before they count as made without it: a user may lack the
/// permission for that.
const CONFIRMATION: Duration = Duration::from_secs(2);
/// How long the server may take to confirm that it has heard of the end of subscriptions.
const LEAVING: Duration = Duration::from_secs(1);
/// How long to wait for what is on the wire where the server confirms nothing.
const ON_THE_WIRE: Duration = Duration::from_millis(250);

/// A connection, and what is subscribed to over it. Ends with its last reference.
pub struct CoreSession<D> {
    connection: Rc<NatsConnection>,
    barrier: SharedBarrier,
    intakes: Rc<Intakes<D>>,
    clock: Clock,
    _pump: DropGuard,
}

/// A route's membership in its queue group, to be ended by [`CoreSession::leave`].
pub struct Membership<D>(Rc<Intake<D>>);

impl<D: Deliver + 'static> CoreSession<D> {
    /// A session over `connection`, which may not be connected yet. What the client drops is counted by `slow_consumer`.
    pub async fn over(
        connection: NatsConnection,
        slow_consumer: Arc<Counter>,
        clock: Clock,
    ) -> Result<Self, SetUpError> {
        let barrier = SharedBarrier::over(&connection).await?;
        let connection = Rc::new(connection);
        let intakes = Rc::new(Intakes::default());
        let end = CancellationToken::new();
        let pump = Pump {
            intakes: Rc::clone(&intakes),
            connection: Rc::clone(&connection),
            lost: 0,
            slow_consumer,
            reports: Throttle::new(1, Duration::from_secs(1)),
            clock,
        };
        drop(spawn_local(pump.run(end.clone())));
        Ok(Self { connection, barrier, intakes, clock, _pump: end.drop_guard() })
    }

    /// Makes `pipeline` a member of `queue_group` for `subject`. Where there is no connection, the subscription follows
    /// when there is one.
    pub async fn join(
        &self,
        subject: &Subject,
        queue_group: &QueueGroup,
        pipeline: Rc<Pipeline<D>>,
    ) -> Result<Membership<D>, SetUpError> {
        let client = self.connection.client();
        let subscriber = client.queue_subscribe(subject.to_string(), queue_group.as_str().to_owned()).await?;
        let subscriber = RefCell::new(Some(subscriber));
        let intake = Rc::new(Intake { subscriber, subject: subject.as_str().into(), pipeline });
        self.intakes.add(Rc::clone(&intake));
        Ok(Membership(intake))
    }

    /// Returns when there is a connection.
    pub async fn connected(&self) {
        while !self.is_connected() {
            // The client drops events when there are many, that of the new connection among them: so it is looked at as
            // well.
            drop(timeout(Duration::from_secs(1), self.state().connected()).await);
        }
    }

    /// Returns when the server has confirmed what was subscribed to so far, as well as can be told.
    pub async fn confirmed(&self) {
        self.connected().await;
        if self.barrier.pass(CONFIRMATION).await.is_err() {
            debug!("the NATS server does not confirm the subscriptions");
        }
    }

    /// Leaves the queue groups of `memberships` without losing a message that the server has sent already.
    pub async fn leave(&self, memberships: Vec<Membership<D>>) {
        if memberships.is_empty() {
            return;
        }
        if self.is_connected() {
            for Membership(intake) in &memberships {
                intake.unsubscribe().await;
            }
            // While the end of a subscription was being asked for, the pump could not poll it, and so is not woken for
            // what has come since.
            self.intakes.wake();
            // What the server has sent before it heard of the end arrives before its answer to the barrier.
            if self.barrier.pass(LEAVING).await.is_err() {
                sleep(ON_THE_WIRE).await;
            }
        }
        // The runtime's budget must not end it early: what is not taken here is lost.
        unconstrained(async {
            for Membership(intake) in &memberships {
                self.intakes.remove(intake, self.clock.now());
            }
        })
        .await;
    }

    /// Whether there is a connection, by the client's own word.
    pub fn is_connected(&self) -> bool {
        self.connection.is_connected()
    }

    /// The connection, for whoever opens another one in its place.
    pub fn connection(&self) -> &NatsConnection {
        &self.connection
    }

    /// What is known of the connection.
    pub fn state(&self) -> &Arc<ConnectionState> {
        self.connection.state()
    }
}

/// What a session is subscribed to.
struct Intakes<D> {
    all: RefCell<Vec<Rc<Intake<D>>>>,
    /// How many messages were taken over this connection, by all subscriptions.
    taken: Cell<u64>,
    pump: RefCell<Option<Waker>>,
}

impl<D> Default for Intakes<D> {
    fn default() -> Self {
        Self { all: RefCell::default(), taken: Cell::new(0), pump: RefCell::default() }
    }
}

impl<D: Deliver + 'static> Intakes<D> {
    fn add(&self, intake: Rc<Intake<D>>) {
        self.all.borrow_mut().push(intake);
        self.wake();
    }

    /// Has the pump look at all of them.
    fn wake(&self) {
        if let Some(pump) = &*self.pump.borrow() {
            pump.wake_by_ref();
        }
    }

    /// Takes what is still there, and ends the subscription.
    fn remove(&self, intake: &Rc<Intake<D>>, now: Time) {
        let mut context = Context::from_waker(Waker::noop());
        while self.take_turn(intake, &mut context, now) {}
        self.all.borrow_mut().retain(|other| !Rc::ptr_eq(other, intake));
    }

    /// One turn of `intake`. Returns whether there is more.
    fn take_turn(&self, intake: &Intake<D>, cx: &mut Context<'_>, now: Time) -> bool {
        let (taken, more) = intake.poll(cx, now);
        self.taken.set(self.taken.get() + taken as u64);
        more
    }

    /// Some turns for each subscription, one by one so that none has to wait for the others. Returns whether there is
    /// more.
    fn poll(&self, cx: &mut Context<'_>, now: Time) -> bool {
        let mut more = true;
        for _ in 0..TURNS {
            more = false;
            for intake in &*self.all.borrow() {
                more |= self.take_turn(intake, cx, now);
            }
            if !more {
                break;
            }
        }
        more
    }
}

struct Intake<D> {
    /// None when it has ended, and while it is told to.
    subscriber: RefCell<Option<Subscriber>>,
    subject: Arc<str>,
    pipeline: Rc<Pipeline<D>>,
}

impl<D: Deliver + 'static> Intake<D> {
    /// Moves messages from the client to the pipeline, a turn of them at most: how many, and whether there may be more.
    fn poll(&self, cx: &mut Context<'_>, now: Time) -> (usize, bool) {
        let mut slot = self.subscriber.borrow_mut();
        let Some(subscriber) = &mut *slot else { return (0, false) };
        let mut taken = 0;
        let mut more = true;
        while more && taken < TURN {
            match Pin::new(&mut *subscriber).poll_next(cx) {
                Poll::Ready(Some(message)) => {
                    taken += 1;
                    self.pipeline.offer(accept(message, &self.subject, now));
                }
                Poll::Ready(None) => {
                    *slot = None;
                    return (taken, false);
                }
                Poll::Pending => more = false,
            }
        }
        if taken > 0 {
            self.pipeline.wake_workers();
        }
        (taken, more)
    }

    /// Tells the server to send nothing more, and goes on taking what it has sent before.
    async fn unsubscribe(&self) {
        let subscriber = self.subscriber.borrow_mut().take();
        let Some(mut subscriber) = subscriber else { return };
        end_subscription(&mut subscriber).await;
        *self.subscriber.borrow_mut() = Some(subscriber);
    }
}

/// A message as it came from NATS, made ours.
pub(super) fn accept(message: async_nats::Message, subscribed: &Arc<str>, now: Time) -> Message {
    // Most subscriptions are to one subject: all its messages share one copy of the name.
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

/// Moves messages from the client to the pipelines, as fast as they come: the client's read loop drops what it finds no
/// room for, so a pipeline never makes it wait. What is too much for a pipeline is the pipeline's decision.
struct Pump<D> {
    intakes: Rc<Intakes<D>>,
    connection: Rc<NatsConnection>,
    /// What the client dropped, as far as it is counted.
    lost: u64,
    slow_consumer: Arc<Counter>,
    reports: Throttle,
    clock: Clock,
}

impl<D: Deliver + 'static> Pump<D> {
    async fn run(mut self, end: CancellationToken) {
        let mut ended = pin!(end.cancelled());
        // Turns limit what is done in one go, and not the budget of tokio: when that is spent, a full subscription
        // looks like an empty one, and what waits in it would count as lost.
        unconstrained(poll_fn(|cx| {
            if ended.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            self.remember(cx);
            if self.intakes.poll(cx, self.clock.now()) {
                cx.waker().wake_by_ref();
            } else {
                self.count_losses();
            }
            Poll::Pending
        }))
        .await;
    }

    fn remember(&self, cx: &Context<'_>) {
        let mut waker = self.intakes.pump.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// With nothing left to take, what the client has read and we have not taken is what it dropped. Its own events for
    /// this get lost themselves.
    fn count_losses(&mut self) {
        // What comes for a subscription that is being ended can't be taken at the moment, and is not lost.
        let someone_is_leaving =
            || self.intakes.all.borrow().iter().any(|intake| intake.subscriber.borrow().is_none());
        let Some(read) = self.connection.messages_read() else { return };
        let lost = read.saturating_sub(self.intakes.taken.get());
        if lost > self.lost && !someone_is_leaving() {
            self.slow_consumer.add(lost - self.lost);
            self.lost = lost;
            if self.reports.pass(self.clock.now()).is_some() {
                warn!(lost, "messages lost before they were received: this lane can't keep up with NATS");
            }
        }
    }
}
