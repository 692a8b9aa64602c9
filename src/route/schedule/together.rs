//! What follows an attempt at several messages. Only a message that was attempted alone can pay for a failure, since of
//! several nobody knows which one it was; so what fails for a message is halved until that one stands alone. Where a
//! receiver says of each message what it thinks of it, that counts.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use super::{
    Resolved, Schedule, Verdict,
    fault::Fault,
    judge::{Failing, Ruling, SELECTIVE},
};
use crate::{
    base::clock::Time,
    message::{
        FailedAttempt, Message,
        answer::EntryVerdict,
        batch::Batch,
        outcome::{Attempt, Failure, Reason},
    },
};

/// A batch that was put off so often is put off for one of its messages, perhaps.
const PUT_OFF: u32 = 3;

/// A failed attempt at several messages.
pub(super) struct Joint<'a> {
    pub(super) failure: Failure,
    pub(super) asked: Option<Duration>,
    pub(super) words: Words<'a>,
    pub(super) began: Time,
    pub(super) now: Time,
}

/// What is known of a failure beside what it is: the beginning of the answer, and the cause.
#[derive(Clone, Copy, Default)]
pub(super) struct Words<'a> {
    pub(super) excerpt: Option<&'a Arc<str>>,
    pub(super) cause: Option<&'a Arc<str>>,
}

/// How messages fail that pay nothing for it.
struct Unpaid<'a> {
    failure: Failure,
    words: Words<'a>,
    /// How long they wait.
    ruling: Ruling,
    /// With how many each may be in one request from now on, where it may not be with all.
    together: Option<NonZeroUsize>,
    now: Time,
}

impl Schedule {
    /// Decides what follows a failed attempt at `batch`, of two messages or more.
    pub(super) fn failed_together(
        &mut self,
        mut batch: Batch,
        joint: &Joint<'_>,
        settle: &mut impl FnMut(Verdict),
    ) -> Resolved {
        let Joint { failure, asked, words, began, now } = *joint;
        // The one that has failed before for the longest time is the one to be suspected.
        let suspect = batch.iter().filter(|message| message.failed_attempt.is_some());
        let suspect = suspect.min_by_key(|message| message.failed_attempt.as_ref().map(|failed| failed.at));
        let failures =
            suspect.and_then(|message| message.failed_attempt.as_ref()).map_or(0, |failed| failed.failures);
        let before = suspect.and_then(|message| message.failed_attempt.as_deref().cloned());
        let last = suspect.and_then(|message| message.last_failure);
        let failed = Failing { failure, asked, began, now, before: before.unwrap_or_default(), last };
        let (ruling, change) = self.judge(batch.first(), &failed);
        let mut resolved = Resolved { change, wait: ruling.wait, is_halved: false };
        let is_blamed = ruling.is_paid();
        if is_blamed && !self.policy.is_retried(failure) {
            // Each of them may be good. What this attempt has told is told by the halves again, so none remembers it.
            batch.take_back_attempt();
            self.halves.push(batch);
            resolved.is_halved = true;
            return resolved;
        }
        let is_suspect = is_blamed || ruling.put_off >= SELECTIVE || self.is_stuck(failure, asked, failures);
        let together = NonZeroUsize::new(batch.count().div_ceil(2)).filter(|_| is_suspect);
        let unpaid = Unpaid { failure, words, ruling: ruling.as_free(), together, now };
        batch.for_each(|message| settle(self.wait_again(message, &unpaid)));
        resolved
    }

    /// Whether a batch that has failed so often before does so for one of its messages, as far as one can tell. Where
    /// nothing else is taken, only smaller batches show whether it is the webhook that does not work.
    fn is_stuck(&self, failure: Failure, asked: Option<Duration>, failures: u32) -> bool {
        match self.policy.fault(failure, asked) {
            Fault::Down | Fault::Refused | Fault::Gone => failures >= 1,
            // More requests are the last that such a webhook wants.
            Fault::Throttled => failures >= PUT_OFF,
            Fault::Ours | Fault::Between | Fault::Unsendable | Fault::Message => false,
        }
    }

    /// `message`, which has failed with others, waits for its next attempt and pays nothing.
    fn wait_again(&mut self, mut message: Message, unpaid: &Unpaid<'_>) -> Verdict {
        let Unpaid { failure, words, ref ruling, together, now } = *unpaid;
        self.end(&message);
        let before = message.failed_attempt.take().map(|before| *before).unwrap_or_default();
        let failed = FailedAttempt {
            at: now,
            due: now + ruling.delay,
            failures: before.failures.saturating_add(1),
            put_off: ruling.put_off,
            together: together.or(before.together),
            excerpt: words.excerpt.cloned(),
            cause: words.cause.cloned(),
        };
        message.last_failure = Some(failure);
        message.failed_attempt = Some(Box::new(failed));
        self.follow(message, ruling, failure, now)
    }

