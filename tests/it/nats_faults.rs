//! Servers of NATS that are away, killed or about to stop, and a lane that is too slow: what is received is delivered.

use std::time::Duration;

use rustix::process::Signal;

use testkit::daemon::{Account, Daemon, Running};
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::webhook::Webhook;

const SUBJECT: &str = "todos.events";
const SOON: Duration = Duration::from_secs(60);
const THREADS: &str = "BROADCASTER__RUNTIME__THREADS";
const RECEIVED: &str = "broadcaster_messages_received_total";
const SLOW: &str = "broadcaster_nats_slow_consumer_total";

/// A daemon whose retries come quickly and never end by themselves.
fn daemon(url: &str, hook: &Webhook) -> Daemon {
    Daemon::new()
        .env("NATS_URL", url)
        .env("WEBHOOK_URL", hook.url())
        .route("retry.attempts", "100000")
        .route("retry.initial", "50ms")
        .route("retry.max", "200ms")
}

async fn publisher(nats: &NatsServer) -> Publisher {
    Publisher::new(nats.client().await, SUBJECT)
}

/// Stops `daemon`; a panic unless everything that it received was delivered.
async fn all_delivered(daemon: &mut Running) -> Account {
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.in_hand == 0, "{account:?}");
    assert_eq!(account.received, account.delivered, "{account:?}");
    account
}

/// Two servers of one cluster, which know each other.
pub(super) async fn cluster(extra: &str) -> [NatsServer; 2] {
    cluster_by(extra, |one| one.cluster_url()).await
}

