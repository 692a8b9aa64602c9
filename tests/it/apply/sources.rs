//! Changes while NATS comes and goes, answers nothing, or is about to stop, and from one kind of source to the other.

use std::time::Instant;

use testkit::distance::LongWay;

use super::*;

/// A user who can receive nothing that it sends to itself.
const NO_INBOX: &str = "authorization { users = [ { user: u, password: p,
    permissions: { subscribe: { deny: [\"_INBOX.>\"] } } }, { user: v, password: w } ], timeout: 5 }
    no_auth_user: v";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_inbox_changes_take_a_bounded_time_and_lose_nothing() {
    let nats = NatsServer::builder().config(NO_INBOX).start().await;
    let (one, other) = (Webhook::start(), Webhook::start());
    let url = nats.url().replace("nats://", "nats://u:p@");
    let settings = Settings::of(&nats).with("nats.url", &url).route("a", &one.url());
    let live = Live::start(&settings).await;
    let load = publisher(&nats, "a").await.steadily(2_000);
    for change in 0..6 {
        let began = Instant::now();
        let url = if change % 2 == 0 { other.url() } else { one.url() };
        live.apply(&settings.clone().set("a", "webhook.url", &url)).await;
        println!("{:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    }
    let publisher = load.stop().await;
    let both = || (one.delivered() + other.delivered()) as u64;
    one.wait_for(|_| both() >= publisher.count(), SOON).await;
    let began = Instant::now();
    let tally = live.stop();
    println!("{:?} {tally:?}", began.elapsed());
    assert_all_delivered(tally, publisher.count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_while_an_idle_route_leaves_is_kept_alive() {
    let nats = NatsServer::start().await;
    let stream = nats.stream("APPLY", &["apply.>"]).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(3)));
    let routes = 40;
    let settings = (0..routes).fold(Settings::of(&nats), |settings, n| {
        let route = format!("r{n}");
        let settings = durable(settings.route(&route, &hook.url()), &route);
        settings.set(&route, "jetstream.ack_wait", "1s")
    });
    let live = Live::start(&settings).await;
    let client = nats.client().await;
    let load = tokio::spawn(async move {
        for n in 0..2_000_u64 {
            let subject = format!("apply.r{}", n % routes);
            client.publish(subject, n.to_string().into()).await.expect("it can be published");
            if n % 4 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        client.flush().await.expect("it can be flushed");
    });
    for change in 0..8 {
        let other = (0..routes).fold(settings.clone(), |s, n| touched(&s, &format!("r{n}"), change));
        live.apply(&other).await;
    }
    load.await.expect("it does not panic");
    hook.wait_delivered(2_000, SOON * 3).await;
    for n in 0..routes {
        let consumer = format!("broadcaster-r{n}");
        stream.wait_acknowledged(&consumer, SOON).await;
    }
    hook.assert_exactly_once(0..2_000);
    live.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_while_nats_comes_and_goes_leave_it_ready() {
    let mut nats = NatsServer::start().await;
    let hook = Webhook::start();
    let settings = Settings::of(&nats).route("a", &hook.url());
    let live = Live::start(&settings).await;
    for round in 0..6 {
        nats.kill();
        for change in 0..20 {
            let began = Instant::now();
            live.apply(&touched(&settings, "a", round * 100 + change)).await;
            assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        }
        let restarting = nats.restart();
        let changing = async {
            for change in 50..80 {
                live.apply(&touched(&settings, "a", round * 100 + change)).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::join!(restarting, changing);
        live.ready().await;
        nats.wait_subscriptions("apply.a", 2, SOON).await;
    }
    publisher(&nats, "a").await.burst(100).await;
    hook.wait_delivered(100, SOON).await;
    hook.assert_exactly_once(0..100);
    assert_all_delivered(live.stop(), 100);
}

/// Whether a client of `server` itself is subscribed to the messages of route `a`.
async fn serves(server: &NatsServer) -> bool {
    server.monitor("/connz?subs=1").await.to_string().contains("apply.a")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_while_the_server_says_that_it_will_stop_lose_nothing() {
    let servers = crate::nats_faults::cluster("lame_duck_grace_period: \"2s\"\nlame_duck_duration: \"30s\"");
    let [one, two] = servers.await;
    let hook = Webhook::start();
    let settings = Settings::of(&one)
        .with("nats.url", &format!("{},{}", one.url(), two.url()))
        .with("runtime.threads", "1")
        .route("a", &hook.url());
    let live = Live::start(&settings).await;
    let (mut near, far) = if serves(&one).await { (one, two) } else { (two, one) };
    assert!(!serves(&far).await);
    let load = publisher(&far, "a").await.steadily(2_000);
    hook.wait_for(|hook| hook.delivered() > 500, SOON).await;
    near.lame_duck();
    let changing = async {
        let mut change = 0;
        loop {
            live.apply(&touched(&settings, "a", change % 1_000)).await;
            change += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = changing => unreachable!("it is for ever"),
        () = near.ended(SOON) => {}
    }
    live.ready().await;
    let before = hook.delivered();
    hook.wait_for(|hook| hook.delivered() > before + 500, SOON).await;
    let count = load.stop().await.count();
    hook.wait_delivered(usize::try_from(count).unwrap(), SOON).await;
    hook.assert_exactly_once(0..count);
    assert_all_delivered(live.stop(), count);
}

/// By which number the only client that is subscribed to `subject` calls its subscription.
async fn subscription(nats: &NatsServer, subject: &str) -> String {
    let open = nats.monitor("/connz?subs=detail").await;
    let connections = open["connections"].as_array().expect("a list of connections");
    let lists = connections.iter().filter_map(|one| one["subscriptions_list_detail"].as_array());
    let found = lists.flatten().filter(|subscription| subscription["subject"] == subject);
    let numbers: Vec<_> = found.map(|subscription| subscription["sid"].to_string()).collect();
    assert_eq!(numbers.len(), 1, "not one subscription: {open}");
    numbers.concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_keeps_the_subscription_unless_it_changes_that() {
    let nats = NatsServer::start().await;
    let (one, other) = (Webhook::start(), Webhook::start());
    let settings = Settings::of(&nats).with("runtime.threads", "1").route("a", &one.url());
    let live = Live::start(&settings).await;
    let before = subscription(&nats, "apply.a").await;
    let moved = settings.clone().set("a", "webhook.url", &other.url());
    live.apply(&moved).await;
    live.ready().await;
    assert_eq!(subscription(&nats, "apply.a").await, before);
    publisher(&nats, "a").await.burst(100).await;
    other.wait_delivered(100, SOON).await;
    assert_eq!(one.received(), 0);

    live.apply(&moved.set("a", "queue_group", "others")).await;
    live.ready().await;
    assert_ne!(subscription(&nats, "apply.a").await, before);
    publisher(&nats, "a").await.burst(100).await;
    other.wait_for(|hook| hook.delivered() == 200, SOON).await;
    assert_all_delivered(live.stop(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_will_stop_is_left_when_it_knows_of_the_successors_elsewhere() {
    let mut way = None;
    // What one server tells the other takes longer than a lane takes to move.
    let servers = crate::nats_faults::cluster_by(
        "lame_duck_grace_period: \"2s\"\nlame_duck_duration: \"30s\"",
        |one| {
            let port = one.cluster_url().rsplit(':').next().and_then(|port| port.parse().ok());
            let address = SocketAddr::from(([127, 0, 0, 1], port.expect("the URL has a port")));
            let way = way.insert(LongWay::to(address, Duration::from_millis(100)));
            format!("nats://{}", way.address())
        },
    );
    let [one, two] = servers.await;
    let hook = Webhook::start();
    let settings = Settings::of(&one)
        .with("nats.url", &format!("{},{}", one.url(), two.url()))
        .with("runtime.threads", "1")
        .route("a", &hook.url());
    let live = Live::start(&settings).await;
    let (near, far) = if serves(&one).await { (one, two) } else { (two, one) };
    let end = Instant::now() + SOON;
    while !far.monitor("/routez?subs=1").await.to_string().contains("apply.a") {
        assert!(Instant::now() < end, "the far server does not hear of the member that the near one has");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let load = publisher(&far, "a").await.steadily(1_000);
    hook.wait_for(|hook| hook.delivered() > 200, SOON).await;
    near.lame_duck();
    let end = Instant::now() + SOON;
    while serves(&near).await || !serves(&far).await {
        assert!(Instant::now() < end, "the lane does not move");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = hook.delivered();
    hook.wait_for(|hook| hook.delivered() > before + 500, SOON).await;
    let count = load.stop().await.count();
    hook.wait_delivered(usize::try_from(count).unwrap(), SOON).await;
    hook.assert_exactly_once(0..count);
    assert_all_delivered(live.stop(), count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_core_to_stream_and_back_under_load() {
    let nats = NatsServer::start().await;
    let _stream = nats.stream("APPLY", &["stored.>"]).await;
    let hook = Webhook::start();
    // Another subject in either mode: a stream that keeps what a core route takes delivers it again by design.
    let core = Settings::of(&nats).route("a", &hook.url());
    let stored = durable(core.clone(), "a").set("a", "subject", "stored.a");
    let live = Live::start(&core).await;
    let to_core = publisher(&nats, "a").await.steadily(500);
    let mut to_stored = Publisher::new(nats.client().await, "stored.a").padded(3);
    for _ in 0..20 {
        live.apply(&stored).await;
        to_stored.store(20).await;
        live.apply(&core).await;
    }
    live.apply(&stored).await;
    to_core.stop().await;
    let end = Instant::now() + SOON;
    let by_stream = || hook.bodies().iter().filter(|body| body.ends_with(b"   ")).count();
    while by_stream() < 400 {
        assert!(Instant::now() < end, "{} of 400", by_stream());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(by_stream(), 400);
    let tally = live.stop();
    assert_eq!(tally.received, tally.of(Outcome::Delivered), "{tally:?}");
}
