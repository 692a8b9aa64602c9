use super::*;
use crate::message::HeaderBlock;

fn lines(lines: &'static [u8]) -> Headers {
    Headers::from_lines(Bytes::from_static(lines))
}

fn all(headers: &Headers) -> Vec<(&str, Cow<'_, str>)> {
    headers.iter().collect()
}

#[test]
fn headers_keep_their_order_and_are_found_in_any_case() {
    for headers in [
        Headers::new([("Content-Type", "text/plain"), ("X", ""), ("x", "a:b")]),
        lines(b"Content-Type: text/plain\r\nX:\r\nx:a:b"),
    ] {
        assert_eq!(headers.get("content-type").as_deref(), Some("text/plain"));
        assert_eq!(headers.get("X").as_deref(), Some(""));
        assert_eq!(headers.get("absent"), None);
        let expected = [("Content-Type", "text/plain"), ("X", ""), ("x", "a:b")];
        assert_eq!(all(&headers), expected.map(|(name, value)| (name, value.into())));
        assert_eq!(headers.left_out(), 0);
    }
    assert!(Headers::default().is_empty());
    assert_eq!(Headers::default().get("X"), None);
}

#[test]
fn what_cannot_be_a_header_is_left_out_and_known() {
    let cases: [(&[u8], usize); 12] = [
        (b"no colon\r\n", 1),
        (b": no name\r\n", 1),
        (b"a name: x\r\n", 1),
        (b"name : x\r\n", 1),
        (b" begins with a blank: x\r\n", 1),
        (b"na\rme: x\r\n", 1),
        (b"na\nme: x\r\n", 1),
        (b"na\0me: x\r\n", 1),
        (b"na\xffme: x\r\n", 1),
        ("Zo\u{eb}: x\r\n".as_bytes(), 1),
        (b"\r\r\n\n\r\n", 2),
        (b"\r\n\r\n\r\n", 0),
    ];
    for (odd, left_out) in cases {
        let around = [b"A: 1\r\n".as_slice(), b"B: 2\r\n"];
        // A line that begins with a blank continues what is before it.
        let continues = odd.starts_with(b" ");
        let bytes = if continues { [odd, around[0], around[1]] } else { [around[0], odd, around[1]] };
        let headers = Headers::from_lines(bytes.concat().into());
        let odd = String::from_utf8_lossy(odd);
        assert_eq!(all(&headers), [("A", "1".into()), ("B", "2".into())], "{odd:?}");
        assert_eq!(headers.left_out(), left_out, "{odd:?}");
        assert_eq!(headers.get("b").as_deref(), Some("2"), "{odd:?}");
    }
}

#[test]
fn a_value_is_one_line_of_text_whatever_it_was() {
    let cases: [(&[u8], &str); 12] = [
        (b" a\rb ", "a b"),
        (b"a\nB: c", "a B: c"),
        (b"a\n\rB: c", "a  B: c"),
        (b"\ta\t\r\n", "a"),
        (b"a\r\n b\r\n\tc", "a b\tc"),
        (b"a\r\r\n b", "a  b"),
        (b"a\n b", "a  b"),
        (b"\r\n \r\n a", "a"),
        (b"a\xff\xfeb", "a\u{fffd}\u{fffd}b"),
        (b"Zo\xc3\xab \xc3", "Zo\u{eb} \u{fffd}"),
        (b"a\0\x1bb", "a\0\x1bb"),
        (b"", ""),
    ];
    for (value, text) in cases {
        let headers = Headers::from_lines([b"X:", value, b"\r\nB: 2\r\n"].concat().into());
        let value = String::from_utf8_lossy(value);
        if !value.ends_with("\r\n") {
            assert_eq!(all(&headers), [("X", text.into()), ("B", "2".into())], "{value:?}");
        }
        assert_eq!(headers.get("x").as_deref(), Some(text), "{value:?}");
        assert_eq!(headers.get("b").as_deref(), Some("2"), "{value:?}");
        assert_eq!(headers.left_out(), 0, "{value:?}");
    }
}

#[test]
fn bytes_of_a_value_are_as_they_came() {
    let headers = lines(b"Nats-Msg-Id:  a\rb\xff \r\n");
    assert_eq!(headers.get_bytes("nats-msg-id"), Some(&b"a\rb\xff"[..]));
}

#[test]
fn a_line_break_in_a_header_makes_no_second_header() {
    let headers = Headers::new([("a", "1\r\nb:2"), ("c\r\nd", "3"), ("", "4")]);
    assert_eq!(all(&headers), [("a", "1  b:2".into())]);
    assert_eq!(headers.left_out(), 0);
}

#[test]
fn headers_are_the_same_after_a_journey() {
    let headers = lines(b"A: 1\rx\r\nodd\r\nB:\xff\r\n 2\r\nC: x:y\r\n");
    let parcel = headers.to_parcel();
    assert_eq!(parcel, b"A:1 x\nB:\xff 2\nC:x:y\n");
    let arrived = Headers::from_parcel(&parcel);
    assert_eq!(all(&arrived), all(&headers));
    assert_eq!(arrived.get_bytes("b"), Some(&b"\xff 2"[..]));
    assert_eq!(arrived.to_parcel(), parcel);
    assert!(Headers::from_parcel(b"").is_empty() && Headers::from_parcel(b"no colon\n\n:\n").is_empty());
}

#[test]
fn a_block_is_valid_whatever_is_put_in() {
    let mut block = HeaderBlock::new();
    assert!(block.is_empty());
    assert_eq!(block.as_bytes(), b"NATS/1.0\r\n\r\n");
    assert!(block.put("A", "1") && block.put("B", b"x\r\nC: \xff\r\n\r\n"));
    for name in ["", " ", "a b", "a:b", "a\r", "a\n", "a\0", "\u{eb}", "\u{7f}"] {
        assert!(!block.put(name, "x"), "{name:?}");
    }
    assert!(!block.is_empty());
    assert_eq!(block.as_bytes(), "NATS/1.0\r\nA: 1\r\nB: x  C: \u{fffd}    \r\n\r\n".as_bytes());
}
