//! Where messages come from: the core NATS source, a membership in the queue group of every route.
//!
//! A [`Session`] is one connection with a subscription for each route. A lane has one, and for a moment two when it
//! moves from a server that is about to stop to another.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use async_nats::Subscriber;
use futures_core::Stream as _;
use tokio::{
    task::{JoinHandle, coop::unconstrained, spawn_local},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    base::{
        clock::{Clock, Time},
        throttle::Throttle,
    },
    config::{QueueGroup, Subject},
    deliver::Deliver,
    message::{Headers, Id, Message},
    nats::{Echo, Link, LinkError, NoEcho},
    route::pipeline::Line,
    stats::Counter,
};

/// How many messages of a route are taken before the others get their turn.
const TURN: usize = 256;
/// How many turns there are in one go. The client reads 4 MiB in one go, and what it finds no room for it drops, where
/// the queue would know what to do with it.
const TURNS: usize = 64;
/// How long the server may take to confirm the subscriptions before the lane counts as live without it: a user may lack
/// the permission for that.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// What may come during a round trip while the traffic is calm, in bytes: it fits into the receive buffer of any socket.
const CALM: u64 = 16 * 1024;
/// How many calm round trips there are in a row before a burst is taken to be over.
const CALM_ROUND_TRIPS: usize = 3;
/// How long to wait for the end of a burst.
const BURST: Duration = Duration::from_secs(2);

/// A route as its source sees it.
pub struct Feed<D> {
    /// What is subscribed to.
    pub subject: Subject,
    /// With whom the messages are shared.
    pub queue_group: QueueGroup,
    /// Where the messages go.
    pub line: Rc<Line<D>>,
}

impl<D> Clone for Feed<D> {
    fn clone(&self) -> Self {
        Self {
            subject: self.subject.clone(),
            queue_group: self.queue_group.clone(),
            line: Rc::clone(&self.line),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    link: Rc<Link>,
    echo: Echo,
    stop: CancellationToken,
    pump: JoinHandle<()>,
}

impl Session {
    /// Subscribes every route over `link`, which may not be connected yet: the subscriptions follow when it is.
    pub async fn start<D: Deliver + 'static>(
        link: Link,
        feeds: &[Feed<D>],
        slow_consumer: &Arc<Counter>,
        clock: Clock,
    ) -> Result<Self, LinkError> {
        let mut intakes = Vec::with_capacity(feeds.len());
        for feed in feeds {
            let subject = feed.subject.as_str().to_owned();
            let group = feed.queue_group.as_str().to_owned();
            let subscriber = link.client().queue_subscribe(subject, group).await?;
            let subject = feed.subject.as_str().into();
            intakes.push(Intake { subscriber: Some(subscriber), subject, line: Rc::clone(&feed.line) });
        }
        let echo = Echo::over(&link).await?;
        let link = Rc::new(link);
        let stop = CancellationToken::new();
        let pump = Pump {
            intakes,
            link: Rc::clone(&link),
            taken: 0,
            lost: 0,
            slow_consumer: Arc::clone(slow_consumer),
            reports: Throttle::new(1, Duration::from_secs(1)),
            clock,
        };
        let pump = spawn_local(pump.run(stop.clone()));
        Ok(Self { link, echo, stop, pump })
    }

    /// Returns when the server has confirmed the subscriptions, as well as can be told.
    pub async fn confirmed(&mut self) {
        while !self.is_connected() {
            // The event of it may get lost.
            drop(timeout(Duration::from_secs(1), self.link.state().connection()).await);
        }
        if self.echo.call(CONFIRMATION).await.is_err() {
            debug!("the NATS server does not confirm the subscriptions");
        }
    }

    /// Leaves the queue groups without losing a message that the server has sent already.
    pub async fn leave(mut self) {
        if self.is_connected() && self.leave_connected().await {
            return;
        }
        // Nothing is on the wire. The pump takes what the client still holds.
        self.stop.cancel();
        if self.pump.await.is_err() {
            warn!("the NATS source ended early");
        }
    }

    /// Whether the subscriptions have ended in order.
    async fn leave_connected(&mut self) -> bool {
        let pause = match self.calm().await {
            Ok(round_trip) => (round_trip * 4).clamp(Duration::from_millis(50), Duration::from_secs(1)),
            Err(NoEcho) => Duration::from_millis(250),
        };
        if !unsubscribe(self.link.client()).await {
            return false;
        }
        // The client forgets its subscriptions the next time it wakes up after the server was told, and drops what
        // arrives later, although messages may still be on their way: it does not wait for the answer
        // (nats-io/nats.rs#1332; `ConnectionHandler::process` in async-nats 0.51). But it runs on this very thread and
        // cannot wake up while we hold it. When we let go, everything has arrived, and it reads all of it before it
        // forgets. What arrives meanwhile has to fit into the buffer of the socket: hence the wait for a calm moment.
        thread::sleep(pause);
        // The subscriptions end, and the pump with them.
        let ended = timeout(Duration::from_secs(5), wait_until(|| self.pump.is_finished())).await.is_ok();
        if !ended {
            warn!("the NATS client did not end its subscriptions in time");
        }
        ended
    }

    /// Waits for a moment when little comes, though not for long. Returns how long a round trip took then.
    async fn calm(&mut self) -> Result<Duration, NoEcho> {
        let end = Instant::now() + BURST;
        let mut in_a_row = 0;
        loop {
            let before = self.link.bytes_read();
            let round_trip = self.echo.call(Duration::from_secs(1)).await?;
            in_a_row = if self.link.bytes_read() - before <= CALM { in_a_row + 1 } else { 0 };
            if in_a_row == CALM_ROUND_TRIPS || Instant::now() >= end {
                return Ok(round_trip);
            }
        }
    }

    fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    /// The connection.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Returns when the server has announced that it is about to stop.
    pub async fn lame_duck(&self) {
        self.link.state().lame_duck().await;
    }

    /// Brings what is known of the connection up to date.
    pub fn refresh(&self) {
        self.link.refresh();
    }
}

/// Tells the server to send nothing more. True when that is on its way.
async fn unsubscribe(client: &async_nats::Client) -> bool {
    // Both commands reach the client in one go: between them it must not wake up, and so this may not yield.
    unconstrained(async {
        let told = client.drain().await.is_ok();
        told && matches!(timeout(Duration::from_secs(1), client.flush()).await, Ok(Ok(())))
    })
    .await
}

async fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// One subscription.
struct Intake<D> {
    /// None when it has ended.
    subscriber: Option<Subscriber>,
    subject: Arc<str>,
    line: Rc<Line<D>>,
}

impl<D: Deliver + 'static> Intake<D> {
    /// Moves messages from the client to the line, a turn of them at most.
    fn poll(&mut self, cx: &mut Context<'_>, now: Time) -> Turn {
        let Some(subscriber) = &mut self.subscriber else {
            return Turn { taken: 0, more: false };
        };
        let mut turn = Turn { taken: 0, more: true };
        while turn.taken < TURN {
            match Pin::new(&mut *subscriber).poll_next(cx) {
                Poll::Ready(Some(message)) => {
                    turn.taken += 1;
                    self.line.offer(accept(message, &self.subject, now));
                }
                Poll::Ready(None) => {
                    self.subscriber = None;
                    turn.more = false;
                    break;
                }
                Poll::Pending => {
                    turn.more = false;
                    break;
                }
            }
        }
        if turn.taken > 0 {
            self.line.summon();
        }
        turn
    }
}

