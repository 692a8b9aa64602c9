//! What is in hand of a route on one lane, message by message, for whoever looks into it. Messages pay nothing for that:
//! what waits is gone through when somebody asks, and workers show what they have under way when they are told to.

use tokio::task::yield_now;

use super::{
    pipeline::Pipeline,
    schedule::waiting::Seen,
    worker::{Interrupt, WorkerHandle},
};
use crate::{
    base::clock::Time,
    deliver::Deliver,
    message::{Message, batch::Batch, outcome::Failure},
};

/// How many messages with one id are told of.
const MOST: usize = 100;
/// How often workers get their turn to show what they have.
const TURNS: usize = 64;

/// A message that came to no end yet. Nothing of its payload is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InHand {
    /// Its id.
    pub id: String,
    /// What it was published to.
    pub subject: String,
    /// Where it is.
    pub stay: Stay,
    /// When it came out of NATS.
    pub received: Time,
    /// How many attempts were begun that count.
    pub attempts: u32,
    /// When the next one is due, where it waits for that.
    pub due: Option<Time>,
    /// Why the last one failed, if one did.
    pub last_failure: Option<Failure>,
    /// The memory that it takes, in bytes.
    pub bytes: usize,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It waits for its first attempt.
    Queue,
    /// It waits for another attempt.
    Retry,
    /// An attempt is under way.
    InFlight,
}

impl Stay {
    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Retry => "retry",
            Self::InFlight => "in_flight",
        }
    }
}

impl InHand {
    fn of(message: &Message, stay: Stay, due: Option<Time>) -> Self {
        Self {
            id: message.id.to_string(),
            subject: message.subject.as_ref().to_owned(),
            stay,
            received: message.received,
            attempts: message.attempts,
            due,
            last_failure: message.last_failure,
            bytes: message.cost(),
        }
    }

    fn waiting(Seen { message, due }: Seen<'_>) -> Self {
        Self::of(message, if due.is_some() { Stay::Retry } else { Stay::Queue }, due)
    }
}

impl WorkerHandle {
    /// Shows what is under way, once for each time that somebody asks.
    #[cold]
    pub(super) fn show(&self, batch: &Batch) {
        let in_flight = |message| InHand::of(message, Stay::InFlight, None);
        self.shown.borrow_mut().get_or_insert_with(|| batch.iter().map(in_flight).collect());
    }
}

impl<D: Deliver + 'static> Pipeline<D> {
    /// The oldest `limit` messages of those in hand, the oldest first.
    pub async fn in_hand(&self, limit: usize) -> Vec<InHand> {
        let mut messages = self.under_way_now().await;
        let schedule = self.schedule.borrow();
        let waiting = oldest(schedule.waiting(), limit, |seen| seen.message.received);
        messages.extend(waiting.into_iter().map(InHand::waiting));
        oldest(messages, limit, |message| message.received)
    }

    /// The message with this id, where it is in hand; several have it where a publisher gives it to several.
    pub async fn with_id(&self, id: &str) -> Vec<InHand> {
        let mut found = Vec::new();
        if self.in_flight.get() > 0 {
            found.extend(self.under_way_now().await.into_iter().filter(|message| message.id == id));
        }
        let schedule = self.schedule.borrow();
        found
            .extend(schedule.waiting().filter(|seen| seen.message.id.is(id)).take(MOST).map(InHand::waiting));
        found
    }

    /// What workers have under way.
    async fn under_way_now(&self) -> Vec<InHand> {
        if self.interrupt.get() != Interrupt::None {
            // It comes to its end, or somebody else is looking.
            return Vec::new();
        }
        self.interrupt.set(Interrupt::Show);
        let workers = self.workers.borrow().clone();
        workers.iter().for_each(|worker| worker.wake());
        for _ in 0..TURNS {
            yield_now().await;
        }
        if self.interrupt.get() == Interrupt::Show {
            self.interrupt.set(Interrupt::None);
        }
        workers.iter().filter_map(|worker| worker.shown.take()).flatten().collect()
    }
}

/// The first `limit` of `all` by their times, in that order, without keeping many more than that.
fn oldest<T>(all: impl IntoIterator<Item = T>, limit: usize, time: impl Fn(&T) -> Time) -> Vec<T> {
    let mut kept = Vec::new();
    for one in all {
        kept.push(one);
        if kept.len() >= 2 * limit.max(1) {
            kept.select_nth_unstable_by_key(limit, &time);
            kept.truncate(limit);
        }
    }
    kept.sort_by_key(&time);
    kept.truncate(limit);
    kept
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_are_found_among_many() {
        let time = |second: &u64| Time::from_start(Duration::from_secs(*second));
        let all = (0..1_000).map(|n| (n * 617) % 1_000);
        assert_eq!(oldest(all.clone(), 5, time), [0, 1, 2, 3, 4]);
        assert_eq!(oldest(all, 2_000, time).len(), 1_000);
        assert!(oldest([1, 0], 0, time).is_empty());
    }
}
