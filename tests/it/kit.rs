//! The kit is itself tested: a receiver that counts wrongly would prove anything.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

mod streams;

use testkit::metrics::Metrics;
use testkit::nats::{NatsServer, next};
use testkit::raw::{self, Misbehaviour, RawPeer};
use testkit::tls::Authority;
use testkit::webhook::{Behaviour, Reply, Webhook};

const SOON: Duration = Duration::from_secs(10);

/// A client with one connection, which says honestly when that is broken.
struct Client(SendRequest<Full<Bytes>>);

impl Client {
    async fn connect(address: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a peer accepts");
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("a handshake sends nothing");
        tokio::spawn(connection);
        Self(sender)
    }

    async fn post(&mut self, body: &str) -> hyper::Result<StatusCode> {
        let request = Request::post("/hook")
            .header("host", "test")
            .header("webhook-id", format!("id-{body}"))
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .expect("the request is good");
        self.0.ready().await?;
        let response = self.0.send_request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        Ok(status)
    }
}

async fn post_each(hook: &Webhook, bodies: &[&str]) {
    let mut client = Client::connect(hook.address()).await;
    for body in bodies {
        client.post(body).await.expect("the webhook answers");
    }
}

#[tokio::test]
async fn the_webhook_records_what_came() {
    let hook = Webhook::start();
    post_each(&hook, &["7", r#"{"pad":"x","n": 8}"#]).await;
    let requests = hook.requests();
    assert_eq!((hook.received(), hook.delivered()), (2, 2));
    assert_eq!(requests[0].text(), "7");
    assert_eq!(requests.iter().map(|request| request.number()).collect::<Vec<_>>(), [Some(7), Some(8)]);
    assert_eq!((requests[0].path.as_str(), requests[0].method.as_str()), ("/hook", "POST"));
    assert_eq!((requests[0].status, requests[0].connection, requests[1].connection), (Some(200), 1, 1));
    assert_eq!(hook.ids()[0], "id-7");
}

#[tokio::test]
async fn only_what_was_answered_2xx_counts_as_delivered() {
    let hook = Webhook::answering([503, 404, 200]);
    post_each(&hook, &["0", "1", "0", "1"]).await;
    assert_eq!((hook.received(), hook.delivered(), hook.distinct()), (4, 2, 2));
    hook.assert_exactly_once(0..2);
}

#[tokio::test]
async fn duplicates_and_missing_messages_are_named() {
    let hook = Webhook::counting();
    post_each(&hook, &["0", "3", "3", "5", "3"]).await;
    assert_eq!(hook.duplicates(), [3, 3]);
    assert_eq!(hook.missing(0..6), [1, 2, 4]);
    assert_eq!((hook.delivered(), hook.distinct()), (5, 3));
}

#[tokio::test]
#[should_panic(expected = "missing: 2 [1, 2]; more than once: 1 [3]")]
async fn a_failed_count_says_which_messages_are_lost() {
    let hook = Webhook::start();
    post_each(&hook, &["0", "3", "3"]).await;
    hook.assert_exactly_once(0..4);
}

#[tokio::test]
#[should_panic(expected = "2 requests received, answered {200: 1, 503: 1}, 1 delivered (1 different)")]
async fn a_wait_that_fails_says_what_came() {
    let hook = Webhook::answering([503, 200]);
    post_each(&hook, &["0", "1"]).await;
    hook.wait_delivered(2, Duration::from_millis(20)).await;
}

#[tokio::test]
async fn counting_keeps_only_the_last_requests() {
    let hook = Webhook::counting();
    let mut client = Client::connect(hook.address()).await;
    for number in 0..1_200 {
        client.post(&number.to_string()).await.unwrap();
    }
    hook.assert_exactly_once(0..1_200);
    let requests = hook.requests();
    assert_eq!(requests.len(), 1_000);
    assert!(requests.iter().all(|request| request.status == Some(200)));
    assert_eq!(requests[0].number(), Some(200));
}

#[tokio::test]
async fn the_webhook_answers_as_told() {
    let hook = Webhook::start();
    let late = Duration::from_millis(80);
    hook.answer(Reply::status(429).header("retry-after", "2").body("later").after(late));
    let begin = Instant::now();
    let mut client = Client::connect(hook.address()).await;
    assert_eq!(client.post("0").await.unwrap(), 429);
    assert!(begin.elapsed() >= late, "the answer came after {:?}", begin.elapsed());
    hook.answer(Behaviour::by(|request| Reply::status(if request.number() == Some(1) { 500 } else { 202 })));
    assert_eq!(client.post("1").await.unwrap(), 500);
    assert_eq!(client.post("2").await.unwrap(), 202);
    assert_eq!(hook.delivered(), 1);
}

#[tokio::test]
async fn requests_in_flight_are_seen_and_forgotten_when_the_client_leaves() {
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(600)));
    let (mut one, mut two) = (Client::connect(hook.address()).await, Client::connect(hook.address()).await);
    let both = tokio::spawn(async move { tokio::join!(one.post("0"), two.post("1")) });
    hook.wait_for(|hook| hook.most_in_flight() == 2, SOON).await;
    both.abort();
    hook.close_connections().await;
    assert_eq!((hook.received(), hook.delivered(), hook.open_connections()), (2, 0, 0));
}

