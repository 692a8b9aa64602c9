//! Requests, answers and windows.

use super::*;

#[test]
fn requests_go_out_together_and_answers_come_in_any_order() {
    let mut connection = settled(&[]);
    let streams: Vec<_> = (0..3).map(|_| open(&mut connection, b"{}")).collect();
    assert_eq!(streams, [1, 3, 5]);
    let sent = send_all(&mut connection);
    let expected: Vec<_> = streams
        .iter()
        .flat_map(|id| [(kind::HEADERS, flag::END_HEADERS, *id, 3), (kind::DATA, flag::END_STREAM, *id, 2)])
        .collect();
    assert_eq!(sent, expected);
    let answers = [
        headers(5, OK, true),
        headers(1, INTERNAL_ERROR, false),
        headers(3, OK, false),
        data(1, b"why", true),
    ];
    connection.receive(&answers.concat());
    assert_eq!(touched(&mut connection), [1, 3, 5]);
    assert_eq!(status(outcome(&mut connection, 5)), 200);
    let Some(Ok(refusal)) = outcome(&mut connection, 1) else { panic!("an answer") };
    assert_eq!(refusal.refusal.unwrap().excerpt.as_deref(), Some("why"));
    assert!(outcome(&mut connection, 3).is_none(), "its body has not ended");
    connection.receive(&data(3, b"", true));
    assert_eq!(status(outcome(&mut connection, 3)), 200);
    assert_eq!((connection.open_streams(), connection.to_send()), (0, b"".as_slice()));
}

#[test]
fn what_was_answered_before_changes_nothing() {
    let mut connection = settled(&[]);
    let blocks: [(&[u8], u16); 6] = [
        (OK, 200),
        (b"\x88\x00\x01a\x01b", 200),
        (b"\x89", 204),
        (INTERNAL_ERROR, 500),
        (b"\x8e\x0f\x26\x0230", 500),
        (OK, 200),
    ];
    for (block, expected) in blocks.into_iter().flat_map(|block| [block; 3]) {
        let id = open(&mut connection, b"{}");
        send_all(&mut connection);
        connection.receive(&headers(id, block, true));
        let Some(Ok(answer)) = outcome(&mut connection, id) else { panic!("an answer") };
        assert_eq!((answer.status, answer.odd), (expected, None));
        let asked = answer.refusal.and_then(|refusal| refusal.retry_after);
        assert_eq!(asked.is_some(), block.len() > 1 && expected == 500);
    }
    // The same behind a head is no head.
    let id = open(&mut connection, b"{}");
    send_all(&mut connection);
    connection.receive(&[headers(id, OK, false), headers(id, OK, true)].concat());
    assert_eq!(status(outcome(&mut connection, id)), 200);
}

#[test]
fn however_it_is_cut_it_says_the_same() {
    let padded = frame_of(kind::DATA, 0x8, 1, b"\x03one\0\0\0");
    let whole = [
        frame_of(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 9]),
        headers(1, b"\x08\x03103", false),
        frame_of(0xee, 0xff, 77, b"nobody knows"),
        frame_of(kind::HEADERS, 0, 1, b"\x8e\x00\x0bretry"),
        frame_of(kind::CONTINUATION, 0, 1, b"-after"),
        frame_of(kind::CONTINUATION, flag::END_HEADERS, 1, b"\x027\x30"),
        padded,
        frame_of(kind::PING, 0, 0, b"12345678"),
        data(1, b"two", false),
        headers(1, b"\x00\x01t\x01t", true),
        headers(3, OK, true),
    ];
    let whole = whole.concat();
    for cut in 0..=whole.len() {
        for step in [whole.len(), 1] {
            let mut connection = settled(&[]);
            let (first, second) = (open(&mut connection, b"{}"), open(&mut connection, b"{}"));
            send_all(&mut connection);
            let (front, back) = whole.split_at(cut);
            connection.receive(front);
            back.chunks(step).for_each(|part| connection.receive(part));
            let Some(Ok(answer)) = outcome(&mut connection, first) else { panic!("cut at {cut}") };
            let refusal = answer.refusal.unwrap();
            assert_eq!((answer.status, answer.odd), (500, None));
            assert_eq!(refusal.excerpt.as_deref(), Some("onetwo"));
            assert_eq!(status(outcome(&mut connection, second)), 200);
            assert_eq!(send_all(&mut connection), [(kind::PING, flag::ACK, 0, 8)]);
        }
    }
}

