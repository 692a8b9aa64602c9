//! The headers of a dead letter: ours, and the publisher's beside them.

use async_nats::{HeaderMap, HeaderName, HeaderValue};

/// The message's id.
pub(super) const ID: &str = "Broadcaster-Id";
/// Why it died.
pub(super) const REASON: &str = "Broadcaster-Reason";
/// Of which route.
pub(super) const ROUTE: &str = "Broadcaster-Route";
/// What it was published to.
pub(super) const SUBJECT: &str = "Broadcaster-Subject";
/// How often it was tried.
pub(super) const ATTEMPTS: &str = "Broadcaster-Attempts";
/// When it came out of NATS.
pub(super) const RECEIVED: &str = "Broadcaster-Received";
/// When the last attempt ended.
pub(super) const LAST_ATTEMPT: &str = "Broadcaster-Last-Attempt";
/// When it became a dead letter.
pub(super) const DIED: &str = "Broadcaster-Died";
/// How the last attempt failed.
pub(super) const LAST_FAILURE: &str = "Broadcaster-Last-Failure";
/// The status that the last attempt was answered with.
pub(super) const LAST_STATUS: &str = "Broadcaster-Last-Status";
/// How that answer began.
pub(super) const LAST_ANSWER: &str = "Broadcaster-Last-Answer";
/// The stream it came from.
pub(super) const STREAM: &str = "Broadcaster-Stream";
/// Its place in that stream.
pub(super) const SEQUENCE: &str = "Broadcaster-Sequence";

/// Stands before a header of the publisher that would not be taken for the publisher's.
const KEPT: &str = "Broadcaster-Original-";

/// Adds a header with any text as its value; a line break in it becomes a blank.
pub(super) fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    headers.insert(HeaderName::from_static(name), value_of(value));
}

/// Adds a header of the publisher so that [`original`] finds it again. Those of NATS itself would be commands to the stream
/// that keeps the letter, and ours are set anew: they get another name. What is not a header's name is left out.
pub(super) fn put_original(headers: &mut HeaderMap, name: &str, value: &str) {
    let is_token = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    if !is_token {
        return;
    }
    let kept = if is_special(name) { format!("{KEPT}{name}") } else { name.to_owned() };
    if let Ok(name) = kept.parse::<HeaderName>() {
        headers.append(name, value_of(value));
    }
}

/// The name that the publisher gave to a header of a dead letter. None where the header is not the publisher's.
pub(super) fn original(name: &str) -> Option<&str> {
    match name.get(..KEPT.len()) {
        Some(start) if start.eq_ignore_ascii_case(KEPT) => name.get(KEPT.len()..),
        _ => (!is_special(name)).then_some(name),
    }
}

fn is_special(name: &str) -> bool {
    let starts_with = |prefix: &str| name.get(..prefix.len()).is_some_and(|s| s.eq_ignore_ascii_case(prefix));
    starts_with("nats-") || starts_with("broadcaster-")
}

fn value_of(text: &str) -> HeaderValue {
    // The client takes everything but a line break.
    text.parse().unwrap_or_else(|_| HeaderValue::from(text.replace(['\r', '\n'], " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_publishers_headers_are_found_again_under_their_names() {
        let mut headers = HeaderMap::new();
        for name in ["X-Tenant", "Nats-TTL", "broadcaster-route", "", "a b", "a:b"] {
            put_original(&mut headers, name, "v\r\nx");
        }
        let mut names: Vec<_> = headers.iter().map(|(name, _)| name.to_string()).collect();
        names.sort();
        assert_eq!(
            names,
            ["Broadcaster-Original-Nats-TTL", "Broadcaster-Original-broadcaster-route", "X-Tenant"]
        );
        let mut originals: Vec<_> = names.iter().filter_map(|name| original(name)).collect();
        originals.sort_unstable();
        assert_eq!(originals, ["Nats-TTL", "X-Tenant", "broadcaster-route"]);
        assert_eq!(headers.get("X-Tenant").map(HeaderValue::as_str), Some("v  x"));
        assert_eq!(original("Broadcaster-Reason"), None);
    }
}
