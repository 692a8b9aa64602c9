//! The room for the letters of a route that wait until they are published: how much of it is taken, and by whom. Counted
//! by all lanes at once, and never waited for by who puts a letter in.

use std::sync::{
    Arc,
    atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};

use tokio::sync::Notify;

use super::recent::{Recent, RecentLetter};

/// What waits, or may wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Letters.
    pub messages: usize,
    /// The memory that they take, in bytes.
    pub bytes: usize,
}

/// The room for letters.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Whether there was no room left, and since then nobody has seen half of it free.
    was_full: AtomicBool,
    freed: Notify,
    /// The latest letters that went out.
    pub(super) recent: Recent,
}

/// The place of a letter. It is free again when this is dropped, wherever that is.
#[derive(Debug)]
pub(super) struct Place {
    outbox: Arc<Outbox>,
    cost: usize,
}

impl Outbox {
    /// The bounds. What finds no room is dropped, or goes back to its stream.
    pub(super) const BOUNDS: Waiting = Waiting { messages: 32 * 1024, bytes: 16 * 1024 * 1024 };

    /// A place for a letter of this `cost`, if there is any room at all: a letter may be larger than what is left, and than
    /// all of it. Otherwise a large one would find no room for as long as small ones wait, and its message would be
    /// attempted again and again. So the bound is passed by one letter at most.
    pub(super) fn place(self: &Arc<Self>, cost: usize) -> Option<Place> {
        let messages = |messages| (messages < Self::BOUNDS.messages).then_some(messages + 1);
        let bytes = |bytes: usize| (bytes < Self::BOUNDS.bytes).then(|| bytes.saturating_add(cost));
        let place = self.messages.fetch_update(SeqCst, SeqCst, messages).ok().and_then(|_| {
            // Dropped where there are too many bytes, without having taken any.
            let mut place = Place { outbox: Arc::clone(self), cost: 0 };
            self.bytes.fetch_update(SeqCst, SeqCst, bytes).ok()?;
            place.cost = cost;
            Some(place)
        });
        if place.is_none() || !self.has_room() {
            self.was_full.store(true, Relaxed);
        }
        place
    }

    fn has_room(&self) -> bool {
        let Waiting { messages, bytes } = self.waiting();
        messages < Self::BOUNDS.messages && bytes < Self::BOUNDS.bytes
    }

    /// What waits at the moment.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting { messages: self.messages.load(SeqCst), bytes: self.bytes.load(SeqCst) }
    }

    /// Whether no more letters should be made, where that can be helped: from the moment that there is no room until half of
    /// it is free. With less, most of the messages that are taken meanwhile would be attempted for nothing.
    pub(super) fn is_full(&self) -> bool {
        let Waiting { messages, bytes } = self.waiting();
        if messages <= Self::BOUNDS.messages / 2 && bytes <= Self::BOUNDS.bytes / 2 {
            self.was_full.store(false, Relaxed);
        }
        self.was_full.load(Relaxed)
    }

    /// Returns when there is room for a letter, as far as can be told while others put theirs in.
    pub(super) async fn room(&self) {
        loop {
            let freed = self.freed.notified();
            if self.has_room() {
                return;
            }
            freed.await;
        }
    }
}

impl Place {
    /// Shows the letter that has this place among the latest ones.
    pub(super) fn show(&self, letter: RecentLetter) {
        self.outbox.recent.add(letter);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self { outbox, cost } = self;
        outbox.bytes.fetch_sub(*cost, SeqCst);
        outbox.messages.fetch_sub(1, SeqCst);
        outbox.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = Outbox::BOUNDS.bytes;

    #[test]
    fn one_of_any_size_finds_room_where_there_is_any() {
        let outbox = Arc::<Outbox>::default();
        let small = outbox.place(1);
        let giant = outbox.place(2 * ALL);
        assert!(small.is_some() && giant.is_some());
        assert!(outbox.place(1).is_none());
        drop(giant);
        assert!(outbox.place(1).is_some());
    }

    #[test]
    fn there_are_no_more_than_the_bound_of_messages() {
        let outbox = Arc::<Outbox>::default();
        let places: Vec<_> = (0..Outbox::BOUNDS.messages + 10).filter_map(|_| outbox.place(1)).collect();
        assert_eq!(places.len(), Outbox::BOUNDS.messages);
        assert_eq!(outbox.waiting(), Waiting { messages: places.len(), bytes: places.len() });
        drop(places);
        assert_eq!(outbox.waiting(), Waiting::default());
    }

    #[test]
    fn once_full_it_is_so_until_half_is_free() {
        let outbox = Arc::<Outbox>::default();
        let (half, more, rest) = (outbox.place(ALL / 2), outbox.place(ALL / 4), outbox.place(ALL / 4));
        assert!(outbox.is_full(), "the next one would find no room");
        drop(rest);
        assert!(outbox.is_full(), "a quarter is free");
        drop(more);
        assert!(!outbox.is_full());
        drop(half);
    }
}