struct Turn {
    taken: usize,
    more: bool,
}

/// A message as it came from NATS, made ours.
pub(crate) fn accept(message: async_nats::Message, subscribed: &Arc<str>, now: Time) -> Message {
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
    let id = headers.get("nats-msg-id").map_or_else(Id::fresh, Id::given);
    Message::new(id, subject, headers, message.payload, now)
}

/// Moves messages from the client to the lines, as fast as they come: the client's read loop drops what it finds no
/// room for, so a line never makes it wait. What is too much for a line is the line's decision.
struct Pump<D> {
    intakes: Vec<Intake<D>>,
    link: Rc<Link>,
    taken: u64,
    /// What the client dropped, as far as it is counted.
    lost: u64,
    slow_consumer: Arc<Counter>,
    reports: Throttle,
    clock: Clock,
}

impl<D: Deliver + 'static> Pump<D> {
    /// Runs until the subscriptions have ended, or until everything was taken after `stop`.
    async fn run(mut self, stop: CancellationToken) {
        let mut stopped = pin!(stop.cancelled());
        // Turns, not the runtime's budget, limit what is done in one go: only then "nothing more" means what it says.
        unconstrained(poll_fn(|cx| {
            let stopped = stopped.as_mut().poll(cx).is_ready();
            let more = self.poll(cx);
            if more {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.count_losses();
            let ended = self.intakes.iter().all(|intake| intake.subscriber.is_none());
            if stopped || ended { Poll::Ready(()) } else { Poll::Pending }
        }))
        .await;
    }

    /// Some turns for each subscription. Whether there is more.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.clock.now();
        let mut more = true;
        for _ in 0..TURNS {
            more = false;
            for intake in &mut self.intakes {
                let turn = intake.poll(cx, now);
                self.taken += turn.taken as u64;
                more |= turn.more;
            }
            if !more {
                break;
            }
        }
        more
    }

    /// With nothing left to take, what the client has read and we have not taken is what it dropped. Its own events for
    /// this get lost themselves.
    fn count_losses(&mut self) {
        let Some(read) = self.link.messages_read() else {
            return;
        };
        let lost = read.saturating_sub(self.taken);
        if lost > self.lost {
            self.slow_consumer.add(lost - self.lost);
            self.lost = lost;
            if self.reports.pass(self.clock.now()).is_some() {
                warn!(lost, "messages lost before they were received: this lane can't keep up with NATS");
            }
        }
    }
}
