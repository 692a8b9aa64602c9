//! From a configuration to the routes that should run. What is the same in the old and the new one is kept, so that it
//! notices nothing of the change.

use std::{mem, rc::Rc, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{sync::mpsc, task::spawn_local};
use tracing::debug;

use super::{Request, announce, surroundings, traces, wanted::Wanted};
use crate::{
    base::clock::Clock,
    config::{self, Config, History, PublishSubject, RouteName},
    control::reload::Report,
    dead_letter::{Destination, Publishing, Sender},
    deliver::endpoint::Surroundings,
    endpoints::{Changes, Follower, Replica, Status, Update},
    history::{Feed, Keeping, Publisher},
    lane::LaneStatus,
    nats::OnDemand,
    otlp::Exporter,
    route::{
        registry::{Registry, Routes},
        shared::Route,
        webhook_health::Word,
    },
    trace::{Tracer, sampler::Sampler, spans::Spans},
};

/// How many words of webhooks wait for the other replicas to be told. Those that are too many are not: each finds out by itself.
const WORDS: usize = 256;

/// A new configuration can't be applied. Nothing has changed.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The process is stopping, and takes no configuration any more.
    #[error("the process is stopping")]
    Stopping,
    /// A route would have each of its attempts told of by a message that it attempts: what is published of history is what the
    /// process was started with.
    #[error(
        "routes.{0}.subject: expected none that {1} matches, to which history is published until a restart"
    )]
    OwnHistory(RouteName, PublishSubject),
}

/// Makes routes of their settings, and has them run.
pub(super) struct Applier {
    /// Never replaced: these sections are what the process runs with until it is restarted.
    started_with: Config,
    wanted: Wanted,
    grace: Duration,
    registry: Arc<Registry>,
    lanes: Vec<Arc<LaneStatus>>,
    letters: Publishing,
    webhooks: Surroundings,
    /// Where the spans of messages go, and of which there are any; none where tracing is off.
    tracing: Option<(Spans, Sampler)>,
    /// What is told what comes of attempts.
    feed: Arc<Feed>,
    /// Who publishes that; none where nobody does.
    history: Option<Publisher>,
    /// What lets other replicas know what webhooks say, where there is a bucket.
    words: Option<mpsc::Sender<Word>>,
    clock: Clock,
}

impl Applier {
    /// For a process that was started with `config`, out of which its routes are taken.
    pub(super) fn new(
        config: &mut Config,
        registry: &Arc<Registry>,
        connection: Rc<OnDemand>,
        lanes: Vec<Arc<LaneStatus>>,
        clock: Clock,
    ) -> Self {
        let publish = |settings| Publisher::start(settings, connection.get(), surroundings::machine(), clock);
        let wanted = Wanted::of(config);
        let (history, feed) = config.history.as_ref().map(publish).unzip();
        let feed = Arc::new(feed.unwrap_or_default());
        Self {
            started_with: config.clone(),
            wanted,
            grace: config.shutdown.grace,
            registry: Arc::clone(registry),
            lanes,
            letters: Publishing::new(connection, clock),
            webhooks: Surroundings::default(),
            tracing: None,
            feed,
            history,
            words: None,
            clock,
        }
    }

    /// Has the messages of the routes that are applied from now on traced, where the process was started with that.
    pub(super) fn start_tracing(&mut self) -> Option<Exporter> {
        let settings = self.started_with.tracing.as_ref()?;
        let exporter = Exporter::start(settings, &self.webhooks, self.clock);
        self.tracing = Some((exporter.spans().clone(), Sampler::new(settings.sample)));
        Some(exporter)
    }

    /// What is told what comes of attempts.
    pub(super) const fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Whether a stream keeps that; none where none is to.
    pub(super) fn keeping(&self) -> Option<Arc<Keeping>> {
        self.history.as_ref().and_then(Publisher::keeping).cloned()
    }

    /// How long a stop may deliver what is in hand.
    pub(super) const fn grace(&self) -> Duration {
        self.grace
    }

    /// Applies `config`, and returns when all lanes have done so.
    pub(super) async fn apply(&mut self, config: Config) -> Result<Report, ApplyError> {
        self.beside_history(&config)?;
        let need_restart = self.need_restart(&config);
        surroundings::warn_of_too_few_descriptors(&config.routes, self.lanes.len());
        self.grace = config.shutdown.grace;
        self.wanted.configure(config.routes);
        let wanted = || self.wanted.routes().map(|route| &**route);
        let changes = self.registry.current().compare(wanted());
        announce::notices(wanted().filter(|route| changes.brings(&route.name)));
        let generation = self.publish();
        self.applied(generation).await;
        Ok(Report { generation, changes, need_restart })
    }

    /// Applies what has changed in the bucket, and returns when all lanes have done so.
    pub(super) async fn update(&mut self, changes: Changes) {
        let (before, revision) = (self.registry.current(), changes.revision);
        self.wanted.take(changes);
        let generation = self.publish();
        announce::followed(revision, &before, &self.registry.current());
        self.applied(generation).await;
    }

    /// Makes what is wanted the list of what should run.
    pub(super) fn publish(&mut self) -> u64 {
        let current = self.registry.current();
        let wanted = mem::take(&mut self.wanted);
        let routes: Vec<_> = wanted.routes().map(|settings| self.route(&current, settings)).collect();
        self.wanted = wanted;
        self.registry.publish(routes, self.grace)
    }

