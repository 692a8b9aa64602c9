//! From a message to a request.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::Full;

use crate::{
    config::Webhook,
    message::{Id, Message, header_safe},
};

/// The same on every attempt at a message (Standard Webhooks 1.0.0, "webhook-id").
const ID: HeaderName = HeaderName::from_static("webhook-id");
/// The subject the message was published to, percent-encoded where a header can't carry it.
const SUBJECT: HeaderName = HeaderName::from_static("broadcaster-subject");
/// 1 for the first attempt, 2 for the second, and so on.
const ATTEMPT: HeaderName = HeaderName::from_static("broadcaster-attempt");

const USER_AGENT_VALUE: HeaderValue =
    HeaderValue::from_static(concat!("broadcaster/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What all requests of a route have in common.
#[derive(Debug)]
pub(super) struct Template {
    uri: Uri,
    headers: HeaderMap,
    sets_content_type: bool,
}

impl Template {
    pub(super) fn new(webhook: &Webhook) -> Self {
        let url = &webhook.url;
        let uri = Uri::try_from(url.path_and_query()).expect("a parsed URL has a valid path and query");
        let host = HeaderValue::from_str(url.authority()).expect("a parsed URL has a valid authority");
        let mut headers = HeaderMap::with_capacity(webhook.headers.len() + 8);
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, USER_AGENT_VALUE);
        // The operator's headers win over ours; those that must not be touched are refused by the configuration.
        let sets_content_type = webhook.headers.contains_key(CONTENT_TYPE);
        headers.extend(webhook.headers.clone());
        Self { uri, headers, sets_content_type }
    }

    /// The request for the present attempt at `message`.
    pub(super) fn request(&self, message: &Message) -> Request<Full<Bytes>> {
        let mut headers = self.headers.clone();
        if !self.sets_content_type {
            let given = message.headers.get("content-type").and_then(content_type);
            headers.insert(CONTENT_TYPE, given.unwrap_or(JSON));
        }
        if message.payload.is_empty() {
            // hyper leaves it out, and some servers then refuse a POST (RFC 9110, section 8.6).
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        headers.insert(ID, id(&message.id));
        headers.insert(SUBJECT, safe_value(&header_safe(&message.subject)));
        headers.insert(ATTEMPT, message.attempts.into());
        let mut request = Request::new(Full::new(message.payload.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request
    }
}

/// The publisher's content type, where it can be one. What is longer would only have the webhook refuse the request.
fn content_type(given: &str) -> Option<HeaderValue> {
    const LONGEST: usize = 256;
    let is_usable = !given.is_empty() && given.len() <= LONGEST && given.is_ascii();
    is_usable.then(|| HeaderValue::from_str(given).ok()).flatten()
}

fn id(id: &Id) -> HeaderValue {
    match id {
        Id::Given(id) => safe_value(id),
        Id::Made(id) => safe_value(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer())),
    }
}

fn safe_value(safe: &str) -> HeaderValue {
    HeaderValue::from_str(safe).expect("what can't stand in a header was percent-encoded")
}
