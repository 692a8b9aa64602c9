//! The status of a whole fleet for people: each replica in a line, and each route once, as it is where it is worst.

use std::collections::BTreeMap;

use super::print::{line, process, rate};
use crate::{
    cli::{
        daemon::Told,
        terminal::{Abilities, clean},
    },
    control::status::model::{History, Latency, Rates, Route, Severity, Status},
};

/// The state of a route that delivers.
const DELIVERING: &str = "delivering";

/// A route as several replicas have it.
pub(in crate::cli) struct Merged {
    /// As it is where it is worst, with the figures of all.
    pub(in crate::cli) route: Route,
    /// On how many it is so, where that is not all.
    pub(in crate::cli) note: String,
}

/// The replicas, and then `limit` routes at the most.
pub(super) fn page(told: &[Told<Status>], limit: usize, abilities: Abilities) -> String {
    let there: Vec<_> = told.iter().filter_map(|told| told.answer.as_ref().ok()).collect();
    let ready = there.iter().filter(|status| status.health.ready).count();
    let count = format!("{ready} of {} replicas ready", told.len());
    let count = if ready == told.len() { abilities.green(&count) } else { abilities.red(&count) };
    let rates = there.iter().fold(Rates::default(), |sum, status| add(sum, status.totals.rates));
    let in_hand: u64 = there.iter().map(|status| status.totals.messages.in_hand).sum();
    let mut page = format!(
        "{count}; {}/s delivered, {}/s failed, {in_hand} in hand\n",
        rate(rates.delivered),
        rate(rates.failed)
    );
    for Told { replica, answer } in told {
        let name = replica.as_ref().map(|replica| clean(&replica.name)).unwrap_or_default();
        let words = match answer {
            Ok(status) => process(status, abilities).replace('\n', "\n  "),
            Err(error) => abilities.red(&clean(&error.to_string())),
        };
        page.push_str(&format!("  {name}: {}\n", words.trim_end()));
    }
    let all = merged(there.iter().map(|status| status.routes.as_slice()), None);
    let matching = there.iter().map(|status| status.matching).max().unwrap_or_default().max(all.len());
    // A replica shows fewer than it was asked for, where NATS takes no more in one message.
    let more = matching - all.len().min(limit);
    for Merged { route, note } in all.into_iter().take(limit) {
        page.push_str(&line(&route, abilities));
        page.push_str(&note);
        page.push('\n');
    }
    if more > 0 {
        page.push_str(&format!("… and {more} more: --limit, --search, --troubled\n"));
    }
    page
}

/// Each route once, of what several replicas have: those in the worst trouble first, then by name. Where these are `all`
/// routes of each of so many replicas, it shows which of them lack one.
pub(in crate::cli) fn merged<'r>(
    lists: impl Iterator<Item = &'r [Route]>,
    all: Option<usize>,
) -> Vec<Merged> {
    let mut by_name: BTreeMap<&str, Vec<&Route>> = BTreeMap::new();
    for route in lists.flatten() {
        by_name.entry(&route.name).or_default().push(route);
    }
    let mut routes: Vec<_> = by_name.into_values().filter_map(|same| merge(&same, all)).collect();
    // They are sorted by name already, and this keeps that.
    routes.sort_by_key(|merged| merged.route.severity);
    routes
}

fn merge(same: &[&Route], all: Option<usize>) -> Option<Merged> {
    let worst = same.iter().min_by_key(|route| route.severity)?;
    let mut route = Route::clone(worst);
    route.messages.in_hand = same.iter().map(|route| route.messages.in_hand).sum();
    route.rates = same.iter().fold(Rates::default(), |sum, route| add(sum, route.rates));
    route.latency = same.iter().filter_map(|route| route.latency).reduce(slower);
    route.history = sum_of(same.iter().filter_map(|route| route.history.as_ref()));
    if route.state == DELIVERING && same.len() > 1 {
        route.text = format!("delivering {}/s", rate(route.rates.delivered));
    }
    let there = same.len();
    let so = same.iter().filter(|other| other.severity == route.severity).count();
    let note = match all {
        Some(replicas) if there < replicas => format!(", there on {there} of {replicas} replicas"),
        // What only waits for messages is as well as what delivers some.
        _ if so < there && route.severity < Severity::Ok => format!(", on {so} of {there} replicas"),
        _ => String::new(),
    };
    Some(Merged { route, note })
}

fn add(one: Rates, other: Rates) -> Rates {
    Rates {
        received: one.received + other.received,
        delivered: one.delivered + other.delivered,
        failed: one.failed + other.failed,
    }
}

