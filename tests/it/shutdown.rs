//! Stopping: what is lost, what is saved, and how long it takes.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use testkit::daemon::{Account, Daemon, Running};
use testkit::nats::{NatsServer, next};
use testkit::poll;
use testkit::publisher::Publisher;
use testkit::webhook::{Behaviour, Reply, Webhook};

const SUBJECT: &str = "todos.events";
const SOON: Duration = Duration::from_secs(60);

/// What the end of a stop takes beside the grace, at most: leaving NATS and the last dead letters.
const BESIDE_THE_GRACE: Duration = Duration::from_secs(6);

/// A daemon whose retries come quickly and never end by themselves.
fn daemon(nats: &NatsServer, hook: &Webhook) -> Daemon {
    Daemon::between(nats, &hook.url())
        .env("BROADCASTER__RUNTIME__THREADS", "1")
        .route("retry.attempts", "100000")
        .route("retry.initial", "20ms")
        .route("retry.max", "100ms")
}

async fn publisher(nats: &NatsServer) -> Publisher {
    Publisher::new(nats.client().await, SUBJECT)
}

/// Stops `daemon` and says how long that took.
async fn timed_stop(daemon: &mut Running) -> (Account, Duration) {
    let begin = Instant::now();
    let account = daemon.stop().await;
    assert!(account.adds_up(), "{account:?}");
    assert_eq!(account.in_hand, 0, "{account:?}");
    (account, begin.elapsed())
}

/// Two replicas under a steady load; one after the other is stopped and replaced, `rounds` times.
async fn roll(nats: &NatsServer, per_second: u32, rounds: usize) {
    let hook = Webhook::counting();
    let replica = || daemon(nats, &hook).env("BROADCASTER__RUNTIME__THREADS", "2").start_ready();
    let (mut one, mut two) = (replica().await, replica().await);
    let load = publisher(nats).await.steadily(per_second);
    let (mut accounts, mut longest) = (Vec::new(), Duration::ZERO);
    for _ in 0..rounds {
        let before = hook.delivered();
        let enough = before + per_second as usize / 10;
        hook.wait_for(|hook| hook.delivered() > enough, SOON).await;
        let (account, took) = timed_stop(&mut one).await;
        longest = longest.max(took);
        accounts.push(account);
        one = std::mem::replace(&mut two, replica().await);
    }
    let published = load.stop().await.count();
    for mut replica in [one, two] {
        accounts.push(timed_stop(&mut replica).await.0);
    }
    let received: u64 = accounts.iter().map(|account| account.received).sum();
    assert_eq!(received, published, "not all came out of NATS: {accounts:?}");
    hook.assert_exactly_once(0..published);
    eprintln!(
        "{rounds} stops at {per_second}/s: {published} delivered once each, the longest stop took {longest:?}"
    );
}

#[tokio::test]
async fn a_rolling_restart_under_load_loses_nothing() {
    roll(&NatsServer::start().await, 5_000, 10).await;
}

#[tokio::test]
async fn a_rolling_restart_at_low_traffic_loses_nothing() {
    roll(&NatsServer::start().await, 20, 5).await;
}

#[tokio::test]
async fn a_rolling_restart_loses_nothing_when_nats_stutters() {
    let nats = NatsServer::start().await;
    tokio::select! {
        () = roll(&nats, 2_000, 6) => {}
        () = nats.stutter(Duration::from_millis(60)) => {}
    }
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_burst_loses_nothing() {
    let nats = NatsServer::start().await;
    let hook = Webhook::counting();
    let (mut leaving, mut staying) =
        (daemon(&nats, &hook).start_ready().await, daemon(&nats, &hook).start_ready().await);
    let mut publisher = publisher(&nats).await;
    let (stopped, ()) = tokio::join!(
        async {
            hook.wait_for(|hook| hook.received() > 0, SOON).await;
            timed_stop(&mut leaving).await.0
        },
        publisher.burst(30_000),
    );
    hook.wait_delivered(30_000, SOON).await;
    let stayed = timed_stop(&mut staying).await.0;
    assert_eq!(stopped.received + stayed.received, 30_000, "{stopped:?} {stayed:?}");
    hook.assert_exactly_once(0..30_000);
}

#[tokio::test]
async fn a_stop_that_interrupts_says_so_and_ends_with_status_0() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let nats = NatsServer::start().await;
        let hook = Webhook::start();
        let mut daemon = daemon(&nats, &hook).start_ready().await;
        publisher(&nats).await.burst(10).await;
        hook.wait_delivered(10, SOON).await;
        daemon.signal(signal);
        let status = daemon.wait(SOON).await;
        assert_eq!(status.code(), Some(0), "{status}");
        assert_eq!(daemon.events("stopping")[0]["signal"], name);
        assert_eq!(daemon.account().delivered, 10);
    }
}

