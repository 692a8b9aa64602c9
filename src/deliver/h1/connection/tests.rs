//! What a connection does with webhooks that answer early, late, half or not at all, over a stream in memory.

use std::{pin::pin, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    time::{sleep, timeout},
};

use super::*;
use crate::base::clock::Clock;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A connection and its other end. As many bytes as `room` can be on their way between them.
fn pair(room: usize) -> (HttpConnection<DuplexStream>, DuplexStream) {
    let (client, server) = duplex(room);
    (HttpConnection::new(client, Rc::default()), server)
}

async fn post(
    connection: &mut HttpConnection<DuplexStream>,
    payload: &[u8],
) -> Result<Answer, ExchangeError> {
    let clock = Clock::start();
    let patience = Patience::new(clock.now(), Duration::from_secs(5), clock);
    let mut exchange = pin!(connection.exchange(|head| head.extend_from_slice(HEAD), payload, &patience));
    // Once more when the time is over, as the client does.
    loop {
        tokio::select! {
            biased;
            outcome = &mut exchange => return outcome,
            () = sleep(Duration::from_millis(10)) => {
                if clock.now() >= patience.wake_at() {
                    patience.time_passed();
                }
            }
        }
    }
}

fn failure(answer: Result<Answer, ExchangeError>) -> Result<u16, Failure> {
    match answer {
        Ok(answer) => Ok(answer.status),
        Err(ExchangeError::Failed(fault)) => Err(fault.failure),
        Err(other) => panic!("{other:?}"),
    }
}

/// Takes a request with so much of a payload, and answers.
async fn serve(server: &mut DuplexStream, payload: usize, answer: &[u8]) -> Vec<u8> {
    let mut request = vec![0; HEAD.len() + payload];
    server.read_exact(&mut request).await.unwrap();
    server.write_all(answer).await.unwrap();
    request
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let (mut connection, mut server) = pair(1 << 16);
    for number in 0..100_u8 {
        let payload = [number, number];
        let (answer, request) = tokio::join!(post(&mut connection, &payload), serve(&mut server, 2, OK));
        assert_eq!(answer.unwrap().status, 200);
        assert!(connection.is_open());
        assert_eq!(request, [HEAD, &payload[..]].concat());
    }
}

