//! The latest failed attempts of a route, for whoever wants to see what is wrong and with which message.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    base::clock::Time,
    message::{Id, batch::Batch, outcome::Failure},
};

/// How many are kept.
const KEPT: usize = 20;
/// In an outage a hundred thousand fail in a second, all alike: one is kept in this time, and the others cost no lock.
const PAUSE: Duration = Duration::from_millis(250);

/// An attempt that failed.
#[derive(Clone, Debug)]
pub struct FailedRequest {
    /// When it ended.
    pub at: Time,
    /// The message; of a batch the first one.
    pub id: Id,
    /// How many messages went together.
    pub messages: usize,
    /// The number of this attempt at that message.
    pub attempt: u32,
    /// The reason.
    pub failure: Failure,
    /// Why, in the words of whoever knows: see [`Attempt::Failed`](crate::message::outcome::Attempt::Failed).
    pub cause: Option<Arc<str>>,
}

/// The latest ones. Nothing is allocated before the first failure.
#[derive(Debug, Default)]
pub struct RecentFailures {
    /// Nothing is kept before this, in nanoseconds.
    closed_until: AtomicU64,
    latest: Mutex<VecDeque<FailedRequest>>,
}

impl RecentFailures {
    /// Takes note of an attempt at `batch` that has failed at `now`, unless it is one of very many.
    pub fn note(&self, batch: &Batch, failure: Failure, cause: Option<&Arc<str>>, now: Time) {
        if now.as_nanos() < self.closed_until.load(Relaxed) {
            return;
        }
        // Two lanes may both come here at once, and both keep theirs: that is one more.
        self.closed_until.store((now + PAUSE).as_nanos(), Relaxed);
        let first = batch.first();
        let failed = FailedRequest {
            at: now,
            id: first.id.clone(),
            messages: batch.count(),
            attempt: first.attempts,
            failure,
            cause: cause.cloned(),
        };
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.truncate(KEPT - 1);
        latest.push_front(failed);
    }

    /// Those that are kept, the latest first.
    pub fn latest(&self) -> Vec<FailedRequest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::schedule::testing::{at, message};

    fn batch(id: &str) -> Batch {
        let mut message = message(0);
        message.id = Id::given(id);
        message.attempts = 3;
        Batch::new(message, Vec::new())
    }

    #[test]
    fn the_latest_are_kept_and_few_of_very_many() {
        let recent = RecentFailures::default();
        let failed = Failure::Status(503);
        for number in 0..30 {
            recent.note(&batch(&number.to_string()), failed, None, at(number));
            recent.note(&batch("too soon"), failed, None, at(number) + Duration::from_millis(249));
        }
        let latest = recent.latest();
        let ids: Vec<_> = latest.iter().map(|failed| failed.id.to_string()).collect();
        assert_eq!(ids, (10..30).rev().map(|number| number.to_string()).collect::<Vec<_>>());
        assert_eq!((latest[0].attempt, latest[0].failure), (3, Failure::Status(503)));
    }
}
