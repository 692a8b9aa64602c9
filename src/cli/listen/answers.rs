//! Which answer a request gets. Plain decisions: chance is given.

use std::time::Duration;

use http::StatusCode;

use super::options::Answers;

/// What a request gets for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This status, and how long to wait before the next attempt where that is said.
    Status(StatusCode, Option<Duration>),
    /// None: the connection is closed.
    Closed,
}

impl Answer {
    /// Whether it tells the sender to try again, or nothing.
    pub(super) fn is_failure(self) -> bool {
        !matches!(self, Self::Status(status, _) if status.is_success())
    }
}

impl Answers {
    /// That of request `number`, from 1 on; `chance` is a random number from 0 to 1.
    pub(super) fn to(&self, number: u64, chance: f64) -> Answer {
        let is_chosen = match (self.fail, self.every) {
            (Some(share), _) => chance < share,
            (None, Some(every)) => number % every == 0,
            (None, None) => self.close || self.status.is_some(),
        };
        if !is_chosen {
            Answer::Status(StatusCode::OK, None)
        } else if self.close {
            Answer::Closed
        } else {
            Answer::Status(self.status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE), self.retry_after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Answer = Answer::Status(StatusCode::OK, None);
    const DOWN: Answer = Answer::Status(StatusCode::SERVICE_UNAVAILABLE, None);

    fn first(answers: &Answers, chance: f64) -> [Answer; 4] {
        [1, 2, 3, 4].map(|number| answers.to(number, chance))
    }

    #[test]
    fn all_is_well_unless_somebody_says_otherwise() {
        assert_eq!(first(&Answers::default(), 0.0), [GOOD; 4]);
        let wait = Answers { retry_after: Some(Duration::from_secs(5)), ..Answers::default() };
        assert_eq!(first(&wait, 0.0), [GOOD; 4], "a wait goes with failures");
    }

    #[test]
    fn all_fail_where_only_is_said_how() {
        let gone = Answers { status: Some(StatusCode::GONE), ..Answers::default() };
        assert_eq!(first(&gone, 0.9), [Answer::Status(StatusCode::GONE, None); 4]);
        let close = Answers { close: true, ..Answers::default() };
        assert_eq!(first(&close, 0.9), [Answer::Closed; 4]);
    }

    #[test]
    fn each_nth_or_a_share_fails() {
        let every = Answers { every: 2.try_into().ok(), ..Answers::default() };
        assert_eq!(first(&every, 0.0), [GOOD, DOWN, GOOD, DOWN]);
        let share = Answers { fail: Some(0.2), ..Answers::default() };
        assert_eq!((first(&share, 0.19), first(&share, 0.2)), ([DOWN; 4], [GOOD; 4]));
        let close = Answers { close: true, ..share };
        assert_eq!(first(&close, 0.1), [Answer::Closed; 4]);
        assert!(Answer::Closed.is_failure() && DOWN.is_failure() && !GOOD.is_failure());
    }
}
