//! What `deny_private` keeps from being connected to, whatever a name says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use testkit::{daemon::Daemon, distance::FarWebhook, names::NameServer, namespace, stage::Stage};

/// Whoever is connected to.
fn trap(address: impl Into<IpAddr>, port: u16) -> TcpListener {
    let listener =
        TcpListener::bind(SocketAddr::new(address.into(), port)).expect("the port is free in here");
    listener.set_nonblocking(true).expect("a listener can be made non-blocking");
    listener
}

fn guarded(daemon: Daemon) -> Daemon {
    daemon.route("webhook.egress.deny_private", "true").without_breaker().route("retry.attempts", "1")
}

#[test]
fn no_name_leads_to_what_is_private() {
    let test = "egress::guard::no_name_leads_to_what_is_private";
    namespace::run(test, "timeout:1", async {
        let names = NameServer::start();
        let traps = [trap(Ipv4Addr::LOCALHOST, 80), trap(Ipv6Addr::LOCALHOST, 80)];
        let addresses: [&[&str]; 5] = [
            &["127.0.0.1"],
            &["::1"],
            &["::ffff:127.0.0.1"],
            &["169.254.169.254", "10.0.0.1", "fd00:ec2::254"],
            &["64:ff9b::7f00:1", "2002:7f00:1::"],
        ];
        for addresses in addresses {
            let addresses = addresses.iter().map(|address| address.parse::<IpAddr>().unwrap());
            names.know("hook.example", addresses.clone());
            let mut stage = Stage::set("http://hook.example/", |daemon| {
                guarded(daemon).route("dead_letter.subject", "letters")
            })
            .await;
            let mut letters = stage.client.subscribe("letters").await.unwrap();
            stage.client.flush().await.unwrap();
            stage.publish("0").await;
            let letter = testkit::nats::next(&mut letters, super::SOON).await;
            let headers = letter.headers.unwrap_or_default();
            let cause = headers.get("Broadcaster-Last-Cause").map(ToString::to_string).unwrap_or_default();
            for words in
                ["not connecting to hook.example: ", "webhook.egress.deny_private", "webhook.egress.allow"]
            {
                assert!(cause.contains(words), "{cause}");
            }
            stage.wait_processed(1).await;
            stage.assert_codes([("connect", 1)]).await;
            stage.close().await;
        }
        for trap in traps {
            assert!(trap.accept().is_err(), "{trap:?} was connected to");
        }
    });
}

#[test]
fn of_mixed_addresses_only_those_are_used_that_may_be() {
    let test = "egress::guard::of_mixed_addresses_only_those_are_used_that_may_be";
    namespace::run(test, "timeout:1", async {
        let names = NameServer::start();
        names.know(
            "hook.example",
            [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 1, 1, 1), Ipv4Addr::new(127, 0, 0, 3)],
        );
        let forbidden = [trap(Ipv4Addr::LOCALHOST, 80), trap(Ipv4Addr::new(127, 0, 0, 3), 80)];
        // It answers late, so that others would be raced against it.
        let allowed = FarWebhook::at(([127, 1, 1, 1], 80).into());
        let mut stage = Stage::set("http://hook.example/", |daemon| {
            guarded(daemon)
                .route("webhook.egress.allow", "127.1.0.0/16")
                .route("webhook.max_connection_age", "1ms")
        })
        .await;
        for number in 0..10_u32 {
            stage.publish(number.to_string()).await;
            stage.wait_processed(number + 1).await;
        }
        stage.assert_codes([("200", 10)]).await;
        assert_eq!(allowed.served(), 10);
        for trap in forbidden {
            assert!(trap.accept().is_err(), "{trap:?} was connected to");
        }
        stage.close().await;
    });
}

#[test]
fn what_is_forbidden_waits_until_the_name_leads_elsewhere() {
    let test = "egress::guard::what_is_forbidden_waits_until_the_name_leads_elsewhere";
    namespace::run(test, "timeout:1", async {
        let names = NameServer::start();
        names.know("hook.example", [Ipv4Addr::LOCALHOST]);
        let hook = FarWebhook::at(([127, 1, 1, 1], 80).into());
        let mut stage = Stage::set("http://hook.example/", |daemon| {
            daemon
                .impatient()
                .route("webhook.egress.deny_private", "true")
                .route("webhook.egress.allow", "127.1.0.0/16")
                .route("retry.attempts", "1")
                .route("breaker.open_for", "100ms")
        })
        .await;
        stage.publish("0").await;
        stage.publish("1").await;
        let line = stage.daemon.wait_log("breaker open: the webhook is left alone", super::SOON).await;
        assert!(line.contains("127.0.0.1 is loopback"), "{line}");
        names.know("hook.example", [Ipv4Addr::new(127, 1, 1, 1)]);
        stage.wait_processed(2).await;
        assert_eq!(hook.served(), 2);
        stage.close().await;
    });
}
