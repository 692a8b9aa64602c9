//! How streams and connections end, and what a server must not do.

use super::*;

#[test]
fn a_goaway_gives_back_what_lies_above_it_and_waits_for_the_rest() {
    let mut connection = settled(&[]);
    let streams: Vec<_> = (0..3).map(|_| open(&mut connection, b"{}")).collect();
    send_all(&mut connection);
    connection.receive(&goaway(LAST_STREAM, Code::NO_ERROR));
    assert!(!connection.can_open() && touched(&mut connection).is_empty());
    connection.receive(&goaway(3, Code::NO_ERROR));
    assert_eq!(touched(&mut connection), [5]);
    let Some(Err(error @ ExchangeError::NotSent(_))) = outcome(&mut connection, streams[2]) else {
        panic!("given back")
    };
    assert!(cause(&error).contains("GOAWAY NO_ERROR"), "{error:?}");
    connection.receive(&[headers(1, OK, true), headers(3, OK, true)].concat());
    assert_eq!(status(outcome(&mut connection, 1)), 200);
    assert!(!connection.is_over());
    assert_eq!(status(outcome(&mut connection, 3)), 200);
    assert!(connection.is_over() && connection.fault().is_none());
    assert_eq!(send_all(&mut connection), [(kind::GOAWAY, 0, 0, 8)]);
}

#[test]
fn a_reset_counts_by_what_it_says() {
    let reset = |code: Code, before: &[u8]| {
        let mut connection = settled(&[]);
        let id = open(&mut connection, b"{}");
        send_all(&mut connection);
        connection.receive(before);
        connection.receive(&number(kind::RST_STREAM, id, code.0));
        let outcome = outcome(&mut connection, id).unwrap();
        assert!(connection.to_send().is_empty() && connection.can_open());
        outcome
    };
    assert!(matches!(reset(Code::REFUSED_STREAM, b""), Err(ExchangeError::NotSent(_))));
    assert!(matches!(reset(Code::CANCEL, b""), Err(ExchangeError::Failed(_))));
    let Err(error) = reset(Code::HTTP_1_1_REQUIRED, b"") else { panic!("an error") };
    assert!(cause(&error).contains("webhook.http"), "{error:?}");
    let odd = reset(Code::PROTOCOL_ERROR, &headers(1, OK, false)).unwrap();
    assert_eq!((odd.status, odd.odd), (200, Some("the stream was reset within the answer")));
    assert_eq!(reset(Code::NO_ERROR, &headers(1, INTERNAL_ERROR, true)).unwrap().odd, None);
}

#[test]
fn what_was_not_sent_can_be_sent_again_when_the_connection_is_lost() {
    let mut connection = settled(&[]);
    let first = open(&mut connection, b"{}");
    send_all(&mut connection);
    let (second, third) = (open(&mut connection, b"{}"), open(&mut connection, b"{}"));
    // A byte of the second has gone.
    connection.sent(1);
    connection.lost(Failure::Reset.into(), false);
    assert!(matches!(outcome(&mut connection, first), Some(Err(ExchangeError::Failed(_)))));
    assert!(matches!(outcome(&mut connection, second), Some(Err(ExchangeError::Failed(_)))));
    assert!(matches!(outcome(&mut connection, third), Some(Err(ExchangeError::NotSent(_)))));
}

#[test]
fn what_was_sent_over_a_silent_connection_and_not_acknowledged_can_be_too() {
    for heard in [false, true] {
        let mut connection = settled(&[]);
        connection.begin_trial();
        connection.ping(Time::from_nanos(7));
        let id = open(&mut connection, b"{}");
        send_all(&mut connection);
        if heard {
            connection.receive(&frame_of(kind::PING, flag::ACK, 0, &7_u64.to_be_bytes()));
            assert_eq!((connection.is_on_trial(), connection.pinged()), (false, None));
        }
        connection.lost(Failure::Reset.into(), true);
        let again = matches!(outcome(&mut connection, id), Some(Err(ExchangeError::NotAcknowledged(_))));
        assert_eq!(again, !heard);
    }
}

