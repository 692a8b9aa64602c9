//! What is said where a webhook can't be reached: the cause, in the words of whoever knows, with host and address.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use testkit::{
    daemon::Daemon,
    distance::BlackHole,
    names::NameServer,
    namespace,
    nats::{NatsServer, next},
    raw::{self, Misbehaviour, RawPeer},
    tls::{Authority, TlsIdentity},
    webhook::{Reply, Webhook},
};

use super::SOON;

/// A webhook that can't be reached: its URL, what the failure is called, and what is said of it, in pieces.
type Case<'c> = (&'c str, &'c str, &'c [&'c str]);

/// Posts a message to each, once, and looks into the dead letters.
async fn assert_told(cases: &[Case<'_>], settings: &str) {
    let mut config = String::new();
    for (number, (url, ..)) in cases.iter().enumerate() {
        write!(
            config,
            "[routes.case{number}]\nsubject = \"case.{number}\"\nretry.attempts = 1\nbreaker.enabled = false\n\
             dead_letter.subject = \"letters\"\n\
             webhook = {{ url = \"{url}\", timeout = \"700ms\", connect_timeout = \"300ms\"{settings} }}\n"
        )
        .expect("a string takes more");
    }
    let nats = NatsServer::start().await;
    let mut daemon = Daemon::new().env("NATS_URL", nats.url()).config(&config).start_ready().await;
    let client = nats.client().await;
    let mut letters = client.subscribe("letters").await.expect("the client subscribes");
    for (number, (url, failure, words)) in cases.iter().enumerate() {
        let published = client.publish(format!("case.{number}"), "0".into()).await;
        published.expect("the client takes a message");
        let letter = next(&mut letters, SOON).await;
        let headers = letter.headers.unwrap_or_default();
        let header = |name: &str| headers.get(name).map(ToString::to_string).unwrap_or_default();
        let cause = header("Broadcaster-Last-Cause");
        assert_eq!(header("Broadcaster-Last-Failure"), *failure, "{url}: {cause}");
        for word in *words {
            assert!(cause.contains(word), "{url}: {cause:?} lacks {word:?}");
        }
        assert!(!cause.contains("s3cret") && cause.len() < 310, "{cause}");
    }
    assert!(daemon.stop().await.adds_up());
}

#[test]
fn names_and_addresses_that_lead_nowhere() {
    let test = "reach::causes::names_and_addresses_that_lead_nowhere";
    namespace::run(test, "timeout:1 attempts:1", async {
        let names = NameServer::start();
        names.silence("silent.example");
        names.know("two.example", [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)]);
        namespace::set("ipv6/conf/all/disable_ipv6", "1");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let _hole = BlackHole::at(SocketAddr::new([127, 1, 1, 1].into(), port));
        let hole = format!("http://127.1.1.1:{port}/s3cret");
        assert_told(
            &[
                ("http://nobody.example/s3cret", "dns", &["nobody.example: no such name"]),
                (
                    "http://silent.example/s3cret?s3cret",
                    "dns",
                    &["silent.example: no answer", "within 300ms"],
                ),
                ("http://127.0.0.1:1/s3cret", "connect", &["connection refused (127.0.0.1:1)"]),
                (
                    "http://two.example:1/s3cret",
                    "connect",
                    &["two.example", "refused (127.0.0.2:1)", "refused (127.0.0.3:1)"],
                ),
                ("http://192.0.2.1/s3cret", "connect", &["network unreachable (192.0.2.1:80)"]),
                ("http://[::1]:81/s3cret", "connect", &["no address of this machine leads there ([::1]:81)"]),
                (&hole, "connect", &["no answer within 300ms (127.1.1.1:"]),
            ],
            "",
        )
        .await;
    });
}

#[tokio::test]
async fn tls_that_fails() {
    const HERE: &[&str] = &["127.0.0.1"];
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ca = authority.write_to(directory.path());
    let expired = Webhook::start_tls(&authority.issue_expired(HERE));
    let elsewhere = Webhook::start_tls(&authority.issue(&["elsewhere.example"]));
    let unknown = Webhook::start_tls(&Authority::new().issue(HERE));
    let demanding = Webhook::start_tls_as(authority.demanding(&authority.issue(HERE)));
    let self_signed = Webhook::start_tls(&TlsIdentity::self_signed(HERE, false));
    let claims_more = Webhook::start_tls(&TlsIdentity::self_signed(HERE, true));
    let plain = RawPeer::start([Misbehaviour::SayAndClose(raw::GARBAGE)]);
    let plain = plain.url().replace("http:", "https:");
    let mute = RawPeer::start([Misbehaviour::NeverAnswer]);
    let mute = mute.url().replace("http:", "https:");
    assert_told(
        &[
            (&expired.url(), "tls", &["TLS with 127.0.0.1: certificate expired", "2021-01-01T00:00:00Z"]),
            (&elsewhere.url(), "tls", &["not valid for name", "elsewhere.example"]),
            (&unknown.url(), "tls", &["unknown authority", "BadSignature"]),
            (&self_signed.url(), "tls", &["unknown authority", "UnknownIssuer", "ca_file"]),
            (&claims_more.url(), "tls", &["CaUsedAsEndEntity", "ca_file"]),
            (&demanding.url(), "tls", &["CertificateRequired"]),
            (&plain, "tls", &["TLS with 127.0.0.1"]),
            (&mute, "tls", &["no answer within 300ms"]),
        ],
        &format!(", tls = {{ ca_file = {ca:?} }}"),
    )
    .await;
}

/// A peer that says this before it is asked anything, on its first connection; gives its URL.
fn speaks_first(words: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the system has a free port");
    let url = format!("http://{}/", listener.local_addr().expect("a listener has an address"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        stream.write_all(words).expect("it reads");
        // Until it goes.
        stream.read_to_end(&mut Vec::new()).ok();
    });
    url
}

#[tokio::test]
async fn webhooks_that_break_off() {
    // An empty frame of settings.
    let http_2 = speaks_first(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let mail = speaks_first(b"220 mail.example ESMTP\r\n");
    let slow = Webhook::start();
    slow.answer(Reply::status(200).after(SOON));
    let reset = RawPeer::start([Misbehaviour::Reset]);
    let half = RawPeer::start([Misbehaviour::SayAndClose(b"HTTP/1.1 2")]);
    assert_told(
        &[
            (&slow.url(), "timeout", &["no answer within 700ms"]),
            (&reset.url(), "reset", &["before"]),
            (&half.url(), "reset", &["closed"]),
            (&http_2, "protocol", &["HTTP/2 only"]),
            (&mail, "protocol", &["does not begin as HTTP"]),
        ],
        "",
    )
    .await;
}
