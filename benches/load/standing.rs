//! Memory with full queues: a receiver that first refuses, until the retry queue is full, and then hangs, until the queue
//! of new messages is full too.

use std::time::Instant;

use indicatif::ProgressBar;
use testkit::nats::NatsServer;

use crate::{
    case::PATIENCE,
    daemon::{Shape, process},
    figures::{Sample, float},
    machine::{Processors, peak_rss},
    options::Options,
    publisher::{Pace, Publisher},
    receiver::{Manner, Receiver},
};

/// The default bound of each queue.
const BOUND: usize = 65_536;
/// All that is published: somewhat more than fits.
pub(crate) const MESSAGES: usize = 2 * BOUND + 2_000;

/// Fills both queues to their default bounds.
pub(crate) async fn run(options: &Options, processors: &Processors, progress: &ProgressBar) -> Sample {
    processors.leave(1);
    let start = Instant::now();
    let receiver = Receiver::start(options.link(), start, Manner::Refuse, false);
    let nats = NatsServer::start().await;
    let shape = Shape { lanes: 1, routes: 1, concurrency: options.concurrency };
    // Retries come so late that none is under way when the retry queue is looked at.
    let daemon = shape
        .daemon(&nats.url(), &receiver.url(), "", false)
        .arg("--set")
        .arg("routes.r0.retry.initial=300s");
    let daemon = daemon.arg("--set").arg("routes.r0.retry.jitter=none");
    let daemon = daemon.arg("--set").arg("routes.r0.breaker.enabled=false");
    let daemon = processors.apart(1, daemon.start_ready()).await;
    let idle = daemon.rss_kib();
    let client = nats.client().await;
    let publisher = Publisher { client, subjects: shape.subjects(), size: options.size, start: Some(start) };
    let waiting = async || {
        let metrics = daemon.metrics().await;
        let waiting = metrics.sum("broadcaster_retry_queue_messages", &[]);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let waiting = waiting as usize;
        waiting
    };
    publisher.publish(0..BOUND, Pace::Window(10_000), waiting, progress).await;
    let full =
        |metrics: &testkit::metrics::Metrics, name: &str| metrics.sum(name, &[]) >= float(BOUND as u64);
    daemon.wait_metrics(|metrics| full(metrics, "broadcaster_retry_queue_messages"), PATIENCE).await;
    receiver.behave(Manner::Hang);
    publisher.publish(BOUND..MESSAGES, Pace::Steady(100_000), waiting, progress).await;
    daemon.wait_metrics(|metrics| full(metrics, "broadcaster_queue_messages"), PATIENCE).await;
    let metrics = daemon.metrics().await;
    let charged =
        metrics.sum("broadcaster_queue_bytes", &[]) + metrics.sum("broadcaster_retry_queue_bytes", &[]);
    let full = float(daemon.rss_kib());
    Sample {
        rate: 0.0,
        idle: Some(float(idle) / 1024.0),
        peak: float(peak_rss(&process(daemon.pid()))) / 1024.0,
        overhead: Some((full - float(idle)) * 1024.0 / charged),
        ..Sample::default()
    }
}
