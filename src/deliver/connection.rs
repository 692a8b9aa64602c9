//! One HTTP/1.1 connection, which its worker owns and polls in its own task.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::SystemTime,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;

use super::{answer::Answer, stream::Stream};
use crate::outcome::Failure;

/// How much of an answer's body is read. It says nothing that matters, but a connection can only be used again when its
/// body was read to the end.
const LARGEST_BODY: usize = 64 * 1024;
/// How much of an answer's head is taken, and read at once.
const LARGEST_HEAD: usize = 64 * 1024;

/// See the module.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Moves the bytes whenever it is polled. None when the connection has ended.
    driver: Option<http1::Connection<TokioIo<Stream>, Full<Bytes>>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Nothing of the request was sent: here it is back.
    NotTaken(Box<Request<Full<Bytes>>>),
    /// The request, or a part of it, was sent.
    Failed(Failure),
}

impl Connection {
    /// Speaks HTTP/1.1 over `stream`.
    pub(super) async fn open(stream: Stream) -> Result<Self, Failure> {
        let handshake = http1::Builder::new().max_buf_size(LARGEST_HEAD).handshake(TokioIo::new(stream));
        let (sender, driver) = handshake.await.map_err(|error| classify(&error))?;
        Ok(Self { sender, driver: Some(driver) })
    }

    /// Sends `request` and reads the whole answer. The connection can be used again where [`Self::is_open`] afterwards;
    /// after an error it can't.
    pub(super) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Unanswered> {
        let ready = poll_fn(|cx| {
            // Reads before anything is written, and so sees that the webhook has closed the connection.
            self.drive(cx);
            self.sender.poll_ready(cx)
        });
        if ready.await.is_err() || !self.is_open() {
            return Err(Unanswered::NotTaken(Box::new(request)));
        }
        let mut response = pin!(self.sender.try_send_request(request));
        let response = poll_fn(|cx| {
            let open = drive(&mut self.driver, cx);
            match response.as_mut().poll(cx) {
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
                Poll::Ready(Err(mut error)) => Poll::Ready(Err(match error.take_message() {
                    Some(request) => Unanswered::NotTaken(Box::new(request)),
                    None => Unanswered::Failed(classify(error.error())),
                })),
                Poll::Pending if open => Poll::Pending,
                Poll::Pending => Poll::Ready(Err(Unanswered::Failed(Failure::Reset))),
            }
        });
        let (head, body) = response.await?.into_parts();
        let answer = Answer::new(head.status.as_u16(), &head.headers, SystemTime::now);
        drop(head);
        if !self.read_out(body).await.map_err(Unanswered::Failed)? {
            self.driver = None;
        }
        Ok(answer)
    }

    /// Reads `body` to its end. False where it is larger than we care to read.
    async fn read_out(&mut self, body: Incoming) -> Result<bool, Failure> {
        let mut body = pin!(body);
        let mut size = 0;
        poll_fn(|cx| {
            loop {
                let open = self.drive(cx);
                match body.as_mut().poll_frame(cx) {
                    Poll::Ready(None) => return Poll::Ready(Ok(true)),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(classify(&error))),
                    Poll::Ready(Some(Ok(frame))) => {
                        size += frame.data_ref().map_or(0, Bytes::len);
                        if size > LARGEST_BODY {
                            return Poll::Ready(Ok(false));
                        }
                    }
                    Poll::Pending if open => return Poll::Pending,
                    Poll::Pending => return Poll::Ready(Err(Failure::Reset)),
                }
            }
        })
        .await
    }

    /// Whether another request can be sent, as far as is known.
    pub(super) const fn is_open(&self) -> bool {
        self.driver.is_some()
    }

    /// Looks after the idle connection. Ready when the webhook has closed it.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.drive(cx) { Poll::Pending } else { Poll::Ready(()) }
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        drive(&mut self.driver, cx)
    }
}

/// Moves bytes. False when the connection has ended; why is told by what was waiting for it.
fn drive(driver: &mut Option<http1::Connection<TokioIo<Stream>, Full<Bytes>>>, cx: &mut Context<'_>) -> bool {
    let ended = driver.as_mut().is_none_or(|driver| Pin::new(driver).poll(cx).is_ready());
    if ended {
        *driver = None;
    }
    !ended
}

/// What an error of hyper means to an operator.
fn classify(error: &hyper::Error) -> Failure {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    // A body in bad chunks is an I/O error to hyper.
    let is_bad_chunk = source.is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
    });
    if error.is_parse() || is_bad_chunk { Failure::Protocol } else { Failure::Reset }
}
