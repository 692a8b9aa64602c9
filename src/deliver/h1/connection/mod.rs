//! One HTTP/1.1 connection, which its worker owns and drives in its own task. It knows no deadline: the client drops
//! the exchange when the time is over.
//!
//! This is the hot path: a POST costs one write and one read, no allocation, and no wake-up but the answer's. A
//! connection has no buffers of its own: with a thousand connections, they would be out of the processor's cache each
//! time.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::response::{Progress, ResponseReader};
use crate::deliver::answer::Answer;
use crate::message::outcome::Failure;

/// How much is read at once, in bytes. Answers of webhooks are small.
const READ: usize = 4 * 1024;

/// A connection, and whether another request can be sent over it.
#[derive(Debug)]
pub struct HttpConnection<S> {
    stream: S,
    buffers: Rc<Buffers>,
    open: bool,
}

/// What a connection needs while it moves bytes, and no longer. Shared by all connections of a lane: each is used
/// within one poll and never across two, so two connections can't get in each other's way.
#[derive(Debug)]
pub struct Buffers {
    head: RefCell<Vec<u8>>,
    received: RefCell<[u8; READ]>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { head: RefCell::default(), received: RefCell::new([0; READ]) }
    }
}

/// How far a request is.
struct Sending<'p, W> {
    /// Writes the head; none when it is written.
    write_head: Option<W>,
    /// The head, where it has to be kept because the socket did not take everything at once.
    head: Vec<u8>,
    payload: &'p [u8],
    /// How many bytes of head and payload the socket has taken.
    sent: usize,
    /// Whether it has taken all of them.
    complete: bool,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeError {
    /// Nothing of the request was sent: it can be sent again without being delivered twice.
    NotSent,
    /// The request, or a part of it, was sent: whether the webhook has taken it is not known.
    Failed(Failure),
}

impl<S: AsyncRead + AsyncWrite + Unpin> HttpConnection<S> {
    /// Speaks HTTP/1.1 over `stream`.
    pub const fn new(stream: S, buffers: Rc<Buffers>) -> Self {
        Self { stream, buffers, open: true }
    }

    /// Whether another request can be sent, as far as is known.
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// Looks after the idle connection. Ready when the webhook has closed it, or has sent what nobody asked for.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.open {
            ready!(self.poll_unasked(cx));
            self.open = false;
        }
        Poll::Ready(())
    }

    /// Sends a request, whose head is what `write_head` writes once, and reads the whole answer. The connection can be
    /// used again where [`Self::is_open`] afterwards; after an error it can't.
    pub async fn exchange(
        &mut self,
        write_head: impl FnOnce(&mut Vec<u8>),
        payload: &[u8],
    ) -> Result<Answer, ExchangeError> {
        let write_head = Some(write_head);
        let mut sending = Sending { write_head, head: Vec::new(), payload, sent: 0, complete: false };
        let mut reader = ResponseReader::default();
        let mut untaken = Vec::new();
        // Closed until there is a complete answer: so it stays closed whatever happens from here on, also where this
        // future is dropped.
        let was_open = std::mem::take(&mut self.open);
        poll_fn(|cx| {
            // A read before the first byte is sent: a connection that was closed while it was idle must not get the
            // request, since a failure after sending is a failed attempt.
            if sending.sent == 0 && (!was_open || self.poll_unasked(cx).is_ready()) {
                return Poll::Ready(Err(ExchangeError::NotSent));
            }
            let written = self.poll_send(cx, &mut sending);
            let all_sent = matches!(written, Poll::Ready(Ok(())));
            // Where sending failed half-way there may be an answer all the same: a 413 to a request that was too large,
            // say.
            if written.is_ready() && !all_sent && sending.sent == 0 {
                return Poll::Ready(Err(ExchangeError::NotSent));
            }
            let answered = ready!(self.poll_answer(cx, &mut reader, &mut untaken));
            Poll::Ready(self.conclude(answered, all_sent))
        })
        .await
    }

    /// An answer that came before the whole request was sent can't be to the whole request. As a refusal it counts, and
    /// ends the connection.
    fn conclude(
        &mut self,
        answered: Result<(Answer, bool), Failure>,
        all_sent: bool,
    ) -> Result<Answer, ExchangeError> {
        let (answer, reusable) = answered.map_err(ExchangeError::Failed)?;
        if !all_sent && (200..300).contains(&answer.status) {
            return Err(ExchangeError::Failed(Failure::Protocol));
        }
        self.open = all_sent && reusable;
        Ok(answer)
    }

    /// Sends what is left of head and payload.
    fn poll_send<W: FnOnce(&mut Vec<u8>)>(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending<'_, W>,
    ) -> Poll<io::Result<()>> {
        let Sending { write_head, head, payload, sent, complete } = sending;
        if let Some(write_head) = write_head.take() {
            let mut shared = self.buffers.head.borrow_mut();
            shared.clear();
            write_head(&mut shared);
            let written = poll_write(&mut self.stream, cx, &shared, payload, sent);
            *complete = matches!(written, Poll::Ready(Ok(())));
            if written.is_pending() {
                // Other connections use the shared buffer until the socket takes more.
                head.clone_from(&shared);
            }
            ready!(written)?;
        } else if !*complete {
            ready!(poll_write(&mut self.stream, cx, head, payload, sent))?;
            *complete = true;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Reads until the answer is complete: what it says, and whether the connection can be used again.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut ResponseReader,
        untaken: &mut Vec<u8>,
    ) -> Poll<Result<(Answer, bool), Failure>> {
        let mut received = self.buffers.received.borrow_mut();
        loop {
            let mut room = ReadBuf::new(&mut *received);
            if ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room)).is_err() {
                return Poll::Ready(Err(Failure::Reset));
            }
            let ended = room.filled().is_empty();
            // Only a head that is not complete is left untaken, and that is limited.
            let first = untaken.is_empty();
            if !first {
                untaken.extend_from_slice(room.filled());
            }
            let bytes = if first { room.filled() } else { untaken.as_slice() };
            let Ok((taken, progress)) = reader.read(bytes, ended) else {
                // Malformed because nothing more came is a connection that broke, not a webhook that speaks something
                // else.
                let failure = if ended { Failure::Reset } else { Failure::Protocol };
                return Poll::Ready(Err(failure));
            };
            if let Progress::Complete { answer, reusable } = progress {
                return Poll::Ready(Ok((answer, reusable)));
            }
            if first {
                untaken.extend_from_slice(room.filled().get(taken..).unwrap_or_default());
            } else {
                untaken.drain(..taken);
            }
        }
    }

    /// Ready when there is something to receive, be it the end.
    fn poll_unasked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut received = self.buffers.received.borrow_mut();
        Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut *received)).map(drop)
    }
}

/// Writes `head` and `payload`, of which `sent` bytes were written before.
fn poll_write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    head: &[u8],
    payload: &[u8],
    sent: &mut usize,
) -> Poll<io::Result<()>> {
    // Both in one call where possible: a head that goes out alone would be a packet and a system call of its own.
    while *sent < head.len() + payload.len() {
        let rest = payload.get(sent.saturating_sub(head.len())..).unwrap_or_default();
        let slices = [IoSlice::new(head.get(*sent..).unwrap_or_default()), IoSlice::new(rest)];
        match ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => *sent += count,
        }
    }
    Poll::Ready(Ok(()))
}

#[cfg(test)]
mod tests;
