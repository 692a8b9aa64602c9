//! The figures of the routes, their lanes added up.

use std::{num::NonZeroUsize, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::{
    base::clock::Clock,
    config::{self, RouteName},
    dead_letter::Sender,
    deliver::login::Login,
    message::outcome::{Failure, Outcome, Publication},
    route::{
        registry::{LaneStats, Registry},
        shared::Route,
        trouble::Trouble,
    },
    stats::{Gauge, Histogram, Lag, Load, RouteStats, Tally},
};

/// One route, as it is at this scrape.
struct RouteFigures {
    name: RouteName,
    lanes: LaneStats,
    /// None where it only drains any more.
    route: Option<Arc<Route>>,
    trouble: Option<Trouble>,
}

impl RouteFigures {
    fn sum(&self, figure: impl Fn(&RouteStats) -> u64) -> u64 {
        self.lanes.iter().map(|lane| figure(lane)).sum()
    }

    fn tally(&self) -> Tally {
        self.lanes.iter().map(|lane| lane.tally()).sum()
    }
}

/// Statuses with a label of their own: what receivers of webhooks and what stands before them answer. All others share
/// one for each hundred, so that every label is there from the start and its first increase is seen as one.
const NAMED_STATUSES: [usize; 30] = [
    200, 201, 202, 204, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 407, 408, 409, 410, 413, 415, 421,
    422, 425, 426, 429, 500, 501, 502, 503, 504,
];
/// The label of the other statuses from 200, 300, 400 and 500 on.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Collects the figures of all routes that run or drain.
#[derive(Debug)]
pub(super) struct Collected(pub(super) Arc<Registry>, pub(super) Clock);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let (current, now) = (self.0.current(), self.1.now());
        let figures = |(name, lanes): (RouteName, LaneStats)| {
            let route = current.get(&name).cloned();
            let trouble = route.as_ref().and_then(|route| current.trouble(route, now));
            RouteFigures { name, lanes, route, trouble }
        };
        let routes = Routes(self.0.stats().into_iter().map(figures).collect());
        let encoder = &mut encoder;
        routes.messages(encoder)?;
        routes.unjudged(encoder)?;
        routes.publications(encoder)?;
        routes.requests(encoder)?;
        routes.load(encoder)?;
        routes.bounds(encoder)?;
        routes.concurrency(encoder)?;
        routes.letters(encoder)?;
        routes.breaker(encoder)?;
        routes.live(encoder)?;
        routes.trouble(encoder)?;
        routes.fetches(encoder)?;
        routes.lag(encoder)?;
        let help = "One attempt, from connecting to the last byte of the answer";
        routes.histogram(encoder, "broadcaster_request_duration_seconds", help, |s| &s.request_duration)?;
        let help = "From receiving a message to delivering it, retries included";
        routes.histogram(encoder, "broadcaster_delivery_latency_seconds", help, |s| &s.delivery_latency)
    }
}

/// All routes, as they are at this scrape.
struct Routes(Vec<RouteFigures>);

