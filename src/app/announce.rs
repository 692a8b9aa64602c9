//! What the log says of a start: once, whatever there is several times.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::info;

use super::{App, lane_count};
use crate::{
    config::{NatsUrl, Route, RouteName},
    lane::LaneStatus,
    route::registry::{Changes, Routes},
};

/// How many routes a line names.
const NAMED: usize = 20;
/// How often it is looked whether all lanes are connected.
const LOOK: Duration = Duration::from_millis(50);

impl App {
    /// Logs what starts, out of which file, and what an operator should know of its routes.
    pub fn announce(&self) {
        let Self { config, follower, api, metrics, .. } = self;
        let servers: Vec<_> = config.nats.servers.iter().map(NatsUrl::address).collect();
        let routes = &config.routes;
        info!(
            version = crate::VERSION,
            commit = crate::COMMIT,
            config =
                follower.sources.file().map_or_else(|| "none".to_owned(), |file| file.display().to_string()),
            nats = servers.join(","),
            routes = routes.len(),
            names = first(routes.iter().map(|route| &route.name)),
            lanes = lane_count(config.runtime.threads),
            api = api.address().ok().map(tracing::field::display),
            metrics = metrics.address().ok().map(tracing::field::display),
            "starting"
        );
        for (proxy, routes) in proxies(routes) {
            info!(%proxy, routes = routes.join(","), "webhooks are reached by a proxy");
        }
        notices(routes);
    }
}

/// Logs what an operator should know of `routes`.
pub(super) fn notices<'r>(routes: impl IntoIterator<Item = &'r Route>) {
    for route in routes {
        for notice in route.notices() {
            info!(route = route.name.as_str(), "{notice}");
        }
    }
}

/// Logs what a revision of the bucket has made of the routes that ran `before`, where that is anything.
pub(super) fn followed(revision: u64, before: &Routes, now: &Routes) {
    let Changes { added, changed, removed } = differences(before, now);
    if !(added.is_empty() && changed.is_empty() && removed.is_empty()) {
        let [added, changed, removed] = [&added, &changed, &removed].map(first);
        info!(revision, added, changed, removed, "routes of the bucket applied");
    }
}

/// By which routes two lists differ; one that was not changed is the same object in both.
fn differences(before: &Routes, now: &Routes) -> Changes {
    let (mut changes, mut before) = (Changes::default(), before.iter().peekable());
    for route in now.iter() {
        while let Some(gone) = before.next_if(|former| former.name() < route.name()) {
            changes.removed.push(gone.name().clone());
        }
        match before.next_if(|former| former.name() == route.name()) {
            None => changes.added.push(route.name().clone()),
            Some(former) if !Arc::ptr_eq(former, route) => changes.changed.push(route.name().clone()),
            Some(_) => {}
        }
    }
    changes.removed.extend(before.map(|gone| gone.name().clone()));
    changes
}

/// The first of `names`, for the log.
pub(super) fn first<'n>(names: impl IntoIterator<Item = &'n RouteName>) -> String {
    let mut names = names.into_iter().map(RouteName::as_str);
    let mut first: Vec<_> = names.by_ref().take(NAMED).collect();
    first.extend(names.next().map(|_more| "…"));
    first.join(",")
}

/// The proxies that webhooks are reached by, each with what has named it, and the first names of its routes.
fn proxies(routes: &[Route]) -> BTreeMap<String, Vec<&str>> {
    let mut proxies = BTreeMap::<_, Vec<_>>::new();
    for Route { name, webhook, .. } in routes {
        if let Some(proxy) = webhook.egress.proxy(&webhook.url) {
            let by = webhook.egress.proxy_variable(&webhook.url).unwrap_or("webhook.egress.proxy");
            let names = proxies.entry(format!("{proxy} ({by})")).or_default();
            match names.len() {
                ..NAMED => names.push(name.as_str()),
                NAMED => names.push("…"),
                _ => {}
            }
        }
    }
    proxies
}

/// Says once that all `lanes` are connected to NATS.
pub(super) async fn connected(lanes: Vec<Arc<LaneStatus>>) {
    let is_connected = |lane: &Arc<LaneStatus>| lane.connection().is_some_and(|state| state.is_connected());
    while !lanes.iter().all(is_connected) {
        sleep(LOOK).await;
    }
    info!(lanes = lanes.len(), "connected to NATS");
}
