//! Too few descriptors, and too few ports: our own shortage is not the webhook's failure.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use testkit::{
    daemon::Daemon,
    http, namespace,
    nats::NatsServer,
    publisher::Publisher,
    stage::Stage,
    webhook::{Reply, Webhook},
};

use super::SOON;

const MESSAGES: u64 = 300;

/// A daemon that is short of something, before a slow webhook that takes many connections.
async fn set_up(daemon: Daemon, hook: &Webhook) -> Stage {
    hook.answer(Reply::status(200).after(Duration::from_millis(50)));
    let nats = NatsServer::start().await;
    let daemon = daemon
        .env("NATS_URL", nats.url())
        .env("WEBHOOK_URL", hook.url())
        .impatient()
        .without_breaker()
        .route("retry.attempts", "1000000")
        .start_ready()
        .await;
    Stage { client: nats.client().await, nats, daemon }
}

async fn assert_local_and_delivered(mut stage: Stage, hook: &Webhook) {
    hook.assert_exactly_once(0..MESSAGES);
    let codes = stage.codes().await;
    assert!(codes.keys().eq(["200", "local"].iter()), "{codes:?}");
    stage.close().await;
}

#[tokio::test]
async fn too_few_descriptors_are_our_trouble_and_leave_some_for_probes() {
    let hook = Webhook::start();
    let stage = set_up(Daemon::with_descriptors(64, 64), &hook).await;
    let api = stage.daemon.api();
    Publisher::new(stage.client.clone(), "todos.events").burst(MESSAGES).await;
    let end = Instant::now() + SOON;
    while (hook.distinct() as u64) < MESSAGES {
        assert!(Instant::now() < end, "{}", hook.summary());
        let asked = Instant::now();
        let answer = http::get(api, "/healthz").await.expect("the daemon answers");
        assert_eq!(answer.status.as_u16(), 200);
        assert!(asked.elapsed() < Duration::from_secs(1), "it answered after {:?}", asked.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_local_and_delivered(stage, &hook).await;
}

#[test]
fn too_few_ports_are_our_trouble() {
    let test = "reach::descriptors::too_few_ports_are_our_trouble";
    namespace::run(test, "timeout:1", async {
        let hook = Webhook::start();
        let stage = set_up(Daemon::new(), &hook).await;
        namespace::set("ipv4/ip_local_port_range", "50000 50019");
        Publisher::new(stage.client.clone(), "todos.events").burst(MESSAGES).await;
        hook.wait_for(|hook| hook.distinct() as u64 == MESSAGES, SOON).await;
        assert_local_and_delivered(stage, &hook).await;
    });
}

#[tokio::test]
async fn the_limit_is_raised_to_what_is_allowed_and_warned_of_where_that_is_too_low() {
    const TOO_LOW: &str = "the limit of open files may be too low";
    for (hard, concurrency, lines) in [(4096, "64", 0), (256, "64", 0), (256, "300", 1), (128, "128", 1)] {
        let daemon = Daemon::with_descriptors(64, hard)
            .env("WEBHOOK_URL", "http://127.0.0.1:1/")
            .route("webhook.concurrency", concurrency)
            .start()
            .await;
        assert_eq!(daemon.descriptors(), (u64::from(hard), u64::from(hard)));
        if lines > 0 {
            daemon.wait_log(TOO_LOW, SOON).await;
        }
        let said = daemon.logs_containing(TOO_LOW);
        assert_eq!(said.len(), lines, "{hard} {concurrency}: {said:?}");
        assert!(said.iter().all(|line| line.contains(&hard.to_string())), "{said:?}");
    }
}

#[tokio::test]
async fn idle_connections_of_one_route_leave_room_for_another() {
    let hook = Webhook::start();
    let mut config = String::new();
    for route in ["one", "other"] {
        write!(
            config,
            "[routes.{route}]\nsubject = \"{route}\"\nwebhook.url = \"{}\"\nbreaker.enabled = false\n\
             retry = {{ attempts = 1000000, initial = \"5ms\", max = \"50ms\" }}\n",
            hook.url()
        )
        .unwrap();
    }
    let nats = NatsServer::start().await;
    let daemon = Daemon::with_descriptors(64, 64).env("NATS_URL", nats.url()).config(&config);
    let mut daemon = daemon.env("BROADCASTER__RUNTIME__THREADS", "1").start_ready().await;
    let client = nats.client().await;
    hook.answer(Reply::status(200).after(Duration::from_millis(100)));
    Publisher::new(client.clone(), "one").burst(200).await;
    // As many connections as there may be are idle now, and would be for 50 s.
    hook.wait_delivered(200, SOON).await;
    let begin = Instant::now();
    client.publish("other", "200".into()).await.unwrap();
    hook.wait_delivered(201, 2 * SOON).await;
    assert!(begin.elapsed() < Duration::from_secs(10), "it waited for {:?}", begin.elapsed());
    assert!(daemon.stop().await.adds_up());
}
