use super::*;

/// What `bytes` say, of which `step` more arrive each time.
fn read(bytes: &[u8], step: usize) -> Result<Vec<Operation>, ProtocolError> {
    let mut reader = Reader::default();
    let mut operations = Vec::new();
    for arrived in bytes.chunks(step) {
        reader.room().extend_from_slice(arrived);
        while let Some(operation) = reader.next()? {
            operations.push(operation);
        }
    }
    Ok(operations)
}

/// The only operation in `bytes`, which is the same wherever they are cut.
fn only(bytes: &[u8]) -> Operation {
    let [operation] = read(bytes, bytes.len()).unwrap().try_into().unwrap();
    for cut in 1..bytes.len() {
        let mut reader = Reader::default();
        let (before, behind) = bytes.split_at(cut);
        reader.room().extend_from_slice(before);
        assert!(reader.next().unwrap().is_none(), "complete after {cut} of {:?}", excerpt(bytes));
        reader.room().extend_from_slice(behind);
        let again = reader.next().unwrap().unwrap();
        assert_eq!(format!("{again:?}"), format!("{operation:?}"), "cut after {cut}");
        assert!(reader.is_empty());
    }
    operation
}

fn message(bytes: &[u8]) -> Incoming {
    match only(bytes) {
        Operation::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_is_read() {
    let message = message(b"MSG todos.events 17 5\r\nhe\r\no\r\n");
    assert_eq!((&*message.subject(), message.sid(), message.reply()), ("todos.events", 17, None));
    assert_eq!(message.payload(), "he\r\no");
    assert!(message.headers().is_empty());
    assert_eq!((message.status(), message.description()), (None, ""));
    assert_eq!(message.length(), 12 + 5);
    let (headers, payload) = message.into_parts();
    assert!(headers.is_empty() && payload == "he\r\no");
}

#[test]
fn a_message_with_a_reply_and_headers_is_read() {
    let message = message(b"HMSG a 1 _INBOX.x 26 29\r\nNATS/1.0\r\nX: y\r\nX-Z: 2\r\n\r\nabc\r\n");
    assert_eq!((&*message.subject(), message.sid(), message.reply()), ("a", 1, Some("_INBOX.x")));
    assert_eq!(message.payload(), "abc");
    assert_eq!(message.headers().as_bytes(), b"X: y\r\nX-Z: 2\r\n");
    assert_eq!(message.header("x-z").as_deref(), Some("2"));
    assert_eq!(message.status(), None);
    assert_eq!(message.length(), 1 + 8 + 29);
    let (headers, payload) = message.into_parts();
    assert_eq!((headers.get("x").as_deref(), &*payload), (Some("y"), &b"abc"[..]));
}

#[test]
fn a_status_is_read() {
    let cases: [(&[u8], Option<u16>, &str); 12] = [
        (b"NATS/1.0 503\r\n\r\n", Some(503), ""),
        (b"NATS/1.0 503 No Responders\r\n\r\n", Some(503), "No Responders"),
        (b"NATS/1.0\t404   No  Messages \r\nA: b\r\n\r\n", Some(404), "No  Messages"),
        (b"NATS/1.0503 x\r\n\r\n", Some(503), "x"),
        (b"NATS/1.0 5030\r\n\r\n", None, ""),
        (b"NATS/1.0 50\r\n\r\n", None, ""),
        (b"NATS/1.0 5a3 x\r\n\r\n", None, "x"),
        (b"NATS/1.0 503 \xff\r\n\r\n", Some(503), ""),
        (b"NATS/1.0 999", Some(999), ""),
        (b"NATS/1.0", None, ""),
        (b"NATS/2.0 503\r\n\r\n", None, ""),
        (b"\r\n", None, ""),
    ];
    for (block, status, description) in cases {
        let line = format!("HMSG a 1 {0} {0}\r\n", block.len());
        let message = message(&[line.as_bytes(), block, b"\r\n"].concat());
        let block = String::from_utf8_lossy(block);
        assert_eq!((message.status(), message.description()), (status, description), "{block:?}");
        assert_eq!(message.payload(), "", "{block:?}");
    }
}

#[test]
fn odd_header_blocks_are_no_errors() {
    let cases: [(&[u8], &[u8]); 8] = [
        (b"NATS/1.0\r\nA: b\r\n\r\n", b"A: b\r\n"),
        (b"NATS/1.0\r\nA: b\r\n", b"A: b"),
        (b"NATS/1.0\r\nA: b", b"A: b"),
        (b"NATS/1.0\r\n\r\n", b""),
        (b"NATS/1.0\r\n", b""),
        (b"A: b\r\n\r\n", b"A: b\r\n"),
        (b"\xff\0\r", b"\xff\0\r"),
        (b"", b""),
    ];
    for (block, lines) in cases {
        let line = format!("HMSG a 1 {} {}\r\n", block.len(), block.len() + 1);
        let message = message(&[line.as_bytes(), block, b"x\r\n"].concat());
        assert_eq!(message.headers().as_bytes(), lines, "{:?}", excerpt(block));
        assert_eq!(message.payload(), "x");
    }
}

#[test]
fn odd_subjects_are_no_errors() {
    let odd = message(b"MSG \xff\r\x01 1 \xfe 0\r\n\r\n");
    assert_eq!((odd.subject_bytes(), &*odd.subject()), (&b"\xff\r\x01"[..], "\u{fffd}\r\x01"));
    assert_eq!((odd.reply(), odd.payload()), (None, Bytes::new()));
}

#[test]
fn whatever_clients_take_is_taken() {
    for line in ["msg a 1 1\r\n", "MSG\ta\t1\t1\r\n", "MSG  a \t 1  000000000000000001 \r\n", "MsG a 1 1\n"] {
        let message = message(&[line.as_bytes(), b"x\r\n"].concat());
        assert_eq!((&*message.subject(), message.sid(), message.payload()), ("a", 1, "x".into()), "{line:?}");
    }
    for line in ["PING\r\n", "ping\r\n", "PING \r\n", "PING now\r\n", "PING\n"] {
        assert!(matches!(only(line.as_bytes()), Operation::Ping), "{line:?}");
    }
    assert!(matches!(only(b"PONG\r\n"), Operation::Pong));
    assert!(matches!(only(b"+ok\r\n"), Operation::Ok));
    for (line, words) in [
        ("-ERR 'Authorization Violation'\r\n", "Authorization Violation"),
        ("-ERR  it's\r\n", "it's"),
        ("-ERR\r\n", ""),
        ("-err '\r\n", "'"),
    ] {
        assert!(matches!(only(line.as_bytes()), Operation::Error(said) if said == words), "{line:?}");
    }
    assert!(matches!(only(b"INFO {\"a\": 1} \r\n"), Operation::Info(json) if json == "{\"a\": 1}"));
}

#[test]
fn what_is_no_operation_is_named() {
    let cases: [(&[u8], ProtocolError); 19] = [
        (b"HTTP/1.1 400 Bad Request\r\n", ProtocolError::Unknown(String::new())),
        (b"\x15\x03\x03\0\x02\x02\x28", ProtocolError::Unknown(String::new())),
        (b"\r\n", ProtocolError::Unknown(String::new())),
        (b" PING\r\n", ProtocolError::Unknown(String::new())),
        (b"MSGS a 1 1\r\nx\r\n", ProtocolError::Unknown(String::new())),
        (b"MSG\r\n", ProtocolError::Line(String::new())),
        (b"MSG a 1\r\n", ProtocolError::Line(String::new())),
        (b"MSG a 1 b 2 3\r\n", ProtocolError::Line(String::new())),
        (b"MSG a 1 b 2 3 4 5\r\n", ProtocolError::Line(String::new())),
        (b"HMSG a 1 2\r\n", ProtocolError::Line(String::new())),
        (b"MSG a b 1\r\n", ProtocolError::Line(String::new())),
        (b"MSG a 1 +1\r\n", ProtocolError::Line(String::new())),
        (b"MSG a 1 -1\r\n", ProtocolError::Line(String::new())),
        (b"MSG a 1 99999999999999999999\r\n", ProtocolError::Line(String::new())),
        (b"MSG a 1 18446744073709551615\r\n", ProtocolError::Line(String::new())),
        (b"MSG a 1 999999999999999999\r\n", ProtocolError::TooLarge { size: 0, limit: 0 }),
        (b"HMSG a 1 2 1\r\nx\r\n", ProtocolError::Headers { headers: 2, size: 1 }),
        (b"MSG a 1 1\r\nxy\r\n", ProtocolError::NoEnd),
        (b"MSG a 1 1\r\nx\n\n", ProtocolError::NoEnd),
    ];
    for (bytes, expected) in cases {
        for step in 1..=bytes.len() {
            let error = read(bytes, step).expect_err(&excerpt(bytes));
            let is_it = std::mem::discriminant(&error) == std::mem::discriminant(&expected);
            assert!(is_it, "{error} by {step} of {:?}", excerpt(bytes));
        }
    }
}

#[test]
fn lines_have_an_end() {
    for line in [&b"INFO "[..], b"-ERR ", b"MSG "] {
        let mut bytes = [line, &vec![b'x'; 2 * LONGEST_LINE]].concat();
        for end in [&b""[..], b"\r\n"] {
            bytes.extend_from_slice(end);
            for step in [bytes.len(), 10_000] {
                assert!(matches!(read(&bytes, step), Err(ProtocolError::LineTooLong(_))));
            }
        }
    }
    // Longer than the server takes lines from clients, as it sends them.
    let subject = "a".repeat(5000);
    let bytes = format!("MSG {subject} 1 0\r\n\r\n");
    assert_eq!(read(bytes.as_bytes(), 1000).unwrap().len(), 1);
}

#[test]
fn the_servers_limit_counts_where_it_is_large() {
    let mut reader = Reader::default();
    let size = 100 << 20;
    let line = format!("MSG a 1 {size}\r\n");
    reader.room().extend_from_slice(line.as_bytes());
    assert!(matches!(reader.next(), Err(ProtocolError::TooLarge { .. })));
    reader.set_max_payload(size);
    assert!(reader.next().unwrap().is_none());
    reader.set_max_payload(usize::MAX);
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn a_claim_takes_no_memory() {
    let mut reader = Reader::default();
    let size = 60 << 20;
    reader.room().extend_from_slice(format!("MSG a 1 {size}\r\n").as_bytes());
    assert!(reader.next().unwrap().is_none());
    let mut sent = 0;
    while sent < size + 2 {
        let room = reader.room();
        assert!(room.capacity() <= (2 * room.len()).max(3 * BLOCK), "{} for {}", room.capacity(), room.len());
        let part = vec![b'x'; (room.capacity() - room.len()).min(size - sent)];
        sent += part.len();
        room.extend_from_slice(&part);
        if sent == size {
            reader.room().extend_from_slice(b"\r\n");
            sent += 2;
        }
    }
    assert!(
        matches!(reader.next(), Ok(Some(Operation::Message(message))) if message.payload().len() == size)
    );
}

#[test]
fn blocks_are_used_again_when_nobody_holds_what_is_in_them() {
    let mut reader = Reader::default();
    let message = format!("MSG a 1 1000\r\n{}\r\n", "x".repeat(1000));
    let mut blocks = std::collections::HashSet::new();
    let mut kept = Vec::new();
    for count in 0..1000 {
        let room = reader.room();
        assert!(room.capacity() - room.len() >= LEAST_ROOM);
        room.extend_from_slice(message.as_bytes());
        blocks.insert(room.as_ptr() as usize / BLOCK);
        while let Some(operation) = reader.next().unwrap() {
            if count >= 500 {
                kept.push(operation);
            }
        }
        if count == 499 {
            assert!(blocks.len() <= 2, "{} blocks", blocks.len());
        }
    }
    assert!(blocks.len() > 5, "{} blocks for messages that are held", blocks.len());
    assert!(
        kept.iter()
            .all(|kept| matches!(kept, Operation::Message(kept) if kept.payload() == "x".repeat(1000)))
    );
}

#[test]
fn a_large_block_does_not_stay_for_small_messages() {
    let mut reader = Reader::default();
    let mut read = |size: usize| {
        let bytes = format!("MSG a 1 {size}\r\n{}\r\n", "x".repeat(size));
        let mut count = 0;
        let mut bytes = bytes.as_bytes();
        while !bytes.is_empty() {
            let room = reader.room();
            let (now, later) = bytes.split_at(bytes.len().min(room.capacity() - room.len()));
            room.extend_from_slice(now);
            bytes = later;
            while reader.next().unwrap().is_some() {
                count += 1;
            }
        }
        assert_eq!(count, 1);
        reader.size
    };
    assert_eq!(read(10), BLOCK);
    let large = read(1 << 20);
    assert!(large > 1 << 20);
    assert_eq!(read(1 << 20), large, "used again for another large one");
    let sizes: Vec<_> = (0..2000).map(|_| read(1000)).collect();
    assert_eq!(sizes.last(), Some(&BLOCK));
}

#[test]
fn many_operations_are_read_however_they_arrive() {
    let bytes = b"INFO {}\r\nPING\r\nMSG a 1 2\r\nxy\r\nHMSG b 2 r 14 15\r\nNATS/1.0\r\n\r\n\r\nz\r\n+OK\r\nPONG\r\n-ERR 'x'\r\n";
    let whole = read(bytes, bytes.len()).unwrap();
    assert_eq!(whole.len(), 7);
    for step in 1..bytes.len() {
        assert_eq!(format!("{:?}", read(bytes, step).unwrap()), format!("{whole:?}"), "by {step}");
    }
}
