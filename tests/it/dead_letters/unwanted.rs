//! Letters that a stream does not take: one of many, or all of them for a while. None holds up another, and none is counted
//! as what it is not.

use std::time::Duration;

use async_nats::{HeaderMap, jetstream};

use super::{SOON, STREAM, SUBJECT, count, kept, stream, wait_count};
use testkit::{
    daemon::{Daemon, Running},
    nats::NatsServer,
    stage::Stage,
    webhook::{Reply, Webhook},
};

const PROCESSED: &str = "broadcaster_messages_processed_total";

/// Makes the stream of the dead letters with these settings.
async fn make(nats: &NatsServer, settings: jetstream::stream::Config) {
    let config = jetstream::stream::Config {
        name: STREAM.to_owned(),
        subjects: vec!["broadcaster.dead.>".to_owned()],
        ..settings
    };
    jetstream::new(nats.client().await).create_stream(config).await.expect("the stream can be made");
}

async fn stage(nats: NatsServer, hook: &Webhook) -> Stage {
    let daemon = Daemon::between(&nats, &hook.url()).route("dead_letter.stream", STREAM).start_ready().await;
    Stage { client: nats.client().await, nats, daemon }
}

async fn wait_outcome(daemon: &Running, outcome: &str, expected: f64) {
    let reached =
        |metrics: &testkit::metrics::Metrics| metrics.sum(PROCESSED, &[("outcome", outcome)]) == expected;
    daemon.wait_metrics(reached, SOON).await;
}

/// A stream takes 64 KiB of headers, and a publisher may send more.
#[tokio::test]
async fn one_with_too_many_headers_is_shortened_and_holds_nobody_up() {
    let hook = Webhook::answering([400]);
    let mut stage = Stage::set(&hook.url(), kept).await;
    let mut headers = HeaderMap::new();
    for number in 0..70 {
        headers.insert(format!("X-{number}"), "x".repeat(1024));
    }
    headers.insert("Content-Type", "text/x-todo");
    stage.client.publish_with_headers("todos.events", headers, "0".into()).await.unwrap();
    for number in 1..10 {
        stage.publish(number.to_string()).await;
    }
    wait_count(&stage.nats, 10).await;
    assert_eq!(stage.close().await.dead_lettered, 10);
    let mut found = 0;
    for sequence in 1..=10 {
        let letter = stream(&stage.nats).await.get_raw_message(sequence).await.unwrap();
        assert_eq!(letter.headers.get("Broadcaster-Reason").unwrap().as_str(), "rejected");
        if let Some(left_out) = letter.headers.get("Broadcaster-Headers-Left-Out") {
            let left_out: usize = left_out.as_str().parse().unwrap();
            let kept = (0..70).filter(|number| letter.headers.get(format!("X-{number}")).is_some()).count();
            assert_eq!(left_out + kept + usize::from(letter.headers.get("Content-Type").is_some()), 71);
            assert!(kept > 30, "{kept} are kept");
            found += 1;
        }
    }
    assert_eq!(found, 1);
}

/// Each of these streams takes small letters, and never a large one.
#[tokio::test]
async fn one_that_is_too_large_for_the_stream_is_dropped_and_named_and_the_others_go_on() {
    use jetstream::stream::{Config, DiscardPolicy};
    for settings in [
        Config { max_message_size: 10_000, ..Config::default() },
        Config { max_bytes: 10_000, discard: DiscardPolicy::New, ..Config::default() },
        Config { max_bytes: 10_000, discard: DiscardPolicy::Old, ..Config::default() },
    ] {
        let nats = NatsServer::start().await;
        make(&nats, settings.clone()).await;
        let hook = Webhook::answering([400]);
        let mut stage = stage(nats, &hook).await;
        stage.publish(vec![b' '; 20_000]).await;
        hook.wait_for(|hook| hook.received() == 1, SOON).await;
        for number in 1..=5 {
            stage.publish(number.to_string()).await;
        }
        wait_count(&stage.nats, 5).await;
        wait_outcome(&stage.daemon, "dropped", 1.0).await;
        let line = stage.daemon.wait_log("dead letter dropped", SOON).await;
        assert!(line.contains("larger than NATS takes") && line.contains("rejected"), "{line}");
        let account = stage.close().await;
        assert_eq!((account.dead_lettered, account.dropped), (5, 1), "{settings:?}");
    }
}

