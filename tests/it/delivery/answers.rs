//! Answers that come early or end in an unusual way, and what is made of the odd ones among the good.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testkit::daemon::Daemon;
use testkit::haproxy::Haproxy;
use testkit::nats::{NatsServer, next};
use testkit::nginx::Nginx;
use testkit::raw::{self, Misbehaviour, RawPeer, Then};
use testkit::stage::Stage;
use testkit::tls::{Authority, TlsIdentity};
use testkit::webhook::{Behaviour, Reply, Webhook};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const SOON: Duration = Duration::from_secs(60);
/// More than the buffers of two sockets take when the receiver's is small.
const LARGE: usize = 900_000;

fn one_lane(daemon: Daemon) -> Daemon {
    // Without the breaker, which would keep what these webhooks do to it from the messages.
    let daemon = daemon.env("BROADCASTER__RUNTIME__THREADS", "1").impatient().without_breaker();
    daemon.route("webhook.timeout", "2s")
}

/// Two large messages, one after the other, to a webhook that answers first. Gives what came of the attempts at them.
async fn large_messages(peer: &RawPeer) -> Vec<(String, u64)> {
    let mut stage = Stage::set(&peer.url(), |daemon| {
        one_lane(daemon).route("retry.attempts", "1").route("webhook.concurrency", "1")
    })
    .await;
    for number in 1..=2 {
        stage.publish(vec![b'0' + number; LARGE]).await;
        stage.wait_processed(number.into()).await;
    }
    let codes = stage.codes().await;
    stage.close().await;
    codes.into_iter().collect()
}

#[tokio::test]
async fn a_webhook_that_answers_first_and_reads_on_gets_the_whole_message() {
    // How the answer comes, and how many connections two messages take then.
    for (answer, then, connections) in [
        (raw::OK, Then::Read, 1),
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"[..], Then::ReadAndSay(b"ok"), 1),
        (b"HTTP/1.1 100 Continue\r\n\r\n", Then::ReadAndSay(raw::OK), 1),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", Then::Read, 2),
        (b"HTTP/1.1 200 OK\r\n\r\nok", Then::HalfCloseAndRead, 2),
        (raw::TWO_LENGTHS, Then::Read, 2),
    ] {
        let peer = RawPeer::start([Misbehaviour::AnswerFirst(answer, then)]);
        let codes = large_messages(&peer).await;
        let said = answer.escape_ascii();
        assert_eq!(codes, [("200".to_owned(), 2)], "{said}");
        peer.wait_for(|peer| peer.requests().len() == 2, SOON).await;
        let whole = |request: &String, number: &str| request.ends_with(&number.repeat(LARGE));
        let requests = peer.requests();
        assert!(requests.len() == 2 && whole(&requests[0], "1") && whole(&requests[1], "2"), "{said}");
        assert_eq!(peer.connections(), connections, "{said}");
    }
}

#[tokio::test]
async fn an_early_answer_of_a_webhook_that_does_not_read_on_is_no_delivery() {
    for (then, code) in [(Then::Reset, "reset"), (Then::Stall, "timeout")] {
        let peer = RawPeer::start([Misbehaviour::AnswerFirst(raw::OK, then)]);
        assert_eq!(large_messages(&peer).await, [(code.to_owned(), 2)]);
        assert!(peer.requests().is_empty());
    }
}

#[tokio::test]
async fn an_early_refusal_counts_at_once() {
    const REFUSED: &[u8] = b"HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\n\r\nlarge";
    let peer = RawPeer::start([Misbehaviour::AnswerFirst(REFUSED, Then::Stall)]);
    assert_eq!(large_messages(&peer).await, [("413".to_owned(), 2)]);
}

/// Three messages of six megabytes, more than any buffer takes. Gives what came of the attempts.
async fn huge_messages(url: &str) -> Vec<(String, u64)> {
    const HUGE: usize = 6_000_000;
    let nats = NatsServer::builder().config("max_payload: 8MB").start().await;
    let daemon = one_lane(Daemon::between(&nats, url)).route("retry.attempts", "1");
    let daemon = daemon.route("webhook.timeout", "20s").start_ready().await;
    let client = nats.client().await;
    let mut stage = Stage { nats, client, daemon };
    for number in 1..=3 {
        stage.publish(vec![b'0'; HUGE]).await;
        stage.wait_processed(number).await;
    }
    let codes = stage.codes().await;
    stage.close().await;
    codes.into_iter().collect()
}

/// What came of huge messages to nginx, and the requests as nginx saw them.
async fn to_nginx(location: &str) -> (Vec<(String, u64)>, Vec<[u64; 3]>) {
    let nginx = Nginx::start(location).await;
    let codes = huge_messages(&nginx.url()).await;
    // It writes down a request when it is done with it.
    testkit::poll(SOON, || (nginx.requests().len() == 3).then_some(())).await;
    (codes, nginx.requests())
}

#[tokio::test]
async fn nginx_answers_before_it_has_read() {
    let (codes, requests) = to_nginx("client_max_body_size 8m; return 200 ok;").await;
    assert_eq!(codes, [("200".to_owned(), 3)], "{requests:?}");
    let connections: BTreeSet<_> = requests.iter().map(|[_, _, connection]| connection).collect();
    assert_eq!((requests.len(), connections.len()), (3, 1), "{requests:?}");
    let (codes, requests) = to_nginx("client_max_body_size 1m;").await;
    assert_eq!(codes, [("413".to_owned(), 3)], "{requests:?}");
}

