//! Moves the bytes of one connection: writes what all its workers have to send in one go, reads what has come, wakes
//! those whom it concerns, and watches the time for all of them.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::{frame::Code, link::Link};
use crate::{
    base::{
        clock::{Clock, Time},
        network::stream::Stream,
        timer::Timer,
    },
    deliver::{connect::cause, fault::Fault},
    message::outcome::Failure,
};

/// How much is read at once, in bytes: the answers to as many requests as a connection has under way.
const READ: usize = 16 * 1024;

/// What all connections of a pool read into, one after the other.
pub(super) type Buffer = Rc<RefCell<Box<[u8]>>>;

pub(super) fn buffer() -> Buffer {
    Rc::new(RefCell::new(vec![0; READ].into()))
}

/// How long a connection lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long it may be unused.
    pub(super) idle: Duration,
    /// How long it is used.
    pub(super) age: Duration,
    /// How long it may be silent while somebody waits, before it is asked whether it is there; and for an answer to that.
    pub(super) silence: Duration,
}

/// Who drives a connection.
pub(super) struct Driver {
    stream: Stream,
    pub(super) link: Rc<Link>,
    buffer: Buffer,
    limits: Limits,
    clock: Clock,
    timer: Timer,
    opened: Time,
    /// Whether the stream has something that it was given and has not sent.
    is_held_back: bool,
    /// Whether the kernel was told to expect acknowledgements soon.
    is_watchful: bool,
}

impl Driver {
    pub(super) fn new(stream: Stream, link: Rc<Link>, buffer: Buffer, limits: Limits, clock: Clock) -> Self {
        let opened = clock.now();
        let timer = Timer::new(clock);
        let (is_held_back, is_watchful) = (false, false);
        Self { stream, link, buffer, limits, clock, timer, opened, is_held_back, is_watchful }
    }

    /// Returns when the server has said what it allows; else why it does not.
    pub(super) async fn settled(&mut self) -> Result<(), Fault> {
        poll_fn(|cx| {
            let over = self.poll(cx).is_ready();
            let connection = self.link.connection();
            if connection.is_ready() && connection.is_of_use() {
                return Poll::Ready(Ok(()));
            }
            if !over {
                return Poll::Pending;
            }
            let closed = || {
                Fault::new(Failure::Reset, "the webhook closed the connection before it was asked anything")
            };
            Poll::Ready(Err(connection.fault().cloned().unwrap_or_else(closed)))
        })
        .await
    }

    /// Returns when the connection has ended.
    pub(super) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.link.drives(cx.waker());
        // Reading first: what it says about streams that were not sent yet, or that it has gone, matters to what is
        // written.
        self.read(cx);
        self.keep_time(cx);
        self.write(cx);
        self.link.wake_touched();
        self.link.tell_of_room();
        if !self.link.connection().is_over() {
            return Poll::Pending;
        }
        // A farewell, where the other end takes it at once. It is of no use to wait for that.
        self.write(cx);
        drop(Pin::new(&mut self.stream).poll_shutdown(cx));
        Poll::Ready(())
    }

    fn read(&mut self, cx: &mut Context<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        let mut connection = self.link.connection_mut();
        while !connection.is_over() {
            let mut room = ReadBuf::new(&mut buffer);
            match Pin::new(&mut self.stream).poll_read(cx, &mut room) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                    self.link.hears(self.clock.now());
                    connection.receive(room.filled());
                }
                Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    connection.lost(cause::of_stream(&error), cause::is_unheard(&error));
                }
                Poll::Ready(_) => {
                    let words = if connection.is_ready() {
                        "the webhook closed the connection without an answer"
                    } else {
                        "the webhook closed the connection without a word of HTTP/2"
                    };
                    connection.lost(Fault::new(Failure::Reset, words), false);
                }
            }
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        let is_on_trial = self.link.connection().is_on_trial();
        if is_on_trial != self.is_watchful {
            self.is_watchful = is_on_trial;
            self.stream.expect_acknowledgements(is_on_trial);
        }
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            // It may have said why before it went.
            self.read(cx);
            self.link.connection_mut().lost(cause::of_stream(&error), cause::is_unheard(&error));
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut connection = self.link.connection_mut();
        while !connection.to_send().is_empty() {
            self.is_held_back = true;
            match ready!(Pin::new(&mut self.stream).poll_write(cx, connection.to_send()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => connection.sent(count),
            }
        }
        if self.is_held_back {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_held_back = false;
        }
        Poll::Ready(Ok(()))
    }

    fn keep_time(&mut self, cx: &mut Context<'_>) {
        while self.timer.poll_passed(cx, self.link.looks_at()).is_ready() {
            let now = self.clock.now();
            let next = self.look(now);
            self.link.look(now, next);
        }
    }

    /// Looks whether the connection has had its time, and is there. When to look again.
    fn look(&mut self, now: Time) -> Time {
        let mut connection = self.link.connection_mut();
        let (heard, Limits { idle, age, silence }) = (self.link.heard(), self.limits);
        let is_idle = connection.open_streams() == 0;
        if now >= self.opened + age || is_idle && now >= heard + idle {
            connection.drain(Code::NO_ERROR);
        }
        let end = if is_idle { (self.opened + age).min(heard + idle) } else { self.opened + age };
        // One that is ended already, or is about to, is looked at for its streams only.
        let end = if end > now { end } else { now + age };
        if is_idle || connection.is_over() {
            return end;
        }
        if now < heard + silence {
            return end.min(heard + silence);
        }
        match connection.pinged() {
            None => connection.ping(now),
            // Who waits has its own deadline, and the answer may come yet. But nobody else is sent there.
            Some(pinged) if now >= pinged + silence => connection.drain(Code::NO_ERROR),
            Some(_) => {}
        }
        end.min(now + silence)
    }
}
