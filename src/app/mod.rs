//! The whole daemon, wired up in reading order: the only place that knows all the parts.

mod announce;
mod apply;
mod lanes;
mod reload;
mod servers;
mod stop;
mod surroundings;
mod traces;
mod wanted;
mod watch;

use std::{io, rc::Rc, sync::Arc};

use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_local,
};
use tracing::error;

use self::{apply::Applier, lanes::Lanes, reload::Follower, servers::Seen, stop::Running};
pub use self::{apply::ApplyError, lanes::lane_count};
use crate::{
    base::clock::Clock,
    config::{Config, Origin},
    control::{
        letters::Letters,
        log_level::LevelControl,
        reload::{Reloader, Report, reloader},
        server::{BindError, Server, Tls},
        service::Service,
        systemd::ServiceManager,
    },
    endpoints::{Fleet, Store},
    handover::HandOver,
    lane::{LaneError, LaneStatus},
    nats::{Connections, OnDemand},
    route::registry::Registry,
    stats::Tally,
};

/// The daemon could not start, or a part of it failed for good.
#[derive(Debug, Error)]
pub enum AppError {
    /// A port is taken, most likely.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificate of the API can't be shown.
    #[error("cannot speak TLS with server.tls.cert_file")]
    Tls(#[source] tokio_rustls::rustls::Error),
    /// The system refuses what a runtime or the handling of signals needs.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    /// The system refuses a thread for a lane.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A lane could not begin, or go on; the others were stopped in order.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// A second signal has ended the process at once: what was in hand is lost.
    #[error("stopped at once, as told by a second signal")]
    Aborted,
    /// A lane panicked; the others were stopped in order.
    #[error("a lane ended unexpectedly")]
    Panic,
}

/// A daemon that has its ports, but takes no messages yet.
pub struct App {
    config: Config,
    clock: Clock,
    api: Server,
    metrics: Server,
    requests: mpsc::Receiver<Request>,
    handle: ConfigHandle,
    follower: Follower,
    reloader: Reloader,
    log_level: Option<LevelControl>,
}

/// What a running daemon is asked for.
#[derive(Debug)]
struct Request {
    config: Box<Config>,
    done: oneshot::Sender<Result<Report, ApplyError>>,
}

/// By this a running daemon gets another configuration.
#[derive(Clone, Debug)]
pub struct ConfigHandle(mpsc::Sender<Request>);

impl ConfigHandle {
    /// Makes what `config` says of routes, and of the grace, what runs, and returns when it does: new routes take
    /// messages, routes that are gone take none any more, and deliver what they have in hand. Routes with the same settings
    /// notice nothing.
    ///
    /// # Errors
    /// Then nothing has changed.
    pub async fn apply(&self, config: Config) -> Result<Report, ApplyError> {
        let (done, report) = oneshot::channel();
        let request = Request { config: Box::new(config), done };
        self.0.send(request).await.map_err(|_gone| ApplyError::Stopping)?;
        report.await.unwrap_or(Err(ApplyError::Stopping))
    }
}

impl App {
    /// Takes the ports, so that a mistake shows before the first message does. Needs a runtime.
    /// `config` came from `origin`, from where it is read again at a reload.
    pub fn bind(config: Config, origin: Origin, clock: Clock) -> Result<Self, AppError> {
        surroundings::settle_in();
        let tls = config.server.tls.as_ref().map(Tls::of).transpose().map_err(AppError::Tls)?;
        let api = Server::bind("api", config.server.api)?.encrypted_by(tls);
        let metrics = Server::bind("metrics", config.server.metrics)?;
        let (handle, requests) = mpsc::channel(1);
        let handle = ConfigHandle(handle);
        let (reloader, reloads) = reloader(origin.at);
        let follower = Follower::new(&config, origin, reloads, handle.clone());
        Ok(Self { config, clock, api, metrics, requests, handle, follower, reloader, log_level: None })
    }

    /// The same, whose API may change the level of the log.
    #[must_use]
    pub fn logging(self, level: LevelControl) -> Self {
        Self { log_level: Some(level), ..self }
    }

    /// The server of the API, and that of the metrics.
    pub const fn servers(&self) -> (&Server, &Server) {
        (&self.api, &self.metrics)
    }

    /// The handle by which it gets another configuration while it runs.
    pub fn handle(&self) -> ConfigHandle {
        self.handle.clone()
    }

    /// By this it is asked to read its configuration again while it runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Delivers until `stop` returns, and then stops in order: unready, take nothing over any more, then have no route run:
    /// leave NATS, deliver what is in hand, hand over what is left, give up the rest. At last publish the last dead letters.
    /// Needs a runtime that takes local tasks.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Tally, AppError> {
        // The handle is kept: `requests` would end with the last one, and then the daemon. So is the reloader.
        let Self { config, clock, api, metrics, mut requests, handle: _kept, follower, reloader, log_level } =
            self;
        let mut config = config;
        let count = lane_count(config.runtime.threads);
        let registry = Registry::new(count.get()).awaiting_holds(config.endpoints.is_some());
        let registry = Arc::new(registry);
        let connections = Arc::<Connections>::default();
        let statuses: Vec<Arc<LaneStatus>> = (0..count.get()).map(|_| Arc::default()).collect();
        // The time to start is counted from here. Without it, a lane would look stuck until its first beat.
        statuses.iter().for_each(|status| status.heartbeat.beat(clock.now()));
        let connection = Rc::new(OnDemand::new(&config.nats, "process", &connections, clock));
        let mut applier =
            Applier::new(&mut config, &registry, Rc::clone(&connection), statuses.clone(), clock);
        let exporter = applier.start_tracing();
        let (endpoints, mut updates) = applier.start(&config, &connection);
        let hand_over = config
            .shutdown
            .hand_over
            .then(|| HandOver::start(Rc::clone(&connection), &registry, count.get(), clock));
        let (hand_over, offers) = hand_over.unzip();
        let bucket = config.endpoints.as_ref().map(|bucket| Store::over(&connection.get(), bucket));
        let fleet = Rc::new(Fleet::new(Arc::clone(&registry), bucket.zip(endpoints.clone())));
        let letters = Rc::new(Letters::new(Arc::clone(&registry), Rc::clone(&connection), clock));
        let seen = Seen {
            config: &config,
            registry: &registry,
            fleet,
            letters: Rc::clone(&letters),
            lanes: &statuses,
            connections,
            reloader: &reloader,
            log_level,
            spans: exporter.as_ref().map(|exporter| exporter.spans().counts()).unwrap_or_default(),
            feed: applier.feed(),
            keeping: applier.keeping(),
            endpoints,
            clock,
        };
        let (health, answers) = servers::serve(api, metrics, seen);
        let service = Service::new(&config.service, &surroundings::machine(), answers, connection);
        drop(spawn_local(announce::connected(statuses.clone())));
        let lanes = Lanes::start(&config.nats, &registry, statuses, offers.unwrap_or_default(), clock)?;
        if let Some(service_manager) = ServiceManager::listening(Arc::clone(&health)) {
            drop(spawn_local(service_manager.run()));
        }
        tokio::select! {
            () = stop => {}
            () = lanes.ended() => error!("a lane has ended, stopping"),
            () = applier.serve(&mut requests, &mut updates) => {}
            () = follower.run() => {}
            () = service.run() => {}
        }
        // Who asks now need not wait for the end to hear that it is too late.
        drop(requests);
        drop(updates);
        Running { health, hand_over, letters, registry, lanes, applier, exporter }.stop().await
    }
}
