//! How many messages were asked for and have not come yet.
//!
//! Plain bookkeeping that is told the time. The server serves requests in their order, and says how much of one it leaves
//! undone; what it does not say, because a leader was lost or a word of it, is forgotten when the request has expired.

use std::{collections::VecDeque, time::Duration};

use crate::base::clock::Time;

/// How long the server keeps a request.
pub(super) const EXPIRES: Duration = Duration::from_secs(30);
/// How much later a request is forgotten of which nothing more was heard.
const LATE: Duration = Duration::from_secs(5);

/// See the module.
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

    /// How many requests they are.
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

    /// Forgets what has expired at `now`.
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