#[tokio::test]
async fn while_stopping_health_says_503_and_healthz_200() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(2)));
    let mut daemon = daemon(&nats, &hook).start_ready().await;
    publisher(&nats).await.burst(1).await;
    hook.wait_for(|hook| hook.received() == 1, SOON).await;
    daemon.term();
    daemon.wait_log("stopping", SOON).await;
    let (status, body) = daemon.health().await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("the process is stopping"), "{body}");
    assert_eq!(daemon.get("/healthz").await.status, 200);
    assert!(daemon.wait(SOON).await.success());
    hook.assert_exactly_once(0..1);
    assert_eq!(daemon.account().delivered, 1);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_with_status_1() {
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let mut daemon = daemon(&nats, &hook).start_ready().await;
    publisher(&nats).await.burst(5).await;
    hook.wait_for(|hook| hook.received() >= 5, SOON).await;
    daemon.term();
    daemon.wait_log("stopping", SOON).await;
    let begin = Instant::now();
    // At once, it would be taken for the same request: see the next test.
    tokio::time::sleep(Duration::from_millis(400)).await;
    daemon.signal(Signal::INT);
    let status = daemon.wait(SOON).await;
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(begin.elapsed() < Duration::from_secs(2), "it took {:?}", begin.elapsed());
    assert_eq!(daemon.logs_containing("what is in hand is lost").len(), 1);
}

/// A terminal signals the whole process group, and a parent in it passes the signal on.
#[tokio::test]
async fn two_signals_together_are_one_request_to_stop() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let mut daemon = daemon(&nats, &hook).start_ready().await;
    publisher(&nats).await.burst(5).await;
    daemon.wait_metrics(|metrics| metrics.sum(RECEIVED, &[]) == 5.0, SOON).await;
    daemon.term();
    daemon.wait_log("stopping", SOON).await;
    daemon.term();
    assert!(daemon.wait(SOON).await.success());
    hook.assert_exactly_once(0..5);
}

#[tokio::test]
async fn a_stop_without_nats_delivers_what_is_in_hand() {
    let mut nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let mut daemon = daemon(&nats, &hook).start_ready().await;
    publisher(&nats).await.burst(100).await;
    daemon.wait_metrics(|metrics| metrics.sum(RECEIVED, &[]) == 100.0, SOON).await;
    nats.kill();
    daemon.wait_log("connection to NATS lost", SOON).await;
    hook.answer(200);
    let (account, took) = timed_stop(&mut daemon).await;
    assert_eq!((account.received, account.delivered), (100, 100));
    assert!(took < BESIDE_THE_GRACE, "the stop took {took:?}");
    hook.assert_exactly_once(0..100);
}

#[tokio::test]
async fn a_stop_that_nats_never_saw_is_quick() {
    let mut nats = NatsServer::start().await;
    nats.kill();
    let hook = Webhook::start();
    let mut daemon = daemon(&nats, &hook).route("dead_letter.subject", "dead").start().await;
    let (account, took) = timed_stop(&mut daemon).await;
    assert_eq!(account.received, 0);
    assert!(took < BESIDE_THE_GRACE, "the stop took {took:?}");
}

#[tokio::test]
async fn what_the_grace_could_not_save_becomes_a_dead_letter() {
    let nats = NatsServer::start().await;
    let mut dead = nats.client().await.subscribe("dead").await.unwrap();
    nats.wait_subscriptions("dead", 1, SOON).await;
    let hook = Webhook::answering([503]);
    let mut daemon = daemon(&nats, &hook)
        .env("BROADCASTER__SHUTDOWN__GRACE", "1s")
        .route("dead_letter.subject", "dead")
        .start_ready()
        .await;
    publisher(&nats).await.burst(2_000).await;
    daemon.wait_metrics(|metrics| metrics.sum(RECEIVED, &[]) == 2_000.0, SOON).await;
    let (account, took) = timed_stop(&mut daemon).await;
    assert_eq!((account.received, account.dead_lettered), (2_000, 2_000));
    assert!(took < Duration::from_secs(1) + BESIDE_THE_GRACE, "the stop took {took:?}");
    let mut numbers = Vec::new();
    for _ in 0..2_000 {
        let letter = next(&mut dead, SOON).await;
        let headers = letter.headers.expect("a dead letter has headers");
        let reason = headers.get("Broadcaster-Reason").map(async_nats::HeaderValue::as_str);
        assert_eq!(reason, Some("shutdown"));
        numbers.push(String::from_utf8_lossy(&letter.payload).parse::<u64>().unwrap());
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..2_000), "each message is one dead letter");
}