#[test]
fn a_body_goes_as_far_as_the_windows_allow() {
    let mut connection = settled(&[(4, 10)]);
    let body = [b'x'; 100];
    let id = open(&mut connection, &body);
    let length = |frames: &[(u8, u8, u32, usize)]| frames.last().map(|frame| (frame.0, frame.1, frame.3));
    assert_eq!(length(&send_all(&mut connection)), Some((kind::DATA, 0, 10)));
    // 10 are sent: a window of 4 makes 6 less than nothing.
    connection.receive(&settings_frame(&[(4, 4)]));
    connection.receive(&number(kind::WINDOW_UPDATE, id, 6));
    connection.send(id, &body);
    assert_eq!(length(&send_all(&mut connection)), Some((kind::SETTINGS, flag::ACK, 0)));
    connection.receive(&number(kind::WINDOW_UPDATE, id, 20));
    assert_eq!(touched(&mut connection), [id]);
    connection.send(id, &body);
    assert_eq!(length(&send_all(&mut connection)), Some((kind::DATA, 0, 20)));
    connection.receive(&settings_frame(&[(4, 1000)]));
    connection.send(id, &body);
    assert_eq!(length(&send_all(&mut connection)), Some((kind::DATA, flag::END_STREAM, 70)));
    connection.receive(&headers(id, OK, true));
    assert_eq!(status(outcome(&mut connection, id)), 200);
}

#[test]
fn all_bodies_together_keep_to_the_window_of_the_connection() {
    let mut connection = settled(&[(4, 1 << 20)]);
    let body = vec![b'x'; 50_000];
    let streams = [open(&mut connection, &body), open(&mut connection, &body)];
    let sent = |frames: Vec<(u8, u8, u32, usize)>| -> usize {
        frames.iter().filter(|frame| frame.0 == kind::DATA).map(|frame| frame.3).sum()
    };
    assert_eq!(sent(send_all(&mut connection)), 65_535);
    connection.receive(&number(kind::WINDOW_UPDATE, 0, 100_000));
    assert_eq!(touched(&mut connection), [streams[1]]);
    connection.send(streams[1], &body);
    assert_eq!(sent(send_all(&mut connection)), 100_000 - 65_535);
}

#[test]
fn a_large_body_does_not_fill_the_buffer() {
    let mut connection = settled(&[(4, 1 << 30)]);
    connection.receive(&number(kind::WINDOW_UPDATE, 0, 1 << 30));
    let body = vec![b'x'; 1 << 20];
    let id = open(&mut connection, &body);
    let (mut sent, mut turns) = (0, 0);
    while connection.streams[0].as_ref().is_none_or(|stream| stream.ends.is_none()) && turns < 100 {
        assert!(connection.to_send().len() <= HIGH_WATER + LARGEST + 100);
        sent += connection.to_send().len();
        let length = connection.to_send().len();
        connection.sent(length);
        assert_eq!(touched(&mut connection), [id]);
        connection.send(id, &body);
        turns += 1;
    }
    assert!(sent + connection.to_send().len() > body.len());
}

