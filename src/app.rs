//! The whole daemon, wired up in reading order: the only place that knows all the parts.

use std::{num::NonZeroUsize, rc::Rc, sync::Arc, thread, time::Duration};

use thiserror::Error;
use tokio::{runtime::Handle, task::spawn_local, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    base::clock::Clock,
    config::{Config, Threads},
    control::{
        api::Api,
        health::Health,
        metrics::{Figures, Metrics, RouteFigures},
        server::{BindError, Server},
        systemd::{self, Supervisor},
    },
    dead_letter::{self, Outlet, Place, Post},
    deliver::connect::tls::Trust,
    handover::{Desk, HandOver},
    lane::{self, LaneError, LaneStatus, Plan},
    nats::{Link, LinkError, LinkState},
    route::shared::{self, RouteShare},
    stats::Account,
};

/// More lanes than this are only started when asked for: each has its own connection to NATS.
const MOST_AUTOMATIC_LANES: usize = 4;
/// How long NATS may take to confirm the last dead letters, after the grace.
const LAST_LETTERS: Duration = Duration::from_secs(5);

/// The daemon could not start, or a part of it failed for good.
#[derive(Debug, Error)]
pub enum AppError {
    /// A port is taken, most likely.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The connection for dead letters can't be set up.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// A lane failed.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// A second signal.
    #[error("stopped at once, as told by a second signal")]
    Aborted,
    /// A lane panicked.
    #[error("a lane ended unexpectedly")]
    Panic,
}

/// A daemon that has its ports, but takes no messages yet.
#[derive(Debug)]
pub struct App {
    config: Arc<Config>,
    clock: Clock,
    api: Server,
    metrics: Server,
}

impl App {
    /// Takes the ports, so that a mistake shows before the first message does.
    pub async fn bind(config: Config, clock: Clock) -> Result<Self, AppError> {
        let api = Server::bind("api", config.server.api).await?;
        let metrics = Server::bind("metrics", config.server.metrics).await?;
        Ok(Self { config: Arc::new(config), clock, api, metrics })
    }

    /// Delivers until `stop` returns, and then stops in order: unready, leave NATS, deliver what is in hand, hand over
    /// what is left, give up the rest, publish the last dead letters. Needs a runtime that takes local tasks.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Account, AppError> {
        let Self { config, clock, api, metrics } = self;
        let lanes = lane_count(&config);
        let letters = DeadLetters::start(&config, clock).await?;
        let (hand_over, desks) = HandOver::start(&config, lanes.get(), clock).await?.unzip();
        let trust = Trust::load();
        let mut shares: Vec<Vec<RouteShare>> = (0..lanes.get()).map(|_| Vec::new()).collect();
        let mut figures = Vec::with_capacity(config.routes.len());
        for (route, outlet) in config.routes.iter().zip(&letters.outlets) {
            let of_route = shared::shares(route, lanes, &trust, outlet.as_ref());
            let stats = of_route.iter().map(|share| Arc::clone(&share.stats)).collect();
            let breaker = of_route[0].breaker.clone();
            figures.push(RouteFigures {
                name: route.name.clone(),
                lanes: stats,
                breaker,
                queue: route.queue.bounds,
                retries: route.retry.bounds,
                is_durable: route.jetstream.is_some(),
            });
            shares.iter_mut().zip(of_route).for_each(|(lane, share)| lane.push(share));
        }
        drop(trust);
        let statuses: Vec<Arc<LaneStatus>> = shares.iter().map(|_| Arc::default()).collect();
        statuses.iter().for_each(|status| status.pulse.beat(clock.now()));
        let health = Arc::new(Health::new(statuses.clone(), &config.routes, clock));
        let page = Metrics::new(Figures {
            routes: figures.clone(),
            lanes: statuses.clone(),
            links: letters.link.clone().into_iter().chain(hand_over.as_ref().map(HandOver::link)).collect(),
            control: Handle::current().metrics(),
        });
        drop(spawn_local(api.serve(Api::new(Arc::clone(&health)))));
        drop(spawn_local(metrics.serve(page)));

        let lanes = Lanes::start(&config, shares, statuses, desks.unwrap_or_default(), clock)?;
        if let Some(supervisor) = Supervisor::listening(Arc::clone(&health)) {
            drop(spawn_local(supervisor.run()));
        }
        tokio::select! {
            () = stop => {}
            () = lanes.ended.cancelled() => error!("a lane has ended, stopping"),
        }
        health.drain();
        systemd::stopping(config.shutdown.grace).await;
        if let Some(hand_over) = hand_over {
            hand_over.leave().await;
        }
        let result = lanes.stop().await;
        letters.finish().await;
        let account = figures.iter().fold(Account::default(), |sum, route| sum + route.account());
        report(account);
        result.map(|()| account)
    }
}

