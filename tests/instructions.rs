//! How many CPU instructions a message costs the daemon, from the NATS socket to the webhook's answer.
//!
//! Time depends on the machine and on what else it does. Instructions hardly do: a few percent more of them are a change
//! in the code. Valgrind counts those in user space; what the kernel does is for the benchmark to measure.
//!
//! The daemon is the release build as it is shipped, which `make` builds apart and names by `BROADCASTER`: cargo would
//! build this program and the daemon alike, with what only the tests want of tokio.
#![expect(clippy::panic, reason = "a test fails by a panic that says what was lost")]

use std::{env, fs, process::Command, time::Duration};

use serde::{Deserialize, Serialize};
use testkit::{daemon::Daemon, nats::NatsServer, process, webhook::Webhook};
use tokio::join;

const PATIENCE: Duration = Duration::from_secs(60);
const MESSAGE_BYTES: usize = 256;
const SUBJECT: &str = "todos.events";
const STREAM: &str = "TODOS";
/// What the route `default` calls its consumer.
const CONSUMER: &str = "broadcaster-default";
/// How many messages are published at once; the next ones follow when all of them are delivered. Under valgrind the
/// daemon is by far the slowest here, so the others have always done their part, and its batches are the same each time.
const WAVE: usize = 256;
/// How many messages there are in a batch: a wave is two of them.
const BATCH: usize = WAVE / 2;
/// By how many percent the figure may differ. Runs of one build differ by less than one percent, whatever else the
/// machine does; a CPU without AVX2 is worth three.
const TOLERANCE: f64 = 5.0;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/instructions.toml");
const HEADER: &str = "\
# What it costs the daemon to deliver a message, as tests/instructions.rs counts it. `make instructions` writes this.
";

/// What is checked in.
#[derive(Serialize, Deserialize)]
struct Figure {
    /// Over HTTP/1.1.
    instructions_per_message: u32,
    /// Over HTTP/2, without TLS.
    http2_instructions_per_message: u32,
    /// Of a message among [`BATCH`] in a request, over HTTP/1.1.
    batched_instructions_per_message: u32,
    /// Of a message out of a stream, its acknowledgement included, over HTTP/1.1.
    durable_instructions_per_message: u32,
    message_bytes: usize,
    toolchain: String,
}

impl Figure {
    async fn count() -> Self {
        // At the same time: how long it takes is not what is counted.
        let (http1, http2, batched, durable) =
            join!(each(Case::Http1), each(Case::Http2), each(Case::Batched), each(Case::Durable));
        Self {
            instructions_per_message: http1,
            http2_instructions_per_message: http2,
            batched_instructions_per_message: batched,
            durable_instructions_per_message: durable,
            message_bytes: MESSAGE_BYTES,
            toolchain: toolchain(),
        }
    }

    fn read() -> Self {
        let text = fs::read_to_string(FILE).expect("the figure is checked in");
        toml::from_str(&text).unwrap_or_else(|error| panic!("{FILE}: {error}"))
    }

    fn write(&self) {
        let text = toml::to_string(self).expect("it can be written as TOML");
        fs::write(FILE, HEADER.to_owned() + &text).expect("the checkout is writable");
    }
}

/// What a message goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// From core NATS, alone in a request over HTTP/1.1.
    Http1,
    /// The same over HTTP/2.
    Http2,
    /// With others in a request.
    Batched,
    /// Out of a stream.
    Durable,
}

impl Case {
    /// How many messages there are in a request.
    const fn batch(self) -> usize {
        match self {
            Self::Batched => BATCH,
            Self::Http1 | Self::Http2 | Self::Durable => 1,
        }
    }

    fn webhook(self) -> Webhook {
        match self {
            Self::Http2 => Webhook::counting_http2(),
            Self::Http1 | Self::Batched | Self::Durable => Webhook::counting(),
        }
    }

    fn settings(self, daemon: Daemon) -> Daemon {
        match self {
            Self::Http1 => daemon.route("webhook.http", "1.1"),
            Self::Http2 => daemon.route("webhook.http", "2"),
            // The wait is longer than a wave takes to come in: each batch is full.
            Self::Batched => daemon
                .route("webhook.http", "1.1")
                .route("batch.max_messages", &BATCH.to_string())
                .route("batch.max_wait", "1m"),
            Self::Durable => daemon
                .route("webhook.http", "1.1")
                .route("jetstream.stream", STREAM)
                .route("jetstream.create", "true"),
        }
    }
}

