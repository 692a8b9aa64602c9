//! The headers of a dead letter: ours, and the publisher's beside them, written so that both can be told apart again.

use async_nats::{HeaderMap, HeaderName, HeaderValue};

use crate::message::header_names::nats::{ORIGINAL_PREFIX, is_reserved};

/// Adds a header with any text as its value; a line break in it becomes a blank.
pub(super) fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    headers.insert(HeaderName::from_static(name), value_of(value));
}

/// Adds a header of the publisher so that [`original`] finds it again. Under their own names, those of NATS would be
/// commands to the stream that keeps the letter, and those of broadcaster would be taken for ours: they get another
/// name. What can't be the name of a header is left out: then it returns false.
pub(super) fn put_original(headers: &mut HeaderMap, name: &str, value: &str) -> bool {
    let is_token = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    if !is_token {
        return false;
    }
    let kept = if is_reserved(name) { format!("{ORIGINAL_PREFIX}{name}") } else { name.to_owned() };
    let name = kept.parse::<HeaderName>();
    name.map(|name| headers.append(name, value_of(value))).is_ok()
}

/// The name that the publisher gave to a header of a dead letter. None where the header is not the publisher's.
pub(super) fn original(name: &str) -> Option<&str> {
    match name.get(..ORIGINAL_PREFIX.len()) {
        Some(start) if start.eq_ignore_ascii_case(ORIGINAL_PREFIX) => name.get(ORIGINAL_PREFIX.len()..),
        _ => (!is_reserved(name)).then_some(name),
    }
}

fn value_of(text: &str) -> HeaderValue {
    // The client refuses only a line break. Losing the letter over that would be worse than losing the break.
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
