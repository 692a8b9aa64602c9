//! What is to be said to the streams, on its way from a lane's routes to its connection.
//!
//! Saying it never holds up a delivery, also not while NATS is away: it waits here then. There is at most one last word
//! for each message in hand, so this is bounded by what bounds those.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use tokio::sync::Notify;

use super::acknowledgement::Notice;

/// See the module. All clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Acks(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: RefCell<VecDeque<Notice>>,
    arrival: Notify,
}

impl Acks {
    /// Puts `notice` on its way.
    pub fn say(&self, notice: Notice) {
        self.0.waiting.borrow_mut().push_back(notice);
        self.0.arrival.notify_one();
    }

    /// The next one, when there is one.
    pub async fn next(&self) -> Notice {
        loop {
            if let Some(notice) = self.try_next() {
                return notice;
            }
            self.0.arrival.notified().await;
        }
    }

    /// The next one, if there is one.
    pub fn try_next(&self) -> Option<Notice> {
        self.0.waiting.borrow_mut().pop_front()
    }
}