#[tokio::test]
async fn the_webhook_goes_down_and_comes_back_on_its_port() {
    let hook = Webhook::start();
    let mut client = Client::connect(hook.address()).await;
    client.post("0").await.unwrap();
    hook.down().await;
    assert!(client.post("1").await.is_err(), "an open connection survived");
    let refused = TcpStream::connect(hook.address()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    hook.up().await;
    post_each(&hook, &["1"]).await;
    hook.wait_delivered(2, SOON).await;
    assert_eq!(hook.connections(), 2);
}

#[tokio::test]
async fn an_https_webhook_is_trusted_by_who_trusts_its_authority() {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
    let authority = Authority::new();
    let hook = Webhook::start_tls(&authority.issue_loopback());
    for (trusted, works) in [(&authority, true), (&Authority::new(), false)] {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusted.pem().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(std::sync::Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(hook.address()).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let result = connector.connect("127.0.0.1".try_into().unwrap(), stream).await;
        assert_eq!(result.is_ok(), works, "{:?}", result.err());
    }
    assert!(hook.url().starts_with("https://127.0.0.1:"));
}

/// Posts once to a peer that misbehaves like this; gives how that ended.
async fn post_to(misbehaviour: Misbehaviour) -> (RawPeer, hyper::Result<StatusCode>) {
    let peer = RawPeer::start([misbehaviour]);
    let mut client = Client::connect(peer.address()).await;
    let result = tokio::time::timeout(SOON, client.post("1")).await.expect("the peer does something");
    (peer, result)
}

#[tokio::test]
async fn the_raw_peer_says_what_it_is_given() {
    for (answer, good) in [
        (raw::OK, true),
        (raw::HTTP_1_0, true),
        (raw::CONTINUE_FIRST, true),
        (raw::GARBAGE, false),
        (raw::HALF_AN_ANSWER, false),
        (raw::HALF_A_HEAD, false),
        (raw::BAD_CHUNK, false),
    ] {
        let (peer, result) = post_to(Misbehaviour::SayAndClose(answer)).await;
        assert_eq!(result.is_ok(), good, "{:?}: {result:?}", String::from_utf8_lossy(answer));
        assert_eq!(peer.requests().len(), 1);
        assert!(peer.requests()[0].ends_with("\r\n\r\n1"), "{:?}", peer.requests());
        peer.wait_for(|peer| peer.bytes_sent() == answer.len() as u64, SOON).await;
    }
}

#[tokio::test]
async fn the_raw_peer_resets_and_drips() {
    for misbehaviour in [Misbehaviour::Reset, Misbehaviour::ResetUnread] {
        let (peer, result) = post_to(misbehaviour).await;
        assert!(result.is_err(), "{result:?}");
        assert_eq!(peer.connections(), 1);
    }
    let begin = Instant::now();
    let pause = Duration::from_millis(2);
    let (_peer, result) = post_to(Misbehaviour::Drip(raw::OK, pause)).await;
    assert_eq!(result.unwrap(), 200);
    assert!(begin.elapsed() > 30 * pause);
}

#[tokio::test]
async fn the_raw_peer_counts_what_an_endless_answer_took() {
    let peer =
        RawPeer::start([Misbehaviour::EndlessBody, Misbehaviour::EndlessHead, Misbehaviour::NeverAnswer]);
    for connection in 1..=3 {
        let mut client = Client::connect(peer.address()).await;
        let post = tokio::time::timeout(Duration::from_millis(100), client.post("1")).await;
        assert!(!matches!(post, Ok(Ok(_))), "connection {connection} ended well: {post:?}");
        drop(client);
        peer.wait_for(|peer| peer.closed_by_client() == connection, SOON).await;
    }
    assert!(peer.bytes_sent() > 64 * 1024, "{} bytes", peer.bytes_sent());
}

#[tokio::test]
async fn the_raw_peer_closes_a_connection_that_was_good_once() {
    for misbehaviour in [Misbehaviour::CloseIdle(Duration::ZERO), Misbehaviour::CloseOnSecond] {
        let peer = RawPeer::start([misbehaviour, Misbehaviour::Say(raw::OK)]);
        let mut client = Client::connect(peer.address()).await;
        assert_eq!(client.post("0").await.unwrap(), 200);
        assert!(client.post("1").await.is_err(), "the second request was answered");
        let mut client = Client::connect(peer.address()).await;
        assert_eq!(client.post("1").await.unwrap(), 200);
        assert_eq!(client.post("2").await.unwrap(), 200);
        assert_eq!(peer.connections(), 2);
    }
}

#[tokio::test]
async fn a_nats_server_delivers_and_restarts_on_its_port() {
    let mut nats = NatsServer::start().await;
    let url = nats.url();
    let client = nats.client().await;
    let mut subscription = client.queue_subscribe("kit.>", "group".to_owned()).await.unwrap();
    nats.wait_subscriptions("kit.>", 1, SOON).await;
    assert_eq!(nats.subscriptions("kit").await, 0);
    assert_eq!(nats.connections().await, 1);
    client.publish("kit.a", "1".into()).await.unwrap();
    assert_eq!(&next(&mut subscription, SOON).await.payload[..], b"1");
    drop(client);

    for kind in ["stop", "kill", "restart"] {
        match kind {
            "stop" => nats.stop().await,
            "kill" => nats.kill(),
            _ => {}
        }
        if kind != "restart" {
            assert!(TcpStream::connect(("127.0.0.1", nats.port())).await.is_err(), "it listens after {kind}");
        }
        nats.restart().await;
        assert_eq!(nats.url(), url, "after {kind}");
        nats.client().await.flush().await.unwrap();
    }

    let port = nats.port();
    drop(nats);
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "it outlived its handle");
}

#[tokio::test]
async fn a_nats_server_takes_more_configuration() {
    let nats = NatsServer::builder().config("authorization { token: \"s3cret\" }").start().await;
    let refused = async_nats::connect(nats.url()).await;
    assert!(refused.is_err(), "it let a client in without the token");
    nats.client_with(async_nats::ConnectOptions::with_token("s3cret".to_owned()))
        .await
        .flush()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lame_duck_sends_its_clients_away_and_ends() {
    let mut nats = NatsServer::builder()
        .config("lame_duck_grace_period: \"50ms\"\nlame_duck_duration: \"30s\"")
        .start()
        .await;
    nats.lame_duck();
    nats.ended(SOON).await;
    assert!(nats.log().contains("lame duck"), "{}", nats.log());
}

#[test]
fn metrics_are_read_and_summed() {
    let text = "# TYPE a counter\na_total{route=\"x\",code=\"200\"} 3\na_total{route=\"x\",code=\"5\\\"\"} 4 1700000000\n\
                b 1.5e3\n# EOF\n";
    let metrics = Metrics::parse(text.to_owned());
    assert_eq!(metrics.value("a_total", &[("code", "200"), ("route", "x")]).to_string(), "3");
    assert_eq!(metrics.value("a_total", &[("code", "5\"")]).to_string(), "4");
    assert_eq!(metrics.sum("a_total", &[("route", "x")]).to_string(), "7");
    assert_eq!(metrics.value("b", &[]).to_string(), "1500");
    assert!(!metrics.has("a"));
}

#[test]
#[should_panic(
    expected = r#"no sample is a_total[("route", "y")]; with that name there are [[("route", "x")]]"#
)]
fn a_missing_metric_is_named() {
    Metrics::parse("a_total{route=\"x\"} 3\n".to_owned()).value("a_total", &[("route", "y")]);
}
