//! What is in hand of a stream on one lane, and what the stream is still to be told of it. No clock, no I/O: this is
//! told the time, and says what is to be published.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use foldhash::fast::RandomState;

use super::{
    acknowledged::{Acknowledged, Past},
    beats::Beats,
};
use crate::{
    base::clock::Time,
    message::{acknowledgement::AckKind, origin::Origin},
};

/// How long an answer to what was said may take at first.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it may take at most, where none comes again and again.
const LONGEST_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Book {
    entries: HashMap<u64, Entry, RandomState>,
    in_hand: usize,
    /// The sequences of what is settled and not said, or is to be said again. An entry may have changed since.
    unsaid: VecDeque<u64>,
    /// What was said and is not confirmed, in the order in which it was said.
    batches: VecDeque<Batch>,
    beats: Beats,
    patience: Duration,
    past: Past,
    /// What the reply subjects begin with, once one has come.
    consumer: Option<Box<str>>,
}

/// A message that is in hand, or of which the stream is not known to know the end.
#[derive(Debug)]
struct Entry {
    published: u64,
    /// The reply subject of its latest delivery (`$JS.ACK.…`), to which acks are published.
    reply: Box<str>,
    /// When its next heartbeat is due.
    due: Time,
    /// From when on its stream would not deliver it again; none where it always would.
    gone: Option<Time>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InHand,
    Unsaid(AckKind),
    /// Said in the batch with this number.
    Said(AckKind, u64),
}

/// What was said in one go. The answer to the last of it confirms all of it: it went one way, in one order.
#[derive(Debug)]
struct Batch {
    number: u64,
    at: Time,
    sequences: Vec<u64>,
}

/// What a delivery is to a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Not known: it is in hand from now on. Whether it is the only one for which heartbeats are planned.
    New { is_only: bool },
    /// Another copy of what is in hand, or done with: there is nothing to do for it.
    Repeat,
}

/// An acknowledgement that is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saying<'a> {
    /// The subject: the reply subject of the message.
    pub subject: &'a str,
    /// What became of it.
    pub kind: AckKind,
    /// Whether it is to be answered.
    pub is_last: bool,
}

impl Book {
    pub(super) fn new(ack_wait: Duration) -> Self {
        Self {
            entries: HashMap::default(),
            in_hand: 0,
            unsaid: VecDeque::new(),
            batches: VecDeque::new(),
            beats: Beats::new(ack_wait),
            patience: PATIENCE,
            past: Past::default(),
            consumer: None,
        }
    }

    /// Goes by the `ack_wait` that the consumer turned out to have. Returns whether it is another one.
    pub(super) fn adapt(&mut self, ack_wait: Duration, now: Time) -> bool {
        if !self.beats.adapt(ack_wait) {
            return false;
        }
        // Those that are planned may come too late.
        let Self { beats, entries, .. } = self;
        for (sequence, entry) in entries.iter_mut().filter(|(_, entry)| entry.state == State::InHand) {
            entry.due = now;
            beats.plan(*sequence, now);
        }
        true
    }

    /// Takes note of a delivery of which no other book knows. Its stream does not deliver it again from `gone` on.
    pub(super) fn arrived(
        &mut self,
        origin: &Origin<'_>,
        reply: &str,
        gone: Option<Time>,
        now: Time,
    ) -> Arrival {
        if self.entries.contains_key(&origin.sequence) && self.repeated(origin, reply) {
            return Arrival::Repeat;
        }
        let due = self.beats.after(now);
        let (published, state) = (origin.published, State::InHand);
        let entry = Entry { published, reply: reply.into(), due, gone, state };
        let former = self.entries.insert(origin.sequence, entry);
        if former.is_none_or(|former| former.state != State::InHand) {
            self.in_hand += 1;
        }
        self.past.highest = self.past.highest.max(origin.sequence);
        if self.consumer.as_deref() != Some(origin.consumer) {
            self.consumer = Some(origin.consumer.into());
        }
        let entries = &self.entries;
        self.beats.tidy(|sequence, due| entries.get(&sequence).is_some_and(|entry| entry.beats_at(due)));
        self.beats.plan(origin.sequence, due);
        Arrival::New { is_only: self.beats.count() == 1 }
    }

    /// Takes note of a delivery where that is known here, and says whether it is. What is in hand is acknowledged by the
    /// newest delivery from now on; what is done with is acknowledged again.
    pub(super) fn repeated(&mut self, origin: &Origin<'_>, reply: &str) -> bool {
        let Some(entry) = self.entries.get_mut(&origin.sequence) else {
            return self.is_acknowledged(origin, reply);
        };
        if entry.published != origin.published {
            return false;
        }
        match entry.state {
            // It was given back, and this is what became of that.
            State::Unsaid(AckKind::Nak(_)) | State::Said(AckKind::Nak(_), _) => return false,
            State::InHand | State::Unsaid(_) => {}
            State::Said(kind, _) => {
                entry.state = State::Unsaid(kind);
                self.unsaid.push_back(origin.sequence);
            }
        }
        entry.reply = reply.into();
        true
    }