    /// Decides what follows an attempt in whose answer there is a verdict for some of the messages of `batch`. The others
    /// follow its status.
    pub(super) fn resolve_each(
        &mut self,
        batch: Batch,
        attempt: &Attempt,
        began: Time,
        now: Time,
        settle: &mut impl FnMut(Verdict),
    ) -> Resolved {
        let verdicts = attempt.verdicts();
        if batch.count() == 1 {
            return self.resolve_only(batch, attempt, began, now, settle);
        }
        let (mut said, mut rest) = (Vec::new(), Vec::new());
        let mut each = verdicts.iter().cloned().chain(std::iter::repeat(None));
        batch.for_each(|message| match each.next().flatten() {
            Some(verdict) => said.push((message, verdict)),
            None => rest.push(message),
        });
        let resolved = match Batch::of(rest) {
            Some(rest) => self.resolve_all(rest, attempt, began, now, settle),
            None if said.iter().any(|(_, verdict)| self.is_end(verdict)) => self.was_read(began, now),
            None => return self.failed_each(said, attempt, began, now, settle),
        };
        for (message, verdict) in said {
            settle(self.follow_entry(message, verdict, now));
        }
        resolved
    }

    /// The only message of a batch: what is said of it is said of the request.
    fn resolve_only(
        &mut self,
        batch: Batch,
        attempt: &Attempt,
        began: Time,
        now: Time,
        settle: &mut impl FnMut(Verdict),
    ) -> Resolved {
        let status = attempt.content().map_or(200, |content| content.status);
        match attempt.verdicts().first().cloned().flatten() {
            None => self.resolve_all(batch, attempt, began, now, settle),
            Some(EntryVerdict::Taken) => {
                self.resolve_all(batch, &Attempt::delivered(status), began, now, settle)
            }
            Some(EntryVerdict::Unwanted) => {
                batch.for_each(|message| {
                    self.end(&message);
                    settle(Verdict::Unwanted(message));
                });
                self.was_read(began, now)
            }
            Some(EntryVerdict::Failed { failure, after, cause }) => {
                let failed =
                    Attempt::Failed { failure, retry_after: after, excerpt: None, cause, content: None };
                self.resolve_all(batch, &failed, began, now, settle)
            }
        }
    }

    /// Every message of a batch is to be tried again: that is what an answer to the whole of it would have said.
    fn failed_each(
        &mut self,
        said: Vec<(Message, EntryVerdict)>,
        attempt: &Attempt,
        began: Time,
        now: Time,
        settle: &mut impl FnMut(Verdict),
    ) -> Resolved {
        let mut failed = attempt.clone();
        let mut longest = None;
        let mut messages = Vec::with_capacity(said.len());
        for (message, verdict) in said {
            if let EntryVerdict::Failed { failure, after, cause } = verdict {
                longest = after.max(longest);
                failed =
                    Attempt::Failed { failure, retry_after: longest, excerpt: None, cause, content: None };
            }
            messages.push(message);
        }
        match Batch::of(messages) {
            Some(batch) => self.resolve_all(batch, &failed, began, now, settle),
            None => Resolved::default(),
        }
    }

    /// Whether a verdict is the end of its message.
    fn is_end(&self, verdict: &EntryVerdict) -> bool {
        match verdict {
            EntryVerdict::Taken | EntryVerdict::Unwanted => true,
            EntryVerdict::Failed { failure, .. } => !self.policy.is_retried(*failure),
        }
    }

    /// The webhook works: it has read a request that began at `began`, and taken from it what it wanted.
    fn was_read(&mut self, began: Time, now: Time) -> Resolved {
        self.window.delivered(began, now);
        self.proof = self.proof.max(began);
        self.gates.pace.delivered(began, now);
        Resolved { change: self.gates.breaker.succeeded(began, now, None), ..Resolved::default() }
    }

    /// What follows what the receiver says of `message`, among others.
    fn follow_entry(&mut self, mut message: Message, verdict: EntryVerdict, now: Time) -> Verdict {
        let (failure, after, cause) = match verdict {
            EntryVerdict::Taken | EntryVerdict::Unwanted => {
                self.end(&message);
                let is_taken = matches!(verdict, EntryVerdict::Taken);
                return if is_taken { Verdict::Delivered(message) } else { Verdict::Unwanted(message) };
            }
            EntryVerdict::Failed { failure, after, cause } => (failure, after, cause),
        };
        let failures = message.failed_attempt.as_ref().map_or(0, |before| before.failures).saturating_add(1);
        let asked = after.map(|after| self.policy.pause(after)).unwrap_or_default();
        let ruling = Ruling::free(self.policy.delay(failures).max(asked));
        if !self.policy.is_retried(failure) {
            // It was read, and named: nobody else can be meant.
            self.end(&message);
            message.last_failure = Some(failure);
            let failed = FailedAttempt { at: now, failures, cause, ..FailedAttempt::default() };
            message.failed_attempt = Some(Box::new(failed));
            return Verdict::Dead(message, Reason::Rejected);
        }
        // The next time it goes alone, and may pay: but for a limit to the rate nobody ever does.
        let is_limited = self.policy.fault(failure, after) == Fault::Throttled;
        let together = NonZeroUsize::new(1).filter(|_| !is_limited);
        let words = Words { cause: cause.as_ref(), ..Words::default() };
        self.wait_again(message, &Unpaid { failure, words, ruling, together, now })
    }
}
