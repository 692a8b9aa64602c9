//! What is to be said to the streams, on its way from a lane's routes to its connection.
//!
//! Saying it never holds up a delivery, also not while NATS is away: it waits here then. There is at most one last word
//! for each message in hand, so this is bounded by what bounds those.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use tokio::sync::Notify;

use super::acknowledgement::Ack;

/// See the module. All clones are the same.
#[derive(Clone, Debug, Default)]
pub struct AckQueue(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: RefCell<VecDeque<Ack>>,
    arrival: Notify,
}

impl AckQueue {
    /// Puts `notice` on its way.
    pub fn push(&self, notice: Ack) {
        self.0.waiting.borrow_mut().push_back(notice);
        self.0.arrival.notify_one();
    }

    /// The next one, when there is one.
    pub async fn next(&self) -> Ack {
        loop {
            if let Some(notice) = self.try_next() {
                return notice;
            }
            self.0.arrival.notified().await;
        }
    }

    /// The next one, if there is one.
    pub fn try_next(&self) -> Option<Ack> {
        self.0.waiting.borrow_mut().pop_front()
    }
}
