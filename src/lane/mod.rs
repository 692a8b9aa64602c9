//! A lane: one thread with a runtime, a connection to NATS and a line for every route, sharing nothing with the other
//! lanes on the way of a message. NATS balances between lanes exactly as it does between replicas.

pub mod heartbeat;

use std::{
    rc::Rc,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use thiserror::Error;
use tokio::{
    runtime::{Builder, Handle, LocalOptions, LocalRuntime, RuntimeMetrics},
    task::spawn_local,
    time::{interval, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::heartbeat::Pulse;
use crate::{
    base::clock::{Clock, Time},
    config::{Config, Route},
    deliver::{Client, Target},
    handover::{Desk, Giver},
    message::ack_queue::Acks,
    nats::{Link, LinkError, LinkState},
    route::{
        pipeline::{Equipment, Line},
        schedule::{Dispatch, policy::Policy, queue::Queue, rate_limit::Limiter, retry_queue::RetryQueue},
        settle::Settle,
        shared::RouteShare,
    },
    source::{
        core::{Feed, Session},
        jetstream::{self, Streams},
    },
    stats::{Counter, RouteStats},
};

/// How long the last dead letters may wait for room on their way to NATS, after the grace.
const LAST_LETTERS: Duration = Duration::from_secs(5);

/// What a lane is made of. The same for all lanes but for the shares.
pub struct Plan {
    /// Which lane this is, from 0.
    pub number: usize,
    /// The configuration.
    pub config: Arc<Config>,
    /// Its share of each route, in the order of the configuration.
    pub shares: Vec<RouteShare>,
    /// What others may know of it.
    pub status: Arc<LaneStatus>,
    /// Tells the time.
    pub clock: Clock,
    /// Ends the intake, and begins the grace.
    pub stop: CancellationToken,
    /// Hands over to other replicas and takes from them, where a route can.
    pub desk: Option<Desk>,
}

/// What others may know of a lane.
#[derive(Debug, Default)]
pub struct LaneStatus {
    link: Mutex<Option<Arc<LinkState>>>,
    /// Reconnects of connections that were given up since.
    reconnects: Counter,
    subscribed: AtomicBool,
    /// The durable routes.
    streams: Mutex<Vec<Arc<jetstream::Status>>>,
    /// What tokio says about the lane's runtime, once it runs.
    pub runtime: OnceLock<RuntimeMetrics>,
    /// Whether the lane moves.
    pub pulse: Pulse,
    /// Messages that the NATS client dropped, because the lane was too slow.
    pub slow_consumer: Arc<Counter>,
}

impl LaneStatus {
    /// What is known of the connection, once there is one in the making.
    pub fn link(&self) -> Option<Arc<LinkState>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the routes' subscriptions were made.
    pub fn is_subscribed(&self) -> bool {
        self.subscribed.load(Relaxed)
    }

    /// Why durable routes get no messages.
    pub fn streams_in_trouble(&self) -> Vec<String> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.iter().filter_map(|status| status.reason()).collect()
    }

    /// How often the lane has lost its connection and made it again.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.get() + self.link().map_or(0, |link| link.reconnects())
    }

    fn switch_to(&self, link: Arc<LinkState>) {
        let former = self.link.lock().unwrap_or_else(PoisonError::into_inner).replace(link);
        if let Some(former) = former {
            self.reconnects.add(former.reconnects());
        }
    }
}

/// A lane could not begin to work.
#[derive(Debug, Error)]
pub enum LaneError {
    /// No runtime.
    #[error("cannot start the runtime of a lane")]
    Runtime(#[from] std::io::Error),
    /// No connection.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// A lane's runtime.
pub fn runtime() -> Result<LocalRuntime, LaneError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        // Only names are resolved there, one at a time for each route.
        .max_blocking_threads(4)
        .build_local(LocalOptions::default())?;
    Ok(runtime)
}

/// The life of a lane, from the first message to the last.
pub async fn run(plan: Plan) -> Result<(), LaneError> {
    let Plan { number, config, shares, status, clock, stop, desk } = plan;
    status.runtime.get_or_init(|| Handle::current().metrics());
    let moving = Arc::clone(&status);
    drop(spawn_local(async move { moving.pulse.keep(clock).await }));
    let acks = Acks::default();
    let stats = shares.iter().map(|share| Arc::clone(&share.stats)).collect();
    let lines: Vec<_> = config
        .routes
        .iter()
        .zip(shares)
        .map(|(route, share)| line(route, share, acks.clone(), clock))
        .collect();
    let lane = Lane { number, config, lines, stats, status, clock };
    let giver = desk.map(|Desk { taker, giver }| {
        drop(spawn_local(taker.run(lane.lines.clone())));
        giver
    });
    let streams = lane.streams(acks).await?;
    let session = lane.take_in(streams.as_ref(), &stop).await?;
    let deadline = clock.now() + lane.config.shutdown.grace;
    if let Some(streams) = &streams {
        streams.stop();
    }
    for line in &lane.lines {
        line.close(deadline);
    }
    session.leave().await;
    lane.finish(deadline, streams.as_ref(), giver).await;
    if let Some(streams) = streams {
        streams.close().await;
    }
    Ok(())
}

struct Lane {
    number: usize,
    config: Arc<Config>,
    lines: Vec<Rc<Line<Client>>>,
    /// Their figures, in the same order.
    stats: Vec<Arc<RouteStats>>,
    status: Arc<LaneStatus>,
    clock: Clock,
}

impl Lane {
    /// Takes messages in until `stop`. Gives back the session that is to be left then.
    async fn take_in(
        &self,
        streams: Option<&Streams>,
        stop: &CancellationToken,
    ) -> Result<Session, LaneError> {
        let mut session = self.session(None).await?;
        self.status.switch_to(Arc::clone(session.link().state()));
        let mut refresh = interval(Duration::from_secs(1));
        tokio::select! {
            () = session.confirmed() => self.announce(),
            () = stop.cancelled() => return Ok(session),
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(session),
                _ = refresh.tick() => {
                    session.refresh();
                    streams.inspect(|streams| streams.refresh());
                }
                () = session.lame_duck() => {
                    if let Err(error) = self.move_away(&mut session, stop).await {
                        // What is in hand here is worth more than a clean move: the client reconnects by itself.
                        warn!(lane = self.number, %error, "cannot move to another NATS server");
                    }
                }
            }
        }
    }

    /// Replaces `session` by one with another server, and leaves the old one.
    async fn move_away(&self, session: &mut Session, stop: &CancellationToken) -> Result<(), LaneError> {
        let mut successor = self.session(Some(session.link())).await?;
        // The old server goes on serving us until the successor is in place, or until it stops.
        tokio::select! {
            () = successor.confirmed() => {}
            () = stop.cancelled() => {}
        }
        self.status.switch_to(Arc::clone(successor.link().state()));
        std::mem::replace(session, successor).leave().await;
        Ok(())
    }

    async fn session(&self, predecessor: Option<&Link>) -> Result<Session, LaneError> {
        let link = Link::open(&self.config.nats, &format!("lane {}", self.number), predecessor).await?;
        let core = |(route, _): &(&Route, _)| route.jetstream.is_none();
        let feeds: Vec<_> = self.config.routes.iter().zip(&self.lines).filter(core).map(feed).collect();
        Ok(Session::start(link, &feeds, &self.status.slow_consumer, self.clock).await?)
    }

    /// Begins to pull for the durable routes, if there are any.
    async fn streams(&self, acks: Acks) -> Result<Option<Streams>, LaneError> {
        let mut feeds = Vec::new();
        for ((route, line), stats) in self.config.routes.iter().zip(&self.lines).zip(&self.stats) {
            let Some(jetstream) = route.jetstream.clone() else { continue };
            let status = Arc::new(jetstream::Status::new(route.name.clone()));
            self.status.streams.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&status));
            feeds.push(jetstream::Feed {
                route: route.name.clone(),
                subject: route.subject.clone(),
                jetstream,
                line: Rc::clone(line),
                stats: Arc::clone(stats),
                status,
            });
        }
        if feeds.is_empty() {
            return Ok(None);
        }
        let link = Link::open(&self.config.nats, &format!("lane {} streams", self.number), None).await?;
        Ok(Some(Streams::start(link, feeds, acks, self.clock, self.number).await?))
    }

    fn announce(&self) {
        self.status.subscribed.store(true, Relaxed);
        for route in self.config.routes.iter().filter(|route| route.jetstream.is_none()) {
            info!(
                route = route.name.as_str(),
                lane = self.number,
                subject = route.subject.as_str(),
                queue_group = route.queue_group.as_str(),
                webhook = %route.webhook.url,
                "route is live"
            );
        }
    }

    /// Delivers what is in hand until `deadline`, hands over what is left, and gives up the rest.
    async fn finish(&self, deadline: Time, streams: Option<&Streams>, giver: Option<Giver>) {
        let drained = async {
            for line in &self.lines {
                line.drained(deadline).await;
            }
        };
        tokio::select! {
            () = drained => {}
            () = sleep_until(self.clock.instant(deadline)) => {}
        }
        if let Some(streams) = streams {
            streams.leave().await;
        }
        for line in &self.lines {
            line.cut().await;
        }
        if let Some(giver) = giver {
            giver.give(self.config.routes.iter().zip(self.lines.iter().map(|line| &**line))).await;
        }
        let patience = self.clock.now() + LAST_LETTERS;
        for line in &self.lines {
            line.give_up(patience).await;
        }
    }
}

