//! The servers, the login, the user, streams and consumers, and where dead letters go.

use std::time::{Duration, Instant};

use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, pull},
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use testkit::{
    nats::NatsServer,
    raw::{Misbehaviour, RawPeer},
    tls::Authority,
    webhook::Webhook,
};

use super::Found;

/// A configuration with the route `a`, which has these sections, from `url` to nowhere.
fn toml(url: &str, sections: &str) -> String {
    format!(
        "nats.url = \"{url}\"\n[routes.a]\nsubject = \"todos.events\"\nwebhook.url = \"http://127.0.0.1:1/\"\n{sections}"
    )
}

const DURABLE: &str = "jetstream.stream = \"TODOS\"\n";
const LETTERS: &str = "dead_letter = { subject = \"dead.a\", stream = \"DEAD\" }\n";

async fn make_stream(
    nats: &NatsServer,
    name: &str,
    subject: &str,
    config: Config,
) -> jetstream::stream::Stream {
    let config = Config { name: name.to_owned(), subjects: vec![subject.to_owned()], ..config };
    jetstream::new(nats.client().await).create_stream(config).await.expect("a stream can be made")
}

#[tokio::test]
async fn servers_are_told_by_how_far_one_gets() {
    let nats = NatsServer::builder().config("authorization { user: u, password: SECRET }").start().await;
    let old =
        NatsServer::builder().config("authorization { user: u, password: other }").core_only().start().await;
    let silent = RawPeer::start([Misbehaviour::NeverAnswer]);
    let port = |nats: &NatsServer| nats.port();
    let began = Instant::now();
    let urls = format!(
        "nats://u:SECRET@127.0.0.1:{},nats://u:SECRET@127.0.0.1:{},nats://u:SECRET@{},nats://u:SECRET@127.0.0.1:1,\
         nats://u:SECRET@nobody.invalid",
        port(&nats),
        port(&old),
        silent.address()
    );
    let found = Found::of(&toml(&urls, ""));
    // One of them is enough to work.
    found.assert("NATS", "server", "ok", &["lets us in", "version 2.", "with JetStream", "not encrypted"]);
    found.assert("NATS", "server login", "warning", &["authorization violation", "correct the login"]);
    found.assert("NATS", "server login", "warning", &["no INFO within 5s"]);
    found.assert(
        "NATS",
        "server connection",
        "warning",
        &["127.0.0.1:1: connection refused", "start the server"],
    );
    found.assert("NATS", "server name", "warning", &["nobody.invalid", "name"]);
    found.assert("NATS", "user", "ok", &["u, in the account $G"]);
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());

    let found = Found::of(&toml(&format!("nats://u:SECRET@127.0.0.1:{}", port(&old)), ""));
    found.assert("NATS", "server login", "failed", &["authorization violation"]);
    assert_eq!(found.status, Some(1));
}

#[tokio::test]
async fn all_is_fine_and_nothing_was_sent_or_taken() {
    let nats = NatsServer::start().await;
    let stream = make_stream(&nats, "TODOS", "todos.>", Config::default()).await;
    make_stream(&nats, "DEAD", "dead.>", Config::default()).await;
    let consumer = pull::Config { durable_name: Some("broadcaster-a".to_owned()), ..pull::Config::default() };
    let consumer = pull::Config { filter_subject: "todos.events".to_owned(), max_deliver: -1, ..consumer };
    stream.create_consumer(consumer).await.expect("a consumer can be made");
    let client = nats.client().await;
    jetstream::new(client.clone()).publish("todos.events", "1".into()).await.unwrap().await.unwrap();
    let mut all = client.subscribe("core.>").await.unwrap();
    let hook = Webhook::start();
    let text = format!(
        "nats.url = \"{}\"\n[routes.a]\nsubject = \"todos.events\"\nwebhook.url = \"{}\"\n{DURABLE}{LETTERS}\
         [routes.b]\nsubject = \"core.b\"\nwebhook.url = \"{}\"\ndead_letter.subject = \"dead.b\"\n",
        nats.url(),
        hook.url(),
        hook.url()
    );
    let found = Found::of(&text);
    found.assert_none("failed");
    found.assert_none("warning");
    assert_eq!(found.status, Some(0));
    found.assert("route a", "stream", "ok", &["TODOS has 1 messages of todos.>"]);
    found.assert("route a", "consumer", "ok", &["broadcaster-a", "1 messages wait, 0 are in hand"]);
    found.assert("route a", "dead letters", "ok", &["the stream DEAD keeps dead.a"]);
    found.assert("route b", "permissions", "ok", &["all that it needs"]);
    found.assert("route b", "dead letters", "ok", &["the stream DEAD keeps dead.b"]);

    assert_eq!(stream.consumer_info("broadcaster-a").await.unwrap().delivered.consumer_sequence, 0, "taken");
    client.flush().await.unwrap();
    let came = tokio::time::timeout(
        Duration::from_millis(100),
        testkit::nats::next(&mut all, Duration::from_secs(1)),
    );
    assert!(came.await.is_err(), "something was published");
    assert_eq!(hook.received(), 0);
}

