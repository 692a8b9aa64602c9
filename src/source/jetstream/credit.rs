//! How many messages, and bytes, were asked for and have not come yet, and how many may be asked for at a time. No I/O, and
//! no clock: it is told the time.
//!
//! The server serves requests in their order, and says how much of one it leaves undone. Where it does not, because its
//! leader or its message was lost, the rest of a request is forgotten when it has expired.
//!
//! A request can't be taken back: at a stop, what was asked for has to come first. So no more is asked for than is there, or
//! comes soon.

use std::{collections::VecDeque, time::Duration};

use crate::base::clock::Time;

/// How many messages may be asked for at least.
pub(super) const FEW: usize = 8;
/// For so long messages are counted.
const SPAN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Credit {
    requests: VecDeque<Request>,
    messages: usize,
    bytes: usize,
    /// How many may be asked for and not have come, at most.
    limit: usize,
    /// How many the consumer had not delivered yet when the last message came.
    pending: usize,
    flow: Flow,
    /// With how many bytes a request was answered by nothing, as the next message has more.
    too_small: Option<usize>,
}

#[derive(Debug)]
struct Request {
    messages: usize,
    bytes: usize,
    /// How many bytes it was for.
    whole: usize,
    /// Whether a message has come for it.
    is_begun: bool,
    forgotten: Time,
}

/// How many messages come in a [`SPAN`], as they are published.
#[derive(Debug, Default)]
struct Flow {
    began: Time,
    count: usize,
    before: usize,
}

impl Flow {
    fn came(&mut self, now: Time) {
        let since = now.since(self.began);
        if since >= SPAN {
            self.before = if since < 2 * SPAN { self.count } else { 0 };
            (self.began, self.count) = (now, 0);
        }
        self.count += 1;
    }
}