/// No percentile of both can be told from those of each: it is not more than the larger one.
fn slower(one: Latency, other: Latency) -> Latency {
    Latency { p50: one.p50.max(other.p50), p99: one.p99.max(other.p99) }
}

/// What all have delivered together, from the latest element back; none where nobody tells.
fn sum_of<'h>(histories: impl Iterator<Item = &'h History>) -> Option<History> {
    histories.fold(None, |sum, history| {
        let Some(History { delivered: sum, .. }) = sum else { return Some(history.clone()) };
        let length = sum.len().max(history.delivered.len());
        let back = |list: &[f32], ago: usize| list.iter().rev().nth(ago).copied().unwrap_or_default();
        let delivered = (0..length).rev().map(|ago| back(&sum, ago) + back(&history.delivered, ago));
        Some(History { delivered: delivered.collect(), ..History::default() })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::daemon::{DaemonError, Replica};

    const PLAIN: Abilities = Abilities { colours: false, clears: false, unicode: true };

    fn route(name: &str, severity: &str, delivered: f64) -> Route {
        let amount = json!({ "messages": 0, "bytes": 0 });
        let load = json!({ "in_flight": 0, "queue": amount, "retry": amount, "letters": amount });
        let bounds = json!({
            "concurrency": 1, "max_concurrency": 1, "queue": amount, "retry": amount, "letters": amount,
        });
        let messages = json!({
            "received": 0, "delivered": 0, "dead_lettered": 0, "dropped": 0, "filtered": 0, "handed_over": 0,
            "returned": 0, "in_hand": 3,
        });
        let state = if severity == "ok" { "delivering" } else { severity };
        let route = json!({
            "name": name, "severity": severity, "state": state, "text": format!("{severity} here"),
            "source": { "live": true, "subject": "s" },
            "webhook": { "url": "http://a/…", "method": "POST", "http": "1.1" },
            "messages": messages, "load": load, "bounds": bounds,
            "rates": { "received": 0.0, "delivered": delivered, "failed": 0.0 },
        });
        serde_json::from_value(route).expect("a route")
    }

    fn status(routes: Vec<Route>, ready: bool) -> Status {
        let mut status =
            Status { version: "1".to_owned(), matching: routes.len(), routes, ..Status::default() };
        status.health.ready = ready;
        status.totals.rates.delivered = 7.0;
        status
    }

    #[test]
    fn a_route_is_as_it_is_where_it_is_worst_with_the_figures_of_all() {
        let one = [route("a", "ok", 20.0), route("b", "ok", 1.0)];
        let other = [route("a", "ok", 10.0), route("b", "error", 0.0), route("c", "idle", 0.0)];
        let lists = || [&one[..], &other[..]].into_iter();
        let seen = |all| {
            let merged = merged(lists(), all);
            let words =
                merged.iter().map(|Merged { route, note }| format!("{}: {}{note}", route.name, route.text));
            words.collect::<Vec<_>>()
        };
        let in_part = ["b: error here, on 1 of 2 replicas", "a: delivering 30/s", "c: idle here"];
        assert_eq!(seen(None), in_part);
        assert_eq!(seen(Some(2))[2], "c: idle here, there on 1 of 2 replicas");
        assert_eq!(merged(lists(), None)[1].route.messages.in_hand, 6);
    }

    #[test]
    fn histories_are_summed_from_their_ends() {
        let history = |delivered: &[f32]| History { delivered: delivered.to_vec(), ..History::default() };
        let (long, short) = (history(&[1.0, 2.0, 3.0]), history(&[10.0]));
        let sum = sum_of([&long, &short].into_iter()).expect("a sum");
        assert_eq!(sum.delivered, [1.0, 2.0, 13.0]);
        assert_eq!(sum_of([].into_iter()), None);
    }

    #[test]
    fn a_page_has_each_replica_and_who_does_not_answer() {
        let replica = |name: &str| Some(Replica::named(name));
        let told = [
            Told { replica: replica("pod-a"), answer: Ok(status(vec![route("a", "ok", 1.0)], true)) },
            Told { replica: replica("pod-b"), answer: Err(DaemonError::Silent("pod-b".to_owned())) },
        ];
        let page = page(&told, 50, PLAIN);
        let start = "1 of 2 replicas ready; 7.0/s delivered, 0/s failed, 0 in hand\n  pod-a: 1 up 0s: ready, generation 0\n  \
                     pod-b: no answer from pod-b\n✓ a ";
        assert!(page.starts_with(start), "{page}");
    }
}