/// More than waits for NATS at once, in messages and in bytes.
#[tokio::test]
async fn all_that_is_left_becomes_dead_letters_however_much_it_is() {
    const COUNT: u64 = 60_000;
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let mut daemon = daemon(&nats, &hook)
        .route("dead_letter.subject", "dead")
        .route("retry.initial", "1m")
        .route("retry.max", "1m")
        .env("BROADCASTER__SHUTDOWN__GRACE", "0s")
        .start_ready()
        .await;
    let mut dead = nats.client().await.subscribe("dead").await.unwrap();
    nats.wait_subscriptions("dead", 1, SOON).await;
    publisher(&nats).await.padded(100).burst(COUNT).await;
    daemon.wait_metrics(|metrics| metrics.sum(RECEIVED, &[]) == COUNT as f64, SOON).await;
    let (account, _) = timed_stop(&mut daemon).await;
    assert_eq!((account.dead_lettered, account.dropped), (COUNT, 0), "{account:?}");
    let mut numbers = std::collections::BTreeSet::new();
    for _ in 0..COUNT {
        let letter = next(&mut dead, SOON).await;
        let number: u64 = String::from_utf8_lossy(&letter.payload).trim_end().parse().unwrap();
        assert!(numbers.insert(number), "two dead letters are message {number}");
    }
    assert!(numbers.into_iter().eq(0..COUNT), "each message is one dead letter");
}

#[tokio::test]
async fn dead_letters_that_nats_refuses_are_counted_as_dropped() {
    let nats = NatsServer::builder()
        .config(
            "authorization: { users: [{ user: \"all\", password: \"all\" },\n\
             { user: \"daemon\", password: \"daemon\", permissions: { publish: { deny: \"dead\" } } }],\n\
             }\nno_auth_user: all",
        )
        .start()
        .await;
    let hook = Webhook::answering([400]);
    let mut daemon = daemon(&nats, &hook)
        .route("dead_letter.subject", "dead")
        .env("BROADCASTER__NATS__USER", "daemon")
        .env("BROADCASTER__NATS__PASSWORD", "daemon")
        .start_ready()
        .await;
    publisher(&nats).await.burst(10).await;
    daemon.wait_log("the user needs this permission", SOON).await;
    let (account, _) = timed_stop(&mut daemon).await;
    assert_eq!((account.dead_lettered, account.dropped), (0, 10), "{account:?}");
}

#[tokio::test]
async fn without_a_place_for_dead_letters_what_is_left_is_counted_as_dropped() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.down().await;
    let mut daemon = daemon(&nats, &hook).env("BROADCASTER__SHUTDOWN__GRACE", "500ms").start_ready().await;
    publisher(&nats).await.burst(2_000).await;
    daemon.wait_metrics(|metrics| metrics.sum(RECEIVED, &[]) == 2_000.0, SOON).await;
    let (account, took) = timed_stop(&mut daemon).await;
    assert_eq!((account.received, account.dropped), (2_000, 2_000));
    assert!(took < Duration::from_millis(500) + BESIDE_THE_GRACE, "the stop took {took:?}");
    let named = daemon.events("message dropped");
    assert!(named[0]["reason"] == "shutdown", "{}", named[0]);
    assert!(named.len() < 100, "{} lines about drops", named.len());
}

#[tokio::test]
async fn dead_letters_that_nats_does_not_take_are_counted_as_dropped() {
    let mut nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let mut daemon = daemon(&nats, &hook)
        .env("BROADCASTER__SHUTDOWN__GRACE", "0s")
        .route("dead_letter.subject", "dead")
        .start_ready()
        .await;
    publisher(&nats).await.burst(500).await;
    daemon.wait_metrics(|metrics| metrics.sum(RECEIVED, &[]) == 500.0, SOON).await;
    nats.kill();
    // The connections of the lane, and of the dead letters and the hand-over.
    let lost = || daemon.logs_containing("connection to NATS lost").len() == 2;
    assert!(poll(SOON, || lost().then_some(())).await.is_some(), "the loss was not seen");
    let (account, took) = timed_stop(&mut daemon).await;
    assert_eq!((account.received, account.dropped), (500, 500));
    assert!(took < BESIDE_THE_GRACE, "the stop took {took:?}");
}

