//! One connection to one server, from its login to its end: what comes is handed to the subscriptions, what waits is
//! written, and a server that is silent is noticed.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use thiserror::Error;
use tokio::io::AsyncWrite as _;
use tokio_util::io::poll_read_buf;

use super::{
    Incoming,
    connection::Shared,
    dial::Established,
    info::ServerInfo,
    reader::{Operation, ProtocolError, Reader},
    subscriptions::Entry,
    wire::{Awaited, Wire},
};
use crate::base::{clock::Time, network::stream::Stream, timer::Timer};

/// When the server is first asked for a sign of life: how long that takes is to be known soon.
const FIRST_PING: Duration = Duration::from_secs(1);
/// How often it is asked from then on.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// After so many of them without anything from the server it counts as gone.
const SILENT_PINGS: u32 = 3;
/// How many blocks are read before the other tasks of the lane have their turn: they deliver what was read.
const TURN: usize = 4;
/// What waits in one go, in bytes, when this end has not read for a while.
const PILE: usize = 32 * 1024;
/// A connection that ends within such a time after so much has waited counts as cut by the server: it closes that of a client
/// that is too far behind, and does not say so.
const CUT: Duration = Duration::from_secs(5);

/// Why a connection has ended, worded for operators.
#[derive(Debug, Error)]
pub(super) enum Lost {
    #[error("the server has closed it")]
    Closed,
    #[error("the server has closed it: {0}")]
    Complaint(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("the server does not answer")]
    Silent,
}

/// What is to be done about a connection.
pub(super) enum Event {
    /// It has ended.
    Lost(Lost),
    /// The server is about to stop. It goes on for a while.
    LameDuck,
}

pub(super) struct Link {
    shared: Rc<Shared>,
    stream: Stream,
    reader: Reader,
    pub(super) wire: Rc<Wire>,
    /// The subscription of the last message, which is that of the next one most of the time.
    latest: Option<Rc<Entry>>,
    /// Those that took something of what was read, in the order of their first message.
    touched: Vec<Rc<Entry>>,
    complaint: Option<String>,
    lame_duck: bool,
    timer: Timer,
    next_ping: Time,
    /// How many PINGs were sent since the server was last heard of.
    silent: u32,
    /// When so much waited that this end must have been slow.
    piled_up: Option<Time>,
    needs_flush: bool,
}

impl Link {
    pub(super) fn new(shared: Rc<Shared>, established: Established) -> Self {
        let clock = shared.clock;
        let Established { stream, reader, .. } = established;
        Self {
            stream,
            reader,
            wire: Rc::default(),
            latest: None,
            touched: Vec::new(),
            complaint: None,
            lame_duck: false,
            timer: Timer::new(clock),
            next_ping: clock.now() + FIRST_PING,
            silent: 0,
            piled_up: None,
            needs_flush: false,
            shared,
        }
    }

