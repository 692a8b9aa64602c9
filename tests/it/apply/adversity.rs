//! Changes at the worst moment for the webhook: while it fails, hangs or asks for a pause.

use std::time::Instant;

use broadcaster::config::Concurrency;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_with_many_changes_kills_no_message() {
    let (nats, hook) = (NatsServer::start().await, Webhook::answering([503]));
    let settings = Settings::of(&nats)
        .route("a", &hook.url())
        .set("a", "retry.initial", "10ms")
        .set("a", "retry.max", "50ms")
        .set("a", "retry.attempts", "4");
    let live = Live::start(&settings).await;
    publisher(&nats, "a").await.burst(100).await;
    hook.wait_for(|hook| hook.received() >= 20, SOON).await;
    for change in 0..100 {
        live.apply(&touched(&settings, "a", change)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("{} attempts", hook.received());
    hook.answer(200);
    let tally = live.stop();
    assert_all_delivered(tally, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_asked_for_a_pause_gets_it_whatever_changes() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    hook.answer(Reply::status(429).header("retry-after", "5"));
    let settings = Settings::of(&nats).route("a", &hook.url()).set("a", "webhook.concurrency", "4");
    let live = Live::start(&settings).await;
    publisher(&nats, "a").await.burst(100).await;
    hook.wait_for(|hook| hook.received() >= 1, SOON).await;
    live.idle().await;
    let before = hook.received();
    for change in 0..20 {
        live.apply(&touched(&settings, "a", change)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(hook.received(), before, "attempts while the webhook was to be left alone");
    hook.answer(200);
    hook.wait_delivered(100, SOON).await;
    assert_all_delivered(live.stop(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_holds_over_changes() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let settings = Settings::of(&nats)
        .with("shutdown.grace", "0s")
        .route("a", &hook.url())
        .set("a", "rate_limit.per_second", "10")
        .set("a", "rate_limit.burst", "10");
    let live = Live::start(&settings).await;
    let began = Instant::now();
    publisher(&nats, "a").await.burst(1_000).await;
    for change in 0..30 {
        live.apply(&touched(&settings, "a", change)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (received, allowed) = (hook.received(), 10.0 * began.elapsed().as_secs_f64() + 10.0);
    assert!(received as f64 <= allowed + 1.0, "{received} attempts where {allowed} were allowed");
    live.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hangs_at_the_old_address_goes_to_the_new_one_at_last() {
    let mut nats = NatsServer::start().await;
    let (wrong, right) = (stuck(), Webhook::start());
    let settings = Settings::of(&nats).with("shutdown.grace", "1s").route("a", &wrong.url()).set(
        "a",
        "webhook.timeout",
        "60s",
    );
    let live = Live::start(&settings).await;
    publisher(&nats, "a").await.burst(10).await;
    wrong.wait_for(|hook| hook.received() == 10, SOON).await;
    // Nobody can take anything over.
    nats.kill();
    live.apply(&settings.set("a", "webhook.url", &right.url())).await;
    right.wait_delivered(10, SOON).await;
    right.assert_exactly_once(0..10);
    assert_all_delivered(live.stop(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_smaller_successor_has_no_room_for_yet_goes_to_the_new_address_too() {
    let nats = NatsServer::start().await;
    let (wrong, right) = (Webhook::answering([503]), Webhook::start());
    let settings = Settings::of(&nats)
        .with("shutdown.grace", "3s")
        .with("runtime.threads", "1")
        .route("a", &wrong.url())
        .set("a", "retry.attempts", "1000");
    let live = Live::start(&settings).await;
    publisher(&nats, "a").await.burst(500).await;
    wrong.wait_for(|hook| hook.received() >= 20, SOON).await;
    live.apply(&settings.set("a", "webhook.url", &right.url()).set("a", "queue.messages", "20").set(
        "a",
        "retry.messages",
        "20",
    ))
    .await;
    right.wait_delivered(500, SOON).await;
    right.assert_exactly_once(0..500);
    let tally = live.stop();
    println!("{tally:?}");
    assert_all_delivered(tally, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_on_fewer_lanes_gets_what_the_others_have() {
    let nats = NatsServer::start().await;
    let (wrong, right) = (Webhook::answering([503]), Webhook::start());
    let settings = Settings::of(&nats)
        .with("shutdown.grace", "2s")
        .with("runtime.threads", "2")
        .route("a", &wrong.url())
        .set("a", "retry.attempts", "1000");
    let live = Live::start(&settings).await;
    publisher(&nats, "a").await.burst(500).await;
    wrong.wait_for(|hook| hook.received() >= 20, SOON).await;
    let mut one = settings.set("a", "webhook.url", &right.url()).config();
    // As when a file says so: flags that can't be divided are refused.
    one.routes[0].webhook.concurrency = Concurrency::Fixed(std::num::NonZeroUsize::MIN);
    live.handle.apply(one).await.expect("it can be applied");
    right.wait_delivered(500, SOON).await;
    right.assert_exactly_once(0..500);
    let tally = live.stop();
    println!("{tally:?}");
    assert_eq!(tally.of(Outcome::Delivered), 500, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_is_there_again_takes_over_what_its_former_self_has() {
    let nats = NatsServer::start().await;
    let (down, up) = (Webhook::answering([503]), Webhook::start());
    let settings = Settings::of(&nats).route("a", &down.url()).set("a", "retry.attempts", "1000");
    let live = Live::start(&settings).await;
    publisher(&nats, "a").await.burst(200).await;
    down.wait_for(|hook| hook.received() >= 20, SOON).await;
    live.apply(&settings.clone().without("a").route("b", &up.url())).await;
    live.apply(&settings.set("a", "webhook.url", &up.url())).await;
    let began = Instant::now();
    up.wait_delivered(200, SOON).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    up.assert_exactly_once(0..200);
    assert_all_delivered(live.stop(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_in_quick_succession_keep_the_concurrency() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    hook.answer(Reply::status(200).after(Duration::from_secs(2)));
    let settings = Settings::of(&nats).route("a", &hook.url()).set("a", "webhook.concurrency", "8");
    let live = Live::start(&settings).await;
    publisher(&nats, "a").await.burst(500).await;
    for change in 0..30 {
        live.apply(&touched(&settings, "a", change)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hook.answer(200);
    hook.wait_delivered(500, SOON).await;
    hook.assert_exactly_once(0..500);
    println!("{} at the same time", hook.most_in_flight());
    live.stop();
    assert!(hook.most_in_flight() <= 16, "{} at the same time", hook.most_in_flight());
}