fn lane_count(config: &Config) -> NonZeroUsize {
    match config.runtime.threads {
        Threads::Fixed(lanes) => lanes,
        Threads::Auto => {
            let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
            // What is divided among the lanes must be enough for all.
            let divided = config.routes.iter().flat_map(|route| {
                [route.webhook.concurrency, route.queue.bounds.messages, route.retry.bounds.messages]
            });
            let least = divided.map(NonZeroUsize::get).min().unwrap_or(1);
            NonZeroUsize::new(cores.min(MOST_AUTOMATIC_LANES).min(least)).unwrap_or(NonZeroUsize::MIN)
        }
    }
}

/// The threads of the lanes.
struct Lanes {
    threads: Vec<thread::JoinHandle<Result<(), LaneError>>>,
    stop: CancellationToken,
    /// Cancelled when the first lane has ended.
    ended: CancellationToken,
}

impl Lanes {
    fn start(
        config: &Arc<Config>,
        shares: Vec<Vec<RouteShare>>,
        statuses: Vec<Arc<LaneStatus>>,
        desks: Vec<Desk>,
        clock: Clock,
    ) -> Result<Self, AppError> {
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let mut threads = Vec::with_capacity(shares.len());
        let mut desks = desks.into_iter();
        for (number, (shares, status)) in shares.into_iter().zip(statuses).enumerate() {
            let (config, stop) = (Arc::clone(config), stop.clone());
            let plan = Plan { number, config, shares, status, clock, stop, desk: desks.next() };
            threads.push(lane::spawn(plan, ended.clone()).map_err(AppError::Thread)?);
        }
        Ok(Self { threads, stop, ended })
    }

    /// Stops all lanes and waits for them.
    async fn stop(self) -> Result<(), AppError> {
        self.stop.cancel();
        let mut result = Ok(());
        for thread in self.threads {
            let ended = tokio::task::spawn_blocking(move || thread.join()).await;
            result = result.and(match ended {
                Ok(Ok(ended)) => ended.map_err(AppError::from),
                Ok(Err(_panic)) => Err(AppError::Panic),
                Err(_aborted) => Err(AppError::Panic),
            });
        }
        result
    }
}

/// The outboxes at work, over one connection, where any route has a dead-letter subject.
struct DeadLetters {
    /// In the order of the routes.
    outlets: Vec<Option<Outlet>>,
    link: Option<Arc<LinkState>>,
    give_up: CancellationToken,
    task: TaskTracker,
}

impl DeadLetters {
    async fn start(config: &Config, clock: Clock) -> Result<Self, LinkError> {
        let (give_up, task) = (CancellationToken::new(), TaskTracker::new());
        if config.routes.iter().all(|route| route.dead_letter.is_none()) {
            return Ok(Self { outlets: vec![None; config.routes.len()], link: None, give_up, task });
        }
        let link = Rc::new(Link::open(&config.nats, "dead letters", None).await?);
        let mut outlets = Vec::with_capacity(config.routes.len());
        for route in &config.routes {
            let Some(to) = route.dead_letter.clone() else {
                outlets.push(None);
                continue;
            };
            let place = Place { route: route.name.clone(), to };
            let post = Post::over(Rc::clone(&link), place, clock).await?;
            let (outlet, outbox) = dead_letter::outbox();
            drop(spawn_local(task.track_future(outbox.run(post, give_up.clone()))));
            outlets.push(Some(outlet));
        }
        Ok(Self { outlets, link: Some(Arc::clone(link.state())), give_up, task })
    }

    /// Publishes what is waiting, as far as NATS takes it in time.
    async fn finish(self) {
        // An outbox ends when its last outlet is gone.
        drop(self.outlets);
        self.task.close();
        if timeout(LAST_LETTERS, self.task.wait()).await.is_err() {
            warn!("NATS does not confirm the last dead letters");
            self.give_up.cancel();
            self.task.wait().await;
        }
    }
}

fn report(account: Account) {
    let Account { received, delivered, dead_lettered, dropped, handed_over, returned } = account;
    let in_hand = account.in_hand();
    info!(received, delivered, dead_lettered, dropped, handed_over, returned, in_hand, "stopped");
    if in_hand != 0 {
        error!(in_hand, "the account does not add up: please report this as a bug");
    }
}