/// Two servers of one cluster, of which the second one finds the first one at `route`.
pub(super) async fn cluster_by(extra: &str, route: impl FnOnce(&NatsServer) -> String) -> [NatsServer; 2] {
    let config = |name: &str, routes: &str| {
        format!(
            "server_name: {name}\n{extra}\n\
             cluster {{ name: test, listen: \"127.0.0.1:-1\", routes: [{routes}] }}"
        )
    };
    let one = NatsServer::builder().core_only().config(&config("one", "")).start().await;
    let route = format!("{:?}", route(&one));
    let two = NatsServer::builder().core_only().config(&config("two", &route)).start().await;
    for server in [&one, &two] {
        let end = std::time::Instant::now() + SOON;
        while server.monitor("/routez").await["num_routes"].as_u64().unwrap_or_default() == 0 {
            assert!(std::time::Instant::now() < end, "the servers do not find each other: {}", server.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    [one, two]
}

/// The server that a daemon's only lane is connected to, and the other one.
async fn near_and_far(servers: [NatsServer; 2]) -> (NatsServer, NatsServer) {
    let [one, two] = servers;
    let lanes = [lanes(&one).await, lanes(&two).await];
    assert!(matches!(lanes, [1, 0] | [0, 1]), "one lane has these connections: {lanes:?}");
    if lanes == [1, 0] { (one, two) } else { (two, one) }
}

/// How many lanes are connected to `server`.
async fn lanes(server: &NatsServer) -> usize {
    let open = server.monitor("/connz?subs=1").await;
    let subscribes = |connection: &serde_json::Value| {
        let list = connection["subscriptions_list"].as_array();
        list.is_some_and(|list| list.iter().any(|subject| subject == SUBJECT))
    };
    open["connections"].as_array().map_or(0, |list| list.iter().filter(|one| subscribes(one)).count())
}

#[tokio::test]
async fn a_start_without_nats_connects_when_it_comes() {
    let mut nats = NatsServer::start().await;
    nats.kill();
    let hook = Webhook::start();
    let mut daemon = daemon(&nats.url(), &hook).start().await;
    let (status, body) = daemon.health().await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("not connected to NATS"), "{body}");
    assert_eq!(daemon.get("/healthz").await.status, 200);
    assert_eq!(daemon.metrics().await.value("broadcaster_nats_connected", &[]).to_string(), "0");
    nats.restart().await;
    daemon.ready(SOON).await;
    publisher(&nats).await.burst(100).await;
    hook.wait_delivered(100, SOON).await;
    hook.assert_exactly_once(0..100);
    all_delivered(&mut daemon).await;
}

#[tokio::test]
async fn nats_killed_under_load_costs_nothing_that_was_received() {
    let mut nats = NatsServer::start().await;
    let hook = Webhook::counting();
    let mut daemon = daemon(&nats.url(), &hook).start_ready().await;
    let mut publisher = publisher(&nats).await;
    for restarts in 1..=3 {
        let before = hook.delivered();
        let load = publisher.steadily(5_000);
        hook.wait_for(|hook| hook.delivered() > before + 2_000, SOON).await;
        nats.kill();
        publisher = load.halt().await;
        daemon.wait_log("connection to NATS lost", SOON).await;
        nats.restart().await;
        daemon.ready(SOON).await;
        publisher.switch_to(nats.client().await);
        let metrics = daemon.metrics().await;
        assert!(metrics.value("broadcaster_nats_reconnects_total", &[]) >= f64::from(restarts));
    }
    // What was received before may still be under way.
    daemon.wait_metrics(|metrics| metrics.value(RECEIVED, &[]) == hook.delivered() as f64, SOON).await;
    let before = hook.delivered();
    publisher.burst(1_000).await;
    hook.wait_for(|hook| hook.delivered() == before + 1_000, SOON).await;
    let account = all_delivered(&mut daemon).await;
    assert_eq!(account.delivered, hook.delivered() as u64);
    assert!(hook.duplicates().is_empty(), "{}", hook.summary());
}

#[tokio::test]
async fn messages_that_wait_for_a_retry_are_delivered_without_nats() {
    let mut nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let mut daemon = daemon(&nats.url(), &hook).start_ready().await;
    publisher(&nats).await.burst(200).await;
    daemon.wait_metrics(|metrics| metrics.value(RECEIVED, &[]) == 200.0, SOON).await;
    nats.kill();
    daemon.wait_log("connection to NATS lost", SOON).await;
    hook.answer(200);
    hook.wait_delivered(200, SOON).await;
    let (status, body) = daemon.health().await;
    assert_eq!(status, 503, "{body}");
    nats.restart().await;
    daemon.ready(SOON).await;
    hook.assert_exactly_once(0..200);
    all_delivered(&mut daemon).await;
}

#[tokio::test]
async fn a_server_that_is_down_from_the_start_is_passed_over() {
    let mut down = NatsServer::start().await;
    down.kill();
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let url = format!("{},{}", down.url(), nats.url());
    let mut daemon = daemon(&url, &hook).env(THREADS, "4").start_ready().await;
    nats.wait_subscriptions(SUBJECT, 4, SOON).await;
    publisher(&nats).await.burst(100).await;
    hook.wait_delivered(100, SOON).await;
    hook.assert_exactly_once(0..100);
    all_delivered(&mut daemon).await;
}

#[tokio::test]
async fn when_its_server_is_killed_a_lane_moves_to_one_that_it_learned_of() {
    let [one, two] = cluster("").await;
    let hook = Webhook::counting();
    // The other server is not in the configuration.
    let mut daemon = daemon(&one.url(), &hook).env(THREADS, "1").start_ready().await;
    let (mut near, far) = near_and_far([one, two]).await;
    let load = publisher(&far).await.steadily(1_000);
    hook.wait_for(|hook| hook.delivered() > 500, SOON).await;
    near.kill();
    far.wait_subscriptions(SUBJECT, 1, SOON).await;
    let mut publisher = load.stop().await;
    daemon.ready(SOON).await;
    let before = publisher.count();
    publisher.burst(1_000).await;
    let last = before..publisher.count();
    hook.wait_for(|hook| hook.missing(last.clone()).is_empty(), SOON).await;
    assert!(hook.duplicates().is_empty(), "{}", hook.summary());
    all_delivered(&mut daemon).await;
}

/// A lane that serves 2,000 messages a second from a server that is about to stop. `configured` are the servers that
/// the daemon is told of.
async fn assert_lame_duck_loses_nothing(configured: impl FnOnce(&[NatsServer; 2]) -> String) {
    let servers = cluster("lame_duck_grace_period: \"1s\"\nlame_duck_duration: \"30s\"").await;
    let hook = Webhook::counting();
    let url = configured(&servers);
    let mut daemon = daemon(&url, &hook).env(THREADS, "1").start_ready().await;
    let (mut near, far) = near_and_far(servers).await;
    let load = publisher(&far).await.steadily(2_000);
    hook.wait_for(|hook| hook.delivered() > 1_000, SOON).await;
    near.lame_duck();
    near.ended(SOON).await;
    let moves = daemon.events("NATS server is about to stop, moving to another one");
    assert_eq!(moves.iter().filter(|line| line["link"] == "lane 0").count(), 1, "{moves:?}");
    daemon.ready(SOON).await;
    let before = hook.delivered();
    hook.wait_for(|hook| hook.delivered() > before + 1_000, SOON).await;
    let published = load.stop().await.count();
    hook.wait_delivered(usize::try_from(published).expect("a count fits"), SOON).await;
    all_delivered(&mut daemon).await;
    hook.assert_exactly_once(0..published);
}

#[tokio::test]
async fn a_server_that_says_that_it_will_stop_is_left_without_loss() {
    assert_lame_duck_loses_nothing(|[one, two]| format!("{},{}", one.url(), two.url())).await;
}

#[tokio::test]
async fn a_server_that_will_stop_is_left_for_one_that_it_told_of() {
    assert_lame_duck_loses_nothing(|[one, _]| one.url()).await;
}

#[tokio::test]
async fn wildcards_subscribe_to_every_subject_that_fits() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let mut daemon = daemon(&nats.url(), &hook).env("NATS_SUBJECT", "todos.*.events.>").start_ready().await;
    let client = nats.client().await;
    let subjects =
        ["todos.a.events.b", "todos.c.events.d.e", "todos.events.b", "todos.a.b.events.c", "todos.a.events"];
    for (number, subject) in subjects.iter().enumerate() {
        client.publish(*subject, number.to_string().into()).await.unwrap();
    }
    Publisher::new(client, "elsewhere").settle().await;
    hook.wait_delivered(2, SOON).await;
    assert_eq!(all_delivered(&mut daemon).await.received, 2);
    let mut came: Vec<_> =
        hook.requests().iter().map(|request| request.header("broadcaster-subject").to_owned()).collect();
    came.sort_unstable();
    assert_eq!(came, subjects[..2]);
}

/// A configuration whose only user, `daemon`, may not subscribe to `denied`.
fn denying(denied: &str) -> String {
    format!(
        "authorization {{ users: [{{ user: daemon, password: daemon, \
         permissions: {{ subscribe: {{ deny: {denied:?} }} }} }}] }}"
    )
}

#[tokio::test]
async fn a_subscription_that_nats_refuses_is_asked_for_until_it_is_given() {
    let mut nats = NatsServer::builder().config(&denying("todos.>")).start().await;
    let hook = Webhook::start();
    let mut daemon = daemon(&nats.url(), &hook)
        .env("BROADCASTER__NATS__USER", "daemon")
        .env("BROADCASTER__NATS__PASSWORD", "daemon")
        .start()
        .await;
    let refused = "NATS refuses the subscription, asking again";
    daemon.wait_log(refused, SOON).await;
    assert_eq!(daemon.events(refused)[0]["level"], "ERROR");
    let (status, body) = daemon.health().await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("route default: NATS refuses the subscription to todos.events"), "{body}");
    assert_eq!(daemon.get("/healthz").await.status, 200);
    assert!(daemon.events("route is live").is_empty(), "it is not");
    // Given by a reload, taken away by another one, and given again.
    for _ in 0..2 {
        nats.reload(&denying("other.>")).await;
        daemon.ready(SOON).await;
        let before = hook.delivered();
        publisher_of(&nats).await.burst(10).await;
        hook.wait_for(|hook| hook.delivered() == before + 10, SOON).await;
        nats.reload(&denying("todos.>")).await;
        daemon.unready(SOON).await;
        let (_, body) = daemon.health().await;
        assert!(body.contains("NATS refuses the subscription to todos.events"), "{body}");
    }
    all_delivered(&mut daemon).await;
}

