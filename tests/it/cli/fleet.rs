//! `--nats`: the commands that talk to a running daemon, over a fleet of them.

use std::{process::Output, time::Duration};

use serde_json::Value;
use testkit::{
    daemon::{self, Daemon, Running},
    nats::NatsServer,
    webhook::Webhook,
};
use tokio_stream::StreamExt as _;

use super::{listen::publish, stderr};

const SOON: Duration = Duration::from_secs(60);

async fn replica(daemon: Daemon, access: &str) -> Running {
    let daemon = daemon.env("BROADCASTER__SERVICE__ACCESS", access).start_ready().await;
    daemon.wait_log("clients of NATS find this process as a service", SOON).await;
    daemon
}

/// Two that may be asked for everything.
async fn fleet(nats: &NatsServer, hook: &Webhook) -> [Running; 2] {
    let replica = || replica(Daemon::between(nats, &hook.url()), "act");
    let replicas = [replica().await, replica().await];
    nats.wait_subscriptions("broadcaster.service.read.status", 2, SOON).await;
    replicas
}

/// What the program with these arguments says to the fleet at `nats`.
fn command(nats: &NatsServer, arguments: &[&str]) -> Output {
    daemon::run(&[arguments, &["--nats", &nats.url()]].concat(), &[])
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).expect("it writes text")
}

fn json(nats: &NatsServer, arguments: &[&str]) -> Vec<Value> {
    let told = text(command(nats, &[arguments, &["--json"]].concat()));
    let facts = serde_json::from_str(&told);
    assert!(facts.is_ok(), "{facts:?}: {told}");
    facts.unwrap_or_default()
}

#[tokio::test]
async fn a_fleet_is_seen_held_and_let_go_on() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let mut replicas = fleet(&nats, &hook).await;
    let page = text(command(&nats, &["status"]));
    assert!(page.starts_with("2 of 2 replicas ready; 0/s delivered"), "{page}");
    assert_eq!(page.matches(": ready, generation ").count(), 2, "{page}");
    assert_eq!(page.matches(" default ").count(), 1, "each route once: {page}");
    let facts = json(&nats, &["status"]);
    assert_eq!(facts.len(), 2);
    assert!(facts.iter().all(|fact| fact["answer"]["routes"][0]["name"] == "default"), "{facts:?}");
    assert_ne!(facts[0]["replica"], facts[1]["replica"], "they are told apart");

    let paused = text(command(&nats, &["pause", "default", "--why", "a test"]));
    assert_eq!(paused.matches(": default is held by a client of NATS since ").count(), 2, "{paused}");
    publish(&nats, "1").await;
    let listed = text(command(&nats, &["routes", "ls"]));
    assert!(listed.starts_with("default ") && listed.contains("a test"), "{listed}");
    let one = text(command(&nats, &["routes", "get", "default"]));
    assert_eq!(one.matches("subject = \"todos.events\"").count(), 2, "{one}");
    assert_eq!(hook.received(), 0);

    // One alone, by its name and by its id.
    let (name, id) = (facts[0]["replica"].as_str(), facts[1]["id"].as_str());
    for alone in [name, id].map(|alone| alone.expect("it has one")) {
        let resumed = text(command(&nats, &["resume", "default", "--replica", alone]));
        assert_eq!(resumed.lines().count(), 1, "{resumed}");
        assert!(resumed.ends_with(": default goes on\n"), "{resumed}");
    }
    hook.wait_delivered(1, SOON).await;
    for replica in &mut replicas {
        replica.stop().await;
    }
}

/// Who says that it does not take a question, and answers it all the same, before all others and twice.
#[tokio::test]
async fn an_answer_that_was_not_asked_for_takes_nobodys_place() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let mut replicas = fleet(&nats, &hook).await;
    let client = nats.client().await;
    let mut infos = client.subscribe("$SRV.INFO.broadcaster").await.expect("it is connected");
    let mut questions = client.subscribe("broadcaster.service.read.status").await.expect("it is connected");
    nats.wait_subscriptions("broadcaster.service.read.status", 3, SOON).await;
    let stranger = tokio::spawn(async move {
        loop {
            let (asked, said) = tokio::select! {
                Some(asked) = infos.next() => (asked, r#"{"id":"stranger","endpoints":[]}"#),
                Some(asked) = questions.next() => (asked, "nothing"),
                else => return,
            };
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("Broadcaster-Service-Id", "stranger");
            for _ in 0..2 {
                let reply = asked.reply.clone().expect("it wants an answer");
                let answered = client.publish_with_headers(reply, headers.clone(), said.into());
                answered.await.expect("it is connected");
            }
        }
    });
    let page = String::from_utf8(command(&nats, &["status"]).stdout).expect("it writes text");
    assert_eq!(page.matches(": ready, generation ").count(), 2, "{page}");
    stranger.abort();
    for replica in &mut replicas {
        replica.stop().await;
    }
}

