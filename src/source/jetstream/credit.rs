//! How many messages were asked for and have not come yet. No I/O, and no clock: it is told the time.
//!
//! The server serves requests in their order, and says how much of one it leaves undone. Where it does not, because its
//! leader or its message was lost, the rest of a request is forgotten when it has expired.

use std::{collections::VecDeque, time::Duration};

use crate::base::clock::Time;

/// How long the server keeps a request.
pub(super) const EXPIRES: Duration = Duration::from_secs(30);
/// How much longer a request is remembered here: the last that the server sent for it may still be on its way.
const LATE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Credit {
    requests: VecDeque<Request>,
    messages: usize,
}

#[derive(Debug)]
struct Request {
    messages: usize,
    forgotten: Time,
}

impl Credit {
    /// How many messages may still come.
    pub(super) const fn messages(&self) -> usize {
        self.messages
    }

    /// How many requests are still with the server.
    pub(super) fn requests(&self) -> usize {
        self.requests.len()
    }

    /// `messages` were asked for at `now`.
    pub(super) fn ask(&mut self, messages: usize, now: Time) {
        self.requests.push_back(Request { messages, forgotten: now + EXPIRES + LATE });
        self.messages += messages;
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
                self.requests.pop_front();
            }
        }
    }

    /// Forgets the requests of which nothing can come any more at `now`.
    pub(super) fn forget(&mut self, now: Time) {
        while let Some(first) = self.requests.front()
            && first.forgotten <= now
        {
            self.messages -= first.messages;
            self.requests.pop_front();
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
        credit.ask(10, at(0));
        credit.ask(5, at(1));
        credit.settle(12);
        assert_eq!((credit.messages(), credit.requests()), (3, 1));
        credit.settle(100);
        assert_eq!((credit.messages(), credit.requests()), (0, 0));
    }

    #[test]
    fn a_request_that_was_never_answered_is_forgotten() {
        let mut credit = Credit::default();
        credit.ask(10, at(0));
        credit.ask(5, at(20));
        credit.forget(at(34));
        assert_eq!(credit.messages(), 15);
        credit.forget(at(35));
        assert_eq!(credit.messages(), 5);
        credit.forget(at(55));
        assert_eq!(credit.messages(), 0);
    }
}
