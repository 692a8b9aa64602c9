//! What a connection does with webhooks that answer early, late, half or not at all, over a stream in memory.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    time::timeout,
};

use super::*;

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
    connection.exchange(|head| head.extend_from_slice(HEAD), payload).await
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
    assert_eq!(post(&mut connection, b"{}").await, Err(ExchangeError::NotSent));
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
        assert_eq!(post(&mut connection, b"{}").await, Err(ExchangeError::NotSent));
    }
}

#[tokio::test]
async fn a_request_without_an_answer_has_failed() {
    for answer in [&b""[..], b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"] {
        let (mut connection, mut server) = pair(1 << 16);
        let serving = async {
            serve(&mut server, 2, answer).await;
            drop(server);
        };
        let (answer, ()) = tokio::join!(post(&mut connection, b"{}"), serving);
        assert_eq!(answer, Err(ExchangeError::Failed(Failure::Reset)));
        assert!(!connection.is_open());
    }
}

#[tokio::test]
async fn an_attempt_that_was_broken_off_leaves_nothing_to_use() {
    let (mut connection, _server) = pair(1 << 16);
    let broken_off = timeout(Duration::from_millis(1), post(&mut connection, b"{}")).await;
    assert!(broken_off.is_err());
    assert!(!connection.is_open());
    assert_eq!(post(&mut connection, b"{}").await, Err(ExchangeError::NotSent));
}

#[tokio::test]
async fn an_early_refusal_counts_and_an_early_success_does_not() {
    let refused = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n";
    let payload = vec![0; 10_000];
    for (answer, expected) in [(&refused[..], Ok(413)), (OK, Err(ExchangeError::Failed(Failure::Protocol)))] {
        let (mut connection, mut server) = pair(1000);
        let serving = async {
            let mut beginning = [0; 100];
            server.read_exact(&mut beginning).await.unwrap();
            server.write_all(answer).await.unwrap();
            server
        };
        let (answer, _server) = tokio::join!(post(&mut connection, &payload), serving);
        assert_eq!(answer.map(|answer| answer.status), expected);
        assert!(!connection.is_open());
    }
}

#[tokio::test]
async fn a_large_head_is_taken_and_a_giant_one_refused() {
    let head = |size: usize| {
        format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(size)).into_bytes()
    };
    for (size, expected) in [(10_000, Ok(200)), (20_000, Err(ExchangeError::Failed(Failure::Protocol)))] {
        let (mut connection, mut server) = pair(1 << 20);
        let head = head(size);
        let (answer, _) = tokio::join!(post(&mut connection, b"{}"), serve(&mut server, 2, &head));
        assert_eq!(answer.map(|answer| answer.status), expected);
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
