//! Servers of NATS that are reached in another way than usual, or not at all: TLS first, addresses that do not answer,
//! users with an own prefix for inboxes, and what speaks no NATS.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use testkit::daemon::Daemon;
use testkit::distance::BlackHole;
use testkit::names::NameServer;
use testkit::namespace;
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::tls::Authority;
use testkit::webhook::Webhook;

use super::nats_rotation::wait_health;

const SOON: Duration = Duration::from_secs(60);
const SUBJECT: &str = "todos.events";
const THREADS: &str = "BROADCASTER__RUNTIME__THREADS";

/// Publishes to `nats`, and waits until all of it is delivered.
async fn assert_delivers(nats: &NatsServer, options: ConnectOptions, hook: &Webhook) {
    let before = hook.delivered();
    Publisher::new(nats.client_with(options).await, SUBJECT).burst(10).await;
    hook.wait_for(|hook| hook.delivered() == before + 10, SOON).await;
}

#[tokio::test]
async fn a_server_that_expects_tls_first() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (certificate, key) = authority.issue_loopback().write_to(directory.path(), "nats");
    let ca = authority.write_to(directory.path());
    let config = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, handshake_first: true }}");
    let nats = NatsServer::builder().config(&config).start().await;
    let hook = Webhook::start();
    let daemon = || Daemon::between(&nats, &hook.url()).env("BROADCASTER__NATS__TLS__CA_FILE", &ca);
    // Without the setting it is told which one is missing.
    let mut lost = daemon().start().await;
    wait_health(&lost, "nats.tls.handshake_first").await;
    lost.kill();
    let first = daemon().env("BROADCASTER__NATS__TLS__HANDSHAKE_FIRST", "true").start_ready().await;
    let options = ConnectOptions::new().add_root_certificates(ca.clone()).tls_first();
    assert_delivers(&nats, options, &hook).await;
    drop(first);
}

#[tokio::test]
async fn a_certificate_that_nobody_has_signed_but_itself() {
    let directory = tempfile::tempdir().unwrap();
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let [certificate, key] = ["nats.pem", "nats.key"].map(|name| directory.path().join(name));
    std::fs::write(&certificate, signed.cert.pem()).unwrap();
    std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    let config = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}");
    let nats = NatsServer::builder().config(&config).start().await;
    let hook = Webhook::start();
    let daemon = Daemon::between(&nats, &hook.url()).env("BROADCASTER__NATS__TLS__CA_FILE", &certificate);
    let _daemon = daemon.start_ready().await;
    nats.wait_subscriptions(SUBJECT, 2, SOON).await;
}

/// A server that tells its clients of another one of its cluster, which claims to be at this address; and that one.
async fn telling_of(address: SocketAddr) -> [NatsServer; 2] {
    let config = |name: &str, routes: &str| {
        format!("server_name: {name}\ncluster {{ name: test, listen: \"127.0.0.1:-1\", routes: [{routes}] }}")
    };
    let teller = NatsServer::builder().core_only().config(&config("teller", "")).start().await;
    let other = config("other", &format!("{:?}", teller.cluster_url()));
    let other = NatsServer::builder().core_only().config(&other);
    let other = other.config(&format!("client_advertise: \"{address}\"")).start().await;
    wait_told(&teller, address).await;
    [teller, other]
}

