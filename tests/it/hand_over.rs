//! What a replica hands over to the others when it stops, counted at the receiver.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use testkit::daemon::{Account, Daemon, Running};
use testkit::nats::{NatsServer, next};
use testkit::publisher::Publisher;
use testkit::webhook::{Reply, Webhook};

const SUBJECT: &str = "todos.events";
const HAND_OVER: &str = "broadcaster.handover.broadcaster-workers";
const RECEIVED: &str = "broadcaster_messages_received_total";
const SOON: Duration = Duration::from_secs(60);

/// A daemon with one lane, whose retries come quickly and never end by themselves.
fn daemon(nats: &NatsServer, hook: &Webhook, grace: &str) -> Daemon {
    Daemon::between(nats, &hook.url())
        .env("BROADCASTER__RUNTIME__THREADS", "1")
        .env("BROADCASTER__SHUTDOWN__GRACE", grace)
        .route("retry.attempts", "100000")
        .route("retry.initial", "20ms")
        .route("retry.max", "100ms")
}

async fn publisher(nats: &NatsServer) -> Publisher {
    Publisher::new(nats.client().await, SUBJECT)
}

/// Waits until `daemon` has received `count` messages.
async fn wait_received(daemon: &Running, count: u64) {
    daemon.wait_metrics(|metrics| metrics.sum(RECEIVED, &[]) == count as f64, SOON).await;
}

/// Waits until so many replicas listen.
async fn wait_takers(nats: &NatsServer, count: usize) {
    nats.wait_subscriptions(HAND_OVER, count, SOON).await;
}

/// Stops `daemon`; a panic unless its account adds up.
async fn stop(daemon: &mut Running) -> Account {
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.in_hand == 0, "{account:?}");
    account
}

/// A webhook that has never time.
fn stuck() -> Webhook {
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(600)));
    hook
}

/// A replica with `count` messages in hand, which `hook` does not take.
async fn full_replica(nats: &NatsServer, hook: &Webhook, count: u64) -> Running {
    let daemon = daemon(nats, hook, "0s").start_ready().await;
    wait_takers(nats, 1).await;
    publisher(nats).await.burst(count).await;
    wait_received(&daemon, count).await;
    daemon
}

#[tokio::test]
async fn a_rolling_restart_with_a_slow_webhook_loses_nothing_and_repeats_nothing() {
    let nats = NatsServer::start().await;
    let hook = Webhook::counting();
    hook.answer(Reply::status(200).after(Duration::from_millis(100)));
    // Three carry 3,000 a second, two carry 2,000 and never catch up.
    let replica = || {
        daemon(&nats, &hook, "1s")
            .env("BROADCASTER__RUNTIME__THREADS", "2")
            .route("webhook.concurrency", "100")
    };
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(replica().start_ready().await);
    }
    wait_takers(&nats, 3).await;
    let mut load = publisher(&nats).await;
    // More than one of them can deliver in a grace.
    load.burst(6_000).await;
    let load = load.steadily(2_000);
    hook.wait_for(|hook| hook.delivered() > 300, SOON).await;
    let mut accounts = Vec::new();
    for _ in 0..3 {
        let mut leaving = replicas.remove(0);
        accounts.push(stop(&mut leaving).await);
        replicas.push(replica().start_ready().await);
        wait_takers(&nats, 3).await;
    }
    let published = load.stop().await.count();
    hook.wait_delivered(usize::try_from(published).unwrap(), SOON).await;
    let handed_over: u64 = accounts.iter().map(|account| account.handed_over).sum();
    for mut replica in replicas {
        accounts.push(stop(&mut replica).await);
    }
    assert!(handed_over > 1_000, "there was little to hand over: {accounts:?}");
    let received: u64 = accounts.iter().map(|account| account.received).sum();
    assert_eq!(received, published + handed_over, "{accounts:?}");
    hook.assert_exactly_once(0..published);
    // Nothing was broken off in the middle either, which the webhook may have taken.
    assert_eq!(hook.received(), hook.delivered(), "{}", hook.summary());
}

