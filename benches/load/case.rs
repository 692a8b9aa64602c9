//! The cases: one for each scenario, and the yardsticks they are held against.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use testkit::nats::NatsServer;

use crate::{
    crowd::{Crowd, Habit},
    daemon::{self, Shape},
    figures::{Sample, float},
    floor,
    machine::Processors,
    options::{Options, Scenario},
    publisher::{Pace, Publisher},
    receiver::{Manner, Receiver},
    relay, standing,
};

/// How long the runs of paced cases take, in seconds.
const PACED: usize = 5;
/// How many messages a flood has.
const FLOOD: usize = 1_000_000;
/// How many seconds an outage takes with what is around it.
const AROUND_OUTAGE: usize = 10;
/// Many connections.
const MANY: usize = 1_024;
/// Many streams.
const STREAMS: usize = 256;
/// How many clients follow the events of the status.
const FOLLOWERS: usize = 200;
/// How many clients read slowly.
const READERS: usize = 1_000;
/// What the pod of the manifests has, in thousandths of a core.
const POD: u32 = 100;
/// Steady paces for it, in messages a second.
const POD_PACES: [(&str, usize); 6] = [
    ("pod, 250/s", 250),
    ("pod, 500/s", 500),
    ("pod, 1,000/s", 1_000),
    ("pod, 2,000/s", 2_000),
    ("pod, 4,000/s", 4_000),
    ("pod, 8,000/s", 8_000),
];
/// What a slow receiver takes.
const SLOWNESS: Duration = Duration::from_millis(50);
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// One thing to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) messages: usize,
    /// The name of the case it is held against.
    pub(crate) yardstick: Option<&'static str>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Floor { connections: usize, tls: bool },
    Relay { rate: usize },
    Daemon(Load),
    Standing,
}

/// What the daemon is put under.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) shape: Shape,
    pub(crate) pace: Pace,
    pub(crate) tls: bool,
    pub(crate) wire: Wire,
    /// Whether the messages are put into a stream first, and come from there.
    pub(crate) durable: bool,
    /// How long the receiver takes.
    pub(crate) slowness: Duration,
    /// From when on, and until when, the receiver refuses.
    pub(crate) outage: Option<(Duration, Duration)>,
    /// The most CPU time that the daemon may have, in thousandths of a core.
    pub(crate) quota: Option<u32>,
    /// Who else wants something meanwhile.
    pub(crate) crowd: Option<Crowd>,
}

/// How messages get to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Each in a request of its own, one after the other on each connection.
    Http1,
    /// Each in a request of its own, many of them at the same time on a connection.
    Http2,
    /// Many in a request, as a JSON array.
    Batches,
}

impl Case {
    /// What `options` ask for, each with its yardstick before it.
    pub(crate) fn list(options: &Options) -> Vec<Self> {
        let mut cases: Vec<Self> = Vec::new();
        for scenario in options.scenarios().0 {
            for case in Self::of(scenario, options) {
                let external = options.webhook.is_some() && !matches!(case.kind, Kind::Daemon(_));
                if !external && cases.iter().all(|known| known.name != case.name) {
                    cases.push(case);
                }
            }
        }
        cases
    }

