//! Name servers that are silent, and names that go.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use testkit::{
    daemon::{self, Daemon},
    names::NameServer,
    namespace,
    nats::NatsServer,
    stage::Stage,
    webhook::Webhook,
};

use super::SOON;

#[test]
fn what_is_known_serves_while_the_name_server_is_silent_or_has_forgotten() {
    let test = "reach::names::what_is_known_serves_while_the_name_server_is_silent_or_has_forgotten";
    namespace::run(test, "timeout:5\nsearch example", async {
        let names = NameServer::start();
        names.know("hook.example", [Ipv4Addr::LOCALHOST]);
        let hook = Webhook::start();
        // By the search list.
        let url = hook.url().replace("127.0.0.1", "hook");
        let mut stage = Stage::set(&url, |daemon| {
            daemon.impatient().without_breaker().route("retry.attempts", "1000000")
        })
        .await;
        stage.publish("0").await;
        hook.wait_delivered(1, SOON).await;
        for (number, go) in [NameServer::forget, NameServer::silence].into_iter().enumerate() {
            go(&names, "hook.example");
            let asked = names.asked("hook.example");
            // The webhook is gone from where it was known to be: so the name is asked for again.
            hook.down().await;
            stage.publish((number + 1).to_string()).await;
            names.wait_asked("hook.example", asked, SOON).await;
            hook.up().await;
            let up = Instant::now();
            hook.wait_delivered(number + 2, SOON).await;
            assert!(up.elapsed() < Duration::from_secs(3), "it took {:?}", up.elapsed());
        }
        let codes = stage.codes().await;
        assert!(codes.keys().eq(["200", "connect"].iter()), "{codes:?}");
        stage.close().await;
    });
}

#[test]
fn silent_names_hold_up_neither_another_route_nor_a_stop() {
    let test = "reach::names::silent_names_hold_up_neither_another_route_nor_a_stop";
    namespace::run(test, "timeout:10 attempts:2", async {
        const SILENT: usize = 60;
        let names = NameServer::start();
        names.know("hook.example", [Ipv4Addr::LOCALHOST]);
        let hook = Webhook::start();
        let url = hook.url().replace("127.0.0.1", "hook.example");
        let mut config = format!("[routes.good]\nsubject = \"good\"\nwebhook.url = \"{url}\"\n");
        for number in 0..SILENT {
            names.silence(&format!("silent{number}.example"));
            write!(
                config,
                "[routes.silent{number}]\nsubject = \"silent.{number}\"\n\
                 webhook.url = \"http://silent{number}.example/\"\n"
            )
            .unwrap();
        }
        let nats = NatsServer::start().await;
        let daemon = Daemon::new().env("NATS_URL", nats.url()).config(&config);
        let mut daemon = daemon
            .env("BROADCASTER__RUNTIME__THREADS", "2")
            .env("BROADCASTER__SHUTDOWN__GRACE", "1s")
            .start_ready()
            .await;
        let client = nats.client().await;
        for number in 0..SILENT {
            client.publish(format!("silent.{number}"), "0".into()).await.unwrap();
        }
        client.flush().await.unwrap();
        for number in 0..SILENT {
            names.wait_asked(&format!("silent{number}.example"), 0, SOON).await;
        }
        let begin = Instant::now();
        for number in 0..8 {
            client.publish("good", number.to_string().into()).await.unwrap();
        }
        hook.wait_delivered(8, SOON).await;
        assert!(begin.elapsed() < Duration::from_secs(2), "they waited for {:?}", begin.elapsed());
        let begin = Instant::now();
        daemon.term();
        let status = daemon.wait(SOON * 3).await;
        assert!(status.success(), "{status}");
        assert!(begin.elapsed() < Duration::from_secs(5), "a grace of 1 s took {:?}", begin.elapsed());
        assert!(daemon.account().adds_up(), "{:?}", daemon.account());
    });
}

#[test]
fn a_probe_of_a_name_that_nobody_knows_ends_in_time() {
    let test = "reach::names::a_probe_of_a_name_that_nobody_knows_ends_in_time";
    namespace::run(test, "timeout:10 attempts:2", async {
        let names = NameServer::start();
        names.silence("silent.example");
        let begin = Instant::now();
        let output = daemon::run(&["health", "--url", "http://silent.example:8002"], &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let took = begin.elapsed();
        assert!(names.asked("silent.example") > 0 && took < Duration::from_secs(7), "it took {took:?}");
    });
}
