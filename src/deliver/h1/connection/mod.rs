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

use super::response::{KnownHead, Malformed, Progress, ResponseReader};
use crate::{
    deliver::{
        answer::{self, Answer},
        connect::cause,
        fault::{ExchangeError, Fault},
        patience::Patience,
    },
    message::outcome::Failure,
};

/// How much is read at once, in bytes. Answers of webhooks are small.
const READ: usize = 4 * 1024;

/// How large a payload is, in bytes, of which a part may still be with the kernel when its answer is there.
const LARGE: usize = 64 * 1024;

/// A connection, and whether another request can be sent over it.
#[derive(Debug)]
pub struct HttpConnection<S> {
    stream: S,
    shared: Rc<Shared>,
    open: bool,
}

/// What the connections to one webhook share.
#[derive(Debug, Default)]
pub struct Shared {
    buffers: Rc<Buffers>,
    known: RefCell<KnownHead>,
}

impl Shared {
    /// With the `buffers` of its lane.
    pub fn new(buffers: Rc<Buffers>) -> Self {
        Self { buffers, known: RefCell::default() }
    }
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

/// A request and its answer, as far as they are.
#[derive(Debug)]
pub struct Exchange<'p, W> {
    sending: Sending<'p, W>,
    receiving: Receiving,
}

/// How far a request is.
#[derive(Debug)]
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
    /// Whether nothing of them is left in buffers of ours either.
    out: bool,
    /// Why no more can be sent.
    broken: Option<io::Error>,
}

/// How far an answer is.
#[derive(Debug, Default)]
struct Receiving {
    reader: ResponseReader,
    /// What was received and not taken by the reader.
    untaken: Vec<u8>,
    /// The answer when it is complete, and whether the connection can be used again.
    answer: Option<(Answer, bool)>,
    /// Whether anything came.
    begun: bool,
    /// Whether anything came before the request was out.
    early: bool,
    /// Whether nothing more will come.
    ended: bool,
}

impl<'p, W: FnOnce(&mut Vec<u8>)> Exchange<'p, W> {
    /// A request, whose head is what `write_head` writes once.
    pub fn new(write_head: W, payload: &'p [u8]) -> Self {
        let sending = Sending {
            write_head: Some(write_head),
            head: Vec::new(),
            payload,
            sent: 0,
            complete: false,
            out: false,
            broken: None,
        };
        Self { sending, receiving: Receiving::default() }
    }

    /// The same, of whose answer a body of so many bytes is kept, where it is of use.
    #[must_use]
    pub fn keeping(mut self, keeps: Option<usize>) -> Self {
        self.receiving.reader = ResponseReader::keeping(keeps);
        self
    }

    /// Whether anything of an answer came.
    pub(in crate::deliver) const fn has_begun_to_answer(&self) -> bool {
        self.receiving.begun
    }