/// A user who may not ask for the stream's settings learns from the stream alone which letter it never takes. At a stop it
/// need not know that yet.
#[tokio::test]
async fn at_a_stop_the_others_are_stored() {
    let users = "authorization: { users: [{ user: \"all\", password: \"all\" },\n\
         { user: \"daemon\", password: \"daemon\", permissions: { publish: { deny: \"$JS.API.>\" } } }],\n\
         }\nno_auth_user: all";
    let nats = NatsServer::builder().config(users).start().await;
    let settings = jetstream::stream::Config {
        max_bytes: 10_000,
        discard: jetstream::stream::DiscardPolicy::New,
        ..Default::default()
    };
    make(&nats, settings).await;
    let hook = Webhook::answering([400]);
    let daemon = Daemon::between(&nats, &hook.url())
        .route("dead_letter.stream", STREAM)
        .env("BROADCASTER__NATS__USER", "daemon")
        .env("BROADCASTER__NATS__PASSWORD", "daemon");
    let daemon = daemon.start_ready().await;
    let mut stage = Stage { client: nats.client().await, nats, daemon };
    stage.publish(vec![b' '; 20_000]).await;
    hook.wait_for(|hook| hook.received() == 1, SOON).await;
    hook.answer(Reply::status(400).after(Duration::from_millis(300)));
    for number in 1..=5 {
        stage.publish(number.to_string()).await;
    }
    hook.wait_for(|hook| hook.received() == 6, SOON).await;
    let account = stage.close().await;
    assert_eq!((account.dead_lettered, account.dropped), (5, 1));
    assert_eq!(count(&stage.nats).await, 5);
    assert!(stage.daemon.logs_containing("dead letter dropped")[0].contains("maximum bytes"));
}

/// Without the permission for the subject letters wait, as for anything else; given, they are stored and counted as that.
#[tokio::test]
async fn without_the_permission_they_wait_until_it_is_given() {
    let users = |denied: &str| {
        format!(
            "authorization: {{ users: [{{ user: \"all\", password: \"all\" }},\n\
             {{ user: \"daemon\", password: \"daemon\", permissions: {{ publish: {{ deny: {denied:?} }} }} }}] }}\n\
             no_auth_user: all"
        )
    };
    for is_kept in [true, false] {
        let nats = NatsServer::builder().config(&users("broadcaster.dead.>")).start().await;
        if is_kept {
            make(&nats, jetstream::stream::Config::default()).await;
        }
        let mut plain = nats.client().await.subscribe("broadcaster.dead.>").await.unwrap();
        nats.wait_subscriptions("broadcaster.dead.>", 1 + usize::from(is_kept), SOON).await;
        let hook = Webhook::answering([400]);
        let daemon = Daemon::between(&nats, &hook.url())
            .route("dead_letter.subject", SUBJECT)
            .env("BROADCASTER__NATS__USER", "daemon")
            .env("BROADCASTER__NATS__PASSWORD", "daemon");
        let daemon = daemon.start_ready().await;
        let mut stage = Stage { client: nats.client().await, nats, daemon };
        for number in 0..20 {
            stage.publish(number.to_string()).await;
        }
        let line = stage.daemon.wait_log("dead letters can't be published", SOON).await;
        assert!(line.contains("permission"), "{line}");
        hook.wait_for(|hook| hook.received() == 20, SOON).await;
        assert_eq!(stage.daemon.metrics().await.sum(PROCESSED, &[]), 0.0, "they wait");
        stage.nats.reload(&users("nothing")).await;
        wait_outcome(&stage.daemon, "dead_lettered", 20.0).await;
        for _ in 0..20 {
            testkit::nats::next(&mut plain, SOON).await;
        }
        let account = stage.close().await;
        assert_eq!((account.dead_lettered, account.dropped), (20, 0), "{account:?}");
        assert_eq!(count(&stage.nats).await, if is_kept { 20 } else { 0 });
    }
}

/// What a stream takes for a duplicate of something else is published under another id.
#[tokio::test]
async fn a_letter_that_is_taken_for_another_is_published_again() {
    let nats = NatsServer::builder().core_only().start().await;
    let client = nats.client().await;
    let mut asked = client.subscribe("$JS.API.>").await.unwrap();
    let mut letters = client.subscribe(SUBJECT).await.unwrap();
    nats.wait_subscriptions(SUBJECT, 1, SOON).await;
    // A stream that somebody has published this id to before.
    let answering = client.clone();
    tokio::spawn(async move {
        loop {
            let question = testkit::nats::next(&mut asked, SOON).await;
            let answer = if question.subject.ends_with("NAMES") {
                format!("{{\"streams\":[{STREAM:?}]}}")
            } else {
                "{\"config\":{}}".to_owned()
            };
            answering.publish(question.reply.unwrap(), answer.into()).await.unwrap();
        }
    });
    let hook = Webhook::answering([400]);
    let daemon = Daemon::between(&nats, &hook.url()).route("dead_letter.stream", STREAM).start_ready().await;
    let mut stage = Stage { client: client.clone(), nats, daemon };
    stage.publish("0").await;
    let mut ids = Vec::new();
    for duplicate in [true, true, false] {
        let letter = testkit::nats::next(&mut letters, SOON).await;
        let id = letter.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id")).unwrap().to_string();
        assert!(!ids.contains(&id), "{id} again");
        ids.push(id);
        assert_eq!(stage.daemon.metrics().await.sum(PROCESSED, &[]), 0.0, "it is nowhere");
        let answer = format!("{{\"stream\":{STREAM:?},\"seq\":1,\"duplicate\":{duplicate}}}");
        client.publish(letter.reply.unwrap(), answer.into()).await.unwrap();
    }
    wait_outcome(&stage.daemon, "dead_lettered", 1.0).await;
    assert_eq!(stage.close().await.dead_lettered, 1);
}