#[tokio::test]
async fn ten_thousand_messages_change_hands_within_two_seconds() {
    const COUNT: u64 = 10_000;
    let nats = NatsServer::start().await;
    let (nowhere, hook) = (stuck(), Webhook::counting());
    let mut leaving = full_replica(&nats, &nowhere, COUNT).await;
    let mut staying = daemon(&nats, &hook, "5s").start_ready().await;
    wait_takers(&nats, 2).await;
    let began = Instant::now();
    let account = stop(&mut leaving).await;
    let took = began.elapsed();
    assert_eq!((account.received, account.handed_over), (COUNT, COUNT), "{account:?}");
    assert!(took < Duration::from_secs(2), "the stop took {took:?}");
    hook.wait_delivered(usize::try_from(COUNT).unwrap(), SOON).await;
    assert_eq!(stop(&mut staying).await.received, COUNT);
    hook.assert_exactly_once(0..COUNT);
}

#[tokio::test]
async fn the_last_replica_leaves_dead_letters() {
    let nats = NatsServer::start().await;
    let (nowhere, mut dead) = (stuck(), nats.client().await.subscribe("dead").await.unwrap());
    nats.wait_subscriptions("dead", 1, SOON).await;
    let replica = || daemon(&nats, &nowhere, "0s").route("dead_letter.subject", "dead");
    let (mut first, mut last) = (replica().start_ready().await, replica().start_ready().await);
    wait_takers(&nats, 2).await;
    publisher(&nats).await.burst(2_000).await;
    let first = stop(&mut first).await;
    assert_eq!(first.handed_over, first.received, "{first:?}");
    let last = stop(&mut last).await;
    assert_eq!((last.received, last.dead_lettered), (2_000, 2_000), "{first:?} {last:?}");
    let mut numbers = Vec::new();
    for _ in 0..2_000 {
        let letter = next(&mut dead, SOON).await;
        numbers.push(String::from_utf8_lossy(&letter.payload).parse::<u64>().unwrap());
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..2_000), "each message is one dead letter");
}

#[tokio::test]
async fn alone_a_stop_is_as_quick_as_ever() {
    let nats = NatsServer::start().await;
    let mut daemon = full_replica(&nats, &stuck(), 1_000).await;
    let began = Instant::now();
    let account = stop(&mut daemon).await;
    let took = began.elapsed();
    assert_eq!((account.handed_over, account.dropped), (0, 1_000), "{account:?}");
    assert!(took < Duration::from_secs(2), "the stop took {took:?}");
}

/// Someone listens on all subjects, a stream keeps them: neither takes anything over.
#[tokio::test]
async fn those_who_only_listen_take_nothing_over() {
    let nats = NatsServer::start().await;
    let client = nats.client().await;
    let listener = client.subscribe(HAND_OVER).await.unwrap();
    let stream = r#"{ "name": "everything", "subjects": ["broadcaster.>"], "storage": "memory" }"#;
    let made = client.request("$JS.API.STREAM.CREATE.everything", stream.into()).await.unwrap();
    assert!(!String::from_utf8_lossy(&made.payload).contains("error"), "{:?}", made.payload);
    wait_takers(&nats, 1).await;
    let nowhere = stuck();
    let mut daemon = daemon(&nats, &nowhere, "0s").start_ready().await;
    publisher(&nats).await.burst(1_000).await;
    wait_received(&daemon, 1_000).await;
    let began = Instant::now();
    let account = stop(&mut daemon).await;
    let took = began.elapsed();
    assert_eq!((account.handed_over, account.dropped), (0, 1_000), "{account:?}");
    assert!(took < Duration::from_secs(4), "the stop took {took:?}");
    drop(listener);
}

