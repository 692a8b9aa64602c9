//! Where dead letters wait until they are published: bounded in messages and in bytes. Putting one in never waits, so
//! that NATS can't hold up the deliveries of a route.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Letter,
    letter::Cut,
    publisher::{Fate, Publisher},
};
use crate::message::Message;

/// How many dead letters of a route may wait to be published. What finds no room is dropped or goes back to its stream.
const WAITING_MESSAGES: usize = 32 * 1024;
/// How many bytes of memory they may take.
const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// How many are published at most before they are confirmed: a round trip for each would make a few thousand a second
/// at best.
const BATCH: usize = 2048;

/// By which a route's lanes put dead letters into its queue.
#[derive(Clone, Debug)]
pub struct Sender {
    waiting: mpsc::Sender<QueuedLetter>,
    bytes: Arc<Semaphore>,
}

/// A dead letter on its way, with its share of [`WAITING_BYTES`].
#[derive(Debug)]
pub(super) struct QueuedLetter {
    pub(super) letter: Letter,
    pub(super) cut: Cut,
    pub(super) fate: Option<Fate>,
    /// Gives the share back when the letter is dropped, wherever that is.
    _bytes: OwnedSemaphorePermit,
}

impl QueuedLetter {
    /// Leaves out more of the headers, when the letter is too large as it is. Without any, it can't be published.
    pub(super) fn shorten(&mut self) {
        match self.cut.more() {
            Some(cut) => self.cut = cut,
            None => self.fate = Some(Fate::TooLarge),
        }
    }
}

impl Sender {
    /// Hands `letter` over without waiting, or gives it back where too many are waiting already.
    #[expect(clippy::result_large_err, reason = "the letter is moved either way")]
    pub fn send(&self, mut letter: Letter) -> Result<(), Letter> {
        let cost = u32::try_from(letter.message.cost()).unwrap_or(u32::MAX);
        let Ok(bytes) = Arc::clone(&self.bytes).try_acquire_many_owned(cost) else {
            return Err(letter);
        };
        // One that found no room anywhere is still as it was read.
        letter.message.detach();
        let waiting = QueuedLetter { letter, cut: Cut::Nothing, fate: None, _bytes: bytes };
        self.waiting.try_send(waiting).map_err(|refused| refused.into_inner().letter)
    }

    /// Returns when there is room for a letter about `message`, as far as can be told while others send too; at once
    /// where there will never be.
    pub async fn room_for(&self, message: &Message) {
        let cost = u32::try_from(message.cost()).unwrap_or(u32::MAX);
        if message.cost() > WAITING_BYTES {
            return;
        }
        // What was acquired is given back here, and `send` takes it again. So nothing stays taken when this future is
        // dropped.
        drop(self.bytes.acquire_many(cost).await);
        drop(self.waiting.reserve().await);
    }
}

/// Publishes the dead letters of a route for all lanes.
#[derive(Debug)]
pub struct LetterQueue {
    waiting: mpsc::Receiver<QueuedLetter>,
}

/// A queue of letters, and the sender that leads to it.
pub fn queue() -> (Sender, LetterQueue) {
    let (sender, receiver) = mpsc::channel(WAITING_MESSAGES);
    let bytes = Arc::new(Semaphore::new(WAITING_BYTES));
    (Sender { waiting: sender, bytes }, LetterQueue { waiting: receiver })
}

impl LetterQueue {
    /// Publishes by `publisher` until all senders are gone and everything is published, or until `give_up`, when the
    /// rest is returned or dropped.
    pub async fn run(mut self, mut publisher: Publisher, give_up: CancellationToken) {
        let mut batch = Vec::new();
        while self.fill(&mut batch, &mut publisher).await {
            tokio::select! {
                // Giving up first: a batch that always finds something to do must not keep the process from ending.
                biased;
                () = give_up.cancelled() => {}
                () = publisher.deliver(&mut batch) => {}
            }
            // After a batch that was delivered this does nothing.
            publisher.abandon(&mut batch).await;
        }
        publisher.close().await;
    }

    /// Waits for the next letters. False when there will be none. Meanwhile the mode is found out, so that the log
    /// tells of it before the first letter does.
    async fn fill(&mut self, batch: &mut Vec<QueuedLetter>, publisher: &mut Publisher) -> bool {
        tokio::select! {
            biased;
            count = self.waiting.recv_many(batch, BATCH) => return count > 0,
            () = publisher.get_ready() => {}
        }
        self.waiting.recv_many(batch, BATCH).await > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::letter::tests::letter;

    #[test]
    fn a_sender_takes_no_more_than_fits() {
        let (sender, _queue) = queue();
        let mut giant = letter(&[]);
        giant.message.payload = vec![0; WAITING_BYTES].into();
        assert!(sender.send(giant).is_err());
        let taken = (0..WAITING_MESSAGES + 10).filter(|_| sender.send(letter(&[])).is_ok()).count();
        assert_eq!(taken, WAITING_MESSAGES);
    }

    #[test]
    fn a_letter_that_waits_keeps_nothing_alive_but_itself() {
        let (sender, mut queue) = queue();
        let block = bytes::Bytes::from(vec![7; 64 * 1024]);
        let mut small = letter(&[]);
        small.message.payload = block.slice(..100);
        assert!(sender.send(small).is_ok());
        let waiting = queue.waiting.try_recv().unwrap();
        assert_eq!(waiting.letter.message.payload, block.slice(..100));
        assert!(block.is_unique(), "the letter holds on to the block that it was read with");
    }

    #[test]
    fn a_letter_is_shortened_until_nothing_is_left_to_cut() {
        let (sender, mut queue) = queue();
        assert!(sender.send(letter(&[])).is_ok());
        let mut waiting = queue.waiting.try_recv().unwrap();
        for cut in [Cut::Details, Cut::Headers] {
            waiting.shorten();
            assert_eq!((waiting.cut, waiting.fate), (cut, None));
        }
        waiting.shorten();
        assert_eq!(waiting.fate, Some(Fate::TooLarge));
    }
}
