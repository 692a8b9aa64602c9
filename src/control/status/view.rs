//! One route, read and put into words.

use std::sync::Arc;

use super::{
    Board,
    model::{
        self, Amount, Bounds, Consumer, DeadLetters, Load, RecentFailure, RecentLetter, RouteDetail,
        RouteOnLane, Source, Webhook,
    },
    samples::{Sampled, Samples},
    survey::messages,
    words::{Condition, Seen, Worded},
};
use crate::{
    base::clock::{Clock, Time, rfc3339},
    config::{self, HttpVersion},
    dead_letter::Sender,
    lane::LaneStatus,
    route::{failures::FailedRequest, registry::Routes, shared::Route},
    stats::InHand,
};

/// What routes are looked at with, at one moment.
pub(super) struct View<'b> {
    lanes: &'b [Arc<LaneStatus>],
    /// Which lanes have a connection.
    connected: Vec<bool>,
    samples: &'b Samples,
    clock: &'b Clock,
    /// What should run.
    pub(super) routes: Arc<Routes>,
    pub(super) now: Time,
}

/// What counts for the list of all routes: nothing is put into words for it.
pub(super) struct Brief {
    pub(super) condition: Condition,
    pub(super) load: Load,
    pub(super) sampled: Sampled,
}

impl<'b> View<'b> {
    /// What `board` shows at `now`.
    pub(super) fn of(board: &'b Board, now: Time) -> Self {
        let Board { lanes, samples, clock, registry, .. } = board;
        let is_connected =
            |lane: &Arc<LaneStatus>| lane.connection().is_some_and(|state| state.is_connected());
        Self {
            lanes,
            connected: lanes.iter().map(is_connected).collect(),
            samples,
            clock,
            routes: registry.current(),
            now,
        }
    }

    /// How `route` is doing.
    pub(super) fn brief(&self, route: &Route) -> Brief {
        let sampled = self.samples.of(route.name());
        let load = load(route);
        let seen = Seen {
            trouble: self.routes.trouble(route, self.now),
            load: &load,
            comes: self.comes(route),
            delivers: sampled.rates.delivered > 0.0,
        };
        let condition = Condition::of(route, &seen, self.now);
        Brief { condition, load, sampled }
    }

    /// Whether the messages of `route` come on every lane that runs it.
    fn comes(&self, route: &Route) -> bool {
        let runs = |(lane, _): &(usize, &bool)| route.source(*lane).is_some();
        route.is_live() && self.connected.iter().enumerate().filter(runs).all(|(_, connected)| *connected)
    }

    /// What the list says of `route`.
    pub(super) fn route(&self, route: &Route, history: bool) -> model::Route {
        let Brief { condition, load, sampled } = self.brief(route);
        let last_message = sampled.last_message.map(|at| self.now.since(at));
        let words = Worded {
            condition: &condition,
            waiting: load.queue.messages + load.retry.messages,
            in_flight: load.in_flight,
            rate: sampled.rates.delivered,
            last_message,
            http: spoken(route),
        };
        model::Route {
            name: route.name().to_string(),
            severity: condition.severity(),
            state: condition.label().to_owned(),
            text: words.to_string(),
            cause: self.cause(route, &condition),
            source: self.source(route),
            webhook: webhook(route),
            messages: messages(route.stats.iter().map(|lane| lane.tally()).sum()),
            load,
            bounds: bounds(route),
            rates: sampled.rates,
            latency: sampled.latency,
            last_message: last_message.map(|ago| ago.as_secs_f64()),
            history: history.then(|| self.samples.history(route.name())).flatten(),
        }
    }

    /// All that is known of `route`.
    pub(super) fn detail(&self, route: &Route) -> RouteDetail {
        let first = route.source(route.first_lane());
        RouteDetail {
            route: self.route(route, true),
            failures: route.health.failures.latest().into_iter().map(|failed| self.failure(failed)).collect(),
            lanes: self.on_lanes(route),
            warnings: first.map(|source| source.warnings()).unwrap_or_default(),
            dead_letters: None,
            settings: route.settings.to_toml(),
        }
    }

    /// The dead letters of `route`, of which so many are kept; none where it has none published.
    pub(super) fn dead_letters(
        &self,
        route: &Route,
        kept: impl FnOnce() -> Option<u64>,
    ) -> Option<DeadLetters> {
        let subject = route.settings.dead_letter.as_ref()?.subject.to_string();
        let recent = route.dead_letters.as_ref().map(Sender::recent).unwrap_or_default();
        let recent = recent.into_iter().map(|letter| RecentLetter {
            at: rfc3339(letter.at),
            id: letter.id.to_string(),
            reason: letter.reason.label().to_owned(),
        });
        Some(DeadLetters { subject, kept: kept(), recent: recent.collect() })
    }