    #[expect(clippy::too_many_lines, reason = "a list of cases, not a procedure")]
    fn of(scenario: Scenario, options: &Options) -> Vec<Self> {
        let &Options { messages, concurrency, lanes, rate, .. } = options;
        let shape = Shape { lanes, routes: 1, concurrency };
        let load = Load {
            shape,
            pace: Pace::Window(10_000.max(4 * concurrency)),
            tls: false,
            wire: Wire::Http1,
            durable: false,
            slowness: Duration::ZERO,
            outage: None,
            quota: None,
            crowd: None,
        };
        let case = |name, messages, yardstick, kind| Self { name, messages, yardstick, kind };
        let burst = case("burst", messages, Some("floor"), Kind::Daemon(load.clone()));
        let beside_burst = |name, shape| {
            let load = Load { shape, ..load.clone() };
            vec![burst.clone(), case(name, messages, Some("burst"), Kind::Daemon(load))]
        };
        let floor = |tls| Kind::Floor { connections: concurrency, tls };
        match scenario {
            Scenario::Burst => vec![case("floor", messages, None, floor(false)), burst],
            Scenario::Million => {
                let million = case("million", FLOOD, Some("floor"), Kind::Daemon(load));
                vec![case("floor", messages, None, floor(false)), million]
            }
            Scenario::Tls => {
                let load = Load { tls: true, ..load };
                let floor = case("TLS floor", messages, None, floor(true));
                vec![floor, case("TLS", messages, Some("TLS floor"), Kind::Daemon(load))]
            }
            Scenario::Lanes => beside_burst("lanes", Shape { lanes: 2 * lanes, ..shape }),
            Scenario::Routes => beside_burst("routes", Shape { routes: 32, ..shape }),
            Scenario::Connections => {
                let floor = Kind::Floor { connections: MANY, tls: false };
                let mut cases = vec![case("floor 1,024", messages, None, floor)];
                cases.extend(beside_burst("connections", Shape { concurrency: MANY, ..shape }));
                cases
            }
            Scenario::Http2 => {
                let at = |concurrency| Load {
                    wire: Wire::Http2,
                    shape: Shape { concurrency, ..shape },
                    pace: Pace::Window(10_000.max(4 * concurrency)),
                    ..load.clone()
                };
                let tls = Load { tls: true, ..at(STREAMS) };
                let durable = Load { durable: true, pace: Pace::Flood, ..at(STREAMS) };
                let beside_floor = |name, load| case(name, messages, Some("floor"), Kind::Daemon(load));
                vec![
                    case("floor", messages, None, floor(false)),
                    beside_floor("HTTP/2", at(STREAMS)),
                    beside_floor("HTTP/2, 64", at(concurrency)),
                    beside_floor("HTTP/2, 10,000", at(10_000)),
                    beside_floor("HTTP/2 over TLS", tls),
                    beside_floor("durable HTTP/2", durable),
                ]
            }
            Scenario::Batches => {
                let load = Load { wire: Wire::Batches, ..load };
                let floor = case("floor", messages, None, floor(false));
                vec![floor, case("batches", messages, Some("floor"), Kind::Daemon(load))]
            }
            Scenario::Durable => {
                let load = Load { durable: true, pace: Pace::Flood, ..load };
                vec![burst, case("durable", messages, Some("burst"), Kind::Daemon(load))]
            }
            Scenario::Latency => {
                let load = Load { pace: Pace::Steady(rate), ..load };
                let http2 = Load { wire: Wire::Http2, ..load };
                let paced = |name, yardstick, kind| case(name, PACED * rate, yardstick, kind);
                vec![
                    paced("bare loop", None, Kind::Relay { rate }),
                    paced("latency", Some("bare loop"), Kind::Daemon(load)),
                    paced("HTTP/2 latency", Some("latency"), Kind::Daemon(http2)),
                ]
            }
            Scenario::Slow => {
                let load = Load { slowness: SLOWNESS, ..load };
                let messages = messages.min(100 * concurrency);
                vec![case("slow", messages, None, Kind::Daemon(load))]
            }
            Scenario::Outage => {
                let outage = Some((Duration::from_secs(2), Duration::from_secs(7)));
                let load = Load { pace: Pace::Steady(rate), outage, ..load };
                vec![case("outage", AROUND_OUTAGE * rate, None, Kind::Daemon(load))]
            }
            Scenario::Flood => {
                let load = Load { pace: Pace::Flood, ..load };
                vec![case("flood", FLOOD, None, Kind::Daemon(load))]
            }
            Scenario::Crowd => {
                let beside = |name, yardstick, habit, clients, elsewhere| {
                    let crowd = Some(Crowd { habit, clients, elsewhere });
                    case(name, messages, yardstick, Kind::Daemon(Load { crowd, ..load.clone() }))
                };
                vec![
                    beside("followers elsewhere", None, Habit::Follow, FOLLOWERS, true),
                    beside("followers", Some("followers elsewhere"), Habit::Follow, FOLLOWERS, false),
                    beside("readers elsewhere", None, Habit::ReadSlowly, READERS, true),
                    beside("readers", Some("readers elsewhere"), Habit::ReadSlowly, READERS, false),
                ]
            }
            Scenario::Pod => {
                let load = Load { quota: Some(POD), ..load };
                let at = |pace| Load { pace, ..load.clone() };
                let durable = Load { durable: true, ..at(Pace::Flood) };
                let mut cases = vec![
                    case("pod", messages / 2, None, Kind::Daemon(load.clone())),
                    case("durable pod", messages / 2, None, Kind::Daemon(durable)),
                ];
                cases.extend(POD_PACES.map(|(name, rate)| {
                    case(name, 2 * PACED * rate, None, Kind::Daemon(at(Pace::Steady(rate))))
                }));
                cases
            }
            Scenario::Standing => vec![case("standing", standing::MESSAGES, None, Kind::Standing)],
        }
    }

