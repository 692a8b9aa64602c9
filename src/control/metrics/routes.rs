//! The figures of the routes, as families of metrics.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::{
    levels::{Lagging, Levels, Running},
    series::{AllSeries, Book, Series},
};
use crate::{
    base::clock::Clock,
    config::PerRoute,
    message::outcome::{Outcome, Publication},
    route::{registry::Registry, schedule::concurrency::Change, trouble::Trouble},
    stats::{Counts, Durations, InHand},
};

/// Collects the figures of all routes that run or drain.
#[derive(Debug)]
pub(super) struct Collected {
    registry: Arc<Registry>,
    clock: Clock,
    book: Mutex<Book>,
}

impl Collected {
    /// Those of the routes of `registry`, of which so many have series of their own as `per_route` says.
    pub(super) fn new(registry: Arc<Registry>, per_route: PerRoute, clock: Clock) -> Self {
        Self { registry, clock, book: Mutex::new(Book::new(per_route)) }
    }
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let AllSeries { series, own, shared } = book.look(&self.registry, self.clock.now());
        drop(book);
        let mut family = encoder.encode_descriptor(
            "broadcaster_routes",
            "Routes, by whether they have series of their own or share those of route=\"__other__\"",
            None,
            MetricType::Gauge,
        )?;
        for (kind, count) in [("own", own), ("shared", shared)] {
            gauge(count).encode(family.encode_family(&[("series", kind)])?)?;
        }
        let mut families = Families { encoder, series: &series };
        families.counters()?;
        families.loads()?;
        families.bounds()?;
        families.letters()?;
        families.states()?;
        families.lag()?;
        let help = "One attempt, from connecting to the last byte of the answer";
        families.histogram("broadcaster_request_duration_seconds", help, Counts::request_duration)?;
        let help = "From receiving a message to delivering it, retries included";
        families.histogram("broadcaster_delivery_latency_seconds", help, Counts::delivery_latency)
    }
}

/// Writes families with the label `route`.
struct Families<'e, 's> {
    encoder: DescriptorEncoder<'e>,
    series: &'s [Series],
}

impl Families<'_, '_> {
    fn counters(&mut self) -> fmt::Result {
        let help = "Messages taken from NATS";
        self.counter("broadcaster_messages_received", help, |counts| counts.tally().received)?;
        let help = "Messages that are done with, by what became of them";
        self.labelled("broadcaster_messages_processed", help, "outcome", |counts, write| {
            let tally = counts.tally();
            Outcome::ALL.into_iter().try_for_each(|outcome| write(outcome.label(), tally.of(outcome)))
        })?;
        let help = "Messages that the filter could not judge, and that were taken for that reason";
        self.counter("broadcaster_filter_errors", help, Counts::unjudged)?;
        let help = "Answers of the webhook that were to be published, by what became of them";
        self.labelled("broadcaster_answers", help, "result", |counts, write| {
            let mut publications = counts.publications();
            publications.try_for_each(|(publication, count)| write(Publication::label(publication), count))
        })?;
        let help = "Attempts, by the status of the answer or by why there was none";
        self.labelled("broadcaster_webhook_requests", help, "code", |counts, write| {
            counts.codes().try_for_each(|(code, count)| write(&code, count))
        })?;
        let help = "Requests for tokens to log in to the webhook with, by what came of them";
        self.labelled("broadcaster_token_fetches", help, "result", |counts, write| {
            let [fetched, failed] = counts.fetches();
            write("fetched", fetched)?;
            write("failed", failed)
        })
    }

    fn loads(&mut self) -> fmt::Result {
        let help = "Messages that were received and came to no end yet";
        self.gauge("broadcaster_messages_in_hand", help, |levels| usize::try_from(levels.messages).ok())?;
        type Figure = fn(&InHand) -> usize;
        let gauges: [(&str, &str, Figure); 5] = [
            ("broadcaster_in_flight", "Attempts under way", |load| load.in_flight),
            ("broadcaster_queue_messages", "Messages that wait for their first attempt", |load| {
                load.queue_messages
            }),
            ("broadcaster_queue_bytes", "The memory they take", |load| load.queue_bytes),
            ("broadcaster_retry_queue_messages", "Messages that wait for another attempt", |load| {
                load.retry_messages
            }),
            ("broadcaster_retry_queue_bytes", "The memory they take", |load| load.retry_bytes),
        ];
        gauges.into_iter().try_for_each(|(name, help, figure)| {
            self.gauge(name, help, |levels| Some(figure(&levels.in_hand)))
        })
    }

    /// The bounds of the queues, beside what they hold: without them an alerting rule would have to guess the
    /// configuration to say how full they are.
    fn bounds(&mut self) -> fmt::Result {
        let gauges = [
            ("broadcaster_queue_max_messages", "Messages that the queue has room for"),
            ("broadcaster_queue_max_bytes", "Memory that the queue may take"),
            ("broadcaster_retry_queue_max_messages", "Messages that the retry queue has room for"),
            ("broadcaster_retry_queue_max_bytes", "Memory that the retry queue may take"),
        ];
        for (index, (name, help)) in gauges.into_iter().enumerate() {
            self.running(name, help, |running| running.bounds[index])?;
        }
        let help = "How many attempts may be under way, which an adaptive route changes";
        self.running("broadcaster_concurrency_limit", help, |running| running.concurrency)?;
        self.concurrency_changes()
    }

