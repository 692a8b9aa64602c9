//! One connection as a state machine (RFC 9113): what is received goes in, what is to be sent comes out, and it says
//! which streams have news. No I/O, and no clock but what it is told.
//!
//! What all its streams have to send is appended to one buffer, so that one write sends it all. A stream's number is its
//! place in a table: numbers are ours to choose, and one whose place is taken is left out.

mod incoming;
mod outgoing;
mod stream;

use self::{
    incoming::Incoming,
    stream::{End, Stream},
};
use super::{
    frame::{self, Code, HEAD, LARGEST, LARGEST_WINDOW, Violation, flag, kind},
    hpack::encoder::Encoder,
};
use crate::{
    base::clock::Time,
    deliver::{
        answer::Answer,
        fault::{ExchangeError, Fault},
        known::Known,
        partial::{LARGEST_HEAD, Partial},
        patience::Patience,
    },
    message::outcome::Failure,
};

/// How much may wait to be written before bodies wait, in bytes.
const HIGH_WATER: usize = 128 * 1024;
/// How many streams a server is taken to allow that does not say (section 6.5.2: no fewer than 100 are recommended).
const STREAMS: u32 = 100;
/// How large windows are at first (section 6.9.2).
const WINDOW: u32 = 65_535;
/// The last number that a stream of ours can have.
const LAST_STREAM: u32 = (1 << 31) - 1;

/// A connection to a webhook, and the requests that are under way on it.
#[derive(Debug)]
pub struct Connection {
    /// What is to be sent, of which so many bytes are already.
    out: Vec<u8>,
    written: usize,
    /// How many bytes were sent before those.
    before: u64,
    /// The streams, each at a place that follows from its number. As many as a power of two.
    streams: Box<[Option<Stream>]>,
    open: u32,
    /// The number of the next stream.
    next: u32,
    /// How many streams wait for windows or for room in the buffer: none for sure where it is 0.
    wanting: usize,
    encoder: Encoder,
    incoming: Incoming,
    /// The head of the delivery that was read last.
    known: Known<u16>,
    /// How much of bodies may be sent, over all streams.
    window: i64,
    /// How much of bodies may come, over all streams.
    credit: i64,
    /// How much of an answer may come.
    stream_credit: i64,
    /// How much of an answer is kept.
    keeps: Option<usize>,
    peer: Peer,
    /// No more streams are opened, and when all are done, the connection ends: with this code.
    draining: Option<Code>,
    /// Whether nothing can be sent or received any more.
    is_over: bool,
    /// Why, where that was not in order.
    fault: Option<Fault>,
    /// Where what was sent begins of which nobody knows whether the other end is still there.
    trial: Option<u64>,
    /// When our last PING was sent, where it was not answered.
    ping: Option<Time>,
    /// The streams that have news.
    touched: Vec<u32>,
}

/// What the server has told.
#[derive(Clone, Copy, Debug)]
struct Peer {
    /// Whether it has told anything.
    has_settled: bool,
    streams: u32,
    /// Whether it allows more of them than before, and nobody was told.
    allows_more: bool,
    window: u32,
}

impl Connection {
    /// A new connection with so many streams at most, on a route that keeps answers of so many bytes, where it does.
    pub fn new(streams: usize, keeps: Option<usize>) -> Self {
        let places = streams.clamp(1, STREAMS as usize).next_power_of_two();
        let credit =
            i64::try_from(Partial::largest_body(keeps)).unwrap_or(LARGEST_WINDOW).min(LARGEST_WINDOW - 1) + 1;
        let mut connection = Self {
            out: Vec::new(),
            written: 0,
            before: 0,
            streams: std::iter::repeat_with(|| None).take(places).collect(),
            open: 0,
            next: 1,
            wanting: 0,
            encoder: Encoder::default(),
            incoming: Incoming::default(),
            known: Known::default(),
            window: WINDOW.into(),
            credit: LARGEST_WINDOW,
            stream_credit: credit,
            keeps,
            peer: Peer { has_settled: false, streams: STREAMS, allows_more: false, window: WINDOW },
            draining: None,
            is_over: false,
            fault: None,
            trial: None,
            ping: None,
            touched: Vec::new(),
        };
        connection.begin();
        connection
    }

    /// Whether the server has said what it allows, and allows something.
    pub fn is_ready(&self) -> bool {
        self.peer.has_settled && self.peer.streams > 0
    }

    /// Whether a stream can be opened now.
    pub fn can_open(&self) -> bool {
        let most = self.peer.streams.min(STREAMS);
        !self.is_over
            && self.draining.is_none()
            && self.open < most
            && (self.open as usize) < self.streams.len()
    }

    /// Whether streams can be opened now or later.
    pub fn is_of_use(&self) -> bool {
        !self.is_over && self.draining.is_none()
    }

    /// Whether the server allows more streams since this was asked last: who waits for one may have it now.
    pub(super) fn has_come_to_allow_more(&mut self) -> bool {
        std::mem::take(&mut self.peer.allows_more)
    }

    /// In how many places a stream can be.
    pub(super) fn places(&self) -> usize {
        self.streams.len()
    }

    /// How many streams are open.
    pub const fn open_streams(&self) -> u32 {
        self.open
    }