/// A publisher that logs in as the daemon does.
async fn publisher_of(nats: &NatsServer) -> Publisher {
    let options = async_nats::ConnectOptions::with_user_and_password("daemon".into(), "daemon".into());
    Publisher::new(options.connect(nats.url()).await.expect("the user may log in"), SUBJECT)
}

/// A lane that stands still while so many messages come, each as small as can be; then it goes on.
async fn flood(daemon: &Running, publisher: &mut Publisher, count: u64) {
    daemon.signal(Signal::STOP);
    publisher.burst(count).await;
    daemon.signal(Signal::CONT);
}

#[tokio::test]
async fn a_flood_is_received_to_the_last_message_and_the_queue_decides() {
    let nats = NatsServer::builder().config("max_pending: 512MB\nwrite_deadline: \"60s\"").start().await;
    let hook = Webhook::counting();
    let mut daemon = daemon(&nats.url(), &hook)
        .env(THREADS, "1")
        .env("BROADCASTER__SHUTDOWN__GRACE", "0s")
        .route("queue.messages", "1000")
        .start_ready()
        .await;
    let mut publisher = publisher(&nats).await;
    for _ in 0..3 {
        flood(&daemon, &mut publisher, 300_000).await;
        let published = publisher.count() as f64;
        daemon.wait_metrics(|metrics| metrics.value(RECEIVED, &[]) >= published, SOON).await;
    }
    let account = daemon.stop().await;
    assert!(account.adds_up(), "{account:?}");
    assert_eq!(account.received, publisher.count(), "{account:?}");
}

