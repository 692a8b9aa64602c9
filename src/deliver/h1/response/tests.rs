use std::time::Duration;

use super::*;
use crate::deliver::answer::Refusal;

fn read(response: &str) -> Result<(Answer, bool), Malformed> {
    let (taken, progress) = ResponseReader::default().read(response.as_bytes(), false)?;
    match progress {
        Progress::Complete { answer, reusable } if taken == response.len() => Ok((answer, reusable)),
        other => panic!("{other:?} after {taken} of {} bytes", response.len()),
    }
}

/// What is odd about a response whose status is clear, be it complete or not. Such a one is never followed by another.
fn odd(response: &str) -> Option<&'static str> {
    let mut reader = ResponseReader::default();
    let (mut taken, mut progress) = reader.read(response.as_bytes(), false).unwrap();
    if progress == Progress::More {
        let rest;
        (rest, progress) = reader.read(&response.as_bytes()[taken..], true).unwrap();
        taken += rest;
    }
    let Progress::Complete { answer, reusable } = progress else { panic!("no answer after {taken} bytes") };
    assert!(answer.odd.is_none() || !reusable, "{:?} and used again", answer.odd);
    answer.odd
}

#[test]
fn what_is_odd_behind_the_status_is_said() {
    let table = [
        ("content-length: 2\r\n\r\nok", None),
        ("content-length: 2\r\n\r\nok\r\n", Some("bytes behind the end of the answer")),
        ("content-length: 2\r\n\r\no", Some("the connection ended within the answer")),
        ("content-length: 2\r\ncontent-length: 2\r\n\r\nok", Some("more than one Content-Length")),
        ("content-length: 2\r\ncontent-length: 3\r\n\r\nok", Some("more than one Content-Length")),
        ("content-length: 2, 2\r\n\r\nok", Some("a Content-Length that is not a number")),
        ("content-length:\r\n\r\nok", Some("a Content-Length that is not a number")),
        ("transfer-encoding: gzip\r\n\r\nok", Some("a Transfer-Encoding other than chunked")),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            Some("more than one Transfer-Encoding"),
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n",
            Some("both Content-Length and Transfer-Encoding"),
        ),
        ("transfer-encoding: chunked\r\n\r\nzz\r\n", Some("a malformed chunk")),
        (
            "transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
            Some("the connection ended within the answer"),
        ),
        ("x: y\r\n folded\r\n\r\n", Some("a folded header field")),
        ("no colon\r\n\r\n", Some("a malformed header field")),
        (": x\r\n\r\n", Some("a malformed header field")),
        ("x y: z\r\n\r\n", Some("a malformed header field")),
        ("x : y\r\n\r\n", Some("a malformed header field")),
        ("x: a\0b\r\n\r\n", Some("a control character in the header")),
        ("x: a\rb\r\n\r\n", Some("a control character in the header")),
        ("x: y\r\n", Some("the connection ended within the header")),
        ("x: ", Some("the connection ended within the header")),
        ("", Some("the connection ended within the header")),
    ];
    for (rest, expected) in table {
        for status in ["200 OK", "400 Bad Request"] {
            assert_eq!(odd(&format!("HTTP/1.1 {status}\r\n{rest}")), expected, "{status} with {rest:?}");
        }
    }
    assert_eq!(
        odd(&format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(20_000))),
        Some("the header is too large")
    );
    assert_eq!(
        odd(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101))),
        Some("too many header fields")
    );
    assert_eq!(odd("HTTP/1.2 200 OK\r\ncontent-length: 0\r\n\r\n"), Some("an unusual status line"));
    assert_eq!(
        odd("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        Some("chunks in HTTP/1.0")
    );
    assert_eq!(odd("HTTP/1.1 204 No Content\r\n\r\nok"), Some("bytes behind the end of the answer"));
}

/// What is read of a response that arrives whole, before its connection ends and after that.
fn at_its_end(response: &str) -> Refusal {
    let mut reader = ResponseReader::default();
    let (taken, mut progress) = reader.read(response.as_bytes(), false).unwrap();
    if progress == Progress::More {
        (_, progress) = reader.read(&response.as_bytes()[taken..], true).unwrap();
    }
    let Progress::Complete { answer, reusable: false } = progress else { panic!("{progress:?}") };
    *answer.refusal.unwrap_or_default()
}

#[test]
fn what_can_be_read_of_an_odd_refusal_is_kept() {
    let said =
        at_its_end("HTTP/1.1 429 X\r\nno colon\r\nRetry-After: 7\r\ncontent-length: 5\r\n\r\nlater, please");
    assert_eq!((said.retry_after, said.excerpt.as_deref()), (Some(Duration::from_secs(7)), Some("later")));
    let said = at_its_end("HTTP/1.1 503 X\r\nRetry-After: 7\r\nx: y");
    assert_eq!(said.retry_after, Some(Duration::from_secs(7)));
    // It may have been 12 or 120.
    let said = at_its_end("HTTP/1.1 503 X\r\nRetry-After: 1");
    assert_eq!(said.retry_after, None);
    let said = at_its_end("HTTP/1.1 400 X\r\ncontent-length: 5, 5\r\n\r\nno id");
    assert_eq!(said.excerpt.as_deref(), Some("no id"));
    let said = at_its_end("HTTP/1.1 503 X\r\nRetry-After: soon\r\nRetry-After: 7\r\nRetry-After: 9\r\n\r\n");
    assert_eq!(said.retry_after, Some(Duration::from_secs(7)));
}

