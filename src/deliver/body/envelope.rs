//! The envelope: one JSON object with all that there is to know of a message.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;

use super::json::{self, Shown};
use crate::{
    base::clock::{Time, timestamp},
    message::{Headers, Message},
};

/// The envelope of `message`, at an attempt that begins at `began`.
pub(super) fn make(message: &Message, began: Time) -> Vec<u8> {
    const NAMES: usize = 192;
    let mut envelope = Vec::with_capacity(NAMES + message.subject.len() + message.payload.len());
    append(&mut envelope, message, began);
    envelope
}

/// The same, appended to `body`.
pub(super) fn append(body: &mut Vec<u8>, message: &Message, began: Time) {
    field(body, b"{\"id\":", &Shown(&message.id));
    field(body, b",\"subject\":", &*message.subject);
    field(body, b",\"time\":", &Shown(timestamp(message.taken(began))));
    if let Some(ack) = &message.ack {
        field(body, b",\"stream\":", ack.stream());
        field(body, b",\"sequence\":", &ack.sequence());
    }
    field(body, b",\"headers\":", &values(&message.headers));
    match json::json(&message.payload) {
        Some(data) => {
            body.extend_from_slice(b",\"data\":");
            body.extend_from_slice(data.as_bytes());
        }
        None => {
            body.extend_from_slice(b",\"data_base64\":");
            json::put_base64(body, &message.payload);
        }
    }
    body.push(b'}');
}

fn field(body: &mut Vec<u8>, name: &[u8], value: &(impl Serialize + ?Sized)) {
    body.extend_from_slice(name);
    json::put(body, value);
}

/// All values of each header. Names are in lower case: publishers spell them as they like.
fn values(headers: &Headers) -> BTreeMap<String, Vec<Cow<'_, str>>> {
    let mut values = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in headers.iter() {
        values.entry(name.to_ascii_lowercase()).or_default().push(value);
    }
    values
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::message::{Id, acknowledgement::AckHandle};

    fn made(headers: Headers, payload: &[u8], reply: Option<&str>) -> String {
        let subject = Arc::from("todos.\"eu\"");
        let mut message =
            Message::new(Id::given("a\"b"), subject, headers, payload.to_vec().into(), Time::START);
        message.ack = reply.map(AckHandle::of);
        String::from_utf8(make(&message, Time::START)).unwrap()
    }

    #[test]
    fn it_says_all_there_is_to_know() {
        let headers = Headers::new([("X-A", "1"), ("Link", "\"x\""), ("x-a", "2")]);
        let reply = "$JS.ACK.TODOS.c.1.17.1.1700000000000000000.0";
        let envelope: Value = serde_json::from_str(&made(headers, b"{\"a\": 1}", Some(reply))).unwrap();
        let expected = json!({
            "id": "a\"b",
            "subject": "todos.\"eu\"",
            "time": "2023-11-14T22:13:20.000Z",
            "stream": "TODOS",
            "sequence": 17,
            "headers": { "x-a": ["1", "2"], "link": ["\"x\""] },
            "data": { "a": 1 },
        });
        assert_eq!(envelope, expected);
    }

    #[test]
    fn json_stands_in_it_byte_for_byte() {
        for data in
            ["123456789012345678901234567890.10", "{ \"a\" : 1,\"a\":2 }", "\"x\"", "null", " [1e400] "]
        {
            let envelope = made(Headers::default(), data.as_bytes(), None);
            assert!(envelope.ends_with(&format!(",\"headers\":{{}},\"data\":{data}}}")), "{envelope}");
        }
    }

    #[test]
    fn what_is_no_json_is_encoded() {
        for (payload, encoded) in
            [(&b""[..], ""), (b"hello", "aGVsbG8="), (b"\"\xff\"", "Iv8i"), (b"{},\"id\":1", "e30sImlkIjox")]
        {
            let envelope: Value = serde_json::from_str(&made(Headers::default(), payload, None)).unwrap();
            assert_eq!((&envelope["data_base64"], &envelope["id"]), (&json!(encoded), &json!("a\"b")));
        }
    }
}
