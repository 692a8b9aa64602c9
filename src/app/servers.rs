//! The two servers, and what they tell: of all that shows something of itself.

use std::sync::Arc;

use tokio::{runtime::Handle, sync::watch, task::spawn_local};

use crate::{
    base::clock::Clock,
    config::Config,
    control::{
        api::Api,
        health::Health,
        metrics::{Metrics, Observed},
        page::StatusPage,
        reload::ReloadStatus,
        server::Server,
        status::{Board, Events, Samples, StatusBoard},
    },
    endpoints::Status,
    history,
    lane::LaneStatus,
    nats::Connections,
    route::registry::Registry,
    trace::spans::Counts,
};

/// What shows something of itself.
pub(super) struct Seen<'s> {
    pub(super) config: &'s Config,
    pub(super) registry: &'s Arc<Registry>,
    pub(super) lanes: &'s [Arc<LaneStatus>],
    pub(super) connections: Arc<Connections>,
    pub(super) health: &'s Arc<Health>,
    pub(super) reloads: watch::Receiver<ReloadStatus>,
    pub(super) spans: Arc<Counts>,
    pub(super) attempts: Arc<history::Counts>,
    pub(super) endpoints: Option<Arc<Status>>,
    pub(super) clock: Clock,
}

/// Has both servers answer, for as long as the process lives. Needs a runtime that takes local tasks.
pub(super) fn serve(api: Server, metrics: Server, seen: Seen<'_>) {
    let Seen { config, registry, lanes, connections, health, reloads, spans, attempts, endpoints, clock } =
        seen;
    let samples = Samples::default();
    drop(spawn_local(samples.clone().keep(Arc::clone(registry), clock)));
    let board = StatusBoard::new(Board {
        registry: Arc::clone(registry),
        lanes: lanes.to_vec(),
        connections: Arc::clone(&connections),
        health: Arc::clone(health),
        reloads: reloads.clone(),
        samples,
        settings: config.process_to_toml(),
        clock,
    });
    let events = Events::of(board.clone());
    drop(spawn_local(events.clone().keep()));
    let answers = Api::new(health).telling(&board, events);
    let answers = if config.server.page { answers.showing(StatusPage::default()) } else { answers };
    drop(spawn_local(api.serve(answers)));
    drop(spawn_local(metrics.serve(Metrics::new(Observed {
        clock,
        registry: Arc::clone(registry),
        lanes: lanes.to_vec(),
        connections,
        reloads,
        spans,
        attempts,
        endpoints,
        control: Handle::current().metrics(),
    }))));
}
