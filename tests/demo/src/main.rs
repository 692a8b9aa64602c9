//! The main job end to end, told at a terminal: `make demo`.
//!
//! It starts a nats-server, a webhook and the daemon with `config/demo.toml`, publishes todo events, lets the webhook
//! fail for a while, and shows that every event arrives all the same. It ends with 1 when one did not.
#![expect(clippy::print_stdout, reason = "telling the story is its job")]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;

use testkit::daemon::{Account, Daemon, Running};
use testkit::nats::NatsServer;
use testkit::webhook::{Received, Webhook};

const SUBJECT: &str = "todos.events";
/// How many events are published while all is well.
const GOOD_TIMES: usize = 10;
/// How many are published while the webhook fails.
const BAD_TIMES: usize = 5;
/// How long the webhook fails.
const OUTAGE: Duration = Duration::from_secs(4);
/// How long anything may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let begin = Instant::now();
    title("The parts");
    let nats = NatsServer::start().await;
    println!("nats-server listens on {}", nats.url());
    let hook = Webhook::start();
    println!("a webhook listens on {} and answers 200", hook.url());
    let mut daemon = start_daemon(&nats, &hook).await;
    println!("broadcaster runs with config/demo.toml: http://{}/health says 200", daemon.api());

    let mut desk = Desk { client: nats.client().await, hook: &hook, shown: 0 };
    title(&format!(
        "{GOOD_TIMES} todo events are published to {SUBJECT}, and the webhook gets each as a POST"
    ));
    desk.publish(1..=GOOD_TIMES).await;
    desk.show_until(GOOD_TIMES).await;

    title(&format!("The webhook answers 503 for {OUTAGE:?}, and {BAD_TIMES} more events are published"));
    let before = daemon.logs().len();
    hook.answer(503);
    desk.publish(GOOD_TIMES + 1..=GOOD_TIMES + BAD_TIMES).await;
    desk.show_for(OUTAGE).await;
    hook.answer(200);
    title("The webhook answers 200 again, and broadcaster delivers what it kept");
    desk.show_until(GOOD_TIMES + BAD_TIMES).await;

    title("What broadcaster logged meanwhile");
    daemon.logs().iter().skip(before).for_each(|line| println!("{}", plain(line)));
    title(&format!("What http://{}/metrics says", daemon.metrics_address()));
    show_metrics(&daemon).await;

    title("SIGTERM: broadcaster stops and gives its account");
    let account = daemon.stop().await;
    println!(
        "received {}, delivered {}, dead-lettered {}, dropped {}, handed over {}, in hand {}",
        account.received,
        account.delivered,
        account.dead_lettered,
        account.dropped,
        account.handed_over,
        account.in_hand,
    );
    title("Result");
    conclude(&hook, account, begin)
}

fn title(text: &str) {
    println!("\n== {text}");
}

async fn start_daemon(nats: &NatsServer, hook: &Webhook) -> Running {
    let daemon = Daemon::new()
        .config_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/demo.toml"))
        .env("NATS_URL", nats.url())
        .env("BROADCASTER__ROUTES__TODOS__WEBHOOK__URL", hook.url())
        .start()
        .await;
    daemon.ready(PATIENCE).await;
    daemon
}

/// From where the events are published, and the webhook is watched.
struct Desk<'a> {
    client: async_nats::Client,
    hook: &'a Webhook,
    /// How many requests of the webhook are printed already.
    shown: usize,
}

impl Desk<'_> {
    /// Publishes one todo event for each of these ids.
    async fn publish(&self, ids: std::ops::RangeInclusive<usize>) {
        for id in ids {
            let todo = format!(r#"{{"id":{id},"title":"todo number {id}","done":false}}"#);
            self.client.publish(SUBJECT, todo.into()).await.expect("NATS takes the event");
        }
        self.client.flush().await.expect("NATS takes the events");
    }

    /// Prints the requests as they come, until so many of them were answered 200.
    async fn show_until(&mut self, delivered: usize) {
        let end = Instant::now() + PATIENCE;
        while self.hook.delivered() < delivered && Instant::now() < end {
            self.show_for(Duration::from_millis(20)).await;
        }
        self.show();
    }

    /// Prints the requests as they come, for this time.
    async fn show_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.show();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Prints the requests that have come and are answered.
    fn show(&mut self) {
        let requests = self.hook.requests();
        for request in requests.iter().skip(self.shown).take_while(|request| request.status.is_some()) {
            println!("{}", line(request));
            self.shown += 1;
        }
    }
}

fn line(request: &Received) -> String {
    format!(
        "{} {}  subject {}  attempt {}  id …{}  {}",
        request.method,
        request.status.unwrap_or_default(),
        request.header("broadcaster-subject"),
        request.header("broadcaster-attempt"),
        // The end of an id is what differs: they begin with the time.
        request
            .header("webhook-id")
            .chars()
            .rev()
            .take(6)
            .collect::<Vec<_>>()
            .iter()
            .rev()
            .collect::<String>(),
        request.text(),
    )
}

/// A JSON log line as a person reads it.
fn plain(line: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else {
        return line.to_owned();
    };
    let mut take = |name| fields.remove(name).map_or(String::new(), text);
    let (_, level, _, message) = (take("timestamp"), take("level"), take("target"), take("message"));
    let rest: String = fields.into_iter().map(|(name, value)| format!(" {name}={}", text(value))).collect();
    format!("{level} {message}{rest}")
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

async fn show_metrics(daemon: &Running) {
    let metrics = daemon.metrics().await;
    let received = "broadcaster_messages_received_total";
    println!("{received} {}", metrics.value(received, &[("route", "todos")]));
    for (name, label) in
        [("broadcaster_messages_processed_total", "outcome"), ("broadcaster_webhook_requests_total", "code")]
    {
        let counted = metrics.by(name, label).into_iter().filter(|(_, count)| *count > 0.0);
        counted.for_each(|(value, count)| println!("{name}{{{label}={value:?}}} {count}"));
    }
}

/// Compares what was published with what the webhook has, and with what broadcaster says.
fn conclude(hook: &Webhook, account: Account, begin: Instant) -> ExitCode {
    let requests = hook.requests();
    let delivered: Vec<u64> = requests
        .iter()
        .filter(|request| request.status == Some(200))
        .filter_map(|request| serde_json::from_slice::<Value>(&request.body).ok()?["id"].as_u64())
        .collect();
    let published = (GOOD_TIMES + BAD_TIMES) as u64;
    let times = |id: u64| delivered.iter().filter(|&&other| other == id).count();
    let wrong: Vec<_> = (1..=published).map(|id| (id, times(id))).filter(|(_, times)| *times != 1).collect();
    let retried = requests.iter().filter(|request| request.status == Some(503)).count();

    for (id, times) in &wrong {
        println!("MISSING OR DOUBLE: the event with id {id} was delivered {times} times");
    }
    if retried == 0 {
        println!("MISSING: no attempt failed while the webhook answered 503");
    }
    let honest = account.adds_up() && account.received == published && account.delivered == published;
    if !honest {
        println!("WRONG: the account does not say that {published} events were received and delivered");
    }
    if !wrong.is_empty() || retried == 0 || !honest {
        return ExitCode::FAILURE;
    }
    let seconds = begin.elapsed().as_secs_f32();
    println!(
        "{published} events published, {published} delivered once each, {retried} failed attempts, {seconds:.1} s"
    );
    ExitCode::SUCCESS
}