#[tokio::test]
async fn every_replica_does_what_it_is_told_and_one_what_is_for_all() {
    let nats = NatsServer::builder().jetstream("").start().await;
    let hook = Webhook::start();
    let replica = || {
        let daemon = Daemon::between(&nats, &hook.url()).env("BROADCASTER__ENDPOINTS__BUCKET", "endpoints");
        replica(daemon.env("BROADCASTER__ENDPOINTS__CREATE", "true"), "act")
    };
    let mut replicas = [replica().await, replica().await];
    nats.wait_subscriptions("broadcaster.service.act.remove", 2, SOON).await;
    let each = |arguments: &[&str], words: &str| {
        let told = text(command(&nats, arguments));
        assert_eq!(told.matches(words).count(), 2, "{arguments:?}: {told}");
    };
    each(&["reload"], "; no route has changed");
    each(&["log-level"], ": info\n");
    each(&["log-level", "debug", "--for", "5m"], ": debug until ");
    each(&["routes", "test", "default", "--body", r#"{"a":1}"#], ": delivered: 200 in ");
    assert_eq!(hook.received(), 2);

    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let route = folder.path().join("route.json");
    let settings = format!(r#"{{"subject": "mails", "webhook": {{"url": "{}"}}}}"#, hook.url());
    std::fs::write(&route, settings).expect("it is writable");
    let route = route.to_str().expect("it is text");
    let written = text(command(&nats, &["routes", "put", "mails", route]));
    assert_eq!((written.lines().count(), written.contains("mails is written")), (1, true), "{written}");
    // That of the file, and this one.
    let follows = |metrics: &testkit::metrics::Metrics| metrics.sum("broadcaster_source_live", &[]) == 2.0;
    for replica in &replicas {
        replica.wait_metrics(follows, SOON).await;
    }
    assert_eq!(text(command(&nats, &["routes", "ls"])).lines().count(), 2);
    assert_eq!(text(command(&nats, &["routes", "rm", "mails"])).lines().count(), 1);
    for replica in &mut replicas {
        replica.stop().await;
    }
}

#[tokio::test]
async fn more_routes_than_fit_into_a_message_are_told_part_by_part() {
    let nats = NatsServer::builder().config("max_payload: 65536").start().await;
    let routes = (0..400)
        .map(|n| format!("[routes.r{n}]\nsubject = \"s.{n}\"\nwebhook.url = \"http://127.0.0.1:9/{n}\"\n"));
    let daemon = Daemon::new().env("NATS_URL", nats.url()).config(&routes.collect::<String>());
    let mut daemon = replica(daemon, "read").await;
    nats.wait_subscriptions("broadcaster.service.read.status", 1, SOON).await;
    let listed = text(command(&nats, &["routes", "ls"]));
    assert_eq!(listed.lines().count(), 400, "{listed}");
    let page = text(command(&nats, &["status", "--limit", "400"]));
    assert!(page.contains("\n… and ") && page.contains(" r1 "), "{page}");
    daemon.stop().await;
}

#[tokio::test]
async fn who_may_not_or_finds_nobody_is_told_so() {
    let users = "authorization { users: [\n  { user: any, password: p }\n  { user: looker, password: p, permissions: { publish: \
                 [\"$SRV.INFO.broadcaster\", \"broadcaster.service.read.>\"], subscribe: [\"_INBOX.>\"] } }\n  \
                 { user: deaf, password: p, permissions: { subscribe: [\"a\"] } }\n] }\nno_auth_user: any";
    let nats = NatsServer::builder().config(users).start().await;
    let hook = Webhook::start();
    let refused = |arguments: &[&str], status: i32, expected: &str| {
        let output = daemon::run(arguments, &[]);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    };
    let url = nats.url();
    refused(&["status", "--nats", &url], 69, "no daemon answers as the service \"broadcaster\"");
    refused(&["status", "--nats", "nats://127.0.0.1:9"], 69, "cannot connect to NATS: ");
    refused(&["status", "--nats", &url, "--url", "http://127.0.0.1:9"], 2, "give one of them");
    refused(&["status", "--replica", "vm"], 2, "--nats");
    refused(&["pause", "--nats", "todos"], 2, "--nats stands behind the other arguments");
    refused(&["tail", "--nats", &url], 2, "tail is about one process: name it by --url");
    refused(&["status", "--nats", "--set", "nats.url=[["], 78, "nats.url");

    let mut acting = replica(Daemon::between(&nats, &hook.url()), "act").await;
    let mut reading = replica(Daemon::between(&nats, &hook.url()), "read").await;
    nats.wait_subscriptions("broadcaster.service.read.status", 2, SOON).await;
    refused(&["pause", "nobody", "--nats", &url], 77, "no route has this name");
    refused(&["pause", "default", "--nats", &url], 77, "it does not take \"pause\" from clients of NATS");
    refused(&["pause", "default", "--nats", &url], 77, "1 of 2 replicas have not done it");
    refused(&["status", "--nats", &url, "--replica", "x"], 2, "\"x\" is not one of the replicas: ");
    let looker = url.replace("nats://", "nats://looker:p@");
    assert!(text(daemon::run(&["status", "--nats", &looker], &[])).starts_with("2 of 2 "));
    refused(&["pause", "default", "--nats", &looker], 77, "publish to broadcaster.service.act.pause");
    refused(&["status", "--nats", &url.replace("nats://", "nats://deaf:p@")], 77, "subscribe to its inboxes");
    acting.stop().await;
    reading.stop().await;
}
