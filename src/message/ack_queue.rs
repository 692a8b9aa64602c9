//! The acks of a lane's messages, on their way from its routes to its connection.
//!
//! Putting one in never waits, also not while NATS is away: publishing directly would, and would hold up deliveries.
//! The queue has no bound of its own: each message in hand is settled once, and while NATS is away no new ones
//! come.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use tokio::sync::Notify;

use super::acknowledgement::Ack;

/// The acks that are to be published. All clones are the same queue.
#[derive(Clone, Debug, Default)]
pub struct AckQueue(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: RefCell<VecDeque<Ack>>,
    arrival: Notify,
}

impl AckQueue {
    /// Appends `ack`.
    pub fn push(&self, ack: Ack) {
        self.0.waiting.borrow_mut().push_back(ack);
        self.0.arrival.notify_one();
    }

    /// Waits for the next ack, and takes it out.
    pub async fn next(&self) -> Ack {
        loop {
            if let Some(ack) = self.try_next() {
                return ack;
            }
            self.0.arrival.notified().await;
        }
    }

    /// Takes out the next ack, if there is one.
    pub fn try_next(&self) -> Option<Ack> {
        self.0.waiting.borrow_mut().pop_front()
    }
}
