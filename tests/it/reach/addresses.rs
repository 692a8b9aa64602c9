//! Names with several addresses, some of which are far away or answer nobody.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use testkit::{
    daemon::Daemon,
    distance::{BlackHole, FarWebhook},
    names::NameServer,
    namespace,
    stage::Stage,
    webhook::{Reply, Webhook},
};

const NAME: &str = "hook.example";

#[test]
fn a_name_with_sixteen_far_addresses_is_reached_at_the_first_attempt() {
    let test = "reach::addresses::a_name_with_sixteen_far_addresses_is_reached_at_the_first_attempt";
    namespace::run(test, "timeout:1", async {
        let addresses: Vec<_> = (1..=16).map(|byte| Ipv4Addr::new(127, 1, 1, byte)).collect();
        let names = NameServer::start();
        names.know(NAME, addresses.iter().copied());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let far: Vec<_> = addresses
            .iter()
            .map(|address| FarWebhook::at(SocketAddr::new((*address).into(), port)))
            .collect();
        let mut stage = Stage::set(&format!("http://{NAME}:{port}/hook"), Daemon::impatient).await;
        stage.publish("0").await;
        stage.wait_processed(1).await;
        stage.assert_codes([("200", 1)]).await;
        assert_eq!(far.iter().map(FarWebhook::served).sum::<usize>(), 1);
        stage.close().await;
    });
}

#[test]
fn an_address_that_answers_nobody_costs_a_moment_and_that_seldom() {
    let test = "reach::addresses::an_address_that_answers_nobody_costs_a_moment_and_that_seldom";
    namespace::run(test, "timeout:1", async {
        const MESSAGES: u32 = 20;
        let hook = Webhook::start();
        hook.answer(Reply::status(200).header("connection", "close"));
        let port = hook.address().port();
        let _hole = BlackHole::at(SocketAddr::new([127, 1, 1, 1].into(), port));
        let names = NameServer::start();
        names.know(NAME, [Ipv4Addr::new(127, 1, 1, 1), Ipv4Addr::LOCALHOST]);
        // Each message needs a connection of its own, and both lanes have to know.
        let mut stage = Stage::set(&format!("http://{NAME}:{port}/hook"), |daemon| {
            daemon.impatient().env("BROADCASTER__RUNTIME__THREADS", "2")
        })
        .await;
        let begin = Instant::now();
        let mut slowest = Duration::ZERO;
        for number in 0..MESSAGES {
            let published = Instant::now();
            stage.publish(number.to_string()).await;
            stage.wait_processed(number + 1).await;
            slowest = slowest.max(published.elapsed());
        }
        let took = begin.elapsed();
        stage.assert_codes([("200", MESSAGES.into())]).await;
        assert_eq!(hook.connections(), MESSAGES as usize);
        assert!(slowest < Duration::from_secs(1), "a message took {slowest:?}");
        assert!(took < Duration::from_secs(3), "all of them took {took:?}");
        stage.close().await;
    });
}

#[test]
fn an_address_that_takes_connections_and_speaks_no_tls_is_tried_last() {
    use testkit::tls::Authority;
    let test = "reach::addresses::an_address_that_takes_connections_and_speaks_no_tls_is_tried_last";
    namespace::run(test, "timeout:1", async {
        let authority = Authority::new();
        let directory = tempfile::tempdir().unwrap();
        let ca = authority.write_to(directory.path());
        let hook = Webhook::start_tls(&authority.issue(&[NAME]));
        hook.answer(Reply::status(200).header("connection", "close"));
        let port = hook.address().port();
        // Takes connections and says nothing.
        let mute = TcpListener::bind((Ipv4Addr::new(127, 1, 1, 1), port)).unwrap();
        let names = NameServer::start();
        names.know(NAME, [Ipv4Addr::new(127, 1, 1, 1), Ipv4Addr::LOCALHOST]);
        let mut stage = Stage::set(&format!("https://{NAME}:{port}/hook"), |daemon| {
            daemon
                .impatient()
                .route("webhook.tls.ca_file", ca.to_str().unwrap())
                .route("webhook.connect_timeout", "500ms")
        })
        .await;
        for number in 0..8_u32 {
            stage.publish(number.to_string()).await;
            stage.wait_processed(number + 1).await;
        }
        let codes = stage.codes().await;
        assert!(codes["200"] == 8 && codes.get("tls").is_none_or(|failed| *failed <= 1), "{codes:?}");
        drop(mute);
        stage.close().await;
    });
}
