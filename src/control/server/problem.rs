//! What is answered instead of what was asked for: "problem details" (RFC 9457), for programs and for people.

use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, HeaderName, RETRY_AFTER},
};
use serde_json::json;

use super::answer::{Answer, answer};

/// What went wrong, of a closed set that docs/api.md explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// There is nothing at this path.
    NotFound,
    /// There is something at this path, but not by this method.
    MethodNotAllowed,
    /// The query of the address is not understood.
    BadQuery,
    /// The body is larger than is read.
    TooLarge,
    /// The body has broken off.
    BrokenBody,
    /// As much as may be under way at once is.
    Busy,
    /// It takes longer than anybody waits here.
    Late,
}

/// An answer that says what is wrong, and what to do.
#[derive(Debug)]
pub struct Problem {
    kind: ProblemKind,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ProblemKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BadQuery,
        Self::TooLarge,
        Self::BrokenBody,
        Self::Busy,
        Self::Late,
    ];

    /// The status, the end of the `type`, and the `title`.
    pub const fn words(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is nothing here"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not by this method")
            }
            Self::BadQuery => (StatusCode::BAD_REQUEST, "bad-query", "The query is not understood"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::BrokenBody => (StatusCode::BAD_REQUEST, "broken-body", "The body has broken off"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "Too much is under way"),
            Self::Late => (StatusCode::GATEWAY_TIMEOUT, "late", "It takes too long"),
        }
    }
}

impl Problem {
    /// A problem of this kind; `detail` is for people: what is wrong here, and the next step.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), headers: Vec::new() }
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

    /// The same, with a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same, to be asked again after so many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, seconds.into())
    }
}

impl From<Problem> for Answer {
    fn from(Problem { kind, detail, headers }: Problem) -> Self {
        let (status, name, title) = kind.words();
        let r#type = format!("urn:problem-type:broadcaster:{name}");
        let content = json!({"type": r#type, "title": title, "status": status.as_u16(), "detail": detail});
        let mut answer = answer(status, "application/problem+json", content.to_string() + "\n");
        answer.headers_mut().extend(headers);
        answer
    }
}