#[test]
fn what_was_read_before_changes_nothing() {
    let responses = [
        "HTTP/1.1 200 OK\r\nkeep-alive: timeout=5\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nkeep-alive: timeout=5\r\ncontent-length: 2\r\n\r\nno!",
        "HTTP/1.1 200 OK\r\nkeep-alive: timeout=5\r\ncontent-length: 20\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 202 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 103 X\r\n\r\nHTTP/1.1 204 X\r\n\r\n",
        "HTTP/1.1 103 X\r\nno colon\r\n\r\nHTTP/1.1 204 X\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 500 X\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n",
    ];
    let read = |response: &str, keeps, known: &mut KnownHead| {
        let mut reader = ResponseReader::keeping(keeps);
        (reader.read_after(response.as_bytes(), false, known), reader.status(), reader.give_up())
    };
    for keeps in [None, Some(100)] {
        let mut known = KnownHead::default();
        for response in responses.into_iter().flat_map(|response| [response; 3]).chain(responses) {
            let alone = read(response, keeps, &mut KnownHead::default());
            assert_eq!(read(response, keeps, &mut known), alone, "{response:?}");
        }
    }
}

#[test]
fn without_a_status_there_is_no_answer() {
    for bytes in [
        "",
        "H",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        "HTTP/1.1 100 X\r\nx",
    ] {
        let mut reader = ResponseReader::default();
        let (taken, progress) = reader.read(bytes.as_bytes(), false).unwrap();
        assert_eq!((progress, reader.status()), (Progress::More, None), "{bytes:?}");
        assert!(reader.read(&bytes.as_bytes()[taken..], true).is_err(), "{bytes:?}");
    }
}

#[test]
fn who_does_not_wait_for_the_rest_has_the_status() {
    for rest in ["", "x: y", "\r\n", "content-length: 5\r\n\r\nno", "transfer-encoding: chunked\r\n\r\n3"] {
        let mut reader = ResponseReader::default();
        reader.read(format!("HTTP/1.1 404 X\r\n{rest}").as_bytes(), false).unwrap();
        let answer = reader.give_up().unwrap();
        assert_eq!((answer.status, answer.odd), (404, Some("the answer did not end in time")), "{rest:?}");
    }
}

#[test]
fn a_status_line_counts_with_an_odd_head_however_it_arrives() {
    let response = "HTTP/1.1 202 X\r\nno colon\r\ncontent-length: 2\r\n\r\nok".as_bytes();
    for middle in 0..response.len() {
        let mut reader = ResponseReader::default();
        let (taken, progress) = reader.read(&response[..middle], false).unwrap();
        if progress == Progress::More {
            let (_, progress) = reader.read(&response[taken..], false).unwrap();
            let is_it =
                matches!(progress, Progress::Complete { answer, reusable: false } if answer.status == 202);
            assert!(is_it, "cut at {middle}");
        }
    }
}

#[test]
fn the_version_and_the_options_of_the_connection_decide_whether_it_lasts() {
    let table = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: x, Close\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: Keep-Alive\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive, close\r\n\r\n", false),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", false),
    ];
    for (response, expected) in table {
        assert_eq!(read(response).map(|(_, reusable)| reusable), Ok(expected), "{response:?}");
    }
}

#[test]
fn the_head_tells_how_long_to_wait_and_how_long_the_connection_lasts() {
    let (answer, _) =
        read("HTTP/1.1 503 X\r\nRetry-After: 7\r\nKeep-Alive: timeout=5\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
    let secs = Duration::from_secs;
    let refusal = Some(Box::new(Refusal { retry_after: Some(secs(7)), ..Refusal::default() }));
    let expected = Answer { refusal, keep_alive: Some(secs(5)), ..Answer::new(503) };
    assert_eq!(answer, expected);
}

#[test]
fn the_beginning_of_a_refusal_is_kept_and_that_of_a_delivery_is_not() {
    let said = |response: &str| read(response).unwrap().0.refusal.and_then(|refusal| refusal.excerpt);
    assert_eq!(said("HTTP/1.1 400 X\r\ncontent-length: 5\r\n\r\nno id").as_deref(), Some("no id"));
    let chunked = "HTTP/1.1 400 X\r\ntransfer-encoding: chunked\r\n\r\n3\r\nno \r\n2\r\nid\r\n0\r\n\r\n";
    assert_eq!(said(chunked).as_deref(), Some("no id"));
    assert_eq!(said("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"), None);
}

#[test]
fn interim_responses_are_skipped_but_not_for_ever() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let end = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(read(&(interim.repeat(8) + end)).map(|(answer, _)| answer.status), Ok(200));
    assert_eq!(read(&(interim.repeat(9) + end)), Err(Malformed("interim answers only")));
}

#[test]
fn trailers_and_extensions_are_bounded() {
    let chunked = |rest: String| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{rest}");
    let trailers = |count: usize| chunked(format!("0\r\n{}\r\n", "x: y\r\n".repeat(count)));
    assert_eq!(odd(&trailers(1000)), None);
    assert_eq!(odd(&trailers(20_000)), Some("a malformed chunk"));
    let extension = |length: usize| chunked(format!("0;{}\r\n\r\n", "x".repeat(length)));
    assert_eq!(odd(&extension(4000)), None);
    assert_eq!(odd(&extension(5000)), Some("a malformed chunk"));
}

#[test]
fn a_connection_that_ended_behind_the_answer_is_not_used_again() {
    let response = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let progress = ResponseReader::default().read(response, true).map(|(_, progress)| progress);
    assert!(matches!(progress, Ok(Progress::Complete { reusable: false, .. })), "{progress:?}");
}