#[tokio::test]
async fn haproxy_answers_before_it_has_read_and_hangs_up() {
    let proxy = Haproxy::answering("return status 200 content-type text/plain string ok").await;
    let mut stage = Stage::set(&proxy.url(), one_lane).await;
    stage.publish("{}").await;
    stage.wait_processed(1).await;
    assert_eq!(stage.codes().await.into_iter().collect::<Vec<_>>(), [("200".to_owned(), 1)]);
    stage.close().await;
    // It reads no more: whether the rest does not matter can't be told from a webhook that fails half-way.
    assert_eq!(huge_messages(&proxy.url()).await, [("reset".to_owned(), 3)]);
    let proxy = Haproxy::answering("deny deny_status 413").await;
    assert_eq!(huge_messages(&proxy.url()).await, [("413".to_owned(), 3)]);
}

#[tokio::test]
async fn an_early_answer_comes_through_haproxy() {
    let peer = RawPeer::start([Misbehaviour::AnswerFirst(raw::OK, Then::Read)]);
    let proxy = Haproxy::before(peer.address()).await;
    assert_eq!(huge_messages(&proxy.url()).await, [("200".to_owned(), 3)]);
    // Not of the last one, after which the daemon ends.
    peer.wait_for(|peer| peer.requests().len() >= 2, SOON).await;
}

/// A webhook that is reached by https, answers each request with `answer`, and closes without saying so in TLS.
async fn cut_off_tls(identity: &TlsIdentity, answer: &'static [u8]) -> SocketAddr {
    let acceptor = TlsAcceptor::from(identity.server_config());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("the system has a free port");
    let address = listener.local_addr().expect("a listener has an address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("clients come");
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n{}") {
                request.push(stream.read_u8().await.expect("the request comes"));
            }
            stream.write_all(answer).await.expect("the client reads");
            stream.flush().await.expect("the client reads");
        }
    });
    address
}

#[tokio::test]
async fn an_answer_by_https_may_end_with_the_connection() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ca = authority.write_to(directory.path());
    let identity = authority.issue_loopback();
    for (answer, code, said) in [
        (raw::HTTP_1_0, "200", None),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok", "200", None),
        (b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\nno id", "400", Some("no id")),
        (b"HTTP/1.1 400 Bad Request\r\ncontent-length: 9\r\n\r\nno id", "400", Some("no id")),
    ] {
        let address = cut_off_tls(&identity, answer).await;
        let mut stage = Stage::set(&format!("https://{address}/hook"), |daemon| {
            let daemon = one_lane(daemon).route("webhook.tls.ca_file", ca.to_str().unwrap());
            daemon.route("dead_letter.subject", "dead")
        })
        .await;
        let mut dead = stage.client.subscribe("dead").await.unwrap();
        stage.nats.wait_subscriptions("dead", 1, SOON).await;
        stage.publish("{}").await;
        stage.wait_processed(1).await;
        stage.assert_codes([(code, 1)]).await;
        if said.is_some() {
            let headers = next(&mut dead, SOON).await.headers.unwrap();
            assert_eq!(headers.get("Broadcaster-Last-Answer").map(async_nats::HeaderValue::as_str), said);
        }
        stage.close().await;
    }
}

/// The headers of the letter of a message that was refused with `reply`.
async fn letter_of(reply: Reply) -> async_nats::HeaderMap {
    let hook = Webhook::start();
    hook.answer(reply);
    let mut stage = Stage::set(&format!("{}/s3cret?token=t0ken", hook.url()), |daemon| {
        one_lane(daemon).route("dead_letter.subject", "dead")
    })
    .await;
    let mut dead = stage.client.subscribe("dead").await.expect("the client subscribes");
    stage.nats.wait_subscriptions("dead", 1, SOON).await;
    stage.publish("1").await;
    let headers = next(&mut dead, SOON).await.headers.expect("letters have headers");
    stage.close().await;
    headers
}

#[tokio::test]
async fn a_letter_says_where_a_redirect_leads_without_what_may_be_secret() {
    for (location, expected) in [
        ("https://id.example/login?next=%2Fs3cret", "redirect to https://id.example/login"),
        ("https://hooks.example/x/s3cret/", "redirect to https://hooks.example/x/…/"),
        ("/moved#t0ken", "redirect to /moved"),
    ] {
        let letter = letter_of(Reply::status(302).header("location", location)).await;
        let cause = letter.get("Broadcaster-Last-Cause").map(async_nats::HeaderValue::as_str);
        let cause = cause.map(|cause| cause.replace("%E2%80%A6", "…"));
        assert_eq!(cause.as_deref(), Some(expected), "{location}");
    }
}

#[tokio::test]
async fn a_refusal_that_is_no_text_is_described() {
    let packed = Reply::status(400).header("content-encoding", "gzip").body(vec![0x1f; 512]);
    for (reply, expected) in
        [(packed, "gzip, 512 bytes"), (Reply::status(400).body(vec![0; 40]), "binary, 40 bytes")]
    {
        let letter = letter_of(reply).await;
        assert_eq!(
            letter.get("Broadcaster-Last-Answer").map(async_nats::HeaderValue::as_str),
            Some(expected)
        );
    }
}

#[tokio::test]
async fn a_fraction_and_a_list_are_waited_for() {
    for asked in ["0.4", "1, 60"] {
        let hook = Webhook::start();
        let mut statuses = [503, 200].into_iter();
        hook.answer(Behaviour::by(move |_| {
            Reply::status(statuses.next().unwrap_or(200)).header("retry-after", asked)
        }));
        let mut stage = Stage::set(&hook.url(), |daemon| one_lane(daemon).route("retry.max", "5s")).await;
        let begin = Instant::now();
        stage.publish("0").await;
        hook.wait_delivered(1, SOON).await;
        let took = begin.elapsed();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(10), "{took:?}");
        stage.close().await;
    }
}
