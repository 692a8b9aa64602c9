//! Messages that are attempted more than once: each attempt is signed anew, and keeps the id.

use std::time::Duration;

use async_nats::jetstream::{self, stream};

use testkit::daemon::{Daemon, run};
use testkit::nats::NatsServer;
use testkit::stage::Stage;
use testkit::webhook::{Received, Reply, Webhook};

use super::{SOON, SYMMETRIC, Verifier, signing};

const KEY: (&str, &str) = ("keys.a.secret", SYMMETRIC);

fn timestamp(request: &Received) -> u64 {
    request.header("webhook-timestamp").parse().expect("it is a number")
}

#[tokio::test]
async fn a_retry_is_signed_anew_with_the_same_id_and_its_own_time() {
    let hook = Webhook::answering([503, 200]);
    let mut stage = Stage::set(&hook.url(), |daemon| {
        signing(daemon, &[KEY]).route("retry.initial", "2s").route("retry.jitter", "none").without_breaker()
    })
    .await;
    stage.publish_with(&[("Nats-Msg-Id", "order.17")], "0").await;
    hook.wait_delivered(1, SOON).await;
    let requests = hook.requests();
    let [first, second] = &requests[..] else { panic!("{} attempts", requests.len()) };
    assert_eq!((first.header("webhook-id"), second.header("webhook-id")), ("order%2E17", "order%2E17"));
    assert!(timestamp(second) > timestamp(first), "both attempts have the same time");
    for request in [first, second] {
        Verifier::StandardRust.insist(request, SYMMETRIC);
    }
    stage.close().await;
}

#[tokio::test]
async fn a_message_from_a_stream_is_signed_with_the_id_of_its_place() {
    let nats = NatsServer::start().await;
    let context = jetstream::new(nats.client().await);
    let config = stream::Config {
        name: "TODOS".to_owned(),
        subjects: vec!["todos.>".to_owned()],
        ..stream::Config::default()
    };
    context.create_stream(config).await.unwrap();
    let hook = Webhook::answering([500, 200]);
    let daemon = Daemon::between(&nats, &hook.url()).impatient();
    let daemon = daemon.route("jetstream.stream", "TODOS").route("jetstream.create", "true");
    let mut daemon = signing(daemon, &[KEY]).start_ready().await;
    context.publish("todos.events", "0".into()).await.unwrap().await.unwrap();
    hook.wait_delivered(1, SOON).await;
    let requests = hook.requests();
    assert!(requests[0].header("webhook-id").starts_with("TODOS:1:"));
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    requests.iter().for_each(|request| Verifier::StandardRust.insist(request, SYMMETRIC));
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_handed_over_is_signed_with_the_same_id() {
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let replica = || {
        signing(Daemon::between(&nats, &hook.url()), &[KEY])
            .impatient()
            .without_breaker()
            .route("retry.attempts", "100000")
            .env("BROADCASTER__SHUTDOWN__GRACE", "0s")
    };
    let mut leaving = replica().start_ready().await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", "order.17");
    let client = nats.client().await;
    client.publish_with_headers("todos.events", headers, "0".into()).await.unwrap();
    hook.wait_for(|hook| hook.received() > 0, SOON).await;
    let mut staying = replica().start_ready().await;
    nats.wait_subscriptions("broadcaster.handover.broadcaster-workers", 2, SOON).await;
    let account = leaving.stop().await;
    assert_eq!(account.handed_over, 1, "{account:?}");
    hook.answer(Reply::status(200));
    hook.wait_delivered(1, SOON).await;
    let requests = hook.requests();
    let last = requests.last().unwrap();
    assert_eq!(last.header("webhook-id"), "order%2E17");
    Verifier::StandardRust.insist(last, SYMMETRIC);
    staying.stop().await;
}

#[tokio::test]
async fn a_dead_letter_that_is_replayed_is_signed() {
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([400]);
    let dead =
        |daemon: Daemon| daemon.route("dead_letter.stream", "DEAD").route("dead_letter.create", "true");
    let mut daemon = dead(signing(Daemon::between(&nats, &hook.url()), &[KEY])).start_ready().await;
    let client = nats.client().await;
    client.publish("todos.events", "0".into()).await.unwrap();
    hook.wait_for(|hook| hook.received() == 1, SOON).await;
    assert_eq!(daemon.stop().await.dead_lettered, 1);
    hook.answer(Reply::status(200).after(Duration::ZERO));
    let nats_url = nats.url();
    let env = [
        ("NATS_URL", nats_url.as_str()),
        ("WEBHOOK_URL", &hook.url()),
        ("BROADCASTER__ROUTES__DEFAULT__DEAD_LETTER__STREAM", "DEAD"),
        ("BROADCASTER__ROUTES__DEFAULT__WEBHOOK__SIGNING__KEYS__A__SECRET", SYMMETRIC),
    ];
    let output = run(&["dead-letters", "replay", "--all"], &env);
    assert!(output.status.success(), "{output:?}");
    let requests = hook.requests();
    let [died, replayed] = &requests[..] else { panic!("{} requests", requests.len()) };
    assert_eq!(died.header("webhook-id"), replayed.header("webhook-id"));
    Verifier::StandardRust.insist(replayed, SYMMETRIC);
}