    /// Whether a delivery is known to be done with. Then it is acknowledged again.
    fn is_acknowledged(&mut self, origin: &Origin<'_>, reply: &str) -> bool {
        let known = self.past.acknowledged.contains(origin.sequence, origin.published);
        if known {
            let state = State::Unsaid(AckKind::Ack);
            let (published, due) = (origin.published, Time::START);
            let entry = Entry { published, reply: reply.into(), due, gone: None, state };
            self.entries.insert(origin.sequence, entry);
            self.unsaid.push_back(origin.sequence);
        }
        known
    }

    /// Takes note of the end of a message. One that is not known any more belongs to a stream that is gone. Whether
    /// there was nothing to say before.
    pub(super) fn settle(&mut self, sequence: u64, published: u64, kind: AckKind) -> bool {
        let Some(entry) = self.in_hand(sequence, published) else { return false };
        entry.state = State::Unsaid(kind);
        self.in_hand -= 1;
        self.unsaid.push_back(sequence);
        self.unsaid.len() == 1
    }

    /// Forgets a message that was lost without an end: its stream delivers it again.
    pub(super) fn forget(&mut self, sequence: u64, published: u64) {
        if self.in_hand(sequence, published).is_some() {
            self.in_hand -= 1;
            self.entries.remove(&sequence);
        }
    }

    /// Whether its stream would deliver a message again at `then`, were it given back.
    pub(super) fn comes_back(&mut self, sequence: u64, published: u64, then: Time) -> bool {
        let entry = self.in_hand(sequence, published);
        entry.is_none_or(|entry| entry.gone.is_none_or(|gone| then < gone))
    }