impl Routes {
    fn messages(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Messages taken from NATS";
        let mut family =
            encoder.encode_descriptor("broadcaster_messages_received", help, None, MetricType::Counter)?;
        for route in &self.0 {
            let received = ConstCounter::new(route.tally().received);
            received.encode(family.encode_family(&[("route", route.name.as_str())])?)?;
        }
        let help = "Messages that are done with, by what became of them";
        let mut family =
            encoder.encode_descriptor("broadcaster_messages_processed", help, None, MetricType::Counter)?;
        for route in &self.0 {
            let tally = route.tally();
            for outcome in Outcome::ALL {
                let labels = [("route", route.name.as_str()), ("outcome", outcome.label())];
                ConstCounter::new(tally.of(outcome)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn unjudged(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Messages that the filter could not judge, and that were taken for that reason";
        let mut family =
            encoder.encode_descriptor("broadcaster_filter_errors", help, None, MetricType::Counter)?;
        for route in &self.0 {
            let unjudged = ConstCounter::new(route.sum(|lane| lane.unjudged.get()));
            unjudged.encode(family.encode_family(&[("route", route.name.as_str())])?)?;
        }
        Ok(())
    }

    fn publications(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Answers of the webhook that were to be published, by what became of them";
        let mut family = encoder.encode_descriptor("broadcaster_answers", help, None, MetricType::Counter)?;
        for route in &self.0 {
            for publication in Publication::ALL {
                let count = route.sum(|lane| lane.publications[publication as usize].get());
                let labels = [("route", route.name.as_str()), ("result", publication.label())];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Attempts, by the status of the answer or by why there was none";
        let mut family =
            encoder.encode_descriptor("broadcaster_webhook_requests", help, None, MetricType::Counter)?;
        for route in &self.0 {
            let mut write = |code: &str, count: u64| {
                let labels = [("route", route.name.as_str()), ("code", code)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)
            };
            let mut statuses = [0; 1000];
            for (status, count) in route.lanes.iter().flat_map(|lane| lane.requests.by_status()) {
                statuses[status] += count;
            }
            for status in NAMED_STATUSES {
                write(&status.to_string(), std::mem::take(&mut statuses[status]))?;
            }
            for (class, label) in (2..).zip(CLASSES) {
                write(label, statuses[class * 100..(class + 1) * 100].iter().sum())?;
            }
            let below_200 = statuses[..200].iter().sum::<u64>();
            write("other", below_200 + route.sum(|lane| lane.requests.odd_statuses()))?;
            for (index, failure) in Failure::TRANSPORT.into_iter().enumerate() {
                let count = route.sum(|lane| lane.requests.by_transport_failure()[index]);
                write(&failure.label(), count)?;
            }
        }
        Ok(())
    }

    fn load(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        type Figure = fn(&Load) -> &Gauge;
        let gauges: [(&str, &str, Figure); 5] = [
            ("broadcaster_in_flight", "Attempts under way", |load| &load.in_flight),
            ("broadcaster_queue_messages", "Messages that wait for their first attempt", |load| {
                &load.queue_messages
            }),
            ("broadcaster_queue_bytes", "The memory they take", |load| &load.queue_bytes),
            ("broadcaster_retry_queue_messages", "Messages that wait for another attempt", |load| {
                &load.retry_messages
            }),
            ("broadcaster_retry_queue_bytes", "The memory they take", |load| &load.retry_bytes),
        ];
        for (name, help, figure) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for route in &self.0 {
                let value = route.sum(|lane| lane.loads.sum(figure) as u64);
                let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
                value.encode(family.encode_family(&[("route", route.name.as_str())])?)?;
            }
        }
        Ok(())
    }

    /// The bounds of the queues, beside what they hold: without them an alerting rule would have to guess the
    /// configuration to say how full they are.
    fn bounds(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        type Figure = fn(&config::Route) -> NonZeroUsize;
        let gauges: [(&str, &str, Figure); 4] = [
            ("broadcaster_queue_max_messages", "Messages that the queue has room for", |r| {
                r.queue.bounds.messages
            }),
            ("broadcaster_queue_max_bytes", "Memory that the queue may take", |r| r.queue.bounds.bytes),
            ("broadcaster_retry_queue_max_messages", "Messages that the retry queue has room for", |r| {
                r.retry.bounds.messages
            }),
            ("broadcaster_retry_queue_max_bytes", "Memory that the retry queue may take", |r| {
                r.retry.bounds.bytes
            }),
        ];
        for (name, help, figure) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for route in &self.0 {
                let Some(running) = &route.route else { continue };
                let value = figure(&running.settings).get();
                let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
                value.encode(family.encode_family(&[("route", route.name.as_str())])?)?;
            }
        }
        Ok(())
    }

    fn concurrency(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "How many attempts may be under way, which an adaptive route changes";
        let mut family =
            encoder.encode_descriptor("broadcaster_concurrency_limit", help, None, MetricType::Gauge)?;
        for route in &self.0 {
            let Some(running) = &route.route else { continue };
            let value = ConstGauge::new(i64::try_from(running.concurrency_limit()).unwrap_or(i64::MAX));
            value.encode(family.encode_family(&[("route", route.name.as_str())])?)?;
        }
        Ok(())
    }

    /// The dead letters that wait until NATS has them, and how many may.
    fn letters(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        type Figure = fn(&Sender) -> usize;
        let gauges: [(&str, &str, Figure); 4] = [
            (
                "broadcaster_dead_letter_queue_messages",
                "Dead letters that wait until NATS has them",
                |letters| letters.waiting().messages,
            ),
            ("broadcaster_dead_letter_queue_bytes", "The memory they take", |letters| {
                letters.waiting().bytes
            }),
            ("broadcaster_dead_letter_queue_max_messages", "Dead letters that may wait", |_| {
                Sender::BOUNDS.messages
            }),
            ("broadcaster_dead_letter_queue_max_bytes", "Memory that they may take", |_| {
                Sender::BOUNDS.bytes
            }),
        ];
        for (name, help, figure) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for route in &self.0 {
                // One that keeps none has room for none.
                let letters = route.route.as_ref().and_then(|route| route.dead_letters.as_ref());
                let value = ConstGauge::new(i64::try_from(letters.map_or(0, figure)).unwrap_or(i64::MAX));
                value.encode(family.encode_family(&[("route", route.name.as_str())])?)?;
            }
        }
        Ok(())
    }

    fn lag(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        type Figure = fn(&Lag) -> usize;
        let gauges: [(&str, &str, Figure); 4] = [
            ("broadcaster_consumer_pending", "Messages that the consumer has not delivered yet", |lag| {
                lag.pending.get()
            }),
            ("broadcaster_consumer_ack_pending", "Messages that the consumer waits to hear of", |lag| {
                lag.ack_pending.get()
            }),
            (
                "broadcaster_consumer_max_ack_pending",
                "How many of those it allows, 0 without a limit",
                |lag| lag.max_ack_pending.get(),
            ),
            (
                "broadcaster_consumer_last_pull_timestamp_seconds",
                "When messages were last asked for, in seconds since 1970",
                |lag| lag.last_pull.get(),
            ),
        ];
        for (name, help, figure) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for route in self.durable() {
                // One lane asks for the lag, for all: the others are at 0. Each asks for messages, and the last time
                // counts. Both are the largest value.
                let value = route.lanes.iter().map(|lane| figure(&lane.lag)).max().unwrap_or_default();
                let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
                value.encode(family.encode_family(&[("route", route.name.as_str())])?)?;
            }
        }
        Ok(())
    }

    fn durable(&self) -> impl Iterator<Item = &RouteFigures> {
        let is_durable = |route: &&RouteFigures| route.route.as_ref().is_some_and(|route| route.is_durable());
        self.0.iter().filter(is_durable)
    }

    fn live(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help =
            "1 while the route gets its messages, 0 where NATS gives it none, or none on one of its lanes";
        let mut family =
            encoder.encode_descriptor("broadcaster_source_live", help, None, MetricType::Gauge)?;
        for route in &self.0 {
            let Some(running) = &route.route else { continue };
            let live = ConstGauge::new(i64::from(running.is_live()));
            live.encode(family.encode_family(&[("route", route.name.as_str())])?)?;
        }
        Ok(())
    }

    fn breaker(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Whether the webhook is left alone: 0 closed, 1 half-open, 2 open";
        let mut family =
            encoder.encode_descriptor("broadcaster_breaker_state", help, None, MetricType::Gauge)?;
        for route in &self.0 {
            let Some(running) = &route.route else { continue };
            let state = ConstGauge::new(running.breaker.state() as i64);
            state.encode(family.encode_family(&[("route", route.name.as_str())])?)?;
        }
        Ok(())
    }

    fn trouble(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Why the messages wait, where they do: 1 for that, 0 for all else";
        let mut family =
            encoder.encode_descriptor("broadcaster_webhook_trouble", help, None, MetricType::Gauge)?;
        for route in &self.0 {
            if route.route.is_none() {
                continue;
            }
            let present = route.trouble.map(|trouble| trouble.label());
            for label in Trouble::LABELS {
                let labels = [("route", route.name.as_str()), ("trouble", label)];
                let value = ConstGauge::new(i64::from(present == Some(label)));
                value.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn fetches(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Requests for tokens to log in to the webhook with, by what came of them";
        let mut family =
            encoder.encode_descriptor("broadcaster_token_fetches", help, None, MetricType::Counter)?;
        for route in &self.0 {
            let Some(running) = &route.route else { continue };
            let fetches = running.endpoint.login.as_ref().map(Login::fetches).unwrap_or_default();
            for (result, count) in [("fetched", fetches.fetched), ("failed", fetches.failed)] {
                let labels = [("route", route.name.as_str()), ("result", result)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn histogram(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        figure: fn(&RouteStats) -> &Histogram,
    ) -> std::fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for route in &self.0 {
            let histograms: Vec<_> = route.lanes.iter().map(|lane| figure(lane)).collect();
            write_histogram(family.encode_family(&[("route", route.name.as_str())])?, &histograms)?;
        }
        Ok(())
    }
}

fn write_histogram(mut encoder: MetricEncoder<'_>, lanes: &[&Histogram]) -> std::fmt::Result {
    let bounds = lanes.first().map_or(&[][..], |lane| lane.bounds());
    let ends = bounds.iter().copied().chain([f64::INFINITY]);
    let mut buckets: Vec<_> = ends.map(|end| (end, 0)).collect();
    for lane in lanes {
        for ((_, total), count) in buckets.iter_mut().zip(lane.counts()) {
            *total += count;
        }
    }
    let count = buckets.iter().map(|(_, count)| count).sum();
    let sum = lanes.iter().map(|lane| lane.sum()).sum();
    encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}
