//! How all routes are doing, looked at together: the totals, and which of them somebody should look at first.

use std::{sync::Arc, time::Duration};

use super::{
    model::{Amount, Load, Messages, Rates, Severities, Severity, Totals},
    query::{self, Query},
    view::View,
};
use crate::{
    base::clock::Time,
    message::outcome::Outcome,
    route::{registry::Registry, shared::Route},
    stats::Tally,
};

/// For how long a survey is good enough. A little less than a second, so that who looks every second sees a new one.
const FRESH: Duration = Duration::from_millis(900);

/// All routes at one moment.
#[derive(Debug)]
pub(super) struct Survey {
    at: Time,
    pub(super) totals: Totals,
    /// Those in the worst trouble first, then by name.
    routes: Vec<(Severity, Arc<Route>)>,
}

/// The routes that were asked for.
pub(super) struct Selected<'s> {
    pub(super) routes: Vec<&'s Route>,
    pub(super) matching: usize,
    pub(super) next: Option<String>,
}

impl Survey {
    /// Looks at all routes of `registry`.
    pub(super) fn of(registry: &Registry, view: &View<'_>) -> Self {
        let mut totals = Totals { messages: messages(registry.tally()), ..Totals::default() };
        let mut routes = Vec::new();
        for route in view.routes.iter() {
            let brief = view.brief(route);
            let severity = brief.condition.severity();
            totals.routes += 1;
            count(&mut totals.severities, severity);
            add_load(&mut totals.load, &brief.load);
            add_rates(&mut totals.rates, &brief.sampled.rates);
            routes.push((severity, Arc::clone(route)));
        }
        // They are sorted by name already, and this keeps that.
        routes.sort_by_key(|(severity, _)| *severity);
        Self { at: view.now, totals, routes }
    }

    /// Whether it still tells how things are at `now`.
    pub(super) fn is_fresh(&self, now: Time) -> bool {
        now.since(self.at) < FRESH
    }

    /// The routes that `query` asks for.
    pub(super) fn select(&self, query: &Query) -> Selected<'_> {
        let begins = query.after.as_ref().map_or(0, |(severity, name)| {
            let is_before = |other: &(Severity, Arc<Route>)| {
                (other.0, other.1.name().as_str()) <= (*severity, name.as_str())
            };
            self.routes.partition_point(is_before)
        });
        let is_wanted = |(severity, route): &&(Severity, Arc<Route>)| query.wants(route, *severity);
        let before = self.routes[..begins].iter().filter(is_wanted).count();
        let behind: Vec<_> = self.routes[begins..].iter().filter(is_wanted).collect();
        let last = behind.get(query.limit - 1).filter(|_| behind.len() > query.limit);
        Selected {
            matching: before + behind.len(),
            next: last.map(|(severity, route)| query::place(*severity, route.name().as_str())),
            routes: behind.into_iter().take(query.limit).map(|(_, route)| &**route).collect(),
        }
    }
}

/// The same, as JSON has it.
pub(super) fn messages(tally: Tally) -> Messages {
    Messages {
        received: tally.received,
        delivered: tally.of(Outcome::Delivered),
        dead_lettered: tally.of(Outcome::DeadLettered),
        dropped: tally.of(Outcome::Dropped),
        filtered: tally.of(Outcome::Filtered),
        handed_over: tally.of(Outcome::HandedOver),
        returned: tally.of(Outcome::Returned),
        // The figures are read one after the other while they change.
        in_hand: u64::try_from(tally.in_hand()).unwrap_or_default(),
    }
}

fn count(severities: &mut Severities, severity: Severity) {
    let count = match severity {
        Severity::Error => &mut severities.error,
        Severity::Warning => &mut severities.warning,
        Severity::Held => &mut severities.held,
        Severity::Ok => &mut severities.ok,
        Severity::Idle => &mut severities.idle,
    };
    *count += 1;
}

fn add_load(sum: &mut Load, load: &Load) {
    let add = |sum: &mut Amount, amount: Amount| {
        sum.messages += amount.messages;
        sum.bytes += amount.bytes;
    };
    sum.in_flight += load.in_flight;
    add(&mut sum.queue, load.queue);
    add(&mut sum.retry, load.retry);
    add(&mut sum.letters, load.letters);
}

fn add_rates(sum: &mut Rates, rates: &Rates) {
    sum.received += rates.received;
    sum.delivered += rates.delivered;
    sum.failed += rates.failed;
}
