//! What is answered instead of what was asked for: "problem details" (RFC 9457), for programs and for people.

use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, HeaderName, RETRY_AFTER},
};
use serde_json::{Map, Value};

use super::answer::{Answer, answer};

/// What went wrong, of a closed set that docs/api.md explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// There is no token, or a wrong one.
    Unauthorized,
    /// There is no token by which it could be done: none is configured.
    NoTokens,
    /// The token's role does not go so far.
    RoleTooSmall,
    /// A page in a browser asks.
    FromBrowser,
    /// More is asked for than a second has room for.
    TooManyRequests,
    /// There is nothing at this path.
    NotFound,
    /// No route has this name.
    NoSuchRoute,
    /// There is something at this path, but not by this method.
    MethodNotAllowed,
    /// A parameter of the query is wrong, or not known.
    BadQuery,
    /// The body is of another kind than JSON.
    UnsupportedMediaType,
    /// The body is no JSON.
    NotJson,
    /// A value of the body is wrong, missing or not known.
    BadValue,
    /// The configuration has mistakes.
    Refused,
    /// The body is larger than is read.
    TooLarge,
    /// The body has broken off.
    BrokenBody,
    /// As much as may be under way at once is.
    Busy,
    /// The process is stopping.
    Stopping,
    /// It takes longer than anybody waits here.
    Late,
    /// The bucket that has the fleet's routes and state does not take it.
    Bucket,
    /// There is no bucket to write to.
    NoBucket,
    /// Somebody else has written it meanwhile.
    Changed,
    /// No dead letters are kept of this route, or of any.
    NoLetters,
    /// No dead letter has this sequence.
    NoSuchLetter,
    /// Several routes keep dead letters, and none is named.
    WhichRoute,
    /// Somebody has begun the same, and is not done yet.
    UnderWay,
    /// An operator holds the route.
    Held,
    /// The stream that keeps the dead letters refuses it.
    Stream,
    /// NATS is away, or does not answer.
    Nats,
}

/// An answer that says what is wrong, and what to do.
#[derive(Debug)]
pub struct Problem {
    kind: ProblemKind,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    more: Map<String, Value>,
}

impl ProblemKind {
    /// All of them.
    pub const ALL: [Self; 28] = [
        Self::Unauthorized,
        Self::NoTokens,
        Self::RoleTooSmall,
        Self::FromBrowser,
        Self::TooManyRequests,
        Self::NotFound,
        Self::NoSuchRoute,
        Self::MethodNotAllowed,
        Self::BadQuery,
        Self::UnsupportedMediaType,
        Self::NotJson,
        Self::BadValue,
        Self::Refused,
        Self::TooLarge,
        Self::BrokenBody,
        Self::Busy,
        Self::Stopping,
        Self::Late,
        Self::Bucket,
        Self::NoBucket,
        Self::Changed,
        Self::NoLetters,
        Self::NoSuchLetter,
        Self::WhichRoute,
        Self::UnderWay,
        Self::Held,
        Self::Stream,
        Self::Nats,
    ];

    /// The status, the end of the `type`, and the `title`.
    pub const fn words(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed"),
            Self::NoTokens => (StatusCode::FORBIDDEN, "no-tokens", "No token is configured"),
            Self::RoleTooSmall => (StatusCode::FORBIDDEN, "role-too-small", "The token is for looking only"),
            Self::FromBrowser => (StatusCode::FORBIDDEN, "from-browser", "Not for pages in a browser"),
            Self::TooManyRequests => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests")
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is nothing here"),
            Self::NoSuchRoute => (StatusCode::NOT_FOUND, "no-such-route", "No route has this name"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not by this method")
            }
            Self::BadQuery => (StatusCode::BAD_REQUEST, "bad-query", "A parameter is wrong"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body has to be JSON")
            }
            Self::NotJson => (StatusCode::BAD_REQUEST, "not-json", "The body is no JSON"),
            Self::BadValue => (StatusCode::UNPROCESSABLE_ENTITY, "bad-value", "A value of the body is wrong"),
            Self::Refused => (StatusCode::UNPROCESSABLE_ENTITY, "refused", "The configuration has mistakes"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::BrokenBody => (StatusCode::BAD_REQUEST, "broken-body", "The body has broken off"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "Too much is under way"),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping", "The process is stopping"),
            Self::Late => (StatusCode::GATEWAY_TIMEOUT, "late", "It takes too long"),
            Self::Bucket => (StatusCode::BAD_GATEWAY, "bucket", "The bucket does not take it"),
            Self::NoBucket => (StatusCode::NOT_FOUND, "no-bucket", "There is no bucket"),
            Self::Changed => (StatusCode::CONFLICT, "changed", "It was changed meanwhile"),
            Self::NoLetters => (StatusCode::NOT_FOUND, "no-dead-letters", "No dead letters are kept"),
            Self::NoSuchLetter => {
                (StatusCode::NOT_FOUND, "no-such-letter", "No dead letter has this sequence")
            }
            Self::WhichRoute => {
                (StatusCode::BAD_REQUEST, "which-route", "It is not clear which route is meant")
            }
            Self::UnderWay => (StatusCode::CONFLICT, "under-way", "It is under way already"),
            Self::Held => (StatusCode::CONFLICT, "held", "The route is held"),
            Self::Stream => (StatusCode::BAD_GATEWAY, "stream", "The stream does not let it be done"),
            Self::Nats => (StatusCode::SERVICE_UNAVAILABLE, "nats", "NATS does not answer"),
        }
    }
}

impl Problem {
    /// A problem of this kind; `detail` is for people: what is wrong here, and the next step.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), headers: Vec::new(), more: Map::new() }
    }

    /// Not by this method, but by those that are listed.
    pub fn method_not_allowed(allowed: &str) -> Self {
        let problem =
            Self::new(ProblemKind::MethodNotAllowed, format!("what is here can be asked by {allowed}"));
        match HeaderValue::from_str(allowed) {
            Ok(allowed) => problem.header(ALLOW, allowed),
            Err(_unlikely) => problem,
        }
    }

    /// The end of its `type`.
    pub const fn name(&self) -> &'static str {
        self.kind.words().1
    }

    /// The same, with a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same, with one more member for programs.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// The same, to be asked again after so many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, seconds.into())
    }
}

impl From<Problem> for Answer {
    fn from(Problem { kind, detail, headers, more }: Problem) -> Self {
        let (status, name, title) = kind.words();
        let r#type = format!("urn:problem-type:broadcaster:{name}");
        let known = [
            ("type", r#type.into()),
            ("title", title.into()),
            ("status", status.as_u16().into()),
            ("detail", detail.into()),
        ];
        let known = known.into_iter().map(|(name, value): (_, Value)| (name.to_owned(), value));
        let content: Map<_, _> = known.chain(more).collect();
        let mut answer = answer(status, "application/problem+json", Value::from(content).to_string() + "\n");
        answer.headers_mut().extend(headers);
        answer
    }
}