    /// Reads and writes until something is to be done about it. Can be dropped, and called again.
    pub(super) async fn run(&mut self) -> Event {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Whether the server has closed it because this end was too slow in reading, as far as can be told.
    pub(super) fn was_cut(&self, why: &Lost) -> bool {
        let closed = match why {
            Lost::Closed | Lost::Io(_) => true,
            Lost::Complaint(text) => text.to_lowercase().contains("slow consumer"),
            Lost::Protocol(_) | Lost::Silent => false,
        };
        let now = self.shared.clock.now();
        closed && self.piled_up.is_some_and(|at| now.since(at) < CUT)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.wire.written_by(cx);
        if let Err(lost) = self.read(cx).and_then(|()| self.look_for_life(cx)).and_then(|()| self.write(cx)) {
            return Poll::Ready(Event::Lost(self.explained(lost)));
        }
        if std::mem::take(&mut self.lame_duck) { Poll::Ready(Event::LameDuck) } else { Poll::Pending }
    }

    /// The server says what it has against a client before it closes the connection.
    fn explained(&mut self, lost: Lost) -> Lost {
        match (lost, self.complaint.take()) {
            (Lost::Closed | Lost::Io(_), Some(complaint)) => Lost::Complaint(complaint),
            (lost, _) => lost,
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        let mut waited = 0;
        for _ in 0..TURN {
            let Poll::Ready(read) = poll_read_buf(Pin::new(&mut self.stream), cx, self.reader.room()) else {
                return Ok(());
            };
            match read? {
                0 => return Err(Lost::Closed),
                read => waited += read,
            }
            self.silent = 0;
            let now = self.shared.clock.now();
            if waited >= PILE {
                self.piled_up = Some(now);
            }
            let handled = self.handle(now);
            self.latest = None;
            self.touched.drain(..).for_each(|entry| entry.sink.taken());
            handled?;
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Handles all that is complete of what was read.
    fn handle(&mut self, now: Time) -> Result<(), Lost> {
        while let Some(operation) = self.reader.next()? {
            match operation {
                Operation::Message(message) => self.pass_on(message, now),
                Operation::Ping => self.wire.pong(),
                Operation::Pong => self.pong(now),
                Operation::Ok => {}
                Operation::Info(info) => self.info(&info),
                Operation::Error(text) => self.complain(&text),
            }
        }
        Ok(())
    }

    fn pass_on(&mut self, message: Incoming, now: Time) {
        let sid = message.sid();
        let latest = match &self.latest {
            Some(entry) if entry.sid == sid => entry,
            _ => {
                // Without a subscription it is what was on the wire when that was forgotten.
                let Some(entry) = self.shared.subscriptions.get(sid) else { return };
                self.touched.push(Rc::clone(&entry));
                self.latest.insert(entry)
            }
        };
        latest.sink.take(message, now);
    }

    fn pong(&self, now: Time) {
        match self.wire.answered() {
            Some(Awaited::Subscription(entry, false)) => entry.confirm(),
            // Whoever has waited may have gone away.
            Some(Awaited::RoundTrip(waiting)) => drop(waiting.send(())),
            Some(Awaited::SignOfLife(asked)) => self.shared.state.heard_after(now.since(asked)),
            Some(Awaited::Subscription(_, true)) | None => {}
        }
    }

    fn info(&mut self, info: &Bytes) {
        // One that can't be read says nothing that must be known.
        let Some(info) = ServerInfo::parse(info) else { return };
        self.lame_duck |= info.lame_duck;
        self.shared.learn(&info);
        self.reader.set_max_payload(info.max_payload);
    }

    fn complain(&mut self, text: &Bytes) {
        let text = String::from_utf8_lossy(text);
        let text = text.trim().trim_matches('\'');
        let lower = text.to_lowercase();
        if lower.contains("subscription") {
            self.shared.subscription_refused(&self.wire, text);
        } else if lower.contains("permissions violation") {
            self.shared.state.refused(text);
        } else {
            self.shared.state.trouble_with(&text);
            self.complaint = Some(text.to_owned());
        }
    }

    fn look_for_life(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        while self.timer.poll_passed(cx, self.next_ping).is_ready() {
            if self.silent >= SILENT_PINGS {
                return Err(Lost::Silent);
            }
            self.silent += 1;
            let now = self.shared.clock.now();
            self.next_ping = now + PING_INTERVAL;
            self.wire.ping(Awaited::SignOfLife(now));
            self.shared.subscriptions.refused().iter().for_each(|entry| self.wire.subscribe(entry));
        }
        Ok(())
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        let mut out = self.wire.out().borrow_mut();
        while !out.is_empty() {
            let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, &out) else { return Ok(()) };
            match written? {
                0 => return Err(Lost::Closed),
                written => out.advance(written),
            }
            self.needs_flush = true;
        }
        // What TLS has encrypted waits in it until it is told.
        if self.needs_flush && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.needs_flush = false;
        }
        Ok(())
    }
}
