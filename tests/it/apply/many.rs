//! Changes of everything, again and again.

use super::*;

/// What came to several webhooks together: a panic unless each number was delivered once.
fn assert_once_in_all(hooks: &[&Webhook], count: u64) {
    let requests = hooks.iter().flat_map(|hook| hook.requests());
    let delivered = requests.filter(|request| request.status == Some(200));
    let mut numbers: Vec<_> = delivered.filter_map(|request| request.number()).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..count), "{} of {count}", numbers.len());
}

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits fit") % end
    }

    /// Other settings of `route`, which delivers to one of `hooks`.
    fn changed(&mut self, settings: Settings, route: &str, hooks: [&Webhook; 3]) -> Settings {
        let mut settings = settings
            .set(route, "webhook.url", &hooks[self.below(3)].url())
            .set(route, "webhook.concurrency", &(2 + self.below(30)).to_string())
            .set(route, "retry.attempts", "1000")
            .set(route, "retry.initial", "10ms")
            .set(route, "retry.max", "100ms");
        if self.below(2) == 0 {
            let subject = format!("letters.{route}.{}", self.below(3));
            settings = settings.set(route, "dead_letter.subject", &subject);
        }
        if self.below(4) == 0 {
            settings = settings.set(route, "rate_limit.per_second", "500");
        }
        settings
    }
}

/// The counters of the last scrape.
#[derive(Default)]
struct Seen(std::collections::BTreeMap<String, f64>);

impl Seen {
    /// A panic where a counter has become less.
    fn assert_grows(&mut self, metrics: &Metrics) {
        for route in ["core", "stored"] {
            let received = metrics.value("broadcaster_messages_received_total", &[("route", route)]);
            let done = metrics.sum("broadcaster_messages_processed_total", &[("route", route)]);
            for (name, value) in [("received", received), ("done", done)] {
                let before = self.0.insert(format!("{route} {name}"), value).unwrap_or_default();
                assert!(value >= before, "{route} {name} fell from {before} to {value}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_everything_lose_and_double_nothing() {
    let nats = NatsServer::start().await;
    let stream = nats.stream("APPLY", &["stored.>"]).await;
    let (up, slow, down) = (Webhook::start(), Webhook::start(), Webhook::answering([503]));
    slow.answer(Reply::status(200).after(Duration::from_millis(50)));
    let (stored_up, stored_slow, stored_down) =
        (Webhook::start(), Webhook::start(), Webhook::answering([503]));
    stored_slow.answer(Reply::status(200).after(Duration::from_millis(50)));
    let base = Settings::of(&nats)
        .with("runtime.threads", "2")
        .route("core", &up.url())
        .route("stored", &stored_up.url())
        .set("stored", "subject", "stored.x");
    let base = durable(base, "stored").set("stored", "jetstream.ack_wait", "5s");
    let live = Live::start(&base).await;
    let to_core = publisher(&nats, "core").await.steadily(1_000);
    let to_stored = Publisher::new(nats.client().await, "stored.x").steadily(1_000);
    let mut seen = Seen::default();
    let mut random = Random(12_345);
    for _ in 0..300 {
        let mut settings = base.clone();
        for (route, hooks) in
            [("core", [&up, &slow, &down]), ("stored", [&stored_up, &stored_slow, &stored_down])]
        {
            settings = random.changed(settings, route, hooks);
        }
        if random.below(5) == 0 {
            settings = settings.route("other", &up.url()).set("other", "subject", "nothing.comes");
        }
        live.apply(&settings).await;
        seen.assert_grows(&live.metrics().await);
    }
    let (to_core, to_stored) = (to_core.stop().await.count(), to_stored.stop().await.count());
    for hook in [&slow, &down, &stored_slow, &stored_down] {
        hook.answer(200);
    }
    let all = |hooks: [&Webhook; 3]| hooks.iter().map(|hook| hook.delivered() as u64).sum::<u64>();
    let arrived = || (all([&up, &slow, &down]), all([&stored_up, &stored_slow, &stored_down]));
    let end = std::time::Instant::now() + SOON;
    while arrived().0 < to_core || arrived().1 < to_stored {
        let late = std::time::Instant::now() > end;
        assert!(!late, "{:?} of {to_core}, {to_stored}: {}", arrived(), live.metrics().await.text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stream.wait_acknowledged("broadcaster-stored", SOON).await;
    live.ready().await;
    let tally = live.stop();
    assert_once_in_all(&[&up, &slow, &down], to_core);
    assert_once_in_all(&[&stored_up, &stored_slow, &stored_down], to_stored);
    assert_all_delivered(tally, to_core + to_stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_that_come_and_go_leave_nothing() {
    const ROUNDS: usize = 50;
    let (nats, hook) = (NatsServer::start().await, Webhook::counting());
    let letters = nats.stream("DEAD", &["dead.>"]).await;
    drop(letters);
    let settings = Settings::of(&nats).route("keep", &hook.url());
    let live = Live::start(&settings).await;
    let many = |round: usize| {
        (0..100).fold(settings.clone(), |settings, n| {
            let route = format!("r{}", (round * 37 + n) % 300);
            settings
                .route(&route, &hook.url())
                .set(&route, "dead_letter.subject", &format!("dead.{route}"))
                .set(&route, "queue_group", &route)
        })
    };
    let mut figures = Vec::new();
    let mut messages = 0;
    let client = nats.client().await;
    for round in 0..ROUNDS {
        live.apply(&many(round)).await;
        if round % 10 == 0 {
            for n in 0..100 {
                client.publish(format!("apply.r{}", (round * 37 + n) % 300), "1".into()).await.unwrap();
                messages += 1;
            }
            // A round trip: the server has all of it.
            drop(client.request("nobody.listens.here", "".into()).await);
        }
        live.apply(&settings).await;
        if round % (ROUNDS / 5) == ROUNDS / 5 - 1 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let metrics = live.metrics().await;
            let subscriptions = nats.monitor("/subsz").await["num_subscriptions"].as_u64();
            let (tasks, series) = (metrics.sum("tokio_alive_tasks", &[]), metrics.text().lines().count());
            figures.push((subscriptions, tasks.to_string(), series));
        }
    }
    assert_all_delivered(live.stop(), messages);
    assert!(figures.windows(2).all(|pair| pair[0] == pair[1]), "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_in_another_order_is_no_change() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let settings = Settings::of(&nats)
        .route("a", &hook.url())
        .route("ab", &hook.url())
        .route("a-b", &hook.url())
        .route("abc", &hook.url());
    let live = Live::start(&settings).await;
    let mut config = settings.config();
    config.routes.reverse();
    let report = live.handle.apply(config).await.expect("it can be applied");
    assert_eq!(report.changes, Default::default());
    let report = live.apply(&settings.clone().without("ab")).await;
    assert_eq!(names(&report.changes.removed), ["ab"]);
    assert_eq!((nats.subscriptions("apply.a").await > 0, nats.subscriptions("apply.ab").await), (true, 0));
    for route in ["a", "a-b", "abc"] {
        publisher(&nats, route).await.burst(10).await;
    }
    hook.wait_for(|hook| hook.delivered() == 30, SOON).await;
    assert_all_delivered(live.stop(), 30);
}