    async fn applied(&self, generation: u64) {
        for lane in &self.lanes {
            lane.applied(generation).await;
        }
    }

    /// Makes what `config` says the first list of what should run, and has its bucket followed over `connection`, where it
    /// has one. Returns what is known of that, and what comes of it.
    pub(super) fn start(
        &mut self,
        config: &Config,
        connection: &Rc<OnDemand>,
    ) -> (Option<Arc<Status>>, mpsc::Receiver<Update>) {
        surroundings::warn_of_too_few_descriptors(
            self.wanted.routes().map(|route| &**route),
            self.lanes.len(),
        );
        let (heard, words) = mpsc::channel(WORDS);
        self.words = config.endpoints.is_some().then_some(heard);
        self.publish();
        let (updates, coming) = mpsc::channel(1);
        let status = self.wanted.status().cloned();
        if let (Some(endpoints), Some(status)) = (&config.endpoints, &status) {
            let name = surroundings::machine().into();
            let replica = Replica { name, words, clock: self.clock };
            let follower = Follower::new(replica, endpoints, connection, &self.registry, status, updates);
            drop(spawn_local(follower.run()));
        }
        (status, coming)
    }

    /// Applies what is asked for, and what comes of the bucket, one after the other.
    pub(super) async fn serve(
        &mut self,
        requests: &mut mpsc::Receiver<Request>,
        updates: &mut mpsc::Receiver<Update>,
    ) {
        loop {
            tokio::select! {
                Some(Request { config, done }) = requests.recv() => {
                    // Whoever asked may have gone away meanwhile.
                    drop(done.send(self.apply(*config).await));
                }
                Some(Update { changes, done }) = updates.recv() => {
                    self.update(changes).await;
                    if done.send(()).is_err() {
                        debug!("nobody waits for the changes of the bucket any more");
                    }
                }
                else => return,
            }
        }
    }

    /// The route with these settings: the one that runs where they are the same.
    fn route(&mut self, current: &Routes, settings: &Arc<config::Route>) -> Arc<Route> {
        let former = current.get(&settings.name);
        // Most often they are the same object: of a bucket one value has changed, and ten thousand have not.
        let is_same =
            |route: &&Arc<Route>| Arc::ptr_eq(&route.settings, settings) || route.settings == *settings;
        if let Some(route) = former.filter(is_same) {
            return Arc::clone(route);
        }
        let letters = self.letters(former.map(|route| &**route), settings);
        let endpoint = self.webhooks.endpoint(settings, self.clock);
        let stats = self.registry.stats_of(&settings.name);
        let route = Route::new(Arc::clone(settings), stats, endpoint, letters)
            .traced_by(self.tracer(settings))
            .told_to(&self.feed);
        let route = match former {
            Some(former) => route.after(former),
            None => route,
        };
        if let Some(words) = &self.words {
            route.health.report_to(words, &settings.webhook.url);
        }
        Arc::new(route)
    }

    fn tracer(&self, settings: &config::Route) -> Option<Tracer> {
        let (spans, sampler) = self.tracing.clone()?;
        Some(Tracer { about: Arc::new(traces::about(settings)), sampler, spans })
    }

    /// Where the dead letters of a route with these settings go: to where they went before where that is the same.
    fn letters(&mut self, former: Option<&Route>, settings: &config::Route) -> Option<Sender> {
        let to = settings.dead_letter.clone()?;
        let is_durable = settings.jetstream.is_some();
        let is_same = |route: &&Route| {
            route.settings.dead_letter.as_ref() == Some(&to) && route.is_durable() == is_durable
        };
        let same = former.filter(is_same);
        if let Some(sender) = same.and_then(|route| route.dead_letters.clone()) {
            return Some(sender);
        }
        let destination = Destination { route: settings.name.clone(), to, is_durable };
        Some(self.letters.open(destination))
    }

    /// Fails where a route of `config` takes the history that this process publishes.
    fn beside_history(&self, config: &Config) -> Result<(), ApplyError> {
        let Some(History { subject, .. }) = &self.started_with.history else { return Ok(()) };
        match config.routes.iter().find(|route| route.subject.matches(subject)) {
            Some(route) => Err(ApplyError::OwnHistory(route.name.clone(), subject.clone())),
            None => Ok(()),
        }
    }

    fn need_restart(&self, config: &Config) -> Vec<&'static str> {
        let before = &self.started_with;
        let sections = [
            ("log", before.log != config.log),
            ("server", before.server != config.server),
            ("metrics", before.metrics != config.metrics),
            ("nats", before.nats != config.nats),
            ("service", before.service != config.service),
            ("runtime", before.runtime != config.runtime),
            ("endpoints", before.endpoints != config.endpoints),
            ("tracing", before.tracing != config.tracing),
            ("history", before.history != config.history),
            ("shutdown.hand_over", before.shutdown.hand_over != config.shutdown.hand_over),
        ];
        sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    /// Publishes the last dead letters, and the last of the history, when no route runs any more.
    pub(super) async fn finish(self) {
        self.letters.finish().await;
        if let Some(history) = self.history {
            history.finish().await;
        }
    }
}
