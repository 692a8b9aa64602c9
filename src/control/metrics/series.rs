//! The series of routes: those of the routes that have some of their own, and one for all the others together.

use super::{
    fetches::FetchCounts,
    ledger::Ledger,
    levels::Levels,
    names::{Names, Seen},
};
use crate::{
    base::clock::Time,
    config::{Bounds, PerRoute},
    deliver::login::{Fetches, Login},
    message::outcome::Outcome,
    route::{
        registry::{AllFigures, Registry, RouteFigures, Routes},
        shared::Route,
        trouble::Trouble,
    },
    stats::{Counts, InHand, Tally},
};

/// The label of what the routes have together that have no series of their own. No route can be called so.
const OTHERS: &str = "__other__";

/// What the series with one value of the label `route` show.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) label: String,
    pub(super) counts: Counts,
    pub(super) levels: Levels,
}

/// All of them at one moment.
#[derive(Debug)]
pub(super) struct AllSeries {
    pub(super) series: Vec<Series>,
    /// How many routes have some of their own, and how many share some.
    pub(super) own: usize,
    pub(super) shared: usize,
}

/// Knows from one look to the next which routes have series of their own.
#[derive(Debug)]
pub(super) struct Book {
    names: Names,
    ledger: Ledger,
    fetches: FetchCounts,
    /// Whether there has been a route without. From then on the series of the others stay.
    has_others: bool,
}

impl Book {
    /// For a process with these settings.
    pub(super) fn new(per_route: PerRoute) -> Self {
        Self {
            names: Names::new(per_route.most()),
            ledger: Ledger::default(),
            fetches: FetchCounts::default(),
            has_others: false,
        }
    }

    /// What the series of all routes of `registry` show at `now`.
    pub(super) fn look(&mut self, registry: &Registry, now: Time) -> AllSeries {
        let AllFigures { present, gone } = registry.all_figures();
        let routes = registry.current();
        self.names.look(present.iter().map(|figures| seen(figures, &routes, now)), now);
        let mut total = gone;
        let (mut named, mut others) = (Vec::new(), None::<Levels>);
        for figures in &present {
            let route = routes.get(&figures.name);
            let login = route.and_then(|route| route.endpoint.login.as_ref());
            let Fetches { fetched, failed } = self.fetches.go_on(figures.number, login.map(Login::fetches));
            let trouble = route.and_then(|route| routes.trouble(route, now));
            let levels = Levels::of(figures, route.map(|route| &**route), trouble);
            let lanes = figures.lanes.iter().map(|lane| &**lane);
            if self.names.has(figures.number) {
                let mut counts = Counts::of(lanes);
                counts.add_fetches(fetched, failed);
                total.add(&counts);
                named.push((figures, counts, levels));
            } else {
                lanes.for_each(|lane| total.count(lane));
                total.add_fetches(fetched, failed);
                others = Some(others.unwrap_or_default().and(levels));
            }
        }
        let Fetches { fetched, failed } = self.fetches.of_gone();
        total.add_fetches(fetched, failed);
        let newest = present.iter().map(|figures| figures.number).max().unwrap_or_default();
        let accounts = named.iter().map(|(figures, counts, _)| (figures.number, counts));
        let (shown, rest) = self.ledger.settle(accounts, &total, newest);
        let (own, shared) = (named.len(), present.len() - named.len());
        let series = named.into_iter().zip(shown).map(|((figures, _, levels), counts)| Series {
            label: figures.name.to_string(),
            counts,
            levels,
        });
        self.has_others = self.has_others || others.is_some();
        let others = self.has_others.then(|| Series {
            label: OTHERS.to_owned(),
            counts: rest,
            levels: others.unwrap_or_default(),
        });
        AllSeries { series: series.chain(others).collect(), own, shared }
    }
}

/// What counts for the choice.
fn seen(figures: &RouteFigures, routes: &Routes, now: Time) -> Seen {
    let tally: Tally = figures.lanes.iter().map(|lane| lane.tally()).sum();
    let unjudged: u64 = figures.lanes.iter().map(|lane| lane.unjudged.get()).sum();
    Seen {
        number: figures.number,
        received: tally.received,
        mourned: tally.of(Outcome::Dropped) + tally.of(Outcome::DeadLettered) + unjudged,
        is_troubled: routes.get(&figures.name).is_some_and(|route| {
            routes.trouble(route, now).is_some_and(|trouble| trouble != Trouble::Held)
                || route.has_failed_source()
                || route.health.failing_since().is_some()
                || (tally.received > 0 && is_filling(route, figures))
        }),
    }
}

/// Whether a queue is more than half full. Of a stream there is taken as much as there is room for.
fn is_filling(route: &Route, figures: &RouteFigures) -> bool {
    let in_hand = figures.lanes.iter().map(|lane| lane.loads.in_hand()).fold(InHand::default(), InHand::and);
    let is_beyond_half = |messages: usize, bytes: usize, bounds: Bounds| {
        messages > bounds.messages.get() / 2 || bytes > bounds.bytes.get() / 2
    };
    let (queue, retry) = (route.settings.queue.bounds, route.settings.retry.bounds);
    (!route.is_durable() && is_beyond_half(in_hand.queue_messages, in_hand.queue_bytes, queue))
        || is_beyond_half(in_hand.retry_messages, in_hand.retry_bytes, retry)
}
