//! What a request is answered with: a status, headers, and a body of bytes or of what comes in time.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

use super::packed::Unpacked;

/// An answer to a request.
pub type Answer = Response<Body>;

/// The body of an [`Answer`].
pub enum Body {
    /// All of it, which other answers may share; no more than a client may leave unread.
    Whole(Bytes),
    /// What comes in time, for as long as the client reads it: see [`Body::stream`].
    Stream(Pin<Box<dyn Stream<Item = Bytes>>>),
    /// A text that is unpacked as the client reads it.
    Unpacked(Unpacked),
}

impl Body {
    /// A body that `stream` gives the parts of. The connection is closed after 30 s without a part, so that one that has
    /// nothing to say says so before. Parts are made when the client has read those before: one that reads slowly gets
    /// fewer, and costs no memory but theirs.
    pub fn stream(stream: impl Stream<Item = Bytes> + 'static) -> Self {
        Self::Stream(Box::pin(stream))
    }

    /// How many bytes it keeps in memory until they are read.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Stream(_) => 0,
            Self::Unpacked(text) => text.kept(),
        }
    }
}

/// An answer with this status, type and body, which nobody may store.
pub fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// `content` as JSON, with a line end for terminals.
pub fn json(status: StatusCode, content: &impl Serialize) -> Answer {
    // What this process makes can always be written.
    answer(status, "application/json", serde_json::to_string(content).unwrap_or_default() + "\n")
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Whole(text.into())
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Whole(Bytes::from_static(text.as_bytes()))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Body(stream)"),
            Self::Unpacked(text) => write!(f, "Body({} bytes to unpack)", text.left()),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(stream) => {
                stream.as_mut().poll_next(cx).map(|part| part.map(|part| Ok(Frame::data(part))))
            }
            Self::Unpacked(text) => Poll::Ready(text.next().map(|part| Ok(Frame::data(part)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream(_) => false,
            Self::Unpacked(text) => text.left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
            Self::Unpacked(text) => SizeHint::with_exact(text.left() as u64),
        }
    }
}
