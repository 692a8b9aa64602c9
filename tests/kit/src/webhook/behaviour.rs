//! What a webhook of the kit answers, and when, as the test has told it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};

use super::Received;

/// One answer.
#[derive(Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Headers beside those that HTTP needs.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// How long the webhook waits before it answers.
    pub delay: Duration,
}

impl Reply {
    /// An answer with this status, at once and without a body.
    pub fn status(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("a status has three digits"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            delay: Duration::ZERO,
        }
    }

    /// With a header: `retry-after`, `location`, `keep-alive`, `connection: close`, …
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("the value fits a header");
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// With a body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// After this time.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// How a webhook answers.
pub enum Behaviour {
    /// Always like this.
    Always(Reply),
    /// One after the other, and always with the last one from then on.
    Script(VecDeque<Reply>),
    /// As the function decides.
    By(Box<dyn FnMut(&Received) -> Reply + Send>),
}

impl Behaviour {
    /// As `decide` says for each request.
    pub fn by(decide: impl FnMut(&Received) -> Reply + Send + 'static) -> Self {
        Self::By(Box::new(decide))
    }

    /// The answer to this request.
    pub(super) fn reply(&mut self, request: &Received) -> Reply {
        match self {
            Self::Always(reply) => reply.clone(),
            Self::Script(replies) if replies.len() > 1 => replies.pop_front().expect("there are two or more"),
            Self::Script(replies) => replies.front().cloned().unwrap_or_else(|| Reply::status(200)),
            Self::By(decide) => decide(request),
        }
    }
}

impl From<u16> for Behaviour {
    fn from(status: u16) -> Self {
        Self::Always(Reply::status(status))
    }
}

impl From<Reply> for Behaviour {
    fn from(reply: Reply) -> Self {
        Self::Always(reply)
    }
}

impl<const N: usize> From<[u16; N]> for Behaviour {
    fn from(statuses: [u16; N]) -> Self {
        Self::Script(statuses.into_iter().map(Reply::status).collect())
    }
}

impl<const N: usize> From<[Reply; N]> for Behaviour {
    fn from(replies: [Reply; N]) -> Self {
        Self::Script(replies.into())
    }
}
