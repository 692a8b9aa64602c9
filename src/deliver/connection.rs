//! One HTTP/1.1 connection, which its worker owns and drives in its own task.
//!
//! This is the hot path: a POST costs one write and one read, no allocation, and no wake-up but the answer's.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    answer::Answer,
    response::{Progress, Reader},
};
use crate::outcome::Failure;

/// How much is read at once. Answers to webhooks are small.
const READ: usize = 4 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    /// The head of the request. Kept for its memory.
    head: Vec<u8>,
    /// What was received and not taken yet: the first `received` bytes.
    buffer: Vec<u8>,
    received: usize,
    open: bool,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nothing of the request was sent: it can be sent again.
    NotTaken,
    /// The request, or a part of it, was sent.
    Failed(Failure),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Speaks HTTP/1.1 over `stream`.
    pub fn new(stream: S) -> Self {
        Self { stream, head: Vec::new(), buffer: vec![0; READ], received: 0, open: true }
    }

    /// Whether another request can be sent, as far as is known.
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// Looks after the idle connection. Ready when the webhook has closed it, or has sent what nobody asked for.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.open {
            ready!(self.poll_fill(cx)).ok();
            self.open = false;
        }
        Poll::Ready(())
    }

    /// Sends a request, whose head is what `write_head` writes, and reads the whole answer. The connection can be used
    /// again where [`Self::is_open`] afterwards; after an error it can't.
    pub async fn exchange(
        &mut self,
        write_head: impl FnOnce(&mut Vec<u8>),
        payload: &[u8],
    ) -> Result<Answer, Unanswered> {
        self.head.clear();
        write_head(&mut self.head);
        let mut sent = 0;
        let mut reader = Reader::default();
        // Whatever happens from here on, also that this is dropped: only a complete answer makes it usable again.
        let was_open = std::mem::take(&mut self.open);
        poll_fn(|cx| {
            if sent == 0 && (!was_open || self.poll_fill(cx).is_ready()) {
                // Closed before anything was sent, or sent what nobody asked for.
                return Poll::Ready(Err(Unanswered::NotTaken));
            }
            let written = self.poll_send(cx, payload, &mut sent);
            let all_sent = matches!(written, Poll::Ready(Ok(())));
            // Where sending failed half-way there may be an answer all the same, to a request that was too large, say.
            if written.is_ready() && !all_sent && sent == 0 {
                return Poll::Ready(Err(Unanswered::NotTaken));
            }
            let answered = ready!(self.poll_answer(cx, &mut reader));
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
    ) -> Result<Answer, Unanswered> {
        let (answer, reusable) = answered.map_err(Unanswered::Failed)?;
        if !all_sent && (200..300).contains(&answer.status) {
            return Err(Unanswered::Failed(Failure::Protocol));
        }
        self.open = all_sent && reusable;
        Ok(answer)
    }

    /// Sends what is left of head and payload.
    fn poll_send(&mut self, cx: &mut Context<'_>, payload: &[u8], sent: &mut usize) -> Poll<io::Result<()>> {
        let total = self.head.len() + payload.len();
        while *sent < total {
            let head = self.head.get(*sent..).unwrap_or_default();
            let body = payload.get(sent.saturating_sub(self.head.len())..).unwrap_or_default();
            let slices = [IoSlice::new(head), IoSlice::new(body)];
            match ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => *sent += count,
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Reads until the answer is complete: what it says, and whether the connection can be used again.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
    ) -> Poll<Result<(Answer, bool), Failure>> {
        loop {
            let ended = match ready!(self.poll_fill(cx)) {
                Ok(0) => true,
                Ok(_) => false,
                Err(_broken) => return Poll::Ready(Err(Failure::Reset)),
            };
            let bytes = self.buffer.get(..self.received).unwrap_or_default();
            let Ok((taken, progress)) = reader.read(bytes, ended) else {
                // Closing instead of answering is not a word that we don't understand.
                let failure = if ended { Failure::Reset } else { Failure::Protocol };
                return Poll::Ready(Err(failure));
            };
            self.buffer.copy_within(taken..self.received, 0);
            self.received -= taken;
            if self.received == 0 && self.buffer.len() > READ {
                self.buffer.truncate(READ);
                self.buffer.shrink_to_fit();
            }
            if let Progress::Complete { answer, reusable } = progress {
                return Poll::Ready(Ok((answer, reusable)));
            }
        }
    }

    /// Receives more. 0 when nothing will follow.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.received == self.buffer.len() {
            // Only a head that is not complete stays in the buffer, and that is limited.
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let mut room = ReadBuf::new(self.buffer.get_mut(self.received..).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        let count = room.filled().len();
        self.received += count;
        Poll::Ready(Ok(count))
    }
}

#[cfg(test)]
mod tests;