#[tokio::test]
async fn what_is_missing_is_named_with_the_next_step() {
    let nats = NatsServer::start().await;
    let found = Found::of(&toml(&nats.url(), &format!("{DURABLE}{LETTERS}")));
    found.assert("route a", "stream", "failed", &["there is no stream TODOS", "make it"]);
    found.assert("route a", "dead letters", "failed", &["there is no stream DEAD", "dead_letter.create"]);
    make_stream(&nats, "TODOS", "todos.>", Config::default()).await;
    make_stream(&nats, "DEAD", "other", Config::default()).await;
    let found = Found::of(&toml(&nats.url(), &format!("{DURABLE}{LETTERS}")));
    found.assert(
        "route a",
        "consumer",
        "failed",
        &["TODOS has no consumer broadcaster-a", "jetstream.create"],
    );
    found.assert("route a", "dead letters", "failed", &["the stream DEAD does not keep dead.a"]);
    let create = "jetstream = { stream = \"TODOS\", create = true }\n\
                  dead_letter = { subject = \"dead.a\", stream = \"NEW\", create = true }\n";
    let found = Found::of(&toml(&nats.url(), create));
    found.assert("route a", "consumer", "ok", &["it will be made"]);
    found.assert("route a", "dead letters", "ok", &["it will be made"]);
    make_stream(&nats, "KEEPER", "dead.>", Config::default()).await;
    let found = Found::of(&toml(&nats.url(), LETTERS));
    found.assert("route a", "dead letters", "failed", &["kept by the stream KEEPER, not by DEAD"]);
}

#[tokio::test]
async fn a_consumer_that_can_not_do_its_work_is_named() {
    let nats = NatsServer::start().await;
    let stream = make_stream(&nats, "TODOS", "todos.>", Config::default()).await;
    let usual = || pull::Config {
        durable_name: Some("broadcaster-a".to_owned()),
        filter_subject: "todos.events".to_owned(),
        max_deliver: -1,
        ..pull::Config::default()
    };
    for (config, result, words) in [
        (pull::Config { headers_only: true, ..usual() }, "failed", "headers_only"),
        (pull::Config { ack_policy: AckPolicy::None, ..usual() }, "failed", "ack policy"),
        (pull::Config { max_deliver: 3, ..usual() }, "warning", "max_deliver is 3"),
        (pull::Config { filter_subject: "todos.>".to_owned(), ..usual() }, "warning", "todos.>"),
    ] {
        stream.create_consumer(config).await.expect("a consumer can be made");
        let found = Found::of(&toml(&nats.url(), DURABLE));
        found.assert("route a", "consumer", result, &[words]);
        stream.delete_consumer("broadcaster-a").await.expect("it is there");
    }
    let other = "jetstream = { stream = \"TODOS\", create = true }\n";
    let found = Found::of(&toml(&nats.url(), other).replace("todos.events", "orders"));
    found.assert("route a", "consumer", "failed", &["keeps no subject that orders matches"]);
}

#[tokio::test]
async fn a_server_without_jetstream_is_enough_for_core_routes_only() {
    let nats = NatsServer::builder().core_only().start().await;
    let found = Found::of(&toml(&nats.url(), &format!("{DURABLE}{LETTERS}")));
    found.assert("NATS", "server", "ok", &["without JetStream"]);
    found.assert("route a", "stream", "failed", &["JetStream is not enabled"]);
    found.assert("route a", "dead letters", "failed", &["JetStream is not enabled"]);
    let found = Found::of(&toml(&nats.url(), "dead_letter.subject = \"dead.a\"\n"));
    found.assert("route a", "permissions", "ok", &["all that it needs"]);
    found.assert("route a", "dead letters", "warning", &["no stream keeps dead.a", "whoever listens"]);
    let both = format!("{DURABLE}dead_letter.subject = \"dead.a\"\n");
    Found::of(&toml(&nats.url(), &both)).assert(
        "route a",
        "dead letters",
        "failed",
        &["a letter that nobody keeps"],
    );
}

