//! A subscription whose messages wait until somebody takes them: for what is asked for and comes in small numbers.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use tracing::warn;

use super::{Incoming, connection::Attached, subscriptions::Sink};
use crate::base::clock::Time;

/// How many messages may wait, and how many bytes of them. More than was ever asked for comes only from somebody who means
/// no good.
const MOST: usize = 64 * 1024;
const MOST_BYTES: usize = 128 << 20;

/// A subscription whose messages wait to be taken. Dropped, it ends, and what is on the wire then is lost.
pub struct Subscription {
    waiting: Rc<Waiting>,
    attached: Attached,
}

#[derive(Default)]
struct Waiting {
    messages: RefCell<VecDeque<Incoming>>,
    bytes: Cell<usize>,
    taker: RefCell<Option<Waker>>,
    has_overflowed: Cell<bool>,
}

impl Subscription {
    pub(super) fn new(attach: impl FnOnce(Rc<dyn Sink>) -> Attached) -> Self {
        let waiting = Rc::<Waiting>::default();
        let attached = attach(Rc::clone(&waiting) as Rc<dyn Sink>);
        Self { waiting, attached }
    }

    /// The next message, however long it takes to come.
    pub async fn next(&mut self) -> Incoming {
        poll_fn(|cx| {
            if let Some(message) = self.try_next() {
                return Poll::Ready(message);
            }
            *self.waiting.taker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The next message that is here already.
    pub fn try_next(&mut self) -> Option<Incoming> {
        let message = self.waiting.messages.borrow_mut().pop_front()?;
        self.waiting.bytes.set(self.waiting.bytes.get() - message.length());
        Some(message)
    }

    /// Tells the server to send nothing more. What it has sent before still comes: after a
    /// [round trip](super::Connection::round_trip), all of it is here.
    pub fn end(&self) {
        self.attached.end();
    }

    /// Why the server refuses it, in its own words; none while it does not.
    pub fn refusal(&self) -> Option<String> {
        self.attached.refusal()
    }
}

impl Sink for Waiting {
    fn take(&self, message: Incoming, _now: Time) {
        let bytes = self.bytes.get() + message.length();
        let mut messages = self.messages.borrow_mut();
        if messages.len() >= MOST || bytes > MOST_BYTES {
            if !self.has_overflowed.replace(true) {
                warn!(
                    subject = &*message.subject(),
                    "more comes from NATS than was asked for: it is not taken"
                );
            }
            return;
        }
        self.bytes.set(bytes);
        messages.push_back(message);
    }

    fn taken(&self) {
        if let Some(taker) = self.taker.take() {
            taker.wake();
        }
    }
}