#[tokio::test]
async fn no_grace_gives_up_at_once() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(600)));
    let mut daemon = daemon(&nats, &hook).env("BROADCASTER__SHUTDOWN__GRACE", "0s").start_ready().await;
    publisher(&nats).await.burst(1_000).await;
    daemon.wait_metrics(|metrics| metrics.sum(RECEIVED, &[]) == 1_000.0, SOON).await;
    let (account, took) = timed_stop(&mut daemon).await;
    assert_eq!((account.received, account.dropped), (1_000, 1_000));
    assert!(took < Duration::from_secs(3), "the stop took {took:?}");
}

#[tokio::test]
async fn retries_that_are_far_off_get_an_attempt_within_the_grace() {
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let mut daemon = daemon(&nats, &hook)
        .without_breaker()
        .route("retry.initial", "1h")
        .route("retry.max", "1h")
        .route("retry.jitter", "none")
        .env("BROADCASTER__SHUTDOWN__GRACE", "4s")
        .start_ready()
        .await;
    publisher(&nats).await.burst(500).await;
    daemon.wait_metrics(|metrics| metrics.sum(RETRIES, &[]) == 500.0, SOON).await;
    hook.answer(200);
    let (account, took) = timed_stop(&mut daemon).await;
    assert_eq!((account.received, account.delivered), (500, 500));
    assert!(took < Duration::from_secs(4), "the stop took {took:?}");
    hook.assert_exactly_once(0..500);
}

/// The first probe still fails, and the others need not wait for an hour either.
#[tokio::test]
async fn a_webhook_that_is_left_alone_is_tried_when_the_grace_begins() {
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let mut daemon = daemon(&nats, &hook)
        .route("breaker.open_for", "1h")
        .env("BROADCASTER__SHUTDOWN__GRACE", "4s")
        .start_ready()
        .await;
    publisher(&nats).await.burst(500).await;
    daemon.wait_metrics(|metrics| metrics.sum(RECEIVED, &[]) == 500.0, SOON).await;
    daemon.wait_log("breaker open", SOON).await;
    let before = hook.received();
    let recovery = async {
        hook.wait_for(|hook| hook.received() > before, SOON).await;
        hook.answer(200);
    };
    let ((account, took), ()) = tokio::join!(timed_stop(&mut daemon), recovery);
    assert_eq!((account.received, account.delivered), (500, 500));
    assert!(took < Duration::from_secs(4), "the stop took {took:?}");
    hook.assert_exactly_once(0..500);
}

#[tokio::test]
async fn an_attempt_without_an_answer_is_broken_off_when_the_grace_ends() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(600)));
    let mut daemon = daemon(&nats, &hook)
        .env("BROADCASTER__SHUTDOWN__GRACE", "1s")
        .route("webhook.concurrency", "8")
        .start_ready()
        .await;
    publisher(&nats).await.burst(20).await;
    hook.wait_for(|hook| hook.received() == 8, SOON).await;
    let (account, took) = timed_stop(&mut daemon).await;
    assert_eq!((account.received, account.dropped), (20, 20));
    let grace = Duration::from_secs(1);
    assert!(took >= grace, "it gave up after {took:?}");
    assert!(took < grace + BESIDE_THE_GRACE, "the stop took {took:?}");
    assert_eq!(hook.received(), 8, "attempts began after the end of the grace");
}

#[tokio::test]
async fn an_idle_daemon_stops_in_a_second() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let mut daemon = daemon(&nats, &hook).start_ready().await;
    let (account, took) = timed_stop(&mut daemon).await;
    assert_eq!(account.received, 0);
    assert!(took < Duration::from_secs(1), "the stop took {took:?}");
}

#[tokio::test]
async fn what_arrives_slowly_within_the_grace_is_still_delivered() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(Behaviour::by(|_| Reply::status(200).after(Duration::from_millis(400))));
    let mut daemon = daemon(&nats, &hook).route("webhook.concurrency", "10").start_ready().await;
    publisher(&nats).await.burst(50).await;
    hook.wait_for(|hook| hook.received() == 10, SOON).await;
    let (account, took) = timed_stop(&mut daemon).await;
    assert_eq!(account.delivered, 50, "{account:?}");
    assert!(took < Duration::from_secs(5), "the stop took {took:?}");
    hook.assert_exactly_once(0..50);
}

const RECEIVED: &str = "broadcaster_messages_received_total";
const RETRIES: &str = "broadcaster_retry_queue_messages";