    /// Of adaptive routes with series of their own: for several together, no reason would say anything.
    fn concurrency_changes(&mut self) -> fmt::Result {
        let help = "How often an adaptive limit was changed, by the reason";
        let name = "broadcaster_concurrency_changes";
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for Series { label, levels, .. } in self.series {
            let Some(changes) = levels.running.as_ref().and_then(|running| running.changes) else { continue };
            for (why, count) in Change::ALL.into_iter().zip(changes) {
                let labels = [("route", label.as_str()), ("why", why.label())];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    /// The dead letters that wait until NATS has them, and how many may.
    fn letters(&mut self) -> fmt::Result {
        let gauges = [
            ("broadcaster_dead_letter_queue_messages", "Dead letters that wait until NATS has them"),
            ("broadcaster_dead_letter_queue_bytes", "The memory they take"),
            ("broadcaster_dead_letter_queue_max_messages", "Dead letters that may wait"),
            ("broadcaster_dead_letter_queue_max_bytes", "Memory that they may take"),
        ];
        for (index, (name, help)) in gauges.into_iter().enumerate() {
            self.gauge(name, help, |levels| {
                Some(levels.running.as_ref().map_or(0, |running| running.letters[index]))
            })?;
        }
        Ok(())
    }

    fn states(&mut self) -> fmt::Result {
        let help = "Whether the webhook is left alone: 0 closed, 1 half-open, 2 open";
        self.running("broadcaster_breaker_state", help, |running| running.breaker)?;
        let help =
            "1 while the route gets its messages, 0 where NATS gives it none, or none on one of its lanes";
        self.running("broadcaster_source_live", help, |running| usize::from(running.is_live))?;
        let help = "Why the messages wait, where they do: 1 for that, 0 for all else";
        let name = "broadcaster_webhook_trouble";
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for Series { label, levels, .. } in self.series {
            let Some(running) = &levels.running else { continue };
            for (trouble, count) in Trouble::LABELS.into_iter().zip(running.troubles) {
                let labels = [("route", label.as_str()), ("trouble", trouble)];
                gauge(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn lag(&mut self) -> fmt::Result {
        type Figure = fn(&Lagging) -> usize;
        let gauges: [(&str, &str, Figure); 4] = [
            ("broadcaster_consumer_pending", "Messages that the consumer has not delivered yet", |lag| {
                lag.pending
            }),
            ("broadcaster_consumer_ack_pending", "Messages that the consumer waits to hear of", |lag| {
                lag.ack_pending
            }),
            (
                "broadcaster_consumer_max_ack_pending",
                "How many of those it allows, 0 without a limit",
                |lag| lag.max_ack_pending,
            ),
            (
                "broadcaster_consumer_last_pull_timestamp_seconds",
                "When messages were last asked for, in seconds since 1970",
                |lag| lag.last_pull,
            ),
        ];
        gauges.into_iter().try_for_each(|(name, help, figure)| {
            self.gauge(name, help, |levels| levels.lag.as_ref().map(figure))
        })
    }

    /// A figure that only routes have that run.
    fn running(&mut self, name: &str, help: &str, figure: impl Fn(&Running) -> usize) -> fmt::Result {
        self.gauge(name, help, |levels| levels.running.as_ref().map(&figure))
    }

    fn gauge(&mut self, name: &str, help: &str, figure: impl Fn(&Levels) -> Option<usize>) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for Series { label, levels, .. } in self.series {
            if let Some(value) = figure(levels) {
                gauge(value).encode(family.encode_family(&[("route", label.as_str())])?)?;
            }
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, figure: impl Fn(&Counts) -> u64) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for Series { label, counts, .. } in self.series {
            let labels = [("route", label.as_str())];
            ConstCounter::new(figure(counts)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// A counter with one more label, for each value of which `figures` writes a sample.
    fn labelled(
        &mut self,
        name: &str,
        help: &str,
        by: &str,
        figures: impl Fn(&Counts, &mut dyn FnMut(&str, u64) -> fmt::Result) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for Series { label, counts, .. } in self.series {
            figures(counts, &mut |value, count| {
                let labels = [("route", label.as_str()), (by, value)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)
            })?;
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        figure: impl Fn(&Counts) -> Durations<'_>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for Series { label, counts, .. } in self.series {
            let Durations { bounds, counts, sum } = figure(counts);
            let ends = bounds.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<_> = ends.zip(counts.iter().copied()).collect();
            let count = counts.iter().sum();
            let labels = [("route", label.as_str())];
            let mut encoder = family.encode_family(&labels)?;
            encoder.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, &buckets, None)?;
        }
        Ok(())
    }
}

fn gauge(value: usize) -> ConstGauge {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}