    /// Whether all is over: nothing is to be received or waited for.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Why it is over, where that was not in order.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Sends a request, whose fields are what `write_head` appends, as far as it may; [`Self::send`] sends the rest. The
    /// number of its stream; none where none can be opened.
    pub fn open(&mut self, write_head: impl FnOnce(&mut Encoder, &mut Vec<u8>), body: &[u8]) -> Option<u32> {
        let id = if self.can_open() { self.free_number() } else { return None };
        let Some(id) = id else {
            // All numbers are used up: another connection has them again.
            self.drain(Code::NO_ERROR);
            return None;
        };
        self.next = id + 2;
        let begins = self.end();
        let ends_here = body.is_empty();
        self.put_request_head(id, ends_here, write_head);
        let stream = Stream {
            id,
            begins,
            ends: ends_here.then(|| self.end()),
            sent: 0,
            window: self.peer.window.into(),
            wants: false,
            credit: self.stream_credit,
            partial: Partial::keeping(self.keeps),
            interim: 0,
            end: None,
            is_closed_there: false,
            is_late: false,
        };
        let place = self.place(id);
        if let Some(free) = self.streams.get_mut(place) {
            *free = Some(stream);
            self.open += 1;
        }
        if !ends_here {
            self.send(id, body);
        }
        Some(id)
    }

    fn free_number(&self) -> Option<u32> {
        let numbers = (self.next..=LAST_STREAM).step_by(2).take(self.streams.len());
        numbers.into_iter().find(|id| self.streams.get(self.place(*id)).is_some_and(Option::is_none))
    }

    fn place(&self, id: u32) -> usize {
        id as usize >> 1 & (self.streams.len() - 1)
    }

    fn stream(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.place(id);
        self.streams.get_mut(place)?.as_mut().filter(|stream| stream.id == id)
    }

    /// What has come of a stream, where something has: then it is closed.
    pub fn outcome(&mut self, id: u32, patience: &Patience) -> Option<Result<Answer, ExchangeError>> {
        let position = self.position();
        let Some(stream) = self.stream(id) else {
            return Some(Err(ExchangeError::Failed(Failure::Reset.into())));
        };
        if std::mem::take(&mut stream.is_late) {
            patience.time_passed();
        }
        let is_out = stream.ends.is_some_and(|end| end <= position);
        let outcome = stream.outcome(is_out, patience)?;
        self.close(id);
        Some(outcome)
    }

    /// Closes a stream, whatever has come of it.
    pub fn close(&mut self, id: u32) {
        let place = self.place(id);
        let Some(stream) =
            self.streams.get_mut(place).and_then(|place| place.take_if(|stream| stream.id == id))
        else {
            return;
        };
        self.open -= 1;
        let is_done = stream.is_closed_there && stream.ends.is_some();
        if !self.is_over && !is_done {
            frame::put_number(&mut self.out, kind::RST_STREAM, id, Code::CANCEL.0);
        }
        self.finish_draining();
    }

    /// Whether this stream is open.
    pub(super) fn has(&self, id: u32) -> bool {
        self.streams
            .get(self.place(id))
            .is_some_and(|place| place.as_ref().is_some_and(|stream| stream.id == id))
    }

    /// The time of a stream is over, or of what it waited for: whoever waits for it is to see.
    pub(super) fn time_passed(&mut self, id: u32) {
        if let Some(stream) = self.stream(id) {
            stream.is_late = true;
            self.touched.push(id);
        }
    }

    /// Calls `tell` with each stream that has news.
    pub(super) fn each_touched(&mut self, tell: impl FnMut(u32)) {
        self.touched.drain(..).for_each(tell);
    }

    /// Opens no more streams, and ends when those that are open are done.
    pub(super) fn drain(&mut self, code: Code) {
        self.draining.get_or_insert(code);
        self.finish_draining();
    }

    fn finish_draining(&mut self) {
        if let (Some(code), 0, false) = (self.draining, self.open, self.is_over) {
            frame::put_goaway(&mut self.out, code);
            self.is_over = true;
        }
    }

    /// What is sent from now on may be lost, until something is received: the connection was silent for long.
    pub(super) fn begin_trial(&mut self) {
        let end = self.end();
        self.trial.get_or_insert(end);
    }

    /// Whether nothing has been received since a trial began.
    pub(super) const fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// It is not seen any more whether what was sent arrives.
    pub(super) fn end_trial(&mut self) {
        self.trial = None;
    }

    /// Asks the other end at `now` whether it is there.
    pub(super) fn ping(&mut self, now: Time) {
        self.ping = Some(now);
        frame::put_ping(&mut self.out, 0, now.as_nanos().to_be_bytes());
    }

    /// When the other end was asked whether it is there, where it has not answered.
    pub(super) const fn pinged(&self) -> Option<Time> {
        self.ping
    }

    /// The connection has ended: nothing can be sent or received any more. `is_unheard` says that the other end has not
    /// even acknowledged what was sent.
    pub fn lost(&mut self, fault: Fault, is_unheard: bool) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        let (position, trial) = (self.position(), self.trial.filter(|_| is_unheard));
        for stream in self.streams.iter_mut().flatten() {
            let is_sent = stream.ends.is_some_and(|end| end <= position);
            let begins = stream.begins;
            stream.broken_off("the connection ended within the answer", is_sent, || {
                if begins >= position {
                    ExchangeError::NotSent(fault.clone())
                } else if trial.is_some_and(|trial| begins >= trial) {
                    ExchangeError::NotAcknowledged(fault.clone())
                } else {
                    ExchangeError::Failed(fault.clone())
                }
            });
            self.touched.push(stream.id);
        }
        self.fault = Some(fault);
    }

    /// The server broke a rule: it is told, and the connection ends.
    fn violated(&mut self, violation: Violation) {
        let Violation { code, words } = violation;
        self.lost(Fault::new(Failure::Protocol, format_args!("HTTP/2: {words}")), false);
        frame::put_goaway(&mut self.out, code);
    }
}

impl End {
    const fn is_answer(&self) -> bool {
        matches!(self, Self::Answered)
    }
}

#[cfg(test)]
mod tests;