/// The instructions that each message costs.
async fn each(case: Case) -> u32 {
    const FEW: usize = 8 * WAVE;
    const MANY: usize = 40 * WAVE;
    // What starting and stopping cost is the same for both.
    let more = instructions(case, MANY).await - instructions(case, FEW).await;
    u32::try_from(more / (MANY - FEW) as u64).expect("it is a small number")
}

/// The instructions of a daemon that delivers `messages`, from its start to its end.
async fn instructions(case: Case, messages: usize) -> u64 {
    let (hook, batch) = (case.webhook(), case.batch());
    let binary = env::var_os("BROADCASTER").expect("BROADCASTER names the release build: use `make`");
    let nats = NatsServer::start().await;
    let stream = nats.stream(STREAM, &[if case == Case::Durable { SUBJECT } else { "others" }]).await;
    let mut valgrind = Command::new(process::tool("valgrind", "VALGRIND"));
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(binary);
    let daemon = Daemon::run_by(valgrind)
        .env("NATS_URL", nats.url())
        .env("WEBHOOK_URL", hook.url())
        .env("BROADCASTER__RUNTIME__THREADS", "1");
    let mut daemon = case.settings(daemon).spawn();
    // The daemon itself is not asked whether it is ready: its answers would count.
    if case == Case::Durable {
        stream.wait_consumer(CONSUMER, |consumer| consumer.num_waiting > 0, PATIENCE).await;
    } else {
        nats.wait_subscriptions(SUBJECT, 1, PATIENCE).await;
    }
    let client = nats.client().await;
    for number in 0..messages {
        if number % WAVE == 0 {
            hook.wait_for(|hook| hook.delivered() == number / batch, PATIENCE).await;
        }
        let begin = format!("{{\"n\":{number},\"title\":\"");
        let body = format!("{begin:x<width$}\"}}", width = MESSAGE_BYTES - 2).into();
        client.publish(SUBJECT, body).await.expect("NATS takes it");
    }
    hook.wait_for(|hook| hook.delivered() == messages / batch, PATIENCE).await;
    let account = daemon.stop().await;
    assert_eq!(account.delivered, messages as u64, "{account:?}");
    let collected = daemon.logs_containing("Collected : ").pop();
    let number = collected.as_deref().and_then(|line| line.rsplit(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("valgrind does not say what it counted: {collected:?}"))
}

/// What the figure depends on, beside the code.
fn toolchain() -> String {
    let rustc = Command::new("rustc").arg("--version").output().expect("rustc runs");
    let rustc = String::from_utf8(rustc.stdout).expect("rustc says its version");
    format!("{}, {}", rustc.trim(), env::consts::ARCH)
}

#[tokio::test]
#[ignore = "counts the release build, which `make test` builds"]
async fn a_message_costs_as_many_instructions_as_are_checked_in() {
    let (counted, known) = (Figure::count().await, Figure::read());
    let figures = [
        ("over HTTP/1.1", counted.instructions_per_message, known.instructions_per_message),
        ("over HTTP/2", counted.http2_instructions_per_message, known.http2_instructions_per_message),
        ("in batches", counted.batched_instructions_per_message, known.batched_instructions_per_message),
        ("out of a stream", counted.durable_instructions_per_message, known.durable_instructions_per_message),
    ];
    let change = |new: u32, old: u32| 100.0 * (f64::from(new) / f64::from(old) - 1.0);
    let differences = figures.map(|(what, new, old)| {
        format!("{new} instructions per message {what}, checked in are {old}: {:+.1} %", change(new, old))
    });
    let differences = differences.join("\n");
    if env::var_os("RENEW").is_some() {
        counted.write();
    } else {
        assert!(
            figures.iter().all(|(_, new, old)| change(*new, *old).abs() <= TOLERANCE),
            "{differences}\n\
             Where that is meant, renew the figures by `make instructions` and say why in the commit.\n\
             Those in {FILE} are of {}; this is {}.",
            known.toolchain,
            counted.toolchain,
        );
    }
    println!("{differences}");
}