/// Waits until `nats` knows of a server at this address.
async fn wait_told(nats: &NatsServer, address: SocketAddr) {
    let end = Instant::now() + SOON;
    while !nats.monitor("/varz").await["connect_urls"].to_string().contains(&address.to_string()) {
        assert!(Instant::now() < end, "{address} is not among the servers: {}", nats.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn addresses_that_do_not_answer_hold_nobody_up() {
    let dead = SocketAddr::new(Ipv4Addr::new(127, 9, 9, 1).into(), 4222);
    let _hole = BlackHole::at(dead);
    let [mut nats, _claiming] = telling_of(dead).await;
    let hook = Webhook::start();
    // One more that is configured and does not answer.
    let other = SocketAddr::new(Ipv4Addr::new(127, 9, 9, 2).into(), 4222);
    let _other = BlackHole::at(other);
    let url = format!("nats://{other},{}", nats.url());
    let began = Instant::now();
    let daemon = Daemon::new()
        .env("NATS_URL", url)
        .env("WEBHOOK_URL", hook.url())
        .env(THREADS, "1")
        .start_ready()
        .await;
    assert!(began.elapsed() < Duration::from_secs(4), "ready after {:?}", began.elapsed());
    for _ in 0..2 {
        nats.kill();
        daemon.wait_log("connection to NATS lost", SOON).await;
        nats.restart().await;
        let began = Instant::now();
        nats.wait_subscriptions(SUBJECT, 1, SOON).await;
        // Two that do not answer, and a backoff of two seconds at most.
        assert!(began.elapsed() < Duration::from_secs(4), "subscribed after {:?}", began.elapsed());
    }
    daemon.ready(SOON).await;
    assert_delivers(&nats, ConnectOptions::new(), &hook).await;
}

#[test]
fn names_lead_on_while_addresses_or_name_servers_are_silent() {
    let test = "nats_reach::names_lead_on_while_addresses_or_name_servers_are_silent";
    namespace::run(test, "timeout:1", async {
        let mut nats = NatsServer::builder().core_only().start().await;
        let (port, silent) = (nats.port(), Ipv4Addr::new(127, 1, 1, 1));
        let _hole = BlackHole::at(SocketAddr::new(silent.into(), port));
        let names = NameServer::start();
        names.know("nats.example", [silent, Ipv4Addr::LOCALHOST]);
        names.silence("silent.example");
        let hook = Webhook::start();
        let began = Instant::now();
        let daemon = Daemon::new()
            .env("NATS_URL", format!("nats://silent.example:{port},nats://nats.example:{port}"))
            .env("WEBHOOK_URL", hook.url())
            .env(THREADS, "1")
            .start_ready()
            .await;
        assert!(began.elapsed() < Duration::from_secs(4), "ready after {:?}", began.elapsed());
        names.silence("nats.example");
        nats.kill();
        daemon.wait_log("connection to NATS lost", SOON).await;
        wait_health(&daemon, "connection refused (127.0.0.1), no answer within 5s (127.1.1.1)").await;
        nats.restart().await;
        daemon.ready(SOON).await;
        assert_delivers(&nats, ConnectOptions::new(), &hook).await;
    });
}

#[tokio::test]
async fn servers_that_others_tell_of_can_be_ignored() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let told = listener.local_addr().unwrap();
    let [mut nats, _claiming] = telling_of(told).await;
    let hook = Webhook::start();
    let daemon = |ignore: &str| {
        Daemon::between(&nats, &hook.url())
            .env(THREADS, "1")
            .env("BROADCASTER__NATS__IGNORE_DISCOVERED_SERVERS", ignore)
            // One connection, so that whoever comes below is the lane.
            .env("BROADCASTER__SHUTDOWN__HAND_OVER", "false")
    };
    let (ignoring, following) = (daemon("true").start_ready().await, daemon("false").start_ready().await);
    nats.kill();
    // Whoever follows comes here while the server is away; who that is, it says itself.
    let (mut stream, _) = tokio::time::timeout(SOON, listener.accept()).await.unwrap().unwrap();
    stream.write_all(b"-ERR 'not here'\r\n").await.unwrap();
    wait_health(&following, &format!("{told}: not here")).await;
    wait_health(&ignoring, "connection refused").await;
    let (_, body) = ignoring.health().await;
    assert!(!body.contains(&told.to_string()), "{body}");
    nats.restart().await;
    ignoring.ready(SOON).await;
}

#[tokio::test]
async fn a_user_without_the_usual_inboxes() {
    let config = "authorization { users: [
        { user: daemon, password: daemon, permissions: {
            subscribe: [ \"todos.>\", \"inboxes.daemon.>\", \"broadcaster.handover.>\" ]
            publish: [ \"inboxes.daemon.>\", \"broadcaster.handover.>\", \"todos.>\" ]
        } }
        { user: test, password: test }
    ] }";
    let nats = NatsServer::builder().config(config).start().await;
    let hook = Webhook::start();
    let mut daemon = Daemon::between(&nats, &hook.url())
        .env("BROADCASTER__NATS__USER", "daemon")
        .env("BROADCASTER__NATS__PASSWORD", "daemon")
        .env("BROADCASTER__NATS__INBOX_PREFIX", "inboxes.daemon")
        .start_ready()
        .await;
    let options = ConnectOptions::with_user_and_password("test".to_owned(), "test".to_owned());
    assert_delivers(&nats, options, &hook).await;
    assert_eq!(daemon.stop().await.delivered, 10);
    let refused = daemon.logs_containing("NATS refuses");
    assert!(refused.is_empty() && !nats.log().contains("Violation"), "{refused:?} {}", nats.log());
}

/// What a peer does when it has said what it says.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    HangUp,
    Listen,
    SayItAgain,
}

/// A peer that is no server of NATS, or a bad one.
async fn peer(words: &'static [u8], then: Then) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // The other end goes when it has heard enough.
                while stream.write_all(words).await.is_ok() && then == Then::SayItAgain {}
                if then == Then::Listen {
                    drop(stream.read_to_end(&mut Vec::new()).await);
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn what_is_no_good_server_is_named_and_does_no_harm() {
    let peers = [
        (&b""[..], Then::Listen, "no INFO within 5s"),
        (b"INFO {\"server_name\":\"", Then::SayItAgain, "a line does not end within a megabyte"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", Then::Listen, "SSH-2.0-OpenSSH_9.9"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Then::HangUp, "HTTP/1.1 400 Bad Request"),
        (b"-ERR 'maximum connections exceeded'\r\n", Then::HangUp, "maximum connections exceeded"),
        (b"INFO {}\r\n", Then::Listen, "no answer to the login within 5s"),
        (b"INFO {}\r\n", Then::HangUp, "the connection"),
    ];
    let mut urls = Vec::new();
    let mut causes = Vec::new();
    for (words, then, cause) in peers {
        let address = peer(words, then).await;
        urls.push(format!("nats://{address}"));
        causes.push((address, cause));
    }
    let mut nats = NatsServer::start().await;
    nats.kill();
    urls.push(nats.url());
    let hook = Webhook::start();
    let daemon = Daemon::new().env("NATS_URL", urls.join(",")).env("WEBHOOK_URL", hook.url());
    let mut daemon = daemon.env(THREADS, "1").start().await;
    wait_health(&daemon, "no INFO within 5s").await;
    let (_, body) = daemon.health().await;
    for (address, cause) in causes {
        let told = body.split(&format!("{address}: ")).nth(1).unwrap_or_else(|| panic!("{address}: {body}"));
        let told = told.split(", 127.0.0.1:").next().unwrap();
        assert!(told.contains(cause), "{cause:?} is not in {told:?} of {body}");
    }
    assert_eq!(daemon.get("/healthz").await.status, 200);
    assert_eq!(
        daemon.events("NATS connection in trouble").iter().filter(|it| it["link"] == "lane 0").count(),
        1
    );
    assert!(daemon.own_memory() < 64 * 1024 * 1024, "{} bytes", daemon.own_memory());
    nats.restart().await;
    daemon.ready(SOON).await;
    assert_delivers(&nats, ConnectOptions::new(), &hook).await;
    assert_eq!(daemon.stop().await.delivered, 10);
}