#[test]
fn a_header_that_is_too_large_leaves_the_status() {
    let field = [b"\x00\x01a\x7f\xa1\x1f".as_slice(), &vec![b'x'; 4128]].concat();
    let mut connection = settled(&[]);
    let (id, other) = (open(&mut connection, b"{}"), open(&mut connection, b"{}"));
    send_all(&mut connection);
    connection.receive(&frame_of(kind::HEADERS, flag::END_STREAM, id, OK));
    for _ in 0..20 {
        connection.receive(&frame_of(kind::CONTINUATION, 0, id, &field));
    }
    connection.receive(&frame_of(kind::CONTINUATION, flag::END_HEADERS, id, b""));
    connection.receive(&headers(other, OK, true));
    assert!(connection.can_open());
    let answer = outcome(&mut connection, id).unwrap().unwrap();
    assert_eq!((answer.status, answer.odd), (200, Some("the header is too large")));
    assert_eq!(outcome(&mut connection, other).unwrap().unwrap().odd, None);
}

#[test]
fn a_body_that_is_too_long_ends_the_answer() {
    let mut connection = settled(&[]);
    let id = open(&mut connection, b"{}");
    send_all(&mut connection);
    connection.receive(&headers(id, OK, false));
    for _ in 0..5 {
        connection.receive(&data(id, &[b'x'; LARGEST], false));
    }
    let answer = outcome(&mut connection, id).unwrap().unwrap();
    assert_eq!((answer.status, answer.odd), (200, None));
    assert_eq!(send_all(&mut connection), [(kind::RST_STREAM, 0, id, 4)]);
}

#[test]
fn answers_that_are_none_fail_their_request_and_no_other() {
    let bad: [Vec<u8>; 8] = [
        data(1, b"x", true),
        headers(1, b"", true),
        headers(1, b"\x08\x03abc", true),
        headers(1, &[0xbe], true),
        headers(1, b"\x08\x03103", true),
        headers(1, b"\x08\x03101", false),
        headers(1, b"\x08\x03103", false).repeat(9),
        number(kind::WINDOW_UPDATE, 1, 0),
    ];
    for bad in bad {
        let mut connection = settled(&[]);
        let (id, other) = (open(&mut connection, b"{}"), open(&mut connection, b"{}"));
        send_all(&mut connection);
        connection.receive(&bad);
        let Some(Err(ExchangeError::Failed(fault))) = outcome(&mut connection, id) else {
            panic!("{bad:x?}")
        };
        assert_eq!(fault.failure, Failure::Protocol);
        connection.receive(&headers(other, OK, true));
        assert_eq!(status(outcome(&mut connection, other)), 200);
    }
}

#[test]
fn what_follows_a_clear_status_is_odd_at_most() {
    for bad in [headers(1, OK, false), headers(1, &[0xff, 0xff], false)] {
        let mut connection = settled(&[]);
        let id = open(&mut connection, b"{}");
        send_all(&mut connection);
        connection.receive(&[headers(id, OK, false), bad].concat());
        let answer = outcome(&mut connection, id).unwrap().unwrap();
        assert!(answer.status == 200 && answer.odd.is_some(), "{answer:?}");
    }
    // Who counts on a table of ours gets no more requests.
    let mut connection = settled(&[]);
    let id = open(&mut connection, b"{}");
    send_all(&mut connection);
    connection.receive(&headers(id, &[0x88, 0xbe], false));
    assert!(outcome(&mut connection, id).unwrap().unwrap().odd.is_some());
    assert!(connection.is_over());
}