    /// What has come of it, where something has. A refusal counts at once. A delivery counts when the request is out:
    /// some webhooks answer first, and then read; so an early one is kept as long as the webhook goes on reading.
    fn outcome(&mut self, patience: &Patience) -> Option<Result<(Answer, bool), ExchangeError>> {
        let Self { sending, receiving } = self;
        let counts = |status| sending.out || !answer::is_delivery(status);
        if receiving.answer.is_none() {
            // A body that somebody waits for has all the time that the attempt has.
            if !receiving.reader.keeps() && receiving.reader.status().is_some_and(counts) {
                patience.wait_for_the_rest();
            }
            if patience.is_over() {
                receiving.answer = receiving.reader.give_up().map(|answer| (answer, false));
            }
        }
        if receiving.lingers(sending) && !patience.is_over() {
            patience.wait_for_the_rest();
            return None;
        }
        if let Some((answer, reusable)) = receiving.answer.take_if(|(answer, _)| counts(answer.status)) {
            return Some(Ok((answer, reusable && sending.out)));
        }
        let early = if receiving.answer.is_some() { ", though it was answered," } else { "" };
        if let (Some(error), Some(_)) = (&sending.broken, &receiving.answer) {
            let cause = format_args!("the request was not read to its end{early}: {error}");
            return Some(Err(ExchangeError::Failed(Fault::new(Failure::Reset, cause))));
        }
        let what = if sending.out { "no answer" } else { "the request was not read" };
        patience
            .is_over()
            .then(|| Err(ExchangeError::Failed(patience.timed_out(format_args!("{what}{early}")))))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> HttpConnection<S> {
    /// Speaks HTTP/1.1 over `stream`.
    pub const fn new(stream: S, shared: Rc<Shared>) -> Self {
        Self { stream, shared, open: true }
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

    /// What carries it.
    pub(in crate::deliver) const fn stream(&self) -> &S {
        &self.stream
    }

    /// Sends a request, whose head is what `write_head` writes once, and reads the whole answer. The connection can be
    /// used again where [`Self::is_open`] afterwards; after an error it can't.
    pub async fn exchange(
        &mut self,
        write_head: impl FnOnce(&mut Vec<u8>),
        payload: &[u8],
        patience: &Patience,
    ) -> Result<Answer, ExchangeError> {
        let mut exchange = Exchange::new(write_head, payload);
        poll_fn(|cx| self.poll_exchange(cx, &mut exchange, patience)).await
    }

    /// Goes on with an exchange, which has to be polled to its end over one connection.
    pub fn poll_exchange<W: FnOnce(&mut Vec<u8>)>(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_, W>,
        patience: &Patience,
    ) -> Poll<Result<Answer, ExchangeError>> {
        let Exchange { sending, receiving } = exchange;
        let looked = sending.sent == 0;
        if looked {
            // A read before the first byte is sent: a connection that was closed while it was idle must not get the
            // request, since a failure after sending is a failed attempt. What it has to say belongs to no request of
            // ours.
            let was_open = self.open || sending.write_head.is_none();
            let unasked = if was_open { self.poll_unasked(cx) } else { Poll::Ready(Failure::Reset.into()) };
            if let Poll::Ready(fault) = unasked {
                self.open = false;
                return Poll::Ready(Err(ExchangeError::NotSent(fault)));
            }
            // Closed until there is a complete answer: so it stays closed whatever happens from here on, also where
            // nobody asks again.
            self.open = false;
        }
        self.send(cx, sending);
        if let (Some(error), 0) = (&sending.broken, sending.sent) {
            return Poll::Ready(Err(ExchangeError::NotSent(cause::of_stream(error))));
        }
        // Where sending failed half-way there may be an answer all the same: a 413 to a request that was too large,
        // say. Else there is nothing yet where the connection was looked at a moment ago: what comes now wakes this task.
        if (!looked || sending.broken.is_some())
            && let Err(error) = self.receive(cx, sending, receiving)
        {
            return Poll::Ready(Err(error));
        }
        let Some(outcome) = exchange.outcome(patience) else { return Poll::Pending };
        Poll::Ready(outcome.map(|(answer, reusable)| {
            self.open = reusable;
            answer
        }))
    }

    /// Sends what is left of head and payload, as far as the socket takes it.
    #[inline]
    fn send<W: FnOnce(&mut Vec<u8>)>(&mut self, cx: &mut Context<'_>, sending: &mut Sending<'_, W>) {
        if sending.out || sending.broken.is_some() {
            return;
        }
        match self.poll_send(cx, sending) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => sending.out = true,
            Poll::Ready(Err(error)) => sending.broken = Some(error),
        }
    }

    fn poll_send<W: FnOnce(&mut Vec<u8>)>(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending<'_, W>,
    ) -> Poll<io::Result<()>> {
        let Sending { write_head, head, payload, sent, complete, .. } = sending;
        if let Some(write_head) = write_head.take() {
            let mut shared = self.shared.buffers.head.borrow_mut();
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

    /// Reads what has come. An error where there can be no answer any more.
    fn receive<W>(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending<'_, W>,
        receiving: &mut Receiving,
    ) -> Result<(), ExchangeError> {
        let mut received = self.shared.buffers.received.borrow_mut();
        let mut known = self.shared.known.borrow_mut();
        // Beyond a complete answer while the request is not out: a webhook that is not read may stop to read.
        while !receiving.ended && (receiving.answer.is_none() || !sending.out || receiving.lingers(sending)) {
            let mut room = ReadBuf::new(&mut *received);
            let broken = match Pin::new(&mut self.stream).poll_read(cx, &mut room) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => None,
                // A TLS connection that ends without saying so: as in plain HTTP, it ends the answer. Who could cut it
                // off there could hold it back as well.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => None,
                Poll::Ready(Err(error)) => Some(error),
            };
            receiving.take(room.filled(), &mut known).map_err(|malformed| {
                // Before there is a status, the end of the connection is not a webhook that speaks something else.
                let broken = broken.as_ref().or(sending.broken.as_ref());
                if receiving.ended { receiving.lost(broken) } else { protocol(malformed) }
            })?;
            receiving.early |= !sending.out;
            sending.broken = sending.broken.take().or(broken);
        }
        Ok(())
    }

    /// Ready when there is something to receive, be it the end: what that means for a request that was not sent.
    fn poll_unasked(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let mut received = self.shared.buffers.received.borrow_mut();
        let mut room = ReadBuf::new(&mut *received);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room));
        Poll::Ready(match read {
            Err(error) => cause::of_stream(&error),
            Ok(()) if room.filled().is_empty() => {
                Fault::new(Failure::Reset, "the webhook closed the connection before it was asked anything")
            }
            Ok(()) => {
                let malformed = ResponseReader::default().read(room.filled(), false).err();
                let words =
                    malformed.map_or("the webhook spoke before it was asked", |Malformed(cause)| cause);
                Fault::new(Failure::Protocol, words)
            }
        })
    }
}

impl Receiving {
    /// Takes what was received, nothing where the connection has ended.
    fn take(&mut self, received: &[u8], known: &mut KnownHead) -> Result<(), Malformed> {
        self.ended = received.is_empty();
        self.begun |= !self.ended;
        if let Some((_, reusable)) = &mut self.answer {
            // Whatever it is, it belongs to no request of ours.
            *reusable = false;
            return Ok(());
        }
        // Only a head that is not complete, or a line, is left untaken, and that is limited.
        let first = self.untaken.is_empty();
        if !first {
            self.untaken.extend_from_slice(received);
        }
        let bytes = if first { received } else { self.untaken.as_slice() };
        let (taken, progress) = self.reader.read_after(bytes, self.ended, known)?;
        if let Progress::Complete { answer, reusable } = progress {
            self.answer = Some((answer, reusable));
        } else if first {
            self.untaken.extend_from_slice(received.get(taken..).unwrap_or_default());
        } else {
            self.untaken.drain(..taken);
        }
        Ok(())
    }

    /// Whether the connection must stay open for a moment, though the answer counts and it is of no more use. The kernel
    /// may still have a part of the request, and would throw it away when something arrives for a closed connection.
    fn lingers<W>(&self, sending: &Sending<'_, W>) -> bool {
        let may_be_under_way = || self.early || sending.payload.len() > LARGE;
        let Some((answer, false)) = &self.answer else { return false };
        answer.is_delivery() && sending.out && !self.ended && may_be_under_way()
    }

    /// The connection has ended without a status, by this error if it was one.
    fn lost(&self, error: Option<&io::Error>) -> ExchangeError {
        let Some(error) = error else {
            let within = if self.begun { "within the status line" } else { "without an answer" };
            let cause = format_args!("the webhook closed the connection {within}");
            return ExchangeError::Failed(Fault::new(Failure::Reset, cause));
        };
        let fault = cause::of_stream(error);
        if cause::is_unheard(error) && !self.begun {
            ExchangeError::NotAcknowledged(fault)
        } else {
            ExchangeError::Failed(fault)
        }
    }
}

fn protocol(Malformed(cause): Malformed) -> ExchangeError {
    ExchangeError::Failed(Fault::new(Failure::Protocol, cause))
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
