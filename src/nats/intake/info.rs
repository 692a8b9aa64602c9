//! What a NATS server says about itself: the JSON of `INFO`.
//!
//! It is read leniently. Servers of other versions, and those of others, say more, less and other things: a field that
//! is missing or odd is as if it had its usual value.

use serde_json::{Map, Value};

/// No more addresses are taken over. A cluster that has more of them has enough of those.
const MOST_URLS: usize = 256;
/// No text is longer, in bytes: what is longer is no name and no address.
const LONGEST: usize = 512;
/// What a server takes that does not say so: the usual limit.
const USUAL_PAYLOAD: usize = 1024 * 1024;

/// What a server has said about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::nats) struct ServerInfo {
    pub(in crate::nats) server_id: String,
    pub(in crate::nats) server_name: String,
    pub(in crate::nats) version: String,
    pub(in crate::nats) cluster: String,
    /// The domain of its streams, which is part of the subjects by which they are asked.
    pub(in crate::nats) domain: String,
    /// The number that it knows this connection by.
    pub(in crate::nats) client_id: u64,
    /// The largest message that it takes, in bytes: headers and payload.
    pub(in crate::nats) max_payload: usize,
    pub(in crate::nats) headers: bool,
    pub(in crate::nats) jetstream: bool,
    pub(in crate::nats) auth_required: bool,
    pub(in crate::nats) tls_required: bool,
    pub(in crate::nats) tls_available: bool,
    /// Whether it is about to stop.
    pub(in crate::nats) lame_duck: bool,
    /// What is to be signed at the login with an nkey.
    pub(in crate::nats) nonce: Option<String>,
    /// `host:port` of the servers of its cluster; none where it does not tell.
    pub(in crate::nats) connect_urls: Vec<String>,
}

impl ServerInfo {
    /// What `json` says; `None` where it is no JSON object.
    pub(in crate::nats) fn parse(json: &[u8]) -> Option<Self> {
        let fields = Fields(serde_json::from_slice(json).ok()?);
        Some(Self {
            server_id: fields.text("server_id"),
            server_name: fields.text("server_name"),
            version: fields.text("version"),
            cluster: fields.text("cluster"),
            domain: fields.text("domain"),
            client_id: fields.number("client_id").unwrap_or_default(),
            max_payload: fields
                .number("max_payload")
                .filter(|limit| *limit > 0)
                .map_or(USUAL_PAYLOAD, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            headers: fields.switch("headers"),
            jetstream: fields.switch("jetstream"),
            auth_required: fields.switch("auth_required"),
            tls_required: fields.switch("tls_required"),
            tls_available: fields.switch("tls_available"),
            lame_duck: fields.switch("ldm"),
            nonce: Some(fields.text("nonce")).filter(|nonce| !nonce.is_empty()),
            connect_urls: fields.texts("connect_urls"),
        })
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn text(&self, name: &str) -> String {
        self.0.get(name).and_then(text).unwrap_or_default()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    fn switch(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let list = self.0.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        list.iter().filter_map(text).take(MOST_URLS).collect()
    }
}

/// A text of one line that may be shown.
fn text(value: &Value) -> Option<String> {
    let good = |text: &&str| text.len() <= LONGEST && !text.contains(char::is_control);
    value.as_str().filter(good).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says() {
        let info = ServerInfo::parse(
            br#"{"server_id":"NB","server_name":"one","version":"2.15.0","proto":1,"headers":true,"host":"0.0.0.0",
                "port":4222,"max_payload":2097152,"client_id":7,"nonce":"AbC","auth_required":true,"jetstream":true,
                "tls_required":true,"tls_available":true,"ldm":true,"cluster":"c","domain":"hub",
                "connect_urls":["10.0.0.1:4222","[::1]:4222"],"something_new":{"a":[1]}}"#,
        );
        let expected = ServerInfo {
            server_id: "NB".to_owned(),
            server_name: "one".to_owned(),
            version: "2.15.0".to_owned(),
            cluster: "c".to_owned(),
            domain: "hub".to_owned(),
            client_id: 7,
            max_payload: 2 * 1024 * 1024,
            headers: true,
            jetstream: true,
            auth_required: true,
            tls_required: true,
            tls_available: true,
            lame_duck: true,
            nonce: Some("AbC".to_owned()),
            connect_urls: vec!["10.0.0.1:4222".to_owned(), "[::1]:4222".to_owned()],
        };
        assert_eq!(info, Some(expected));
    }

    #[test]
    fn what_is_missing_or_odd_is_as_usual() {
        let usual = ServerInfo { max_payload: USUAL_PAYLOAD, ..ServerInfo::default() };
        for json in [
            "{}",
            r#"{"max_payload":"1","headers":1,"nonce":5,"connect_urls":"a","ldm":null,"server_name":["a"]}"#,
            r#"{"max_payload":-1,"client_id":-1,"connect_urls":{},"nonce":""}"#,
            r#"{"max_payload":0,"version":"a\nb","server_name":"\u001b[2J","connect_urls":[1,null,"a\rb"]}"#,
        ] {
            assert_eq!(ServerInfo::parse(json.as_bytes()), Some(usual.clone()), "{json}");
        }
        let largest = ServerInfo::parse(br#"{"max_payload":18446744073709551615}"#).unwrap();
        assert_eq!(largest.max_payload, usize::MAX);
    }

    #[test]
    fn what_is_no_object_is_no_info() {
        let deep = "[".repeat(100_000);
        for json in ["", "{", "[]", "1", "\"a\"", "{\"a\":1} x", "{\"a\":\u{7}}", &deep] {
            assert_eq!(ServerInfo::parse(json.as_bytes()), None, "{json:.20}");
        }
        assert_eq!(ServerInfo::parse(&[b'{', 0xff, b'}']), None);
    }

    #[test]
    fn lists_and_texts_are_bounded() {
        let urls: Vec<_> = (0..5_000).map(|n| format!("a:{n}")).collect();
        let long = "x".repeat(LONGEST + 1);
        let json = serde_json::json!({ "connect_urls": urls, "server_name": long }).to_string();
        let info = ServerInfo::parse(json.as_bytes()).unwrap();
        assert_eq!((info.connect_urls.len(), info.server_name.as_str()), (MOST_URLS, ""));
    }
}