#[tokio::test]
async fn a_message_keeps_its_identity_and_its_past() {
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([503]);
    let replica = |grace| {
        daemon(&nats, &hook, grace)
            .without_breaker()
            .env("NATS_SUBJECT", "todos.*")
            .route("dead_letter.subject", "dead")
            .route("retry.initial", "3s")
            .route("retry.max", "3s")
            .route("retry.jitter", "none")
    };
    let mut leaving = replica("0s").start_ready().await;
    let client = nats.client().await;
    let mut dead = client.subscribe("dead").await.unwrap();
    nats.wait_subscriptions("dead", 1, SOON).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", "order 17%");
    headers.insert("X-Tenant", "Zoë: 1%");
    headers.insert("Content-Type", "text/plain");
    client.publish_with_headers("todos.created", headers, "0".into()).await.unwrap();
    hook.wait_for(|hook| hook.received() == 1, SOON).await;
    let attempted =
        |metrics: &testkit::metrics::Metrics| metrics.sum("broadcaster_retry_queue_messages", &[]) == 1.0;
    leaving.wait_metrics(attempted, SOON).await;
    let mut staying = replica("0s").start_ready().await;
    wait_takers(&nats, 2).await;
    hook.answer([410]);
    assert_eq!(stop(&mut leaving).await.handed_over, 1);

    hook.wait_for(|hook| hook.received() == 2, SOON).await;
    let requests = hook.requests();
    for name in ["webhook-id", "broadcaster-subject", "content-type"] {
        assert_eq!(requests[0].header(name), requests[1].header(name), "{name}");
    }
    let told = |name| requests[1].header(name).to_owned();
    assert_eq!(told("webhook-id"), "order%2017%25");
    assert_eq!(
        (told("broadcaster-subject"), told("broadcaster-attempt")),
        ("todos.created".into(), "2".into())
    );
    let letter = next(&mut dead, SOON).await.headers.unwrap();
    let value = |name: &str| letter.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
    assert!(value("Nats-Msg-Id").starts_with("default:order%2017%25:"), "{letter:?}");
    assert_eq!(value("X-Tenant"), "Zoë: 1%");
    assert_eq!((value("Broadcaster-Attempts"), value("Broadcaster-Last-Status")), ("2".into(), "410".into()));
    // It was received before the replica that took it over had started.
    let lived = |name: &str| humantime::parse_rfc3339(&value(name)).unwrap();
    assert!(lived("Broadcaster-Died") > lived("Broadcaster-Received"));
    stop(&mut staying).await;
}

/// What was broken off in the middle counts as attempted.
#[tokio::test]
async fn what_is_broken_off_is_handed_over_as_attempted() {
    let nats = NatsServer::start().await;
    let (nowhere, hook) = (stuck(), Webhook::start());
    let mut leaving = daemon(&nats, &nowhere, "0s").route("webhook.concurrency", "4").start_ready().await;
    publisher(&nats).await.burst(10).await;
    nowhere.wait_for(|hook| hook.received() == 4, SOON).await;
    wait_received(&leaving, 10).await;
    let mut staying = daemon(&nats, &hook, "5s").start_ready().await;
    wait_takers(&nats, 2).await;
    assert_eq!(stop(&mut leaving).await.handed_over, 10);
    hook.wait_delivered(10, SOON).await;
    let second = hook.requests().iter().filter(|one| one.header("broadcaster-attempt") == "2").count();
    assert_eq!(second, 4);
    stop(&mut staying).await;
    hook.assert_exactly_once(0..10);
}

#[tokio::test]
async fn a_replica_without_room_takes_only_what_fits() {
    const ROOM: u64 = 100;
    let nats = NatsServer::start().await;
    let nowhere = stuck();
    let mut leaving = full_replica(&nats, &nowhere, 2_000).await;
    let mut staying = daemon(&nats, &nowhere, "0s")
        .route("queue.messages", &ROOM.to_string())
        .route("queue.overflow", "drop_oldest")
        .route("webhook.concurrency", "1")
        .start_ready()
        .await;
    wait_takers(&nats, 2).await;
    let left = stop(&mut leaving).await;
    let taken = stop(&mut staying).await;
    // A hundred in the queue, one on its way to the webhook.
    assert_eq!((left.handed_over, left.dropped), (ROOM + 1, 2_000 - ROOM - 1), "{left:?}");
    assert_eq!((taken.received, taken.dropped), (ROOM + 1, ROOM + 1), "{taken:?}");
}

/// One has no room, the other takes all.
#[tokio::test]
async fn what_one_replica_refuses_another_takes() {
    let nats = NatsServer::start().await;
    let (nowhere, hook) = (stuck(), Webhook::counting());
    let mut leaving = full_replica(&nats, &nowhere, 1_000).await;
    let small =
        || daemon(&nats, &nowhere, "0s").route("queue.messages", "1").route("webhook.concurrency", "1");
    let mut full = small().start_ready().await;
    let mut free = daemon(&nats, &hook, "5s").start_ready().await;
    wait_takers(&nats, 3).await;
    let left = stop(&mut leaving).await;
    assert_eq!(left.handed_over, 1_000, "{left:?}");
    let (full, free) = (stop(&mut full).await, stop(&mut free).await);
    assert_eq!(full.received, 2, "{full:?}");
    assert_eq!(free.received, 998 + full.handed_over, "{full:?} {free:?}");
    hook.assert_exactly_once(0..1_000);
}