    fn cause(&self, route: &Route, condition: &Condition) -> Option<String> {
        match condition {
            Condition::NoMessages => (0..self.lanes.len()).find_map(|lane| self.lane_trouble(route, lane)),
            Condition::Troubled(trouble) => self.routes.cause(route, *trouble, self.now),
            Condition::Failing(_) => route.health.latest_failure(),
            Condition::NearlyFull(_) | Condition::Delivering | Condition::Waiting | Condition::Idle => None,
        }
    }

    /// Why the messages of `route` don't come on `lane`; none where they come, or where that lane does not run it.
    fn lane_trouble(&self, route: &Route, lane: usize) -> Option<String> {
        let source = route.source(lane)?;
        let connection = self.lanes.get(lane)?.connection();
        if !self.connected.get(lane).is_some_and(|connected| *connected) {
            let trouble = connection.and_then(|connection| connection.trouble());
            let trouble = trouble.map_or_else(String::new, |trouble| format!(": {trouble}"));
            return Some(format!("lane {lane} is not connected to NATS{trouble}"));
        }
        source.trouble()
    }

    fn source(&self, route: &Route) -> Source {
        let settings = &route.settings;
        let largest = |figure: fn(&crate::stats::Lag) -> usize| {
            route.stats.iter().map(|lane| figure(&lane.lag)).max().unwrap_or_default()
        };
        let consumer = settings.jetstream.as_ref().map(|jetstream| Consumer {
            stream: jetstream.stream.to_string(),
            consumer: jetstream.consumer.to_string(),
            pending: largest(|lag| lag.pending.get()),
            ack_pending: largest(|lag| lag.ack_pending.get()),
        });
        Source {
            live: self.comes(route),
            subject: settings.subject.to_string(),
            queue_group: consumer.is_none().then(|| settings.queue_group.to_string()),
            consumer,
        }
    }

    fn on_lanes(&self, route: &Route) -> Vec<RouteOnLane> {
        let lanes = route.stats.iter().enumerate().filter(|(lane, _)| route.source(*lane).is_some());
        lanes
            .map(|(lane, stats)| {
                let in_hand = stats.loads.in_hand();
                RouteOnLane {
                    lane,
                    trouble: self.lane_trouble(route, lane),
                    in_flight: in_hand.in_flight,
                    waiting: in_hand.queue_messages + in_hand.retry_messages,
                }
            })
            .collect()
    }

    fn failure(&self, failed: FailedRequest) -> RecentFailure {
        RecentFailure {
            at: rfc3339(self.clock.wall(failed.at)),
            id: failed.id.to_string(),
            messages: failed.messages,
            attempt: failed.attempt,
            reason: failed.failure.label().into_owned(),
            cause: failed.cause.map(|cause| cause.to_string()),
        }
    }
}

fn load(route: &Route) -> Load {
    let lanes = route.stats.iter().map(|lane| lane.loads.in_hand());
    let sum = lanes.fold(InHand::default(), InHand::and);
    let letters = route.dead_letters.as_ref().map(Sender::waiting).unwrap_or_default();
    Load {
        in_flight: sum.in_flight,
        queue: Amount { messages: sum.queue_messages, bytes: sum.queue_bytes },
        retry: Amount { messages: sum.retry_messages, bytes: sum.retry_bytes },
        letters: Amount { messages: letters.messages, bytes: letters.bytes },
    }
}

fn bounds(route: &Route) -> Bounds {
    let settings = &route.settings;
    let amount =
        |bounds: config::Bounds| Amount { messages: bounds.messages.get(), bytes: bounds.bytes.get() };
    let letters = Sender::BOUNDS;
    let letters = Amount { messages: letters.messages, bytes: letters.bytes };
    Bounds {
        concurrency: route.concurrency_limit(),
        max_concurrency: settings.webhook.concurrency.most().get(),
        queue: amount(settings.queue.bounds),
        retry: amount(settings.retry.bounds),
        letters: route.dead_letters.as_ref().map(|_| letters).unwrap_or_default(),
    }
}

/// Which HTTP is spoken to the webhook of `route`, as far as is known.
fn spoken(route: &Route) -> HttpVersion {
    let webhook = &route.settings.webhook;
    match webhook.http {
        // Only over TLS is it the webhook's choice.
        HttpVersion::Auto if webhook.url.server_name().is_none() => HttpVersion::Http1,
        HttpVersion::Auto => route.endpoint.spoken.version().unwrap_or(HttpVersion::Auto),
        fixed => fixed,
    }
}

fn webhook(route: &Route) -> Webhook {
    let webhook = &route.settings.webhook;
    Webhook {
        url: webhook.url.to_string(),
        method: webhook.method.as_str().to_owned(),
        http: spoken(route).as_str().to_owned(),
    }
}