fn feed((route, line): (&Route, &Rc<Line<Client>>)) -> Feed<Client> {
    Feed { subject: route.subject.clone(), queue_group: route.queue_group.clone(), line: Rc::clone(line) }
}

fn line(route: &Route, share: RouteShare, acks: Acks, clock: Clock) -> Rc<Line<Client>> {
    let target = Rc::new(Target::new(&route.webhook, share.tls, clock));
    let dead_letters = share.dead_letters;
    Line::start(Equipment {
        dispatch: Dispatch::new(
            Queue::new(share.queue, route.queue.overflow),
            RetryQueue::new(share.retries),
            share.limit.map(Limiter::new),
            share.hold,
            share.breaker.clone(),
            Policy::from(&route.retry),
        ),
        overflow: route.queue.overflow,
        concurrency: share.concurrency.get(),
        client: Box::new(move || Client::new(Rc::clone(&target))),
        settle: Settle::new(route.name.clone(), Arc::clone(&share.stats), dead_letters, acks, clock),
        condition: share.condition,
        breaker: share.breaker,
        stats: share.stats,
        clock,
    })
}

/// Runs a lane on a thread of its own. `ended` is cancelled when it is over, however it came to that.
pub fn spawn(
    plan: Plan,
    ended: CancellationToken,
) -> std::io::Result<std::thread::JoinHandle<Result<(), LaneError>>> {
    let (number, status) = (plan.number, Arc::clone(&plan.status));
    std::thread::Builder::new().name(format!("lane-{number}")).spawn(move || {
        let _ended = ended.drop_guard();
        let done = runtime().and_then(|runtime| runtime.block_on(run(plan)));
        status.pulse.end();
        if let Err(error) = &done {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            error!(lane = number, %error, cause, "lane failed");
        }
        done
    })
}
