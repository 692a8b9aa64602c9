//! The daemon as a service of NATS: found and asked by a client library, and by whoever publishes oddly.

use std::process::Command;
use std::time::Duration;

use async_nats::{Client, HeaderMap};
use serde_json::{Value, json};

use testkit::daemon::{Daemon, Running};
use testkit::nats::NatsServer;
use testkit::process::tool;
use testkit::publisher::Publisher;
use testkit::webhook::{Reply, Webhook};
use tokio_stream::StreamExt as _;

const SOON: Duration = Duration::from_secs(60);

/// Finds services by NATS' client for node, and prints what those say of themselves.
const DISCOVERY: &str = r#"
const { connect } = require("nats");
(async () => {
    const nc = await connect({ servers: process.argv[1] });
    const client = nc.services.client();
    const found = {};
    for (const verb of ["ping", "info", "stats"]) {
        found[verb] = [];
        for await (const service of await client[verb](process.argv[2])) found[verb].push(service);
    }
    console.log(JSON.stringify(found));
    await nc.close();
})();
"#;

fn discover(nats: &NatsServer) -> Value {
    let mut node = Command::new(tool("nats-node", "NATS_NODE"));
    let output = node.args(["-e", DISCOVERY, &nats.url(), "broadcaster"]).output().expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

/// A replica whose clients may ask for so much.
async fn replica(nats: &NatsServer, hook: &Webhook, access: &str) -> Running {
    let daemon = Daemon::between(nats, &hook.url()).env("BROADCASTER__SERVICE__ACCESS", access);
    let daemon = daemon.start_ready().await;
    daemon.wait_log("clients of NATS find this process as a service", SOON).await;
    daemon.wait_log("connected to NATS", SOON).await;
    daemon
}

/// What all replicas answer: so many.
async fn ask(client: &Client, subject: &str, question: &str, replicas: usize) -> Vec<(HeaderMap, Value)> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.expect("NATS is there");
    let asked = client.publish_with_reply(subject.to_owned(), inbox, question.to_owned().into());
    asked.await.expect("the client takes a message");
    let mut all = Vec::new();
    while all.len() < replicas {
        let answer = tokio::time::timeout(SOON, answers.next()).await;
        assert!(answer.is_ok(), "{} of {replicas} answers: {all:?}", all.len());
        let answer = answer.ok().flatten().expect("the subscription goes on");
        let body = serde_json::from_slice(&answer.payload).expect("answers are JSON");
        all.push((answer.headers.unwrap_or_default(), body));
    }
    all
}

/// The status of an answer that says what could not be done; 200 for another one.
fn code(headers: &HeaderMap) -> String {
    headers.get("Nats-Service-Error-Code").map_or_else(|| "200".to_owned(), ToString::to_string)
}

#[tokio::test]
async fn a_client_finds_every_replica_and_what_it_can_be_asked_for() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let mut replicas = [replica(&nats, &hook, "act").await, replica(&nats, &hook, "act").await];
    let client = nats.client().await;
    ask(&client, "broadcaster.service.read.status", "", 2).await;

    let found = discover(&nats);
    for verb in ["ping", "info", "stats"] {
        let services = found[verb].as_array().expect("a list");
        assert_eq!(services.len(), 2, "{verb}: {found}");
        assert_ne!(services[0]["id"], services[1]["id"]);
        for service in services {
            assert_eq!(service["name"], "broadcaster");
            assert_eq!(service["version"], env!("CARGO_PKG_VERSION"));
            assert_eq!(service["type"], format!("io.nats.micro.v1.{verb}_response"));
        }
    }
    let endpoints = found["info"][0]["endpoints"].as_array().expect("a list");
    let subjects: Vec<_> = endpoints.iter().filter_map(|endpoint| endpoint["subject"].as_str()).collect();
    let expected = [
        "read.status",
        "read.route",
        "read.messages",
        "read.message",
        "read.log-level",
        "read.dead-letters",
        "read.dead-letter",
        "read.job",
        "act.pause",
        "act.drain",
        "act.resume",
        "act.test",
        "act.reload",
        "act.set-log-level",
        "act.put",
        "act.remove",
        "act.replay",
        "act.discard",
        "act.stop-job",
    ];
    assert_eq!(subjects, expected.map(|subject| format!("broadcaster.service.{subject}")));
    let own = endpoints[0]["metadata"]["own_subject"].as_str().expect("it has one");
    let id = found["info"][0]["id"].as_str().expect("it has one");
    assert_eq!(own, format!("broadcaster.service.read.status.{id}"));
    let (_, alone) = ask(&client, own, "", 1).await.remove(0);
    assert_eq!(alone["totals"]["routes"], 1, "{alone}");
    let status = &found["stats"][0]["endpoints"][0];
    assert_eq!((&status["name"], &status["num_requests"]), (&json!("status"), &json!(1)));
    for replica in &mut replicas {
        replica.stop().await;
    }
}