#[test]
fn an_early_delivery_counts_when_the_request_is_out_or_not_wanted() {
    let early = |then: &dyn Fn(&mut Connection, u32, &[u8])| {
        let mut connection = settled(&[(4, 10)]);
        let body = [b'x'; 30];
        let id = open(&mut connection, &body);
        send_all(&mut connection);
        connection.receive(&headers(id, OK, true));
        assert_eq!(touched(&mut connection), [id]);
        assert!(outcome(&mut connection, id).is_none(), "it counts too early");
        then(&mut connection, id, &body);
        outcome(&mut connection, id).unwrap()
    };
    let read = early(&|connection, id, body| {
        connection.receive(&number(kind::WINDOW_UPDATE, id, 20));
        connection.send(id, body);
        send_all(connection);
    });
    assert_eq!(read.unwrap().status, 200);
    let unwanted = early(&|connection, id, _| connection.receive(&number(kind::RST_STREAM, id, 0)));
    assert_eq!(unwanted.unwrap().status, 200);
    let broken = early(&|connection, id, _| connection.receive(&number(kind::RST_STREAM, id, 2)));
    assert!(cause(&broken.unwrap_err()).contains("though it was answered"));
    let lost = early(&|connection, _, _| connection.lost(Failure::Reset.into(), false));
    assert!(lost.is_err());
}

#[test]
fn an_early_refusal_counts_at_once_and_ends_the_sending() {
    let mut connection = settled(&[(4, 10)]);
    let id = open(&mut connection, &[b'x'; 30]);
    send_all(&mut connection);
    connection.receive(&headers(id, INTERNAL_ERROR, true));
    assert_eq!(status(outcome(&mut connection, id)), 500);
    assert_eq!(send_all(&mut connection), [(kind::RST_STREAM, 0, id, 4)]);
}

#[test]
fn a_cancelled_request_frees_its_stream_and_what_comes_for_it_is_ignored() {
    let mut connection = settled(&[(3, 1)]);
    let id = open(&mut connection, b"{}");
    assert!(!connection.can_open());
    send_all(&mut connection);
    connection.close(id);
    assert_eq!(send_all(&mut connection), [(kind::RST_STREAM, 0, id, 4)]);
    assert!(connection.can_open());
    let late = [headers(id, OK, false), data(id, b"late", true), number(kind::WINDOW_UPDATE, id, 5)];
    connection.receive(&late.concat());
    assert!(connection.is_of_use() && touched(&mut connection).is_empty());
}

#[test]
fn no_more_streams_are_opened_than_the_server_allows_at_the_time() {
    let mut connection = settled(&[(3, 2)]);
    let (first, second) = (open(&mut connection, b"{}"), open(&mut connection, b"{}"));
    assert!(connection.open(|_, _| {}, b"").is_none());
    connection.receive(&settings_frame(&[(3, 1)]));
    send_all(&mut connection);
    connection.receive(&headers(first, OK, true));
    outcome(&mut connection, first).unwrap().unwrap();
    assert!(!connection.can_open());
    connection.receive(&headers(second, OK, true));
    outcome(&mut connection, second).unwrap().unwrap();
    assert!(connection.can_open());
    connection.receive(&settings_frame(&[(3, 0)]));
    assert!(!connection.can_open() && connection.is_of_use());
}

#[test]
fn a_stream_that_lasts_keeps_its_place_and_used_up_numbers_end_the_connection() {
    let mut connection = settled(&[]);
    let first = open(&mut connection, b"{}");
    for _ in 0..500 {
        let id = open(&mut connection, b"{}");
        send_all(&mut connection);
        connection.receive(&headers(id, OK, true));
        assert_eq!(status(outcome(&mut connection, id)), 200);
    }
    connection.receive(&headers(first, INTERNAL_ERROR, true));
    assert_eq!(status(outcome(&mut connection, first)), 500);
    connection.next = LAST_STREAM;
    let last = open(&mut connection, b"{}");
    assert!(connection.open(|_, _| {}, b"").is_none());
    send_all(&mut connection);
    connection.receive(&headers(last, OK, true));
    assert_eq!(status(outcome(&mut connection, last)), 200);
    assert!(connection.is_over());
}
