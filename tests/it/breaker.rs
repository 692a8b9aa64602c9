//! The circuit breaker: when a webhook is left alone, how it is tried again, and what becomes of the messages meanwhile.

use std::time::{Duration, Instant};

use testkit::daemon::{Daemon, Running};
use testkit::metrics::Metrics;
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::webhook::{Behaviour, Received, Reply, Webhook};

const SUBJECT: &str = "todos.events";
const SOON: Duration = Duration::from_secs(60);
const THREADS: &str = "BROADCASTER__RUNTIME__THREADS";

const OPEN: &str = "breaker open: the webhook is left alone";
const RAMPING: &str = "breaker half-open: a probe was delivered, ramping up";
const CLOSED: &str = "breaker closed";

/// For how long the breaker of these tests is open, and how much of it a busy machine may use up.
const OPEN_FOR: Duration = Duration::from_millis(600);
const SLACK: Duration = Duration::from_millis(300);

/// How many failures open it, and how many more attempts may be under way then: the concurrency.
const FAILURES: usize = 20;
const CONCURRENCY: usize = 64;

/// A daemon with one lane, whose breaker is open for [`OPEN_FOR`] and whose retries come quickly.
fn daemon(nats: &NatsServer, hook: &Webhook) -> Daemon {
    Daemon::between(nats, &hook.url()).env(THREADS, "1").impatient().route("breaker.open_for", "600ms")
}

async fn publisher(nats: &NatsServer) -> Publisher {
    Publisher::new(nats.client().await, SUBJECT)
}

/// Stops `daemon`; a panic unless each of `count` messages was delivered, once.
async fn all_delivered(mut daemon: Running, hook: &Webhook, count: u64) {
    let account = daemon.stop().await;
    assert!(account.adds_up(), "{account:?}");
    assert_eq!((account.received, account.delivered), (count, count), "{account:?}");
    hook.assert_exactly_once(0..count);
}

/// The value of the metric.
fn state(metrics: &Metrics) -> f64 {
    metrics.value("broadcaster_breaker_state", &[])
}

/// The times of these requests, where a new group begins after each pause of nearly [`OPEN_FOR`].
fn rounds(requests: &[Received]) -> Vec<Vec<Instant>> {
    let mut times: Vec<_> = requests.iter().map(|request| request.at).collect();
    times.sort_unstable();
    times.chunk_by(|one, two| two.duration_since(*one) < OPEN_FOR - SLACK).map(<[_]>::to_vec).collect()
}

/// A panic unless the webhook got as many requests as it takes to open the breaker, and then `probes` at most, each time
/// after a pause.
fn assert_left_alone(hook: &Webhook, probes: usize) {
    let sizes: Vec<_> = rounds(&hook.requests()).iter().map(Vec::len).collect();
    let (first, later) = sizes.split_first().expect("requests came");
    assert!((FAILURES..=FAILURES + CONCURRENCY).contains(first), "requests before it opened: {sizes:?}");
    assert!(later.len() >= 2, "it was not tried again: {sizes:?}");
    assert!(later.iter().all(|size| (1..=probes).contains(size)), "probes at a time: {sizes:?}");
}

#[tokio::test]
async fn a_webhook_that_answers_5xx_is_left_alone_but_for_a_few_probes() {
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let daemon = daemon(&nats, &hook).route("breaker.half_open_probes", "2").start_ready().await;
    publisher(&nats).await.burst(500).await;
    hook.wait_for(|hook| rounds(&hook.requests()).len() == 4, SOON).await;
    assert_left_alone(&hook, 2);
    hook.answer(200);
    hook.wait_delivered(500, SOON).await;
    all_delivered(daemon, &hook, 500).await;
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_is_left_alone() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(600)));
    let daemon = daemon(&nats, &hook).route("webhook.timeout", "200ms").start_ready().await;
    publisher(&nats).await.burst(500).await;
    hook.wait_for(|hook| rounds(&hook.requests()).len() == 4, SOON).await;
    assert_left_alone(&hook, 3);
    hook.answer(200);
    hook.wait_delivered(500, SOON).await;
    all_delivered(daemon, &hook, 500).await;
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_left_alone() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.down().await;
    let daemon = daemon(&nats, &hook).start_ready().await;
    publisher(&nats).await.burst(500).await;
    daemon.wait_log(OPEN, SOON).await;
    let opened = Instant::now();
    let refused =
        |metrics: &Metrics| metrics.value("broadcaster_webhook_requests_total", &[("code", "connect")]);
    let (failures, concurrency) = (FAILURES as f64, CONCURRENCY as f64);
    daemon.wait_metrics(|metrics| refused(metrics) > failures + concurrency, SOON).await;
    let tries = refused(&daemon.metrics().await) - failures;
    let rounds = opened.elapsed().as_secs_f64() / OPEN_FOR.as_secs_f64();
    assert!(tries <= concurrency + 3.0 * rounds, "{tries} attempts in {rounds} rounds");
    hook.up().await;
    hook.wait_delivered(500, SOON).await;
    all_delivered(daemon, &hook, 500).await;
}