#[tokio::test]
async fn a_connection_that_the_server_cuts_for_slowness_is_counted_and_made_again() {
    let nats = NatsServer::builder().config("max_pending: 1MB").start().await;
    let hook = Webhook::counting();
    let mut daemon = daemon(&nats.url(), &hook).env(THREADS, "1").start_ready().await;
    let mut publisher = publisher(&nats).await;
    flood(&daemon, &mut publisher, 1_000_000).await;
    daemon.wait_log("as this end read too slowly", SOON).await;
    daemon.wait_metrics(|metrics| metrics.value(SLOW, &[]) == 1.0, SOON).await;
    assert_eq!(nats.monitor("/varz").await["slow_consumers"], 1);
    daemon.ready(SOON).await;
    let before = hook.delivered();
    publisher.burst(100).await;
    hook.wait_for(|hook| hook.delivered() >= before + 100, SOON).await;
    let account = daemon.stop().await;
    assert!(account.adds_up(), "{account:?}");
}
#[tokio::test]
async fn a_lost_connection_says_why_and_to_whom_there_is_one_again() {
    let mut nats = NatsServer::start().await;
    let hook = Webhook::start();
    let daemon = daemon(&nats.url(), &hook).env(THREADS, "1").start_ready().await;
    nats.kill();
    daemon.wait_log("connection to NATS lost", SOON).await;
    nats.restart().await;
    daemon.wait_log("connected to NATS", SOON).await;
    let lost = daemon.events("connection to NATS lost, connecting again");
    assert!(lost.iter().all(|line| line["error"].as_str().is_some_and(|why| !why.is_empty())), "{lost:?}");
    let again = daemon.events("connected to NATS");
    let server =
        |line: &&serde_json::Value| line["server"].as_str().is_some_and(|at| nats.url().contains(at));
    assert!(again.iter().any(|line| server(&line)), "{again:?}");
}

#[tokio::test]
async fn a_route_that_takes_everything_gets_no_echo_of_what_is_said_about_it() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let mut daemon =
        daemon(&nats.url(), &hook).env("NATS_SUBJECT", ">").env(THREADS, "2").start_ready().await;
    let other = self::daemon(&nats.url(), &hook).env("NATS_SUBJECT", ">").start_ready().await;
    let mut publisher = publisher(&nats).await;
    publisher.burst(100).await;
    hook.wait_delivered(100, SOON).await;
    hook.answer(503);
    publisher.burst(100).await;
    // What this one has in hand it hands over when it stops.
    let account = daemon.stop().await;
    assert!(account.adds_up(), "{account:?}");
    hook.answer(200);
    hook.wait_for(|hook| hook.missing(0..200).is_empty(), SOON).await;
    let mut other = other;
    assert!(other.stop().await.adds_up());
    assert!(hook.duplicates().is_empty(), "{}", hook.summary());
    for request in hook.requests() {
        let subject = request.header("broadcaster-subject");
        let kept = ["$", "broadcaster.", "_INBOX.broadcaster-"];
        assert!(!kept.iter().any(|kept| subject.starts_with(kept)), "{subject}: {}", request.text());
    }
}