#[tokio::test]
async fn routes_of_one_queue_group_keep_their_messages_apart() {
    let nats = NatsServer::start().await;
    let (nowhere, hooks) = (stuck(), [Webhook::start(), Webhook::start()]);
    let routes = |urls: [String; 2], second: &str| {
        Daemon::new()
            .env("NATS_URL", nats.url())
            .env("BROADCASTER__RUNTIME__THREADS", "1")
            .env("BROADCASTER__SHUTDOWN__GRACE", "1s")
            .config(&format!(
                "[routes.a]\nsubject = \"a\"\nwebhook.url = {:?}\n[routes.{second}]\nsubject = \"b\"\nwebhook.url = {:?}",
                urls[0], urls[1]
            ))
    };
    let mut leaving = routes([nowhere.url(), nowhere.url()], "b").start_ready().await;
    let (mut to_a, mut to_b) =
        (Publisher::new(nats.client().await, "a"), Publisher::new(nats.client().await, "b"));
    to_a.burst(100).await;
    to_b.burst(50).await;
    wait_received(&leaving, 150).await;
    // Its second route has another name.
    let mut other = routes([hooks[0].url(), nowhere.url()], "c").start_ready().await;
    let mut same = routes([hooks[0].url(), hooks[1].url()], "b").start_ready().await;
    wait_takers(&nats, 3).await;
    let left = stop(&mut leaving).await;
    assert_eq!(left.handed_over, 150, "{left:?}");
    hooks[0].wait_delivered(100, SOON).await;
    hooks[1].wait_delivered(50, SOON).await;
    stop(&mut other).await;
    stop(&mut same).await;
    hooks[0].assert_exactly_once(0..100);
    hooks[1].assert_exactly_once(0..50);
}

#[tokio::test]
async fn a_message_that_is_too_large_with_its_headers_stays() {
    let nats = NatsServer::builder().config("max_payload: 2000").start().await;
    let (nowhere, hook) = (stuck(), Webhook::start());
    let mut leaving = daemon(&nats, &nowhere, "0s").start_ready().await;
    publisher(&nats).await.burst(3).await;
    let large = nats.client().await;
    large.publish(SUBJECT, vec![b' '; 2000].into()).await.unwrap();
    wait_received(&leaving, 4).await;
    let mut staying = daemon(&nats, &hook, "5s").start_ready().await;
    wait_takers(&nats, 2).await;
    let left = stop(&mut leaving).await;
    assert_eq!((left.handed_over, left.dropped), (3, 1), "{left:?}");
    stop(&mut staying).await;
    hook.assert_exactly_once(0..3);
}

/// A user who may not hand over, and one who may not answer.
#[tokio::test]
async fn without_the_permission_all_else_goes_on() {
    for denied in ["broadcaster.>", "_INBOX.>"] {
        let nats = NatsServer::builder()
            .config(&format!(
                "authorization: {{ users: [{{ user: \"all\", password: \"all\" }},\n\
                 {{ user: \"daemon\", password: \"daemon\", permissions: {{ subscribe: {{ deny: {denied:?} }} }} }}] }}\n\
                 no_auth_user: all"
            ))
            .start()
            .await;
        let hook = Webhook::start();
        let limited = |hook: &Webhook, grace| {
            daemon(&nats, hook, grace)
                .env("BROADCASTER__NATS__USER", "daemon")
                .env("BROADCASTER__NATS__PASSWORD", "daemon")
        };
        let nowhere = stuck();
        let mut leaving = limited(&nowhere, "0s").start_ready().await;
        publisher(&nats).await.burst(10).await;
        wait_received(&leaving, 10).await;
        let mut staying = limited(&hook, "5s").start_ready().await;
        let refused = staying.wait_log("NATS refuses the subscription", SOON).await;
        assert!(refused.contains(denied.trim_end_matches('>')), "{refused}");
        if denied == "_INBOX.>" {
            staying.wait_log("answers would not reach them", SOON).await;
        }
        let left = stop(&mut leaving).await;
        assert_eq!((left.handed_over, left.dropped), (0, 10), "{denied}: {left:?}");
        publisher(&nats).await.burst(10).await;
        hook.wait_delivered(10, SOON).await;
        assert_eq!(stop(&mut staying).await.delivered, 10);
        let said =
            staying.logs_containing("refuses").len() + staying.logs_containing("would not reach").len();
        assert!(said <= 2, "it says so again and again: {said} lines");
    }
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let nats = NatsServer::start().await;
    let (nowhere, hook) = (stuck(), Webhook::start());
    let without =
        |hook: &Webhook, grace| daemon(&nats, hook, grace).env("BROADCASTER__SHUTDOWN__HAND_OVER", "false");
    let mut leaving = without(&nowhere, "0s").start_ready().await;
    publisher(&nats).await.burst(10).await;
    wait_received(&leaving, 10).await;
    let mut other = without(&hook, "5s").start_ready().await;
    assert_eq!((nats.subscriptions(HAND_OVER).await, nats.connections().await), (0, 2), "a lane each");
    let left = stop(&mut leaving).await;
    assert_eq!((left.handed_over, left.dropped), (0, 10), "{left:?}");
    assert_eq!(stop(&mut other).await.received, 0);
}