#[tokio::test]
async fn what_a_webhook_has_against_messages_opens_nothing() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(Behaviour::by(|request| {
        let again = request.header("broadcaster-attempt") != "1";
        Reply::status(match request.number().unwrap_or_default() {
            0..100 => 400,
            100..200 => 422,
            200..300 if !again => 409,
            _ => 200,
        })
    }));
    let statuses = "409,5xx";
    let mut daemon = daemon(&nats, &hook).route("retry.statuses", statuses).start_ready().await;
    publisher(&nats).await.burst(400).await;
    hook.wait_delivered(200, SOON).await;
    assert_eq!(state(&daemon.metrics().await).to_string(), "0");
    let account = daemon.stop().await;
    assert_eq!((account.delivered, account.dropped), (200, 200), "{account:?}");
    assert_eq!(daemon.logs_containing("breaker"), Vec::<String>::new());
}

#[tokio::test]
async fn the_rate_grows_after_the_recovery_until_there_is_no_limit() {
    const COUNT: u64 = 5_000;
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let daemon = daemon(&nats, &hook).start_ready().await;
    publisher(&nats).await.burst(COUNT).await;
    daemon.wait_log(OPEN, SOON).await;
    // What was under way when it opened is no part of the ramp.
    daemon.wait_metrics(|metrics| metrics.value("broadcaster_in_flight", &[]) == 0.0, SOON).await;
    hook.answer(200);
    hook.wait_delivered(5_000, SOON).await;
    let mut times: Vec<_> = hook
        .requests()
        .iter()
        .filter(|request| request.status == Some(200))
        .map(|request| request.at)
        .collect();
    times.sort_unstable();
    let begin = times[0];
    // 20 a second at first, twice as many each half second: so many until then.
    let planned = |at: Instant| {
        let doublings = at.duration_since(begin).as_secs_f64() / 0.5;
        20.0 * 0.5 / std::f64::consts::LN_2 * (doublings.exp2() - 1.0)
    };
    for (before, at) in times.iter().enumerate() {
        // The probes, and what the clocks of the two processes and their timers may differ.
        let most = 4.0 + planned(*at + Duration::from_millis(50));
        assert!(before as f64 <= most, "{before} requests within {:?}", *at - begin);
    }
    let mut windows = vec![0_usize; 60];
    for at in &times {
        windows[usize::try_from((*at - begin).as_millis() / 500).expect("it is a small number")] += 1;
    }
    let full = windows.iter().position(|count| *count == 0).unwrap_or(windows.len()) - 1;
    let growing = windows[..full].windows(2).all(|pair| pair[0] < pair[1]);
    assert!(full >= 6 && growing, "requests in each half second: {windows:?}");
    all_delivered(daemon, &hook, COUNT).await;
}

#[tokio::test]
async fn an_outage_of_many_open_periods_uses_up_no_attempts() {
    const COUNT: u64 = 1_000;
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let daemon = daemon(&nats, &hook)
        .route("breaker.open_for", "100ms")
        .route("retry.attempts", "3")
        .start_ready()
        .await;
    publisher(&nats).await.burst(COUNT).await;
    // Each after the first hundred is a probe: twenty rounds and more.
    hook.wait_for(|hook| hook.received() > 160, SOON).await;
    hook.answer(200);
    hook.wait_delivered(1_000, SOON).await;
    let delivered = hook.requests().into_iter().filter(|request| request.status == Some(200));
    let attempts = delivered.map(|request| request.header("broadcaster-attempt").parse::<u32>().unwrap());
    assert!(attempts.max() <= Some(3), "a message needed more attempts than it has");
    all_delivered(daemon, &hook, COUNT).await;
}

#[tokio::test]
async fn each_state_has_its_number_and_each_change_its_line() {
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let daemon = daemon(&nats, &hook).route("breaker.ramp", "1s").start_ready().await;
    let is = |number: &'static str| move |metrics: &Metrics| state(metrics).to_string() == number;
    daemon.wait_metrics(is("0"), SOON).await;
    publisher(&nats).await.burst(30).await;
    daemon.wait_metrics(is("2"), SOON).await;
    hook.answer(200);
    daemon.wait_metrics(is("1"), SOON).await;
    // Nothing comes any more that would have to be attempted.
    daemon.wait_metrics(is("0"), SOON).await;
    for (message, level) in [(OPEN, "WARN"), (RAMPING, "INFO"), (CLOSED, "INFO")] {
        let events = daemon.events(message);
        assert_eq!(events.len(), 1, "{message}: {:?}", daemon.logs());
        assert_eq!((&events[0]["level"], &events[0]["route"]), (&level.into(), &"default".into()));
    }
    assert_eq!(daemon.events(OPEN)[0]["wait"], "600ms");
    all_delivered(daemon, &hook, 30).await;
}

