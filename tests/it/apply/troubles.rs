//! Changes of the configuration for routes that are in trouble, or while NATS is away.

use super::*;

/// A user who may not subscribe to one subject.
const NO_SECRETS: &str = "authorization { users = [ { user: u, password: p,
    permissions: { subscribe: { deny: [\"apply.secret\"] } } } ] }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_in_trouble_that_is_removed_leaves_the_daemon_ready() {
    let nats = NatsServer::builder().config(NO_SECRETS).start().await;
    let hook = Webhook::start();
    let url = nats.url().replace("nats://", "nats://u:p@");
    let settings = Settings::of(&nats).with("nats.url", &url).route("a", &hook.url());
    let live = Live::start(&settings).await;
    let refused = settings.clone().route("secret", &hook.url());
    let missing = refused
        .set("lost", "webhook.url", &hook.url())
        .set("lost", "jetstream.stream", "NOWHERE")
        .set("lost", "subject", "apply.lost");
    live.apply(&missing).await;
    let both = async || {
        let (status, body) = live.health().await;
        status == 503 && body.contains("route secret") && body.contains("route lost")
    };
    let end = std::time::Instant::now() + SOON;
    while !both().await {
        assert!(std::time::Instant::now() < end, "{:?}", live.health().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    live.apply(&settings).await;
    live.ready().await;
    live.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_wrong_address_goes_to_the_right_one() {
    let nats = NatsServer::start().await;
    let (wrong, right) = (Webhook::answering([503]), Webhook::start());
    let settings = Settings::of(&nats).route("a", &wrong.url()).set("a", "retry.attempts", "1000");
    let live = Live::start(&settings).await;
    let mut publisher = publisher(&nats, "a").await;
    publisher.burst(500).await;
    wrong.wait_for(|hook| hook.received() >= 20, SOON).await;
    live.apply(&settings.set("a", "webhook.url", &right.url())).await;
    right.wait_delivered(500, SOON).await;
    right.assert_exactly_once(0..500);
    assert_all_delivered(live.stop(), 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_is_removed_during_an_outage_leaves_its_messages_as_dead_letters() {
    let nats = NatsServer::start().await;
    let (down, up) = (Webhook::answering([503]), Webhook::start());
    let settings = Settings::of(&nats)
        .with("shutdown.grace", "1s")
        .route("a", &down.url())
        .set("a", "dead_letter.subject", "dead.a")
        .route("b", &up.url());
    let live = Live::start(&settings).await;
    let mut letters = nats.client().await.subscribe("dead.a").await.expect("the server takes it");
    nats.wait_subscriptions("dead.a", 1, SOON).await;
    publisher(&nats, "a").await.burst(50).await;
    down.wait_for(|hook| hook.received() >= 20, SOON).await;
    live.apply(&settings.without("a")).await;
    for _ in 0..50 {
        testkit::nats::next(&mut letters, SOON).await;
    }
    let tally = live.stop();
    assert_eq!((tally.received, tally.of(Outcome::DeadLettered)), (50, 50), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_while_nats_is_away_count_when_it_is_back() {
    let mut nats = NatsServer::start().await;
    let (first, second) = (Webhook::start(), Webhook::start());
    let settings = Settings::of(&nats).route("a", &first.url());
    let live = Live::start(&settings).await;
    nats.kill();
    let report = live.apply(&settings.clone().without("a").route("b", &second.url())).await;
    assert_eq!((names(&report.changes.removed), names(&report.changes.added)), (vec!["a"], vec!["b"]));
    nats.restart().await;
    live.ready().await;
    assert_eq!(nats.subscriptions("apply.a").await, 0);
    publisher(&nats, "b").await.burst(10).await;
    second.wait_delivered(10, SOON).await;
    assert_all_delivered(live.stop(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_can_be_left_without_a_route_and_get_one_again() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let settings = Settings::of(&nats).route("a", &hook.url());
    let live = Live::start(&settings).await;
    let mut none = settings.config();
    none.routes.clear();
    live.handle.apply(none).await.expect("it can be applied");
    live.ready().await;
    assert_eq!(nats.subscriptions("apply.a").await, 0);
    live.apply(&settings).await;
    publisher(&nats, "a").await.burst(10).await;
    hook.wait_delivered(10, SOON).await;
    assert_all_delivered(live.stop(), 10);
}
