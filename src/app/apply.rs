//! From a configuration to the routes that should run. What is the same in the old and the new one is kept, so that it
//! notices nothing of the change.

use std::{rc::Rc, sync::Arc, time::Duration};

use thiserror::Error;

use super::{announce, surroundings, traces};
use crate::{
    base::clock::Clock,
    config::{self, Config},
    control::reload::Report,
    dead_letter::{Destination, Publishing, Sender},
    deliver::endpoint::Surroundings,
    history::{Feed, Publisher},
    lane::LaneStatus,
    nats::OnDemand,
    otlp::Exporter,
    route::{
        registry::{Registry, Routes},
        shared::Route,
    },
    trace::{Tracer, sampler::Sampler, spans::Spans},
};

/// A new configuration can't be applied. Nothing has changed.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The process is stopping, and takes no configuration any more.
    #[error("the process is stopping")]
    Stopping,
}

/// Makes routes of their settings, and has them run.
pub(super) struct Applier {
    /// Never replaced: these sections are what the process runs with until it is restarted.
    started_with: Config,
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
    clock: Clock,
}

impl Applier {
    /// For a process that was started with `config`.
    pub(super) fn new(
        config: &Config,
        registry: &Arc<Registry>,
        connection: Rc<OnDemand>,
        lanes: Vec<Arc<LaneStatus>>,
        clock: Clock,
    ) -> Self {
        let publish = |settings| Publisher::start(settings, connection.get(), surroundings::machine(), clock);
        let (history, feed) = config.history.as_ref().map(publish).unzip();
        let feed = Arc::new(feed.unwrap_or_default());
        Self {
            started_with: config.clone(),
            grace: config.shutdown.grace,
            registry: Arc::clone(registry),
            lanes,
            letters: Publishing::new(connection, clock),
            webhooks: Surroundings::default(),
            tracing: None,
            feed,
            history,
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

    /// How long a stop may deliver what is in hand.
    pub(super) const fn grace(&self) -> Duration {
        self.grace
    }

    /// Applies `config`, and returns when all lanes have done so.
    pub(super) async fn apply(&mut self, config: Config) -> Result<Report, ApplyError> {
        let changes = self.registry.current().compare(&config.routes);
        announce::notices(config.routes.iter().filter(|route| changes.brings(&route.name)));
        let generation = self.publish(&config);
        for lane in &self.lanes {
            lane.applied(generation).await;
        }
        Ok(Report { generation, changes, need_restart: self.need_restart(&config) })
    }

    /// Makes what `config` says the list of what should run.
    pub(super) fn publish(&mut self, config: &Config) -> u64 {
        surroundings::warn_of_too_few_descriptors(config, self.lanes.len());
        let current = self.registry.current();
        let routes: Vec<_> = config.routes.iter().map(|settings| self.route(&current, settings)).collect();
        self.grace = config.shutdown.grace;
        self.registry.publish(routes, self.grace)
    }

    /// The route with these settings: the one that runs where they are the same.
    fn route(&mut self, current: &Routes, settings: &config::Route) -> Arc<Route> {
        let former = current.get(&settings.name);
        if let Some(route) = former.filter(|route| route.settings == *settings) {
            return Arc::clone(route);
        }
        let letters = self.letters(former.map(|route| &**route), settings);
        let endpoint = self.webhooks.endpoint(settings, self.clock);
        let stats = self.registry.stats_of(&settings.name);
        let route = Route::new(settings.clone(), stats, endpoint, letters)
            .traced_by(self.tracer(settings))
            .told_to(&self.feed);
        Arc::new(match former {
            Some(former) => route.after(former),
            None => route,
        })
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

    fn need_restart(&self, config: &Config) -> Vec<&'static str> {
        let before = &self.started_with;
        let sections = [
            ("log", before.log != config.log),
            ("server", before.server != config.server),
            ("nats", before.nats != config.nats),
            ("runtime", before.runtime != config.runtime),
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