impl Credit {
    /// With no more than `limit` messages at a time.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            requests: VecDeque::new(),
            messages: 0,
            bytes: 0,
            limit: limit.max(FEW),
            pending: 0,
            flow: Flow::default(),
            too_small: None,
        }
    }

    /// How many messages may still come.
    pub(super) const fn messages(&self) -> usize {
        self.messages
    }

    /// How many bytes may still come.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many requests are still with the server.
    pub(super) fn requests(&self) -> usize {
        self.requests.len()
    }

    /// How many more messages may be asked for. Half of all at a time: two requests are on their way, and none is for a
    /// handful.
    pub(super) fn room(&self) -> usize {
        let most = (self.pending.max(self.flow.before / 2).saturating_add(FEW)).min(self.limit);
        if self.messages <= most / 2 { most - self.messages } else { 0 }
    }

    /// So many bytes, or fewer, would be answered by nothing, as far as is known.
    pub(super) const fn too_small(&self) -> Option<usize> {
        self.too_small
    }

    /// It may be another time now.
    pub(super) const fn forget_too_small(&mut self) {
        self.too_small = None;
    }

    /// `messages` of `bytes` at most were asked for, of which nothing comes any more from `forgotten` on.
    pub(super) fn ask(&mut self, messages: usize, bytes: usize, forgotten: Time) {
        self.requests.push_back(Request { messages, bytes, whole: bytes, is_begun: false, forgotten });
        self.messages += messages;
        self.bytes += bytes;
    }

    /// A message of so many bytes came at `now`, when the consumer had so many more.
    pub(super) fn came(&mut self, bytes: usize, pending: u64, now: Time) {
        self.too_small = None;
        self.pending = usize::try_from(pending).unwrap_or(usize::MAX);
        if pending == 0 {
            self.flow.came(now);
        }
        let Some(first) = self.requests.front_mut() else { return };
        let bytes = bytes.min(first.bytes);
        first.bytes -= bytes;
        first.is_begun = true;
        self.bytes -= bytes;
        self.settle(1);
    }

    /// The server has ended the oldest request, of which so many will not come. `is_too_large` says that this was since the
    /// next message has more bytes than were left.
    pub(super) fn ended(&mut self, messages: usize, is_too_large: bool) {
        if is_too_large {
            let untouched = self.requests.front().filter(|first| !first.is_begun);
            self.too_small = untouched.map(|first| first.whole);
        } else if messages > 0 {
            self.pending = 0;
        }
        self.settle(messages);
    }

    /// So many came, or will not come any more.
    fn settle(&mut self, mut messages: usize) {
        while messages > 0 {
            let Some(first) = self.requests.front_mut() else { return };
            let settled = first.messages.min(messages);
            first.messages -= settled;
            self.messages -= settled;
            messages -= settled;
            if first.messages == 0 {
                self.end_first();
            }
        }
    }

    /// Forgets the requests of which nothing can come any more at `now`.
    pub(super) fn forget(&mut self, now: Time) {
        while let Some(first) = self.requests.front()
            && first.forgotten <= now
        {
            self.end_first();
        }
    }

    fn end_first(&mut self) {
        if let Some(Request { messages, bytes, .. }) = self.requests.pop_front() {
            self.messages -= messages;
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::schedule::testing::at;

    const fn ms(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn what_came_is_taken_off_the_oldest_request() {
        let mut credit = Credit::new(1_000);
        credit.ask(10, 1_000, at(35));
        credit.ask(5, 500, at(36));
        credit.settle(12);
        assert_eq!((credit.messages(), credit.requests()), (3, 1));
        credit.settle(100);
        assert_eq!((credit.messages(), credit.requests()), (0, 0));
    }

    #[test]
    fn a_request_that_was_never_answered_is_forgotten() {
        let mut credit = Credit::new(1_000);
        credit.ask(10, 1_000, at(35));
        credit.ask(5, 500, at(55));
        credit.forget(at(34));
        assert_eq!(credit.messages(), 15);
        credit.forget(at(35));
        assert_eq!(credit.messages(), 5);
        credit.forget(at(55));
        assert_eq!((credit.messages(), credit.bytes()), (0, 0));
    }

    #[test]
    fn bytes_that_were_asked_for_may_come_until_their_request_is_over() {
        let mut credit = Credit::new(1_000);
        credit.ask(10, 1_000, at(35));
        credit.ask(10, 500, at(36));
        credit.came(300, 0, at(1));
        assert_eq!((credit.messages(), credit.bytes()), (19, 1_200));
        // What is left of the first is smaller than the next message, so the server ends it.
        credit.ended(9, true);
        assert_eq!((credit.messages(), credit.bytes(), credit.too_small()), (10, 500, None));
        credit.ended(10, true);
        assert_eq!((credit.messages(), credit.bytes(), credit.too_small()), (0, 0, Some(500)));
    }

    /// How many may be asked for where messages come with so many milliseconds between, while `pending` more are there.
    fn room_at(between: u64, pending: u64) -> usize {
        let mut credit = Credit::new(2_048);
        let mut now = 0;
        for _ in 0..10_000 {
            credit.came(1, pending, ms(now));
            now += between;
        }
        credit.room()
    }

    #[test]
    fn no_more_is_asked_for_than_is_there_or_comes_soon() {
        assert_eq!(Credit::new(2_048).room(), FEW);
        let given: Vec<_> = [1, 2, 10, 50, 1_000].map(|between| room_at(between, 0)).into();
        assert_eq!(given, [58, 33, 13, 9, 8]);
        assert_eq!([10, 1_000, 100_000].map(|pending| room_at(0, pending)), [18, 1_008, 2_048]);
    }

    #[test]
    fn what_expires_was_too_much() {
        let mut credit = Credit::new(2_048);
        credit.came(1, 1_000, at(0));
        credit.ask(credit.room(), 1, at(1));
        credit.ended(credit.messages(), false);
        assert_eq!(credit.room(), FEW);
    }
}
