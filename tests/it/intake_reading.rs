//! What must hold of reading any bytes at all as what a NATS server says. Shared by the tests and the fuzz target.

use broadcaster::message::{HeaderBlock, Headers};
use broadcaster::nats::intake::{Incoming, Operation, ProtocolError, Reader};

/// What `bytes` say, of which `step` more arrive each time, and what ends it.
pub(crate) fn read(bytes: &[u8], step: usize) -> (Vec<Operation>, Option<ProtocolError>) {
    let mut reader = Reader::default();
    let mut operations = Vec::new();
    for arrived in bytes.chunks(step) {
        let room = reader.room();
        assert!(room.len() < room.capacity(), "there is no room");
        room.extend_from_slice(arrived);
        loop {
            match reader.next() {
                Ok(Some(operation)) => operations.push(operation),
                Ok(None) => break,
                Err(error) => {
                    let again = reader.next().expect_err("an error is final");
                    assert_eq!(again, error);
                    return (operations, Some(error));
                }
            }
        }
    }
    (operations, None)
}

/// No panic, the same operations and the same end however the bytes arrive, and headers that are safe to pass on. The first
/// byte of `input` says in what pieces.
pub(crate) fn check(input: &[u8]) {
    let Some((step, bytes)) = input.split_first() else { return };
    let (operations, end) = read(bytes, bytes.len().max(1));
    let said = format!("{operations:?}");
    for step in [usize::from(*step).max(1), 1] {
        let (again, other_end) = read(bytes, step);
        assert_eq!(format!("{again:?}"), said, "by {step}");
        // What an error quotes may have arrived only in part.
        let kind = |end: &Option<ProtocolError>| end.as_ref().map(std::mem::discriminant);
        assert_eq!(kind(&other_end), kind(&end), "{other_end:?} by {step}, {end:?} whole");
    }
    for operation in operations {
        if let Operation::Message(message) = operation {
            check_message(message);
        }
    }
    // Most inputs are no messages, but any bytes may be headers.
    check_headers(&Headers::from_lines(bytes.to_vec().into()));
    check_block(bytes);
}

fn check_message(message: Incoming) {
    let headers = message.headers();
    check_headers(&headers);
    assert!(message.status().is_none_or(|status| status < 1000));
    assert!(message.description().len() <= message.length());
    assert!(!message.subject().contains([' ', '\t', '\n']), "{:?}", message.subject());
    for (name, _) in headers.iter().take(3) {
        assert_eq!(message.header(name).as_deref(), headers.get(name).as_deref());
    }
    let payload = message.payload();
    assert!(payload.len() <= message.length());
    assert_eq!(message.into_parts(), (headers, payload));
}

fn check_headers(headers: &Headers) {
    let all: Vec<_> = headers.iter().collect();
    let mut block = HeaderBlock::new();
    for (name, value) in &all {
        assert!(!value.contains(['\r', '\n']), "{value:?}");
        let first = all.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        assert_eq!(headers.get(name).as_ref(), first.map(|(_, value)| value), "{name}");
        assert!(block.put(name, &**value), "{name:?} is a name and can't be one");
    }
    let lines = headers.as_bytes().split(|byte| *byte == b'\n').count();
    assert!(all.len() + headers.left_out() <= lines);
    // Both ways that headers travel bring the same ones.
    let owned = |headers: &Headers| -> Vec<_> {
        headers.iter().map(|(name, value)| (name.to_owned(), value.into_owned())).collect()
    };
    assert_eq!(owned(&read_block(&block)), owned(headers));
    let parcel = headers.to_parcel();
    let arrived = Headers::from_parcel(&parcel);
    assert_eq!((owned(&arrived), arrived.left_out()), (owned(headers), 0));
    assert_eq!(arrived.to_parcel(), parcel);
}

/// The headers of `block`, which is valid.
fn read_block(block: &HeaderBlock) -> Headers {
    let bytes = block.as_bytes();
    let text = str::from_utf8(bytes).expect("a block is UTF-8");
    let lines = text.strip_prefix("NATS/1.0\r\n").and_then(|lines| lines.strip_suffix("\r\n"));
    let lines = lines.expect("a block begins with a version and ends with an empty line");
    for line in lines.split_terminator("\r\n") {
        let (name, value) = line.split_once(": ").expect("each line is a header");
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
        assert!(!value.contains(['\r', '\n']), "{value:?}");
    }
    let headers = Headers::from_lines(lines.as_bytes().to_vec().into());
    assert_eq!(headers.left_out(), 0);
    headers
}

/// Any name and any value make a valid block.
fn check_block(bytes: &[u8]) {
    let (name, value) = bytes.split_at(bytes.len() / 4);
    let mut block = HeaderBlock::new();
    let added = str::from_utf8(name).is_ok_and(|name| block.put(name, value));
    assert!(block.put("Last", value));
    let headers = read_block(&block);
    assert_eq!(headers.iter().count(), 1 + usize::from(added));
    assert!(headers.get("Last").is_some());
}