    fn in_hand(&mut self, sequence: u64, published: u64) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(&sequence)?;
        (entry.published == published && entry.state == State::InHand).then_some(entry)
    }

    /// Says up to `most` of what is to be said, as the batch with this `number`, which is higher than those before. Once
    /// `publish` returns false, what is left is kept for later. Returns whether there is an answer to wait for.
    pub(super) fn say(
        &mut self,
        number: u64,
        most: usize,
        now: Time,
        mut publish: impl FnMut(Saying<'_>) -> bool,
    ) -> bool {
        let mut sequences = Vec::with_capacity(most.min(self.unsaid.len()));
        let mut last = None;
        while sequences.len() < most
            && let Some(sequence) = self.unsaid.pop_front()
        {
            if let Some(Entry { state: State::Unsaid(kind), .. }) = self.entries.get(&sequence) {
                // A stream with several servers answers to what was given back before it has kept what was
                // acknowledged. So that is not what it is asked by.
                if !matches!(kind, AckKind::Nak(_)) {
                    last = Some(sequences.len());
                }
                sequences.push(sequence);
            }
        }
        let Some(end) = sequences.len().checked_sub(1) else { return false };
        sequences.swap(last.unwrap_or(end), end);
        for (index, sequence) in sequences.iter().enumerate() {
            let Some(entry) = self.entries.get_mut(sequence) else { continue };
            let State::Unsaid(kind) = entry.state else { continue };
            if !publish(Saying { subject: &entry.reply, kind, is_last: index == end }) {
                self.unsay(&sequences, now, now);
                return false;
            }
            entry.state = State::Said(kind, number);
        }
        self.batches.push_back(Batch { number, at: now, sequences });
        true
    }

    /// The stream has answered to the batch with this number.
    pub(super) fn confirm(&mut self, number: u64) {
        let Ok(index) = self.batches.binary_search_by_key(&number, |batch| batch.number) else { return };
        let Some(batch) = self.batches.remove(index) else { return };
        self.patience = PATIENCE;
        for sequence in batch.sequences {
            self.end_if(sequence, |state| matches!(state, State::Said(_, said) if said == number));
        }
    }

    /// Ends an entry for which `is_done` holds.
    fn end_if(&mut self, sequence: u64, is_done: impl Fn(State) -> bool) {
        let std::collections::hash_map::Entry::Occupied(entry) = self.entries.entry(sequence) else { return };
        if is_done(entry.get().state) {
            let Entry { published, state, .. } = entry.remove();
            if matches!(state, State::Said(AckKind::Ack | AckKind::Term, _)) {
                self.past.acknowledged.add(sequence, published);
            }
        }
    }

    /// Has what was said too long ago said again. Returns the numbers of the batches that are given up for that.
    pub(super) fn expire(&mut self, now: Time) -> Vec<u64> {
        let mut given_up = Vec::new();
        while let Some(first) = self.batches.front()
            && now.since(first.at) >= self.patience
            && let Some(batch) = self.batches.pop_front()
        {
            given_up.push(batch.number);
            self.unsay(&batch.sequences, batch.at, now);
        }
        if !given_up.is_empty() {
            self.patience = (2 * self.patience).min(LONGEST_PATIENCE);
        }
        given_up
    }

    /// Has all said again that was not confirmed: it went over a connection that is gone. Returns the numbers of the batches
    /// that are given up for that.
    pub(super) fn disconnected(&mut self, now: Time) -> Vec<u64> {
        let batches = std::mem::take(&mut self.batches);
        for batch in &batches {
            self.unsay(&batch.sequences, batch.at, now);
        }
        self.patience = PATIENCE;
        batches.iter().map(|batch| batch.number).collect()
    }

    /// Has these said again, which were said at `at`.
    fn unsay(&mut self, sequences: &[u64], at: Time, now: Time) {
        let since = now.since(at);
        for sequence in sequences {
            let Some(entry) = self.entries.get_mut(sequence) else { continue };
            match entry.state {
                // Should it have arrived, it is delivered to another when its time has come. To give it back once more then
                // would be to take it from that one.
                State::Said(AckKind::Nak(delay), _) if since >= delay / 2 => {
                    self.entries.remove(sequence);
                    continue;
                }
                State::Said(AckKind::Nak(delay), _) => {
                    entry.state = State::Unsaid(AckKind::Nak(delay - since));
                }
                State::Said(kind, _) => entry.state = State::Unsaid(kind),
                State::Unsaid(_) => {}
                State::InHand => continue,
            }
            self.unsaid.push_back(*sequence);
        }
    }

    /// Says the heartbeats that are due.
    pub(super) fn beat(&mut self, now: Time, mut publish: impl FnMut(Saying<'_>) -> bool) {
        while let Some((sequence, due)) = self.beats.next(now) {
            let Some(entry) = self.entries.get_mut(&sequence) else { continue };
            if !entry.beats_at(due) {
                continue;
            }
            let kind = AckKind::Progress;
            let said = publish(Saying { subject: &entry.reply, kind, is_last: false });
            entry.due = self.beats.after(now);
            self.beats.plan(sequence, entry.due);
            if !said {
                return;
            }
        }
    }

    /// The consumer said at `asked` that it knows of all up to `floor`, and has delivered nothing after `delivered`. What
    /// was said long before about anything else is never answered.
    pub(super) fn known(&mut self, floor: u64, delivered: u64, asked: Time) {
        self.past.known(floor, asked);
        let unanswered = self.batches.iter().take_while(|batch| asked.since(batch.at) > PATIENCE);
        let sequences: Vec<_> = unanswered.flat_map(|batch| &batch.sequences).copied().collect();
        for sequence in sequences.into_iter().filter(|sequence| *sequence <= floor || *sequence > delivered) {
            self.end_if(sequence, |state| matches!(state, State::Said(..)));
        }
        let Self { batches, entries, .. } = self;
        batches.retain(|batch| batch.sequences.iter().any(|sequence| entries.contains_key(sequence)));
    }

    /// Takes out of it what is of interest when it has ended.
    pub(super) fn leave(&mut self) -> Past {
        std::mem::take(&mut self.past)
    }

    /// Knows from now on what one has known that has ended.
    pub(super) fn inherit(&mut self, past: Past) {
        self.past.add(past);
    }

    /// Forgets what is done with: it is wanted once more.
    pub(super) fn forget_acknowledged(&mut self) {
        self.past.acknowledged = Acknowledged::default();
    }

    /// Forgets everything: the stream that it was about is gone, and another has its name.
    pub(super) fn void(&mut self) {
        *self = Self::new(self.beats.ack_wait());
    }

    /// The highest sequence that came.
    pub(super) const fn highest(&self) -> u64 {
        self.past.highest
    }

    /// What the reply subjects of all messages begin with; none before there was one.
    pub(super) fn consumer(&self) -> Option<&str> {
        self.consumer.as_deref()
    }

    /// How many messages are in hand.
    pub(super) const fn in_hand_count(&self) -> usize {
        self.in_hand
    }

    /// How many have come to an end that the stream has not confirmed.
    pub(super) fn unconfirmed(&self) -> usize {
        self.entries.len() - self.in_hand
    }

    /// Whether there is anything to say.
    pub(super) fn has_news(&self) -> bool {
        !self.unsaid.is_empty()
    }

    /// How many batches have no answer yet.
    pub(super) fn unanswered(&self) -> usize {
        self.batches.len()
    }

    /// When to look again though nothing has happened.
    pub(super) fn next_due(&self) -> Option<Time> {
        let beat = self.beats.next_due();
        let expires = self.batches.front().map(|batch| batch.at + self.patience);
        beat.into_iter().chain(expires).min()
    }
}

impl Entry {
    /// Whether a heartbeat that was planned for `due` is one for it.
    fn beats_at(&self, due: Time) -> bool {
        self.state == State::InHand && self.due == due
    }
}

#[cfg(test)]
impl Book {
    pub(super) fn planned(&self) -> usize {
        self.beats.count()
    }
}
