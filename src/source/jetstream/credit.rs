//! How many messages, and bytes, were asked for and have not come yet. No I/O, and no clock: it is told the time.
//!
//! The server serves requests in their order, and says how much of one it leaves undone. Where it does not, because its
//! leader or its message was lost, the rest of a request is forgotten when it has expired.

use std::collections::VecDeque;

use crate::base::clock::Time;

#[derive(Debug, Default)]
pub(super) struct Credit {
    requests: VecDeque<Request>,
    messages: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Request {
    messages: usize,
    bytes: usize,
    forgotten: Time,
}

impl Credit {
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

    /// `messages` of `bytes` at most were asked for, of which nothing comes any more from `forgotten` on.
    pub(super) fn ask(&mut self, messages: usize, bytes: usize, forgotten: Time) {
        self.requests.push_back(Request { messages, bytes, forgotten });
        self.messages += messages;
        self.bytes += bytes;
    }

    /// A message of so many bytes came.
    pub(super) fn came(&mut self, bytes: usize) {
        if let Some(first) = self.requests.front_mut() {
            let bytes = bytes.min(first.bytes);
            first.bytes -= bytes;
            self.bytes -= bytes;
        }
        self.settle(1);
    }

    /// So many came, or will not come any more.
    pub(super) fn settle(&mut self, mut messages: usize) {
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

    #[test]
    fn what_came_is_taken_off_the_oldest_request() {
        let mut credit = Credit::default();
        credit.ask(10, 1_000, at(35));
        credit.ask(5, 500, at(36));
        credit.settle(12);
        assert_eq!((credit.messages(), credit.requests()), (3, 1));
        credit.settle(100);
        assert_eq!((credit.messages(), credit.requests()), (0, 0));
    }

    #[test]
    fn a_request_that_was_never_answered_is_forgotten() {
        let mut credit = Credit::default();
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
        let mut credit = Credit::default();
        credit.ask(10, 1_000, at(35));
        credit.ask(10, 500, at(36));
        credit.came(300);
        assert_eq!((credit.messages(), credit.bytes()), (19, 1_200));
        // What is left of the first is smaller than the next message, so the server ends it.
        credit.settle(9);
        assert_eq!((credit.messages(), credit.bytes()), (10, 500));
        credit.came(700);
        assert_eq!((credit.messages(), credit.bytes()), (9, 0));
    }
}
