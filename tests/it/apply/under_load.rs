//! A hundred changes of the configuration while messages come, counted at the receivers.

use std::time::Instant;

use super::*;

/// So many changes there are.
const CHANGES: u64 = 100;
/// And so many messages a second, for each route.
const RATE: u32 = 1_000;

/// Waits until the route that changes has delivered some more, by which there is a load all the time.
async fn more(one: &Webhook, other: &Webhook) {
    let delivered = || one.delivered() + other.delivered();
    let before = delivered();
    one.wait_for(|_| delivered() >= before + 30, SOON).await;
}

/// How long messages took from being published to being received: 99 of 100 took no longer.
fn p99(hook: &Webhook, publisher: &Publisher, numbers: std::ops::Range<u64>) -> Duration {
    let received = hook.requests();
    let mut took: Vec<_> = received
        .iter()
        .filter_map(|request| Some((request.number()?, request.at)))
        .filter(|(number, _)| numbers.contains(number))
        .map(|(number, at)| at.saturating_duration_since(publisher.published_at(number)))
        .collect();
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_changes_lose_and_double_nothing_and_others_do_not_notice() {
    let nats = NatsServer::start().await;
    let (steady, changing, other, coming) =
        (Webhook::start(), Webhook::start(), Webhook::start(), Webhook::start());
    let settings = Settings::of(&nats)
        .route("steady", &steady.url())
        .set("steady", "webhook.concurrency", "4")
        .route("changing", &changing.url());
    let live = Live::start(&settings).await;

    let mut to_steady = publisher(&nats, "steady").await;
    to_steady.burst(1_000).await;
    steady.wait_for(|hook| hook.connections() == 4, SOON).await;
    let to_steady = to_steady.steadily(RATE);
    steady.wait_delivered(3_000, SOON).await;
    let (before, connections) = (steady.delivered() as u64, steady.connections());
    let to_changing = publisher(&nats, "changing").await.steadily(RATE);
    let mut to_coming = publisher(&nats, "coming").await;
    let began = Instant::now();
    for change in 0..CHANGES / 2 {
        // Each time another webhook, and other bounds of nearly everything.
        let url = if change % 2 == 0 { other.url() } else { changing.url() };
        let with = settings
            .clone()
            .set("changing", "webhook.url", &url)
            .set("changing", "webhook.concurrency", &(1 + change % 7).to_string())
            .route("coming", &coming.url());
        live.apply(&with).await;
        to_coming.burst(20).await;
        live.apply(&with.without("coming")).await;
        more(&changing, &other).await;
    }
    let took = began.elapsed();
    let (to_steady, to_changing) = (to_steady.stop().await, to_changing.stop().await);
    let (steady_count, changing_count) = (to_steady.count(), to_changing.count());
    steady.wait_delivered(usize::try_from(steady_count).unwrap(), SOON).await;
    let both = || (changing.delivered() + other.delivered()) as u64;
    changing.wait_for(|_| both() >= changing_count, SOON).await;
    coming.wait_delivered(usize::try_from(to_coming.count()).unwrap(), SOON).await;

    steady.assert_exactly_once(0..steady_count);
    coming.assert_exactly_once(0..to_coming.count());
    assert_eq!(both(), changing_count, "{}, {}", changing.summary(), other.summary());
    let numbers = changing.requests().into_iter().chain(other.requests()).filter_map(|r| r.number());
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..changing_count), "one came twice, and another one not at all");

    assert_eq!(steady.connections(), connections, "connections of a route that has not changed");
    let (quiet, busy) =
        (p99(&steady, &to_steady, 2_000..before), p99(&steady, &to_steady, before..steady_count));
    println!("{CHANGES} changes in {took:?}; p99 of the other route {quiet:?} before, {busy:?} meanwhile");
    assert!(
        busy < quiet * 10 + Duration::from_millis(40),
        "the other route was held up: {quiet:?}, {busy:?}"
    );
    let all = steady_count + changing_count + to_coming.count();
    assert_all_delivered(live.stop(), all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_changes_of_durable_routes_lose_and_double_nothing() {
    let nats = NatsServer::start().await;
    let stream = nats.stream("APPLY", &["apply.>"]).await;
    let (steady, changing, coming) = (Webhook::start(), Webhook::start(), Webhook::start());
    let durable = |settings: Settings, route: &str| {
        settings.set(route, "jetstream.stream", "APPLY").set(route, "jetstream.create", "true")
    };
    let settings = Settings::of(&nats).route("steady", &steady.url()).route("changing", &changing.url());
    let settings = durable(durable(settings, "steady"), "changing");
    let live = Live::start(&settings).await;

    let to_steady = publisher(&nats, "steady").await.steadily(RATE);
    let to_changing = publisher(&nats, "changing").await.steadily(RATE);
    let mut to_coming = publisher(&nats, "coming").await;
    for change in 0..CHANGES / 2 {
        let concurrency = (1 + change % 7).to_string();
        let with = settings.clone().set("changing", "webhook.concurrency", &concurrency);
        let with = durable(with.route("coming", &coming.url()), "coming");
        live.apply(&with).await;
        to_coming.store(20).await;
        live.apply(&with.without("coming")).await;
        more(&changing, &changing).await;
    }
    let (to_steady, to_changing) = (to_steady.stop().await, to_changing.stop().await);
    // What was stored while no route was there to take it.
    live.apply(&durable(settings.clone().route("coming", &coming.url()), "coming")).await;
    for (hook, publisher, route) in [
        (&steady, &to_steady, "steady"),
        (&changing, &to_changing, "changing"),
        (&coming, &to_coming, "coming"),
    ] {
        hook.wait_delivered(usize::try_from(publisher.count()).unwrap(), SOON).await;
        stream.wait_acknowledged(&format!("broadcaster-{route}"), SOON).await;
        hook.assert_exactly_once(0..publisher.count());
    }
    // A route that leaves may give back to the stream what it has no room for. One that stays has no reason to.
    let delivered = stream.consumer("broadcaster-steady").await.delivered;
    assert_eq!(
        delivered.consumer_sequence,
        to_steady.count(),
        "redelivered to the steady route: {delivered:?}"
    );
    let tally = live.stop();
    assert_eq!(tally.of(Outcome::Delivered), to_steady.count() + to_changing.count() + to_coming.count());
}