#[tokio::test]
async fn lanes_share_it() {
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let daemon = daemon(&nats, &hook).env(THREADS, "2").start_ready().await;
    publisher(&nats).await.burst(1_000).await;
    hook.wait_for(|hook| rounds(&hook.requests()).len() == 4, SOON).await;
    assert_left_alone(&hook, 3);
    hook.answer(200);
    // Nothing comes any more that would wake the lane whose probes were not the ones to succeed.
    hook.wait_delivered(1_000, SOON).await;
    assert_eq!((daemon.events(OPEN).len(), daemon.events(RAMPING).len()), (1, 1));
    all_delivered(daemon, &hook, 1_000).await;
}

/// 503 to all, or to none but each `nth` message, which gets 500 whenever it comes.
fn poisoned_by_each(nth: u64, outage: bool) -> Behaviour {
    Behaviour::by(move |request| {
        let poison = request.number().is_some_and(|number| number % nth == 0);
        Reply::status(if outage {
            503
        } else if poison {
            500
        } else {
            200
        })
    })
}

#[tokio::test]
async fn poison_dies_of_its_attempts_and_holds_up_nobody() {
    const COUNT: u64 = 2_000;
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(poisoned_by_each(50, false));
    let mut daemon = daemon(&nats, &hook).route("retry.attempts", "4").start_ready().await;
    let load = publisher(&nats).await.steadily(1_000);
    hook.wait_delivered(1_500, SOON).await;
    let published = load.stop().await;
    let poison = published.count().div_ceil(50);
    hook.wait_delivered(usize::try_from(published.count() - poison).expect("a count fits"), SOON).await;
    let requests = hook.requests();
    let account = daemon.stop().await;
    assert_eq!((account.delivered, account.dropped), (published.count() - poison, poison), "{account:?}");
    assert_eq!(daemon.logs_containing("breaker"), Vec::<String>::new());
    let tries = |number: u64| requests.iter().filter(|request| request.number() == Some(number)).count();
    // The first failure tells nothing yet about whose fault it is, and with the first few nothing is known of the others.
    assert!((0..COUNT / 2).step_by(50).all(|number| (5..=12).contains(&tries(number))), "{}", hook.summary());
    let late = |request: &&Received| {
        request.status == Some(200)
            && request.at.duration_since(published.published_at(request.number().expect("it has a number")))
                > Duration::from_secs(1)
    };
    assert_eq!(requests.iter().filter(late).count(), 0, "messages that waited for poison");
}

#[tokio::test]
async fn poison_in_a_backlog_does_not_open_it_again() {
    const COUNT: u64 = 1_000;
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(poisoned_by_each(10, true));
    let mut daemon = daemon(&nats, &hook)
        .route("retry.attempts", "100")
        .env("BROADCASTER__SHUTDOWN__GRACE", "0s")
        .start_ready()
        .await;
    publisher(&nats).await.burst(COUNT).await;
    daemon.wait_log(OPEN, SOON).await;
    hook.answer(poisoned_by_each(10, false));
    // As soon as one is tried it comes again and again, within milliseconds.
    hook.wait_delivered(900, SOON).await;
    assert_eq!(daemon.events(OPEN).len(), 1, "it opened for the sake of poison: {:?}", daemon.logs());
    let account = daemon.stop().await;
    assert_eq!((account.delivered, account.dropped), (900, 100), "{account:?}");
}

#[tokio::test]
async fn what_comes_while_it_is_open_waits_in_the_bounded_queue() {
    const COUNT: u64 = 5_000;
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let mut daemon = daemon(&nats, &hook)
        .route("queue.messages", "1000")
        .route("queue.overflow", "drop_newest")
        .start_ready()
        .await;
    publisher(&nats).await.burst(COUNT).await;
    let all = |metrics: &Metrics| {
        let waiting = metrics.value("broadcaster_queue_messages", &[]);
        assert!(waiting <= 1_000.0, "{waiting} messages in the queue");
        metrics.value("broadcaster_messages_received_total", &[]) >= COUNT as f64
    };
    daemon.wait_metrics(all, SOON).await;
    let dropped = [("outcome", "dropped")];
    let dropped = daemon.metrics().await.value("broadcaster_messages_processed_total", &dropped);
    hook.answer(200);
    let idle = |metrics: &Metrics| {
        ["queue_messages", "retry_queue_messages", "in_flight"]
            .iter()
            .all(|name| metrics.value(&format!("broadcaster_{name}"), &[]) == 0.0)
    };
    daemon.wait_metrics(idle, SOON).await;
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.in_hand == 0, "{account:?}");
    assert_eq!(account.dropped as f64, dropped, "some that had found room were dropped: {account:?}");
    assert!((1_000..1_200).contains(&account.delivered), "{account:?}");
    assert_eq!(hook.delivered() as u64, account.delivered);
    assert!(hook.duplicates().is_empty(), "{}", hook.summary());
}
