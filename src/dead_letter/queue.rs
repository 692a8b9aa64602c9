//! Where dead letters wait until they are published. Putting one in never waits, so that NATS can't hold up the deliveries
//! of a route.

use std::sync::Arc;

use tokio::{sync::mpsc, time::sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Letter,
    outbox::{Outbox, Place, Waiting},
    publisher::Publisher,
    queued::QueuedLetter,
    recent::RecentLetter,
    rounds::Rounds,
};
use crate::{
    base::{clock::Clock, error_chain::ErrorChain},
    message::Message,
};

/// By which a route's lanes put dead letters into its queue.
#[derive(Clone, Debug)]
pub struct Sender {
    waiting: mpsc::Sender<QueuedLetter>,
    outbox: Arc<Outbox>,
}

impl Sender {
    /// What may wait at most, but for one letter of any size.
    pub const BOUNDS: Waiting = Outbox::BOUNDS;

    /// Room for a letter about `message`; none where too many are waiting already. It never waits for any.
    pub fn reserve(&self, message: &Message) -> Option<Room<'_>> {
        let place = self.outbox.place(message.cost())?;
        let permit = self.waiting.try_reserve().ok()?;
        Some(Room { permit, place })
    }

    /// What waits to be published.
    pub fn waiting(&self) -> Waiting {
        self.outbox.waiting()
    }

    /// The latest letters that NATS has.
    pub fn recent(&self) -> Vec<RecentLetter> {
        self.outbox.recent.latest()
    }

    /// Whether no message should be taken that can be left where it is: were it to die, there would hardly be room for its
    /// letter.
    pub fn is_full(&self) -> bool {
        self.outbox.is_full()
    }

    /// Returns when there is room for a letter, as far as can be told while others send too.
    pub async fn room(&self) {
        self.outbox.room().await;
    }
}

/// Room for one letter. Whoever has it can tell others that the message is dead: it will not go anywhere else.
#[derive(Debug)]
pub struct Room<'s> {
    permit: mpsc::Permit<'s, QueuedLetter>,
    place: Place,
}

impl Room<'_> {
    /// Puts `letter` there.
    pub fn put(self, mut letter: Letter) {
        // One that found no room anywhere else is still as it was read.
        letter.message.detach();
        self.permit.send(QueuedLetter::new(letter, self.place));
    }
}

/// Publishes the dead letters of a route for all lanes.
#[derive(Debug)]
pub struct LetterQueue {
    fresh: mpsc::Receiver<QueuedLetter>,
    /// Whether there may come more.
    is_open: bool,
    batch: Vec<QueuedLetter>,
    rounds: Rounds,
    clock: Clock,
}

/// A queue of letters, and the sender that leads to it.
pub fn queue(clock: Clock) -> (Sender, LetterQueue) {
    // Each letter has a place, of which there are as many.
    let (sender, fresh) = mpsc::channel(Outbox::BOUNDS.messages);
    let queue = LetterQueue { fresh, is_open: true, batch: Vec::new(), rounds: Rounds::new(), clock };
    (Sender { waiting: sender, outbox: Arc::default() }, queue)
}

impl LetterQueue {
    /// Publishes by `publisher` until all senders are gone and everything has come to its end, or until `give_up`, when the
    /// rest is returned or dropped.
    pub async fn run(mut self, mut publisher: Publisher, give_up: CancellationToken) {
        tokio::select! {
            // Giving up first: a round that always finds something to do must not keep the process from ending.
            biased;
            () = give_up.cancelled() => {}
            () = self.publish(&mut publisher) => {}
        }
        self.fresh.close();
        let Self { fresh, batch, rounds, .. } = &mut self;
        let fresh = std::iter::from_fn(|| fresh.try_recv().ok());
        publisher.abandon(batch.drain(..).chain(rounds.drain()).chain(fresh));
    }

    /// Can be dropped at any time: each letter is then in the batch, waits, or is fresh.
    async fn publish(&mut self, publisher: &mut Publisher) {
        while self.fill(publisher).await {
            let published = publisher.publish(&mut self.batch).await;
            let conclusion = self.rounds.conclude(&mut self.batch, self.clock.now());
            match (conclusion.trouble, published) {
                (None, _) => publisher.recovered(),
                (Some(_), Err(error)) => publisher.report(&ErrorChain(&error).to_string()),
                (Some(reason), Ok(())) => {
                    publisher.report(&format!("the stream does not take them: {reason}"));
                }
            }
            publisher.settle(conclusion.ended);
        }
    }

    /// Waits for letters to publish. False when there are none any more.
    async fn fill(&mut self, publisher: &mut Publisher) -> bool {
        loop {
            let now = self.clock.now();
            if let Some(until) = self.rounds.paused_until(now) {
                sleep_until(self.clock.instant(until)).await;
                continue;
            }
            let Self { fresh, batch, rounds, .. } = self;
            rounds.fill(batch, now, || fresh.try_recv().ok());
            if !batch.is_empty() {
                return true;
            }
            let due = rounds.next_due();
            if !self.is_open && due.is_none() {
                return false;
            }
            let (is_open, is_ready) = (self.is_open, publisher.is_ready());
            tokio::select! {
                biased;
                letter = self.fresh.recv(), if is_open => match letter {
                    Some(letter) => self.batch.push(letter),
                    None => self.is_open = false,
                },
                () = sleep_until(self.clock.instant(due.unwrap_or(now))), if due.is_some() => {}
                () = publisher.get_ready(), if is_open && !is_ready => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::letter::tests::letter;

    #[test]
    fn a_letter_that_waits_keeps_nothing_alive_but_itself() {
        let (sender, mut queue) = queue(Clock::start());
        let block = bytes::Bytes::from(vec![7; 64 * 1024]);
        let mut small = letter(&[]);
        small.message.payload = block.slice(..100);
        sender.reserve(&small.message).unwrap().put(small);
        let waiting = queue.fresh.try_recv().unwrap();
        assert_eq!(waiting.letter.message.payload, block.slice(..100));
        assert!(block.is_unique(), "the letter holds on to the block that it was read with");
    }
}