/// Anybody who may can send anything there. What can't be read is refused or left, and what can be is taken.
#[tokio::test]
async fn no_bytes_in_an_offer_do_any_harm() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let mut staying = daemon(&nats, &hook, "1s").start_ready().await;
    wait_takers(&nats, 1).await;
    let route = b"Broadcaster-Route: default\r\nBroadcaster-Route-Subject: todos.events\r\nBroadcaster-Subject: todos.events\r\n";
    let odd: [&[u8]; 9] = [
        b"X: a\rb\r\n",
        b"no colon\r\n",
        b"a b: c\r\n",
        b"X: \xff\xfe\r\n",
        b": nothing\r\n",
        b"\xff: \x00\r\n",
        b"X: a\nBroadcaster-Id: other\r\n",
        b"Broadcaster-Headers: X:%0D%0A%FF%0A%0D:%00\r\n",
        b" Broadcaster-Id: \r\n",
    ];
    let offer = |head: &[u8], payload: &str, reply: &str| {
        let head = [b"NATS/1.0\r\n", head, b"\r\n"].concat();
        let (length, all) = (head.len(), head.len() + payload.len());
        let line = format!("HPUB {HAND_OVER} {reply} {length} {all}\r\n");
        [line.as_bytes(), &head, payload.as_bytes(), b"\r\n"].concat()
    };
    let client = nats.client().await;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(format!("{inbox}.*")).await.unwrap();
    nats.wait_subscriptions(&format!("{inbox}.*"), 1, SOON).await;
    for (number, odd) in odd.into_iter().enumerate() {
        let id = format!("Broadcaster-Id: {number}\r\n");
        // Without and with what makes it an offer.
        nats.say(&offer(odd, "nothing", &format!("{inbox}.x{number}"))).await;
        nats.say(&offer(
            &[odd, route, id.as_bytes()].concat(),
            &number.to_string(),
            &format!("{inbox}.{number}"),
        ))
        .await;
    }
    // Without any headers, and without anybody to answer to.
    nats.say(format!("PUB {HAND_OVER} 0\r\n\r\nPUB {HAND_OVER} {inbox}.none 1\r\n0\r\n").as_bytes()).await;
    for _ in 0..2 * odd.len() + 1 {
        let answer = next(&mut answers, SOON).await;
        let number = answer.subject.rsplit('.').next().unwrap().parse::<usize>();
        let expected = if number.is_ok() { "taken" } else { "refused" };
        assert_eq!(answer.payload, expected, "{}", answer.subject);
    }
    hook.wait_delivered(odd.len(), SOON).await;
    hook.assert_exactly_once(0..odd.len() as u64);
    let account = stop(&mut staying).await;
    assert_eq!((account.received, account.delivered), (odd.len() as u64, odd.len() as u64));
}

/// Those that stop at the same time hand nothing to each other and back.
#[tokio::test]
async fn replicas_that_stop_together_stop_in_time() {
    let nats = NatsServer::start().await;
    let nowhere = stuck();
    let replica = || daemon(&nats, &nowhere, "500ms").env("BROADCASTER__RUNTIME__THREADS", "2");
    let (mut one, mut two) = (replica().start_ready().await, replica().start_ready().await);
    wait_takers(&nats, 2).await;
    publisher(&nats).await.burst(5_000).await;
    let in_hand = |metrics: &testkit::metrics::Metrics| metrics.sum(RECEIVED, &[]) > 0.0;
    one.wait_metrics(in_hand, SOON).await;
    let began = Instant::now();
    let (one, two) = tokio::join!(stop(&mut one), stop(&mut two));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "the stop took {took:?}");
    assert_eq!(one.dropped + two.dropped, 5_000, "{one:?} {two:?}");
}