#[test]
fn a_broken_rule_ends_the_connection_and_says_which() {
    let bad: [(Vec<u8>, Code); 22] = [
        (frame_of(kind::DATA, 0, 0, b"x"), Code::PROTOCOL_ERROR),
        (data(2, b"x", true), Code::PROTOCOL_ERROR),
        (data(9, b"x", true), Code::PROTOCOL_ERROR),
        (headers(9, OK, true), Code::PROTOCOL_ERROR),
        (number(kind::RST_STREAM, 9, 0), Code::PROTOCOL_ERROR),
        (number(kind::WINDOW_UPDATE, 9, 1), Code::PROTOCOL_ERROR),
        (number(kind::WINDOW_UPDATE, 0, 0), Code::FLOW_CONTROL_ERROR),
        (number(kind::WINDOW_UPDATE, 0, u32::MAX), Code::FLOW_CONTROL_ERROR),
        (settings_frame(&[(2, 1)]), Code::PROTOCOL_ERROR),
        (settings_frame(&[(4, u32::MAX)]), Code::FLOW_CONTROL_ERROR),
        (settings_frame(&[(5, 16_383)]), Code::PROTOCOL_ERROR),
        (settings_frame(&[(5, 1 << 24)]), Code::PROTOCOL_ERROR),
        (frame_of(kind::SETTINGS, 0, 0, b"x"), Code::FRAME_SIZE_ERROR),
        (frame_of(5, flag::END_HEADERS, 1, b"\0\0\0\x02"), Code::PROTOCOL_ERROR),
        (frame_of(kind::CONTINUATION, flag::END_HEADERS, 1, OK), Code::PROTOCOL_ERROR),
        ([frame_of(kind::HEADERS, 0, 1, OK), data(1, b"x", true)].concat(), Code::PROTOCOL_ERROR),
        (
            [frame_of(kind::HEADERS, 0, 1, OK), frame_of(kind::CONTINUATION, 4, 3, b"")].concat(),
            Code::PROTOCOL_ERROR,
        ),
        (frame::head(LARGEST + 1, kind::DATA, 0, 1).to_vec(), Code::FRAME_SIZE_ERROR),
        (frame_of(kind::PING, 0, 0, b"x"), Code::FRAME_SIZE_ERROR),
        (frame_of(kind::GOAWAY, 0, 0, b"x"), Code::FRAME_SIZE_ERROR),
        (frame_of(kind::DATA, 8, 1, b"\x09x"), Code::PROTOCOL_ERROR),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Code::FRAME_SIZE_ERROR),
    ];
    for (bad, code) in bad {
        let mut connection = settled(&[]);
        let (id, unsent) = (open(&mut connection, b"{}"), 3);
        send_all(&mut connection);
        assert_eq!(open(&mut connection, b"{}"), unsent);
        connection.receive(&bad);
        assert!(connection.is_over(), "{bad:x?}");
        assert!(
            connection.to_send().ends_with(&code.0.to_be_bytes()),
            "{bad:x?}: {:?}",
            connection.to_send()
        );
        let Some(Err(ExchangeError::Failed(fault))) = outcome(&mut connection, id) else {
            panic!("{bad:x?}")
        };
        assert!(fault.cause.is_some_and(|cause| cause.starts_with("HTTP/2: ")));
        assert!(matches!(outcome(&mut connection, unsent), Some(Err(ExchangeError::NotSent(_)))));
    }
}

#[test]
fn floods_end() {
    let floods = [
        frame_of(kind::PING, 0, 0, b"12345678"),
        settings_frame(&[]),
        data(1, b"", false),
        frame_of(kind::DATA, 0x8, 1, &[0]),
        number(kind::RST_STREAM, 1, 8),
        number(kind::WINDOW_UPDATE, 0, 1),
        frame_of(2, 0, 1, &[0; 5]),
        frame_of(0x77, 0, 0, b""),
        data(1, b"gone", false),
    ];
    for flood in floods {
        let mut connection = settled(&[]);
        let (gone, id) = (open(&mut connection, b"{}"), open(&mut connection, b"{}"));
        connection.close(gone);
        connection.receive(&flood.repeat(2000));
        assert!(connection.is_over(), "{flood:x?}");
        assert!(connection.to_send().ends_with(&Code::ENHANCE_YOUR_CALM.0.to_be_bytes()));
        assert!(connection.to_send().len() < 20_000);
        assert!(outcome(&mut connection, id).unwrap().is_err());
    }
    let mut connection = settled(&[]);
    open(&mut connection, b"{}");
    connection.receive(&frame_of(kind::HEADERS, 0, 1, OK));
    connection.receive(&frame_of(kind::CONTINUATION, 0, 1, b"").repeat(2000));
    assert!(connection.is_over());
}

#[test]
fn what_does_not_begin_with_settings_is_not_http_2() {
    for first in [frame_of(kind::PING, 0, 0, b"12345678"), b"HTTP/1.1 400 Bad Request\r\n".to_vec()] {
        let mut connection = Connection::new(64, None);
        connection.receive(&first);
        let cause = connection.fault().and_then(|fault| fault.cause.clone());
        assert_eq!(cause.as_deref(), Some("HTTP/2: what listens there does not speak it"));
    }
}
