//! Whose fault a failed attempt looks like, by what the webhook answered. What becomes of the message depends on more:
//! whether others were taken meanwhile ([`breaker`](super::breaker)).

use std::time::Duration;

use crate::message::outcome::Failure;

/// Whose fault a failed attempt looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Ours: we were short of something, or had no token. Nobody pays for it.
    Ours,
    /// The message's alone: no request can be made of it, and the webhook knows nothing of it.
    Unsendable,
    /// That of what stands between us and the webhook, a proxy: no message is ever to blame for it.
    Between,
    /// The webhook, or the network before it, does not work: no answer, or one that says so.
    Down,
    /// The webhook works and wants less of us.
    Throttled,
    /// The webhook does not let us in, or is not there: what it answers to a wrong credential or a wrong address.
    Refused,
    /// The webhook is gone for good, as it says (410).
    Gone,
    /// The webhook read the message and does not want it.
    Message,
}

impl Fault {
    /// The fault behind `failure`. `retried` says whether the operator has it retried, and `asked` for how long the
    /// webhook asked us to wait.
    pub fn of(failure: Failure, retried: bool, asked: Option<Duration>) -> Self {
        let status = match failure {
            Failure::Local | Failure::Login => return Self::Ours,
            Failure::Unsendable => return Self::Unsendable,
            Failure::Proxy => return Self::Between,
            Failure::AskedAgain => return Self::Message,
            Failure::Status(status) => status,
            _ => return Self::Down,
        };
        match status {
            429 => Self::Throttled,
            // With a time to come back, these are about load and not about the request (RFC 9110, section 10.2.3).
            // Some services limit by 403.
            403 | 408 | 413 | 425 | 500..=599 if asked.is_some() => Self::Throttled,
            410 => Self::Gone,
            408 | 425 => Self::Down,
            // Not implemented, or a network that wants a login first: no server that is in trouble.
            501 | 511 => Self::Refused,
            500..=599 if retried => Self::Down,
            // An operator who has a server error not retried means that it is about the message.
            500..=599 => Self::Message,
            // The request was read, and what is wrong with it is in the message.
            400 | 406 | 409 | 411..=418 | 422..=424 | 428 | 431 => Self::Message,
            // What is left: redirects, 401 to 405, 407, 421, 426, 451, and what no standard knows.
            _ if retried => Self::Message,
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16) -> Fault {
        Fault::of(Failure::Status(status), matches!(status, 408 | 425 | 429 | 500 | 502..=599), None)
    }

    #[test]
    fn a_status_tells_whose_fault_it_looks_like() {
        for status in [301, 302, 307, 308, 401, 402, 403, 404, 405, 407, 421, 426, 451, 501, 511, 600, 999] {
            assert_eq!(of(status), Fault::Refused, "{status}");
        }
        for status in [400, 406, 409, 411, 412, 413, 414, 415, 416, 417, 418, 422, 423, 424, 428, 431] {
            assert_eq!(of(status), Fault::Message, "{status}");
        }
        for status in [408, 425, 500, 502, 503, 504, 507, 520, 599] {
            assert_eq!(of(status), Fault::Down, "{status}");
        }
        assert_eq!((of(410), of(429)), (Fault::Gone, Fault::Throttled));
    }

    #[test]
    fn a_time_to_come_back_makes_it_a_matter_of_load() {
        for status in [403, 408, 413, 425, 429, 500, 501, 503] {
            let asked = Some(Duration::from_secs(1));
            assert_eq!(Fault::of(Failure::Status(status), true, asked), Fault::Throttled, "{status}");
        }
        let unrelated = Fault::of(Failure::Status(404), false, Some(Duration::from_secs(1)));
        assert_eq!(unrelated, Fault::Refused);
    }

    #[test]
    fn what_the_operator_decides_about_retries_counts() {
        assert_eq!(Fault::of(Failure::Status(500), false, None), Fault::Message);
        assert_eq!(Fault::of(Failure::Status(404), true, None), Fault::Message);
        assert_eq!(Fault::of(Failure::Timeout, true, None), Fault::Down);
        assert_eq!(Fault::of(Failure::Local, true, None), Fault::Ours);
        assert_eq!(Fault::of(Failure::Proxy, true, None), Fault::Between);
    }
}