    /// Whether one run says too little.
    pub(crate) const fn repeated(&self) -> bool {
        match &self.kind {
            Kind::Floor { .. } | Kind::Relay { .. } => true,
            Kind::Standing => false,
            Kind::Daemon(load) => {
                let takes_long = self.messages >= FLOOD || !load.slowness.is_zero() || load.outage.is_some();
                !takes_long
            }
        }
    }

    /// Whether messages go as fast as they can be delivered.
    pub(crate) const fn at_full_speed(&self) -> bool {
        match &self.kind {
            Kind::Floor { .. } => true,
            Kind::Relay { .. } | Kind::Standing => false,
            Kind::Daemon(load) => {
                let fast = load.durable || matches!(load.pace, Pace::Window(_));
                fast && load.slowness.is_zero() && load.quota.is_none()
            }
        }
    }

    /// Runs it once.
    pub(crate) async fn run(
        &self,
        options: &Options,
        processors: &Processors,
        progress: &ProgressBar,
    ) -> Sample {
        match &self.kind {
            Kind::Floor { connections, tls } => {
                self.run_floor(*connections, *tls, options, processors, progress).await
            }
            Kind::Relay { rate } => self.run_relay(*rate, options, processors, progress).await,
            Kind::Daemon(load) => daemon::run(load, self.messages, options, processors, progress).await,
            Kind::Standing => standing::run(options, processors, progress).await,
        }
    }

    async fn run_floor(
        &self,
        connections: usize,
        tls: bool,
        options: &Options,
        processors: &Processors,
        progress: &ProgressBar,
    ) -> Sample {
        processors.leave(1);
        let receiver = Receiver::start(options.link(), Instant::now(), Manner::Accept(Duration::ZERO), tls);
        let outcome =
            floor::post(&receiver, self.messages, options.size, connections, processors, progress).await;
        assert_eq!(receiver.delivered(), self.messages, "the floor has lost messages");
        let messages = float(self.messages as u64);
        Sample {
            rate: messages / outcome.time.as_secs_f64(),
            cpu: Some(outcome.cpu.as_secs_f64() * 1e6 / messages),
            peak: float(outcome.peak) / 1024.0,
            ..Sample::default()
        }
    }

    async fn run_relay(
        &self,
        rate: usize,
        options: &Options,
        processors: &Processors,
        progress: &ProgressBar,
    ) -> Sample {
        const SUBJECT: &str = "load.bare";
        processors.leave(1);
        let start = Instant::now();
        let receiver = Receiver::start(options.link(), start, Manner::Accept(Duration::ZERO), false);
        let nats = NatsServer::start().await;
        let task =
            relay::Task { nats: nats.url(), subject: SUBJECT.to_owned(), receiver: receiver.address() };
        let relay = processors.apart(1, async { task.start() }).await;
        let client = nats.client().await;
        // The only way to learn that it has subscribed.
        while receiver.delivered() == 0 {
            client.publish(SUBJECT, "ready?".into()).await.expect("NATS takes it");
            client.flush().await.expect("NATS is there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let process = daemon::process(relay.id());
        let (before, cpu) = (receiver.delivered(), crate::machine::cpu_time(&process));
        let publisher =
            Publisher { client, subjects: vec![SUBJECT.to_owned()], size: options.size, start: Some(start) };
        let began = Instant::now();
        let arrived = async || receiver.delivered() - before;
        publisher.publish(0..self.messages, Pace::Steady(rate), arrived, progress).await;
        let all = || (receiver.delivered() - before >= self.messages).then_some(());
        testkit::poll(PATIENCE, all).await.expect("the bare loop relays all");
        let messages = float(self.messages as u64);
        let cpu = crate::machine::cpu_time(&process) - cpu;
        Sample {
            rate: messages / began.elapsed().as_secs_f64(),
            cpu: Some(cpu.as_secs_f64() * 1e6 / messages),
            latency: receiver.latencies(),
            peak: float(crate::machine::peak_rss(&process)) / 1024.0,
            ..Sample::default()
        }
    }
}
