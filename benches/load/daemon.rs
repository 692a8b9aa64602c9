//! One run of the daemon under load, as a process, and what was measured of it.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use procfs::process::Process;
use testkit::{
    daemon::{Daemon, Running},
    metrics::Metrics,
    nats::NatsServer,
};
use tokio::time::sleep;

use crate::{
    case::{Load, PATIENCE, Wire},
    crowd,
    figures::{Sample, float},
    machine::{Processors, cpu_time, peak_rss},
    options::Options,
    publisher::{Pace, Publisher},
    quota::Quota,
    receiver::{Manner, Receiver},
};

/// The stream of durable routes.
const STREAM: &str = "LOAD";

/// How the daemon is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) lanes: usize,
    pub(crate) routes: usize,
    /// Of all routes together.
    pub(crate) concurrency: usize,
}

impl Shape {
    /// The subjects of the routes.
    pub(crate) fn subjects(self) -> Vec<String> {
        (0..self.routes).map(|number| format!("load.{number}")).collect()
    }

    /// A daemon from `nats` to `webhook`, with `extra` lines in the settings of each webhook, and perhaps with a stream in
    /// between.
    pub(crate) fn daemon(self, nats: &str, webhook: &str, extra: &str, durable: bool) -> Daemon {
        let mut config = format!("nats.url = {nats:?}\nruntime.threads = {}\n", self.lanes);
        for (number, subject) in self.subjects().iter().enumerate() {
            let concurrency = self.concurrency.div_ceil(self.routes);
            write!(
                config,
                "[routes.r{number}]\nsubject = {subject:?}\nqueue_group = \"load\"\n\
                 [routes.r{number}.webhook]\nurl = {webhook:?}\nconcurrency = {concurrency}\n{extra}\n"
            )
            .expect("memory takes everything");
            if durable {
                let stream = format!("[routes.r{number}.jetstream]\nstream = {STREAM:?}\ncreate = true\n");
                config.push_str(&stream);
            }
        }
        Daemon::new().config(&config)
    }
}

impl Wire {
    /// What the webhook's settings say of it.
    const fn settings(self) -> &'static str {
        match self {
            Self::Http1 => "http = \"1.1\"\n",
            Self::Http2 => "http = \"2\"\n",
            Self::Batches => "http = \"1.1\"\n[routes.r0.batch]\nmax_messages = 100\n",
        }
    }
}

/// The process with this id.
pub(crate) fn process(id: u32) -> Process {
    Process::new(i32::try_from(id).expect("a process id is positive")).expect("it runs")
}

/// Puts a daemon under `load`.
pub(crate) async fn run(
    load: &Load,
    messages: usize,
    options: &Options,
    processors: &Processors,
    progress: &ProgressBar,
) -> Sample {
    let lanes = load.shape.lanes;
    processors.leave(lanes);
    let start = Instant::now();
    let own = options.webhook.is_none();
    let receiver =
        own.then(|| Receiver::start(options.link(), start, Manner::Accept(load.slowness), load.tls));
    let own_nats = if options.nats.is_none() { Some(NatsServer::start().await) } else { None };
    let nats = options.nats.clone().or_else(|| own_nats.as_ref().map(NatsServer::url)).expect("one of them");
    let webhook =
        options.webhook.clone().or_else(|| receiver.as_ref().map(Receiver::url)).expect("one of them");
    let mut extra = load.wire.settings().to_owned();
    if let Some(file) = receiver.as_ref().and_then(Receiver::ca_file) {
        writeln!(extra, "tls.ca_file = {file:?}").expect("memory takes everything");
    }
    let client = async_nats::connect(&nats).await.expect("NATS is there");
    let publisher = Publisher {
        client: client.clone(),
        subjects: load.shape.subjects(),
        size: options.size,
        start: (load.wire != Wire::Batches).then_some(start),
    };
    if load.durable {
        fill_stream(client, &publisher, messages, progress).await;
    }
    let daemon = load.shape.daemon(&nats, &webhook, &extra, load.durable);
    let mut daemon = processors.apart(lanes, daemon.start_ready()).await;
    let quota = load.quota.map(Quota::new);
    quota.iter().for_each(|quota| quota.limit(daemon.pid()));
    let watch = Watch { daemon: &daemon, receiver: receiver.as_ref() };
    let watched = process(daemon.pid());
    let _crowd = crowd::gather(load.crowd, &daemon).await;
    let (idle, cpu, began) = (daemon.rss_kib(), cpu_time(&watched), Instant::now());
    if !load.durable {
        let publish = publisher.publish(0..messages, load.pace, async || watch.done().await, progress);
        tokio::join!(publish, watch.outage(load.outage));
    }
    watch.finish(load, messages).await;
    let (time, cpu, peak) = (began.elapsed(), cpu_time(&watched) - cpu, peak_rss(&watched));

    let metrics = daemon.metrics().await;
    let delivered = processed(&metrics, "delivered");
    let latency = receiver.as_ref().map_or_else(|| bounds(&metrics), Receiver::latencies);
    let account = daemon.stop().await;
    assert!(account.adds_up(), "{account:?}");
    let arrived = receiver.as_ref().map_or(delivered, |receiver| float(receiver.delivered() as u64));
    let all = float(messages as u64);
    let slow = metrics.sum("broadcaster_nats_slow_consumer_total", &[]);
    let dropped = float(account.dropped) + slow;
    Sample {
        rate: arrived / time.as_secs_f64(),
        cpu: Some(cpu.as_secs_f64() * 1e6 / all),
        latency,
        idle: Some(float(idle) / 1024.0),
        peak: float(peak) / 1024.0,
        overhead: None,
        dropped,
        lost: (all - arrived - dropped).max(0.0),
        duplicates: receiver.as_ref().map_or(0.0, |receiver| float(receiver.duplicates() as u64)),
    }
}