#[tokio::test]
async fn how_well_letters_are_kept_is_said() {
    let nats = NatsServer::start().await;
    let context = jetstream::new(nats.client().await);
    for (config, result, words) in [
        (Config { no_ack: true, ..Config::default() }, "failed", "confirms nothing"),
        (
            Config { retention: RetentionPolicy::Interest, ..Config::default() },
            "failed",
            "drops what it confirms",
        ),
        (
            Config { retention: RetentionPolicy::WorkQueue, ..Config::default() },
            "warning",
            "retention workqueue",
        ),
        (Config { max_age: Duration::from_secs(3600), ..Config::default() }, "warning", "older than 1h"),
        (
            Config { max_messages: 5, ..Config::default() },
            "warning",
            "removes the oldest letters beyond 5 messages",
        ),
        (
            Config { max_bytes: 9_000, discard: DiscardPolicy::New, ..Config::default() },
            "warning",
            "takes no more than 9000 bytes",
        ),
        (
            Config { max_message_size: 1_000, ..Config::default() },
            "warning",
            "takes 1000 bytes a message, the server 1048576",
        ),
        (
            Config { max_messages_per_subject: 3, ..Config::default() },
            "warning",
            "the last 3 letters of the route",
        ),
        (Config { storage: StorageType::Memory, ..Config::default() }, "warning", "in memory only"),
    ] {
        make_stream(&nats, "DEAD", "dead.a", config).await;
        Found::of(&toml(&nats.url(), LETTERS)).assert("route a", "dead letters", result, &[words]);
        context.delete_stream("DEAD").await.unwrap();
    }
    let full = Config { max_messages: 1, discard: DiscardPolicy::New, ..Config::default() };
    make_stream(&nats, "DEAD", "dead.a", full).await;
    context.publish("dead.a", "1".into()).await.unwrap().await.unwrap();
    Found::of(&toml(&nats.url(), LETTERS)).assert(
        "route a",
        "dead letters",
        "failed",
        &["DEAD is full", "purge"],
    );
}

#[tokio::test]
async fn a_permission_that_is_missing_is_named() {
    let users = "authorization { users: [\
         { user: ask, password: p, permissions: { publish: [\"$SYS.REQ.USER.INFO\"], subscribe: [\"_INBOX.>\"] } },\
         { user: mute, password: p, permissions: { publish: { deny: \">\" }, subscribe: [\"_INBOX.>\", \"todos.>\"] } },\
         { user: deaf, password: p, permissions: { subscribe: [\"other\"] } },\
         { user: grouped, password: p, permissions: { subscribe: [\"todos.events broadcaster-workers\", \"_INBOX.>\", \
             \"broadcaster.handover.>\"] } } ] }";
    let nats = NatsServer::builder().config(users).start().await;
    let url = |user: &str| nats.url().replace("nats://", &format!("nats://{user}:p@"));
    let found = Found::of(&toml(&url("ask"), &format!("{DURABLE}{LETTERS}")));
    for subject in [
        "$JS.API.CONSUMER.INFO.TODOS.broadcaster-a",
        "$JS.API.CONSUMER.MSG.NEXT.TODOS.broadcaster-a",
        "$JS.ACK.TODOS.broadcaster-a.>",
        "dead.a",
    ] {
        let words = [&format!("may not publish to {subject},"), "docs/permissions.md"];
        found.assert("route a", "permissions", "failed", &words);
    }
    assert_eq!(found.status, Some(1));
    let found = Found::of(&toml(&url("ask"), ""));
    found.assert(
        "route a",
        "permissions",
        "failed",
        &["subscribe to todos.events in the queue group broadcaster-workers"],
    );
    found.assert(
        "route a",
        "permissions",
        "warning",
        &["may not publish to broadcaster.handover.broadcaster-workers"],
    );

    let found = Found::of(&toml(&url("mute"), ""));
    found.assert("NATS", "user", "warning", &["publish to $SYS.REQ.USER.INFO"]);
    found.assert("route a", "permissions", "ok", &["may subscribe to todos.events"]);
    let found = Found::of(&toml(&url("deaf"), DURABLE));
    found.assert("NATS", "user", "warning", &["gets no answers", "Permissions Violation"]);
    found.assert("route a", "stream", "failed", &["gets no answers", "nats.inbox_prefix"]);
    Found::of(&toml(&url("deaf"), "")).assert(
        "route a",
        "permissions",
        "warning",
        &["may not subscribe to todos.events"],
    );
    let found = Found::of(&toml(&url("grouped"), ""));
    found.assert("route a", "permissions", "ok", &["all that it needs"]);
}