#[tokio::test]
async fn a_payload_larger_than_the_socket_takes_arrives_whole() {
    let (mut connection, mut server) = pair(1000);
    let payload: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (answer, request) =
        tokio::join!(post(&mut connection, &payload), serve(&mut server, payload.len(), OK));
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(request, [HEAD, &payload[..]].concat());
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_has_not_taken_the_request() {
    let (mut connection, mut server) = pair(1 << 16);
    let (answer, _) = tokio::join!(post(&mut connection, b"{}"), serve(&mut server, 2, OK));
    assert!(answer.is_ok());
    drop(server);
    assert!(matches!(post(&mut connection, b"{}").await, Err(ExchangeError::NotSent(_))));
    assert!(!connection.is_open());
}

#[tokio::test]
async fn closing_or_speaking_while_idle_is_noticed() {
    for junk in [&b""[..], b"HTTP/1.1 408 Request Timeout\r\n\r\n"] {
        let (mut connection, mut server) = pair(1 << 16);
        let (answer, _) = tokio::join!(post(&mut connection, b"{}"), serve(&mut server, 2, OK));
        assert!(answer.is_ok());
        server.write_all(junk).await.unwrap();
        if junk.is_empty() {
            drop(server);
        }
        poll_fn(|cx| connection.poll_closed(cx)).await;
        assert!(matches!(post(&mut connection, b"{}").await, Err(ExchangeError::NotSent(_))));
    }
}

#[tokio::test]
async fn a_request_without_an_answer_has_failed() {
    for answer in [&b""[..], b"HTTP/1.1 200", b"HTTP/1.1 200 OK", b"HTTP/1.1 100 Continue\r\n\r\n"] {
        let (mut connection, mut server) = pair(1 << 16);
        let serving = async {
            serve(&mut server, 2, answer).await;
            drop(server);
        };
        let (answer, ()) = tokio::join!(post(&mut connection, b"{}"), serving);
        assert_eq!(failure(answer), Err(Failure::Reset));
        assert!(!connection.is_open());
    }
}

#[tokio::test]
async fn an_attempt_that_was_broken_off_leaves_nothing_to_use() {
    let (mut connection, _server) = pair(1 << 16);
    let broken_off = timeout(Duration::from_millis(1), post(&mut connection, b"{}")).await;
    assert!(broken_off.is_err());
    assert!(!connection.is_open());
    assert!(matches!(post(&mut connection, b"{}").await, Err(ExchangeError::NotSent(_))));
}

/// Answers when only the beginning of a request has come.
async fn serve_early(server: &mut DuplexStream, answer: &[u8]) {
    let mut beginning = [0; 100];
    server.read_exact(&mut beginning).await.unwrap();
    server.write_all(answer).await.unwrap();
}

#[tokio::test]
async fn an_early_refusal_counts_at_once() {
    let refused = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n";
    let (mut connection, mut server) = pair(1000);
    let payload = vec![0; 10_000];
    let (answer, ()) = tokio::join!(post(&mut connection, &payload), serve_early(&mut server, refused));
    assert_eq!((failure(answer), connection.is_open()), (Ok(413), false));
}

#[tokio::test]
async fn an_early_delivery_counts_when_the_request_is_out() {
    let answers: [(&[u8], bool); 6] = [
        (OK, true),
        (b"HTTP/1.1 204 No Content\r\n\r\n", true),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok", false),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false),
        (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
    ];
    let payload = vec![7; 100_000];
    for (answer, reusable) in answers {
        let (mut connection, mut server) = pair(1000);
        let serving = async {
            serve_early(&mut server, answer).await;
            let mut rest = vec![0; HEAD.len() + payload.len() - 100];
            server.read_exact(&mut rest).await.unwrap();
            rest
        };
        let (outcome, rest) = tokio::join!(post(&mut connection, &payload), serving);
        assert!(failure(outcome).is_ok() && rest.ends_with(&payload[..99_000]), "{}", answer.escape_ascii());
        assert_eq!(connection.is_open(), reusable, "{}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn a_body_of_the_answer_may_come_after_the_whole_request() {
    let (mut connection, mut server) = pair(1000);
    let payload = vec![7; 100_000];
    let serving = async {
        serve_early(&mut server, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
        server.read_exact(&mut vec![0; HEAD.len() + payload.len() - 100]).await.unwrap();
        server.write_all(b"ok").await.unwrap();
    };
    let (answer, ()) = tokio::join!(post(&mut connection, &payload), serving);
    assert_eq!((failure(answer), connection.is_open()), (Ok(200), true));
}

#[tokio::test]
async fn an_echo_that_is_larger_than_all_buffers_does_not_block_the_request() {
    let (mut connection, mut server) = pair(1000);
    let payload = vec![7; 300_000];
    let serving = async {
        serve_early(&mut server, b"HTTP/1.1 200 OK\r\n\r\n").await;
        let mut left = HEAD.len() + payload.len() - 100;
        let mut buffer = [0; 700];
        while left > 0 {
            let count = server.read(&mut buffer).await.unwrap();
            left -= count;
            // At the end the client has seen enough, and closes.
            if server.write_all(&buffer[..count]).await.is_err() {
                assert!(left < 2000, "closed with {left} bytes to come");
            }
        }
    };
    let posting = async {
        let answer = post(&mut connection, &payload).await;
        let open = connection.is_open();
        drop(connection);
        (failure(answer), open)
    };
    let (answered, ()) = tokio::join!(posting, serving);
    assert_eq!(answered, (Ok(200), false));
}

#[tokio::test]
async fn an_early_delivery_that_is_not_read_on_is_a_failure() {
    let payload = vec![7; 100_000];
    for closes in [true, false] {
        tokio::time::pause();
        let (mut connection, mut server) = pair(1000);
        let serving = async {
            serve_early(&mut server, OK).await;
            (!closes).then_some(server)
        };
        let (answer, _open) = tokio::join!(post(&mut connection, &payload), serving);
        let Err(ExchangeError::Failed(fault)) = answer else { panic!("{answer:?}") };
        assert_eq!(fault.failure, if closes { Failure::Reset } else { Failure::Timeout });
        assert!(
            fault.cause.as_ref().is_some_and(|cause| cause.contains("though it was answered")),
            "{fault:?}"
        );
        assert!(!connection.is_open());
        tokio::time::resume();
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_end_does_not_come_counts_after_a_second() {
    for (rest, status) in [
        ("content-length: 100\r\n\r\nok", 200),
        ("\r\n", 202),
        ("transfer-encoding: chunked\r\n\r\n200\r\nok", 200),
        ("x-trickles: ", 200),
        ("content-length: 100\r\n\r\nno", 500),
    ] {
        let (mut connection, mut server) = pair(1 << 16);
        let head = format!("HTTP/1.1 {status} X\r\n{rest}");
        let serving = async {
            serve(&mut server, 2, head.as_bytes()).await;
            loop {
                sleep(Duration::from_millis(100)).await;
                if server.write_all(b"x").await.is_err() {
                    return;
                }
            }
        };
        let posting = async {
            let began = tokio::time::Instant::now();
            let answer = post(&mut connection, b"{}").await.unwrap();
            let open = connection.is_open();
            drop(connection);
            (answer, open, began.elapsed())
        };
        let ((answer, open, took), ()) = tokio::join!(posting, serving);
        assert_eq!((answer.status, open, answer.odd.is_some()), (status, false, true), "{head:?}");
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(2), "{took:?} for {head:?}");
    }
}

#[tokio::test]
async fn an_answer_cut_short_counts_by_its_status() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nok",
    ] {
        let (mut connection, mut server) = pair(1 << 16);
        let serving = async {
            serve(&mut server, 2, answer).await;
            drop(server);
        };
        let (outcome, ()) = tokio::join!(post(&mut connection, b"{}"), serving);
        let outcome = outcome.unwrap();
        assert_eq!((outcome.status, connection.is_open()), (200, false), "{}", answer.escape_ascii());
        assert!(outcome.odd.is_some(), "{}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn of_a_giant_head_only_the_status_is_taken() {
    let head = |size: usize| {
        format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(size)).into_bytes()
    };
    for (size, reusable) in [(10_000, true), (20_000, false)] {
        let (mut connection, mut server) = pair(1 << 20);
        let head = head(size);
        let (answer, _) = tokio::join!(post(&mut connection, b"{}"), serve(&mut server, 2, &head));
        assert_eq!((failure(answer), connection.is_open()), (Ok(200), reusable));
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_off_and_the_status_stands() {
    for framing in ["", "content-length: 99999999999\r\n", "transfer-encoding: chunked\r\n"] {
        let (mut connection, mut server) = pair(1 << 12);
        let serving = async {
            let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n");
            serve(&mut server, 2, head.as_bytes()).await;
            let piece = if framing.contains("chunked") {
                "100\r\n".to_owned() + &"x".repeat(256) + "\r\n"
            } else {
                "x".repeat(256)
            };
            let mut sent = 0;
            while server.write_all(piece.as_bytes()).await.is_ok() {
                sent += piece.len();
            }
            sent
        };
        let posting = async {
            let answer = post(&mut connection, b"{}").await;
            let open = connection.is_open();
            drop(connection);
            (answer, open)
        };
        let ((answer, open), sent) = tokio::join!(posting, serving);
        assert_eq!((answer.unwrap().status, open), (200, false));
        assert!(sent < 128 * 1024, "{sent} bytes of the body were taken");
    }
}