/// Makes the stream, and puts all messages into it.
async fn fill_stream(
    client: async_nats::Client,
    publisher: &Publisher,
    messages: usize,
    progress: &ProgressBar,
) {
    let context = async_nats::jetstream::new(client);
    let config = async_nats::jetstream::stream::Config {
        name: STREAM.to_owned(),
        subjects: vec!["load.*".to_owned()],
        ..Default::default()
    };
    let stream =
        context.create_stream(config).await.expect("a server with JetStream and without this stream");
    let stored = async || {
        let info = stream.get_info().await.expect("the stream says how much it has");
        usize::try_from(info.state.messages).expect("they fit into memory")
    };
    publisher.publish(0..messages, Pace::Window(20_000), stored, progress).await;
    while stored().await < messages {
        sleep(Duration::from_millis(10)).await;
    }
}

/// How far a run is.
struct Watch<'a> {
    daemon: &'a Running,
    receiver: Option<&'a Receiver>,
}

impl Watch<'_> {
    /// How many messages are done with. A receiver of our own is asked, which costs the daemon nothing.
    async fn done(&self) -> usize {
        match self.receiver {
            Some(receiver) => receiver.delivered(),
            None => self.settled().await,
        }
    }

    /// How many messages the daemon is done with, whatever has become of them.
    async fn settled(&self) -> usize {
        let metrics = self.daemon.metrics().await;
        let settled = metrics.sum("broadcaster_messages_processed_total", &[])
            + metrics.sum("broadcaster_nats_slow_consumer_total", &[]);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let settled = settled as usize;
        settled
    }

    /// Has the receiver refuse for a while.
    async fn outage(&self, outage: Option<(Duration, Duration)>) {
        let (Some((from, until)), Some(receiver)) = (outage, self.receiver) else { return };
        sleep(from).await;
        receiver.behave(Manner::Refuse);
        sleep(until - from).await;
        receiver.behave(Manner::Accept(Duration::ZERO));
    }

    /// Waits until all messages are done with.
    async fn finish(&self, load: &Load, messages: usize) {
        let end = Instant::now() + PATIENCE;
        // Asking the daemon costs it time, so that is done only where the receiver may not get everything.
        let all_arrive = load.durable || (load.pace != Pace::Flood && load.outage.is_none());
        while Instant::now() < end {
            let done = if all_arrive { self.done().await } else { self.settled().await };
            if done >= messages {
                return;
            }
            sleep(Duration::from_millis(if all_arrive { 1 } else { 100 })).await;
        }
    }
}

fn processed(metrics: &Metrics, outcome: &str) -> f64 {
    metrics.sum("broadcaster_messages_processed_total", &[("outcome", outcome)])
}

/// From receiving to delivering, as far as the daemon's own histogram tells: upper bounds, in µs.
fn bounds(metrics: &Metrics) -> Option<[f64; 3]> {
    let buckets = metrics.by("broadcaster_delivery_latency_seconds_bucket", "le");
    let all = metrics.sum("broadcaster_delivery_latency_seconds_count", &[]);
    let bound = |share: f64| {
        let reached = |bound: f64| {
            let within = buckets.iter().filter(|(le, _)| le.parse() == Ok(bound)).map(|(_, count)| count);
            within.sum::<f64>() >= share * all
        };
        let mut ends: Vec<f64> = buckets.iter().filter_map(|(le, _)| le.parse().ok()).collect();
        ends.sort_by(f64::total_cmp);
        ends.into_iter().find(|&end| reached(end)).map_or(f64::INFINITY, |seconds| seconds * 1e6)
    };
    (all > 0.0).then(|| [bound(0.5), bound(0.99), bound(0.999)])
}