#[tokio::test]
async fn an_act_reaches_all_replicas() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let mut replicas = [replica(&nats, &hook, "act").await, replica(&nats, &hook, "act").await];
    let client = nats.client().await;
    let paused =
        ask(&client, "broadcaster.service.act.pause", r#"{"route": "default", "why": "a test"}"#, 2).await;
    assert!(paused.iter().all(|(_, answer)| answer["held"]["by"] == "a client of NATS"), "{paused:?}");
    assert_ne!(paused[0].0.get("Broadcaster-Service-Id"), paused[1].0.get("Broadcaster-Service-Id"));
    let mut publisher = Publisher::new(nats.client().await, "todos.events");
    publisher.burst(20).await;
    for replica in &replicas {
        let (_, health) = replica.health().await;
        assert!(health.contains("by a client of NATS") && health.contains("a test"), "{health}");
    }
    let status = ask(&client, "broadcaster.service.read.route", r#"{"route": "default"}"#, 2).await;
    assert!(status.iter().all(|(headers, _)| code(headers) == "200"), "{status:?}");
    assert_eq!(hook.received(), 0);

    let drained = ask(&client, "broadcaster.service.act.drain", r#"{"route": "default"}"#, 2).await;
    assert!(drained.iter().all(|(_, answer)| answer["held"]["act"] == "drain"), "{drained:?}");
    hook.wait_delivered(20, SOON).await;
    nats.wait_subscriptions("todos.events", 0, SOON).await;
    ask(&client, "broadcaster.service.act.resume", r#"{"route": "default"}"#, 2).await;
    hook.wait_delivered(20, SOON).await;
    let reloaded = ask(&client, "broadcaster.service.act.reload", "", 2).await;
    assert!(reloaded.iter().all(|(_, answer)| answer["changed"] == json!([])), "{reloaded:?}");
    for replica in &mut replicas {
        replica.stop().await;
    }
    hook.assert_exactly_once(0..20);
}

#[tokio::test]
async fn dead_letters_are_seen_to_by_one_replica_of_a_fleet() {
    const COUNT: u64 = 50;
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    hook.answer(422);
    let replica = async || {
        let daemon = Daemon::between(&nats, &hook.url()).env("BROADCASTER__SERVICE__ACCESS", "act");
        let kept = daemon.route("dead_letter.stream", "DEAD").route("dead_letter.create", "true");
        let daemon = kept.start_ready().await;
        daemon.wait_log("clients of NATS find this process as a service", SOON).await;
        daemon
    };
    let mut replicas = [replica().await, replica().await];
    // Routes are ready before the service is, which has a connection of its own.
    nats.wait_subscriptions("broadcaster.service.read.status", 2, SOON).await;
    let client = nats.client().await;
    Publisher::new(nats.client().await, "todos.events").burst(COUNT).await;
    hook.wait_for(|hook| hook.received() as u64 == COUNT, SOON).await;
    let mut stored = 0;
    while stored < COUNT {
        let (_, listed) =
            ask(&client, "broadcaster.service.read.dead-letters", r#"{"limit": 1}"#, 1).await.remove(0);
        stored = listed["total"].as_u64().unwrap_or_default();
    }
    let letter = r#"{"route": "default", "sequence": 1}"#;
    let (_, letter) = ask(&client, "broadcaster.service.read.dead-letter", letter, 1).await.remove(0);
    assert_eq!(letter["reason"], "rejected", "{letter}");
    let (headers, refused) = ask(&client, "broadcaster.service.act.discard", "", 1).await.remove(0);
    assert_eq!(code(&headers), "422", "{refused}");

    hook.answer(200);
    let (_, begun) = ask(&client, "broadcaster.service.act.replay", r#"{"all": true}"#, 1).await.remove(0);
    assert_eq!(begun["job"]["by"], "a client of NATS", "{begun}");
    let end = std::time::Instant::now() + SOON;
    loop {
        let jobs = ask(&client, "broadcaster.service.read.job", "", 2).await;
        let jobs: Vec<_> = jobs.iter().map(|(_, told)| &told["job"]).filter(|job| !job.is_null()).collect();
        assert_eq!(jobs.len(), 1, "both replicas have begun: {jobs:?}");
        if jobs[0]["state"] == "done" {
            assert_eq!(jobs[0]["delivered"], COUNT, "{jobs:?}");
            break;
        }
        assert!(std::time::Instant::now() < end, "it is not done: {jobs:?}");
    }
    for replica in &mut replicas {
        replica.stop().await;
    }
    hook.assert_exactly_once(0..COUNT);
}

#[tokio::test]
async fn what_cant_be_done_is_said_and_odd_questions_end_nothing() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let mut daemon = replica(&nats, &hook, "act").await;
    let client = nats.client().await;
    for (act, question, expected) in [
        ("act.pause", "", "400"),
        ("act.pause", "{\"route\": 1}", "400"),
        ("act.pause", "\u{0}", "400"),
        ("act.pause", r#"{"route": "none"}"#, "404"),
        ("act.resume", r#"{"route": "a b"}"#, "404"),
        ("act.pause", r#"{"route": "default", "why": "a\ntest"}"#, "422"),
        ("act.pause", r#"{"route": "default", "surprise": 1}"#, "422"),
        ("act.put", r#"{"route": "default", "settings": {}}"#, "404"),
        ("read.route", r#"{"route": "none"}"#, "404"),
        ("read.route", r#"{"route": "default?limit=1"}"#, "404"),
        ("read.messages", r#"{"route": "default", "limit": 0}"#, "400"),
        ("read.status", r#"{"surprise": "none"}"#, "400"),
        ("read.status", r#"{"limit": 7, "history": true}"#, "200"),
        ("read.log-level", "", "200"),
        ("read.status", "[]", "400"),
        ("read.status", "{}", "200"),
    ] {
        let answers = ask(&client, &format!("broadcaster.service.{act}"), question, 1).await;
        assert_eq!(code(&answers[0].0), expected, "{act} {question:?}: {answers:?}");
    }
    // Nobody waits for an answer, or it would mean something else where it is to go.
    let mut elsewhere = client.subscribe("broadcaster.handover.x").await.expect("NATS is there");
    for _ in 0..100 {
        client.publish("$SRV.PING", "".into()).await.expect("the client takes a message");
        let reply = "broadcaster.handover.x";
        client.publish_with_reply("$SRV.INFO", reply, "x".into()).await.expect("the client takes a message");
    }
    ask(&client, "broadcaster.service.read.status", "", 1).await;
    let misled = tokio::time::timeout(Duration::from_millis(200), elsewhere.next()).await;
    assert!(misled.is_err(), "{misled:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn what_takes_long_holds_up_nobody_and_is_bounded() {
    const ASKED: usize = 20;
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    hook.answer(Reply::status(200).after(Duration::from_secs(5)));
    let mut daemon = replica(&nats, &hook, "act").await;
    nats.wait_subscriptions("broadcaster.service.act.test", 1, SOON).await;
    let client = nats.client().await;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.expect("NATS is there");
    for _ in 0..ASKED {
        let test = ("broadcaster.service.act.test", inbox.clone(), r#"{"route": "default"}"#.into());
        client.publish_with_reply(test.0, test.1, test.2).await.expect("the client takes a message");
    }
    // While all of them are under way, or turned away.
    ask(&client, "broadcaster.service.read.status", "", 1).await;
    let mut codes = Vec::new();
    while codes.len() < ASKED {
        let answer = testkit::nats::next(&mut answers, SOON).await;
        codes.push(code(&answer.headers.unwrap_or_default()));
    }
    // What was turned away was at once; the others have taken their time.
    let (busy, done) = codes.split_at(ASKED - 16);
    assert!(busy.iter().all(|code| code == "503") && done.iter().all(|code| code == "200"), "{codes:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn who_may_only_read_can_change_nothing_and_without_a_service_nobody_answers() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let mut daemon = replica(&nats, &hook, "read").await;
    let client = nats.client().await;
    ask(&client, "broadcaster.service.read.status", "", 1).await;
    let refused = client.request("broadcaster.service.act.pause", "{\"route\": \"default\"}".into()).await;
    assert!(refused.is_err(), "nobody takes it: {refused:?}");
    daemon.stop().await;
    let mut daemon = Daemon::between(&nats, &hook.url()).start_ready().await;
    assert!(client.request("$SRV.PING", "".into()).await.is_err(), "nobody is found");
    daemon.stop().await;
}

#[tokio::test]
async fn a_user_who_may_not_be_a_service_delivers_all_the_same() {
    let users = "authorization { users: [\n  { user: u, password: p, permissions: { subscribe: [\"todos.>\", \"_INBOX.>\"] } }\n  \
                 { user: any, password: p }\n] }\nno_auth_user: any";
    let nats = NatsServer::builder().config(users).start().await;
    let hook = Webhook::start();
    let url = nats.url().replace("nats://", "nats://u:p@");
    let daemon = Daemon::between(&nats, &hook.url())
        .env("NATS_URL", url)
        .env("BROADCASTER__SHUTDOWN__HAND_OVER", "false")
        .env("BROADCASTER__SERVICE__ACCESS", "act");
    let mut daemon = daemon.start_ready().await;
    daemon
        .wait_log("Permissions Violation for Subscription to \\\"broadcaster.service.act.reload", SOON)
        .await;
    Publisher::new(nats.client().await, "todos.events").burst(10).await;
    hook.wait_delivered(10, SOON).await;
    daemon.stop().await;
}

#[tokio::test]
async fn who_asks_for_one_thing_without_end_keeps_nobody_from_asking_for_another() {
    const MANY: usize = 20_000;
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let _replica = replica(&nats, &hook, "read").await;
    let client = nats.client().await;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(format!("{inbox}.>")).await.expect("NATS is there");
    let ask = async |subject: &str, reply: &str| {
        let reply = format!("{inbox}.{reply}");
        client
            .publish_with_reply(subject.to_owned(), reply, "".into())
            .await
            .expect("the client takes a message");
    };
    for _ in 0..MANY {
        ask("$SRV.PING", "ping").await;
    }
    ask("broadcaster.service.read.status", "status").await;
    let mut before = 0;
    loop {
        let answer = tokio::time::timeout(SOON, answers.next()).await.expect("it is answered");
        if answer.expect("the subscription goes on").subject.ends_with(".status") {
            break;
        }
        before += 1;
    }
    assert!(before < MANY / 2, "{before} others were answered before");
}