#[tokio::test]
async fn tls_is_told_with_the_days_that_are_left() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = authority.write_to(directory.path());
    let names = ["127.0.0.1", "localhost"];
    let hour = Duration::from_secs(60 * 60);
    for (identity, result, words) in [
        (authority.issue_loopback(), "ok", "certificate of broadcaster test authority"),
        (authority.issue_for(&names, 60 * hour), "warning", "2 days left"),
    ] {
        let (certificate, key) = identity.write_to(directory.path(), "nats");
        let config = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}");
        let nats = NatsServer::builder().config(&config).start().await;
        let tls =
            toml(&nats.url(), "").replace("[routes.a]", &format!("nats.tls.ca_file = {ca:?}\n[routes.a]"));
        Found::of(&tls).assert("NATS", "server", result, &["TLS", words]);
    }
    let (certificate, key) = authority.issue_expired(&names).write_to(directory.path(), "old");
    let config = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}");
    let nats = NatsServer::builder().config(&config).start().await;
    let tls = toml(&nats.url(), "").replace("[routes.a]", &format!("nats.tls.ca_file = {ca:?}\n[routes.a]"));
    Found::of(&tls).assert(
        "NATS",
        "server TLS",
        "failed",
        &["certificate expired", "see the server's certificate"],
    );
}

#[tokio::test]
async fn what_the_process_has_beside_routes_is_looked_at_without_any_too() {
    let users = "authorization { users: [\n  { user: any, password: p }\n  { user: u, password: p, permissions: { subscribe: \
                 [\"_INBOX.>\"] } }\n] }\nno_auth_user: any";
    let nats = NatsServer::builder().jetstream("").config(users).start().await;
    let text = |create: bool| {
        format!(
            "nats.url = \"{}\"\nservice.access = \"act\"\nendpoints = {{ bucket = \"broadcaster\", create = {create} }}\n\
             history = {{ subject = \"a.history\", stream = \"HISTORY\", create = {create} }}\n",
            nats.url()
        )
    };
    let found = Found::of(&text(false));
    found.assert("endpoints", "bucket", "failed", &["there is no bucket broadcaster", "nats kv add"]);
    found.assert("history", "stream", "failed", &["there is no stream HISTORY", "history.create"]);
    found.assert("service", "service", "ok", &["as broadcaster", "asked for everything"]);
    assert_eq!(found.status, Some(1));
    let found = Found::of(&text(true));
    found.assert("endpoints", "bucket", "ok", &["broadcaster is not there yet: it will be made"]);
    found.assert("history", "stream", "ok", &["HISTORY is not there yet: it will be made"]);
    assert_eq!(found.status, Some(0));

    let stream = make_stream(&nats, "HISTORY", "other", Config::default()).await;
    Found::of(&text(true)).assert(
        "history",
        "stream",
        "failed",
        &["HISTORY does not keep a.history", "add the subject"],
    );
    drop(stream);
    jetstream::new(nats.client().await).delete_stream("HISTORY").await.expect("it can be removed");
    make_stream(&nats, "HISTORY", "a.>", Config::default()).await;
    let found = Found::of(&text(false));
    found.assert("history", "stream", "warning", &["keeps a.history without an end", "max_age"]);
    let found = Found::of(&text(false).replace("nats://", "nats://u:p@"));
    for subject in ["$SRV.PING", "$SRV.PING.>", "broadcaster.service.act.>"] {
        found.assert("service", "permissions", "warning", &[&format!("subscribe to {subject},")]);
    }
    assert_eq!(found.status, Some(1), "there is still no bucket");
}
