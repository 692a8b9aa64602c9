//! Stops in the middle of changes, and of many routes, and what they leave behind.

use std::time::Instant;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_stream_are_not_handed_over_when_their_route_has_left_it() {
    let nats = NatsServer::start().await;
    let _stream = nats.stream("APPLY", &["apply.>"]).await;
    let (down, hook) = (Webhook::answering([503]), Webhook::start());
    let core = |url: &str| {
        Settings::of(&nats)
            .with("shutdown.grace", "0s")
            .route("a", url)
            .set("a", "retry.attempts", "1000")
            .set("a", "retry.initial", "10s")
            .set("a", "retry.max", "20s")
    };
    let leaving = Live::start(&durable(core(&down.url()), "a")).await;
    publisher(&nats, "a").await.store(50).await;
    down.wait_for(|hook| hook.received() >= 20, SOON).await;
    leaving.apply(&core(&down.url())).await;
    let staying = Live::start(&core(&hook.url())).await;
    nats.wait_subscriptions("broadcaster.handover.broadcaster-workers", 2, SOON).await;
    let tally = leaving.stop();
    assert_eq!(tally.of(Outcome::HandedOver), 0, "their stream would deliver them again: {tally:?}");
    staying.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_during_a_stop_is_refused_at_once() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    hook.answer(Reply::status(200).after(Duration::from_secs(4)));
    let settings = Settings::of(&nats).route("a", &hook.url());
    let live = Live::start(&settings).await;
    publisher(&nats, "a").await.burst(1).await;
    hook.wait_for(|hook| hook.received() == 1, SOON).await;
    live.stop.cancel();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    let refused = live.handle.apply(settings.config()).await;
    assert!(refused.is_err());
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
    assert_all_delivered(live.stop(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_of_many_durable_routes_ends_in_time_though_nats_does_not_answer() {
    let nats = NatsServer::start().await;
    let _stream = nats.stream("APPLY", &["apply.>"]).await;
    let hook = Webhook::start();
    let settings = (0..60).fold(Settings::of(&nats).with("shutdown.grace", "1s"), |settings, n| {
        durable(settings.route(&format!("r{n}"), &hook.url()), &format!("r{n}"))
    });
    let live = Live::start(&settings).await;
    let frozen = nats.stutter(Duration::from_secs(600));
    let stopped = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let began = Instant::now();
        tokio::task::spawn_blocking(move || live.stop()).await.expect("it stops");
        began.elapsed()
    };
    let took = tokio::select! {
        () = frozen => unreachable!("it is for ever"),
        took = stopped => took,
    };
    println!("the stop took {took:?}");
    assert!(took < Duration::from_secs(20), "the stop took {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_was_removed_with_much_time_ends_with_the_process() {
    let (nats, hook) = (NatsServer::start().await, stuck());
    let settings = Settings::of(&nats)
        .with("shutdown.grace", "60s")
        .route("a", &hook.url())
        .set("a", "webhook.timeout", "100s")
        .route("b", &hook.url());
    let live = Live::start(&settings).await;
    publisher(&nats, "a").await.burst(3).await;
    hook.wait_for(|hook| hook.received() == 3, SOON).await;
    live.apply(&settings.clone().without("a")).await;
    live.apply(&settings.without("a").with("shutdown.grace", "1s")).await;
    let began = Instant::now();
    tokio::task::spawn_blocking(move || live.stop()).await.expect("it stops");
    assert!(began.elapsed() < Duration::from_secs(15), "the stop took {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_of_three_hundred_routes_hands_over_what_each_has() {
    const ROUTES: u64 = 300;
    const EACH: u64 = 20;
    let nats = NatsServer::start().await;
    let (stuck, hook) = (stuck(), Webhook::start());
    let settings = |url: &str| {
        (0..ROUTES).fold(Settings::of(&nats).with("shutdown.grace", "1s"), |settings, n| {
            let route = format!("r{n}");
            settings.route(&route, url).set(&route, "webhook.concurrency", "4")
        })
    };
    let leaving = Live::start(&settings(&stuck.url())).await;
    let client = nats.client().await;
    for n in 0..ROUTES * EACH {
        client.publish(format!("apply.r{}", n % ROUTES), n.to_string().into()).await.unwrap();
    }
    drop(client.request("nobody.listens.here", "".into()).await);
    let end = Instant::now() + SOON;
    while leaving.metrics().await.sum("broadcaster_messages_received_total", &[]) < (ROUTES * EACH) as f64 {
        assert!(Instant::now() < end, "they do not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let staying = Live::start(&settings(&hook.url())).await;
    nats.wait_subscriptions("broadcaster.handover.broadcaster-workers", 2, SOON).await;
    let began = Instant::now();
    let tally = tokio::task::spawn_blocking(move || leaving.stop()).await.unwrap();
    println!("{:?} {tally:?}", began.elapsed());
    assert_eq!(tally.of(Outcome::HandedOver), ROUTES * EACH, "{tally:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    hook.wait_delivered(usize::try_from(ROUTES * EACH).unwrap(), SOON).await;
    hook.assert_exactly_once(0..ROUTES * EACH);
    assert_all_delivered(staying.stop(), ROUTES * EACH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_the_middle_of_changes_accounts_for_everything() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_millis(5)));
    for round in 0..20_u64 {
        let settings =
            (0..20).fold(Settings::of(&nats), |settings, n| settings.route(&format!("r{n}"), &hook.url()));
        let live = Live::start(&settings).await;
        let client = nats.client().await;
        for n in 0..2_000 {
            client.publish(format!("apply.r{}", n % 20), n.to_string().into()).await.unwrap();
        }
        let (handle, stop) = (live.handle.clone(), live.stop.clone());
        let changing = tokio::spawn(async move {
            let mut change = 0;
            loop {
                let other = (0..20).fold(settings.clone(), |s, n| touched(&s, &format!("r{n}"), change));
                // Two in the same moment.
                let (one, two) = tokio::join!(handle.apply(other.config()), handle.apply(settings.config()));
                change += 1;
                if one.is_err() || two.is_err() {
                    return;
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(10 + 3 * round)).await;
        stop.cancel();
        let tally = tokio::task::spawn_blocking(move || live.stop()).await.unwrap();
        assert_eq!(tally.received, tally.of(Outcome::Delivered), "{tally:?}");
        tokio::time::timeout(SOON, changing).await.expect("it is told").unwrap();
    }
}

/// Stops and starts a durable daemon under load again and again: what the server keeps waiting for after a stop is
/// stranded until `ack_wait`.
async fn assert_stops_strand_nothing(url: &str, stream: &testkit::nats::streams::Stream, to: Publisher) {
    /// For all that was published while nobody took it: some ten thousand messages.
    const BACKLOG: Duration = Duration::from_secs(60);
    let hook = Webhook::start();
    let settings = Settings::default()
        .with("nats.url", url)
        .with("server.api", "127.0.0.1:0")
        .with("server.metrics", "127.0.0.1:0")
        .route("a", &hook.url());
    let settings = durable(settings, "a").set("a", "jetstream.ack_wait", "30s");
    let load = to.steadily(3_000);
    let mut stranded = Vec::new();
    for _ in 0..15 {
        let live = Live::start(&settings).await;
        let before = hook.delivered();
        hook.wait_for(|hook| hook.delivered() > before + 200, SOON).await;
        let tally = tokio::task::spawn_blocking(move || live.stop()).await.expect("it stops");
        let returned = usize::try_from(tally.of(Outcome::Returned)).expect("it is a count");
        // In a cluster it takes its servers a moment to agree on what they were told.
        let mut left = usize::MAX;
        for _ in 0..40 {
            left = left.min(stream.consumer("broadcaster-a").await.num_ack_pending.saturating_sub(returned));
            if left == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stranded.push(left);
    }
    let count = load.stop().await.count();
    assert!(stranded.iter().all(|stranded| *stranded == 0), "{stranded:?}");
    let live = Live::start(&settings).await;
    hook.wait_delivered(usize::try_from(count).expect("it is a count"), BACKLOG).await;
    stream.wait_acknowledged("broadcaster-a", SOON).await;
    live.stop();
    hook.assert_exactly_once(0..count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durable_stops_under_load_strand_nothing() {
    let nats = NatsServer::start().await;
    let stream = nats.stream("APPLY", &["apply.>"]).await;
    assert_stops_strand_nothing(&nats.url(), &stream, publisher(&nats, "a").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durable_stops_in_a_cluster_strand_nothing() {
    let cluster = testkit::nats::cluster::Cluster::start().await;
    let stream = cluster.stream("APPLY", &["apply.>"]).await;
    let to = Publisher::new(cluster.client().await, "apply.a");
    assert_stops_strand_nothing(&cluster.url(), &stream, to).await;
}