#[tokio::test]
async fn a_replica_that_hangs_does_not_hold_up_the_stop_of_another() {
    let nats = NatsServer::start().await;
    let (nowhere, hook) = (stuck(), Webhook::start());
    let mut leaving = full_replica(&nats, &nowhere, 1_000).await;
    let hanging = daemon(&nats, &hook, "0s").start_ready().await;
    wait_takers(&nats, 2).await;
    hanging.signal(Signal::STOP);
    let began = Instant::now();
    let left = stop(&mut leaving).await;
    let took = began.elapsed();
    // Nobody said anything to these: they may be in both places, and are better there than in none.
    assert_eq!((left.handed_over, left.dropped), (0, 1_000), "{left:?}");
    assert_eq!(leaving.events("offered to another replica without an answer").len(), 1);
    assert!(took < Duration::from_secs(4), "the stop took {took:?}");
}

/// One whose answers don't arrive any more takes nothing: the replica that offers it keeps it as well.
#[tokio::test]
async fn a_replica_that_may_not_answer_any_more_takes_nothing() {
    let users = |denied: &str| {
        format!(
            "authorization {{ users: [\
                {{ user: leaving, password: a }}, \
                {{ user: staying, password: a, permissions: {{ publish: {{ deny: [{denied}] }}, subscribe: \">\" }} }} \
            ] }}"
        )
    };
    let mut nats = NatsServer::builder().config(&users("nothing")).start().await;
    let hook = stuck();
    let replica = |user: &str| {
        let url = nats.url().replace("nats://", &format!("nats://{user}:a@"));
        daemon(&nats, &hook, "0s").env("NATS_URL", url)
    };
    let (leaving, staying) = (replica("leaving"), replica("staying"));
    let mut leaving = leaving.start_ready().await;
    wait_takers(&nats, 1).await;
    let login = async_nats::ConnectOptions::with_user_and_password("leaving".to_owned(), "a".to_owned());
    Publisher::new(nats.client_with(login).await, SUBJECT).burst(10).await;
    wait_received(&leaving, 10).await;
    let mut staying = staying.start_ready().await;
    wait_takers(&nats, 2).await;
    nats.reload(&users("\"_INBOX.>\"")).await;
    // For so long it remembers that its answers arrived.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let account = stop(&mut leaving).await;
    assert_eq!((account.handed_over, account.dropped), (0, 10), "{account:?}");
    assert_eq!(stop(&mut staying).await.received, 0, "both have the messages");
}

/// What replicas of other versions send, byte by byte, and what anybody may who may publish there.
#[tokio::test]
async fn what_other_versions_offer_is_taken() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let mut staying = daemon(&nats, &hook, "1s").start_ready().await;
    wait_takers(&nats, 1).await;
    let route = "Broadcaster-Route: default\r\nBroadcaster-Route-Subject: todos.events\r\n";
    for (number, more) in [
        "Broadcaster-Attempts: 0\r\nBroadcaster-Age: 0\r\n",
        "Broadcaster-Attempts: 4294967295\r\nBroadcaster-Age: 18446744073709551615\r\n",
        "Broadcaster-Attempts: 1\r\nBroadcaster-Age: 5\r\nBroadcaster-Last-Failure: of_tomorrow\r\n",
        "broadcaster-of-tomorrow: 1\r\nBroadcaster-Headers: a:%FF%0A%\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let head = format!(
            "NATS/1.0\r\n{route}Broadcaster-Id: {number}\r\nBroadcaster-Subject: todos.events\r\n{more}\r\n"
        );
        let offer = format!(
            "HPUB {HAND_OVER} nobody.{number} {} {}\r\n{head}{number}\r\n",
            head.len(),
            head.len() + 1
        );
        nats.say(offer.as_bytes()).await;
    }
    hook.wait_delivered(4, SOON).await;
    hook.assert_exactly_once(0..4);
    assert_eq!(stop(&mut staying).await.delivered, 4);
}
