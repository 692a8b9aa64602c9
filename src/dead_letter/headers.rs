//! The publisher's headers in a dead letter, beside ours, and written so that both can be told apart again.

use crate::message::{
    HeaderBlock,
    header_names::nats::{ORIGINAL_PREFIX, is_reserved},
};

/// Adds a header of the publisher so that [`original`] finds it again. Under their own names, those of NATS would be
/// commands to the stream that keeps the letter, and those of broadcaster would be taken for ours: they get another
/// name. False where it can't be a header.
pub(super) fn put_original(headers: &mut HeaderBlock, name: &str, value: &str) -> bool {
    if is_reserved(name) {
        headers.put(&format!("{ORIGINAL_PREFIX}{name}"), value)
    } else {
        headers.put(name, value)
    }
}

/// The name that the publisher gave to a header of a dead letter. None where the header is not the publisher's.
pub(super) fn original(name: &str) -> Option<&str> {
    match name.get(..ORIGINAL_PREFIX.len()) {
        Some(start) if start.eq_ignore_ascii_case(ORIGINAL_PREFIX) => name.get(ORIGINAL_PREFIX.len()..),
        _ => (!is_reserved(name)).then_some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Headers;

    #[test]
    fn the_publishers_headers_are_found_again_under_their_names() {
        let mut headers = HeaderBlock::new();
        let names = ["X-Tenant", "Nats-TTL", "broadcaster-route", "", "a b", "a:b"];
        let put = names.map(|name| put_original(&mut headers, name, "v\r\nx"));
        assert_eq!(put, [true, true, true, false, false, false]);
        let headers = Headers::from_lines(bytes::Bytes::copy_from_slice(headers.lines()));
        let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["X-Tenant", "Broadcaster-Original-Nats-TTL", "Broadcaster-Original-broadcaster-route"]
        );
        let originals: Vec<_> = names.iter().filter_map(|name| original(name)).collect();
        assert_eq!(originals, ["X-Tenant", "Nats-TTL", "broadcaster-route"]);
        assert_eq!(headers.get("X-Tenant").as_deref(), Some("v  x"));
        assert_eq!(original("Broadcaster-Reason"), None);
    }
}
