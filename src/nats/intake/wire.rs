//! The way out of one connection: the bytes that wait to be written, and who waits for the answers to them.
//!
//! The server handles what comes over a connection in order, and answers each PING: what was sent before has been
//! handled when the PONG is back, and what the server has sent before has arrived.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    task::{Context, Waker},
};

use bytes::{BufMut, BytesMut};
use thiserror::Error;
use tokio::sync::oneshot;

use super::subscriptions::Entry;
use crate::{base::clock::Time, message::HeaderBlock};

/// How many bytes may wait to be written. A server that does not read for so long is on its way to be given up.
const MOST: usize = 16 << 20;

/// A message to be published.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Where to. It must be a valid subject: no blanks, no empty tokens, no wildcards.
    pub subject: &'a str,
    /// Where an answer goes to.
    pub reply: Option<&'a str>,
    /// The headers.
    pub headers: Option<&'a HeaderBlock>,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Outgoing<'a> {
    /// A message without headers.
    pub const fn new(subject: &'a str, payload: &'a [u8]) -> Self {
        Self { subject, reply: None, headers: None, payload }
    }

    /// The same, with an answer to go to `reply`.
    pub const fn replying_to(self, reply: &'a str) -> Self {
        Self { reply: Some(reply), ..self }
    }
}

/// Why a message was not published. What was published may still be lost with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    /// There is no connection at present.
    #[error("there is no connection to NATS")]
    Disconnected,
    /// With its headers it is larger than the server takes.
    #[error("it is larger than NATS takes")]
    TooLarge,
    /// The server does not read, so that too much waits to be written already.
    #[error("the NATS server does not read what is sent")]
    Full,
}

/// What a PONG answers.
pub(super) enum Awaited {
    /// A subscription, and whether the server has complained of it meanwhile.
    Subscription(Rc<Entry>, bool),
    /// Somebody who waits until all that was sent before is handled.
    RoundTrip(oneshot::Sender<()>),
    /// Nobody: it tells that the server is there, and how long it takes to hear from it since this time.
    SignOfLife(Time),
}

#[derive(Default)]
pub(super) struct Wire {
    out: RefCell<BytesMut>,
    awaited: RefCell<VecDeque<Awaited>>,
    writer: RefCell<Option<Waker>>,
    /// Whether whoever writes knows that there is something.
    is_woken: Cell<bool>,
}

impl Wire {
    pub(super) fn subscribe(&self, entry: &Rc<Entry>) {
        let mut digits = itoa::Buffer::new();
        let (subject, sid) = (&*entry.subject, digits.format(entry.sid));
        match &entry.queue_group {
            Some(group) => self.put(&["SUB ", subject, " ", group, " ", sid, "\r\n"]),
            None => self.put(&["SUB ", subject, " ", sid, "\r\n"]),
        }
        self.ping(Awaited::Subscription(Rc::clone(entry), false));
    }

    pub(super) fn unsubscribe(&self, sid: u64) {
        self.put(&["UNSUB ", itoa::Buffer::new().format(sid), "\r\n"]);
        self.wake();
    }

    /// Sends a PING, whose answer is for `awaited`.
    pub(super) fn ping(&self, awaited: Awaited) {
        self.awaited.borrow_mut().push_back(awaited);
        self.put(&["PING\r\n"]);
        self.wake();
    }

    pub(super) fn pong(&self) {
        self.put(&["PONG\r\n"]);
        self.wake();
    }

    pub(super) fn publish(&self, message: Outgoing<'_>) -> Result<(), PublishError> {
        let Outgoing { subject, reply, headers, payload } = message;
        let headers = headers.map_or(&b""[..], HeaderBlock::as_bytes);
        let size = headers.len() + payload.len();
        let out = &mut *self.out.borrow_mut();
        if out.len() + size > MOST && !out.is_empty() {
            return Err(PublishError::Full);
        }
        out.put_slice(if headers.is_empty() { b"PUB " } else { b"HPUB " });
        out.put_slice(subject.as_bytes());
        out.put_u8(b' ');
        if let Some(reply) = reply {
            out.put_slice(reply.as_bytes());
            out.put_u8(b' ');
        }
        let mut digits = itoa::Buffer::new();
        if !headers.is_empty() {
            out.put_slice(digits.format(headers.len()).as_bytes());
            out.put_u8(b' ');
        }
        out.put_slice(digits.format(size).as_bytes());
        out.put_slice(b"\r\n");
        out.put_slice(headers);
        out.put_slice(payload);
        out.put_slice(b"\r\n");
        self.wake();
        Ok(())
    }

    /// Whose PONG has come; none where nobody waits for one.
    pub(super) fn answered(&self) -> Option<Awaited> {
        self.awaited.borrow_mut().pop_front()
    }

    /// Notes a complaint of the server about the subscription whose turn it is, where `text` may be about it.
    pub(super) fn complain_of_subscription(&self, text: &str) -> Option<Rc<Entry>> {
        match self.awaited.borrow_mut().front_mut()? {
            Awaited::Subscription(entry, refused)
                if !text.contains('"') || text.contains(&*format!("\"{}\"", entry.subject)) =>
            {
                *refused = true;
                Some(Rc::clone(entry))
            }
            Awaited::Subscription(..) | Awaited::RoundTrip(_) | Awaited::SignOfLife(_) => None,
        }
    }

    /// How many bytes wait to be written.
    pub(super) fn backlog(&self) -> usize {
        self.out.borrow().len()
    }

    /// The bytes that wait to be written.
    pub(super) fn out(&self) -> &RefCell<BytesMut> {
        &self.out
    }

    /// Has the task of `cx` woken when there is something to write.
    pub(super) fn written_by(&self, cx: &Context<'_>) {
        self.is_woken.set(false);
        let mut writer = self.writer.borrow_mut();
        match &mut *writer {
            Some(writer) => writer.clone_from(cx.waker()),
            None => *writer = Some(cx.waker().clone()),
        }
    }

    fn put(&self, parts: &[&str]) {
        let mut out = self.out.borrow_mut();
        parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    }

    fn wake(&self) {
        if !self.is_woken.replace(true)
            && let Some(writer) = &*self.writer.borrow()
        {
            writer.wake_by_ref();
        }
    }
}
