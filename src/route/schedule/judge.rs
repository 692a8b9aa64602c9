//! What a failed attempt means: who pays for it, how long its message waits, and whether that is its end.

use std::time::Duration;

use super::{
    Schedule, Verdict,
    breaker::{Blame, Change, Failed},
    fault::Fault,
};
use crate::{
    base::clock::Time,
    message::{
        FailedAttempt, Message,
        outcome::{Failure, Reason},
    },
};

/// A message from a stream that has to wait longer than this is given back to it. Its stream keeps it anyway; here it
/// would take up room, and need heartbeats all the time.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A message that was put off so often while others were taken is not put off for its route's rate.
pub(super) const SELECTIVE: u32 = 2;

/// How long a route waits that makes fewer attempts at a time from then on, where the webhook does not say.
const FEWER_WAIT: Duration = Duration::from_millis(100);

/// A failed attempt at a message, as it is judged.
pub(super) struct Failing {
    pub(super) failure: Failure,
    pub(super) asked: Option<Duration>,
    pub(super) began: Time,
    pub(super) now: Time,
    /// How the same message failed before.
    pub(super) last: Option<Failure>,
    /// More about that; all zero where it did not.
    pub(super) before: FailedAttempt,
}

/// Who pays for a failed attempt, and how long its message waits.
pub(super) struct Ruling {
    /// How many failures it takes for the message to be given up; none where it does not pay for this one.
    required: Option<u32>,
    pub(super) delay: Duration,
    /// How long the whole route waits.
    pub(super) wait: Option<Duration>,
    pub(super) put_off: u32,
}

impl Ruling {
    /// Whether the message pays.
    pub(super) const fn is_paid(&self) -> bool {
        self.required.is_some()
    }

    /// The same for those that pay nothing.
    pub(super) const fn as_free(&self) -> Self {
        Self { required: None, ..*self }
    }

    /// The message pays nothing.
    pub(super) const fn free(delay: Duration) -> Self {
        Self { required: None, delay, wait: None, put_off: 0 }
    }

    /// The message pays.
    const fn paid(required: u32, delay: Duration) -> Self {
        Self { required: Some(required), ..Self::free(delay) }
    }
}

/// Whether a webhook that fails like this may be one that has too much to do.
const fn is_overload(failure: Failure) -> bool {
    matches!(failure, Failure::Timeout | Failure::Status(503 | 504))
}

impl Schedule {
    /// Decides who pays for a failed attempt, and how long its message waits; and tells the gates.
    pub(super) fn judge(&mut self, message: &Message, failed: &Failing) -> (Ruling, Option<Change>) {
        let Failing { failure, asked, began, now, ref before, .. } = *failed;
        let again = before.failures + 1;
        let fault = self.policy.fault(failure, asked);
        let asked = asked.map(|asked| self.policy.pause(asked));
        match fault {
            Fault::Throttled => (self.throttled(failed, asked), self.told_nothing(began)),
            Fault::Ours | Fault::Unsendable => {
                let delay = self.policy.delay(again);
                let is_ours = fault == Fault::Ours;
                let ruling = if is_ours { Ruling::free(delay) } else { Ruling::paid(1, delay) };
                self.gates.pace.told_nothing(began);
                (ruling, self.told_nothing(began))
            }
            Fault::Message => {
                self.gates.pace.delivered(began, now);
                self.window.rejected();
                self.proof = self.proof.max(began);
                // Only what was asked for with the message is about the message.
                let asked = asked.filter(|_| failure == Failure::AskedAgain).unwrap_or_default();
                let ruling = Ruling::paid(1, self.policy.delay(message.attempts).max(asked));
                (ruling, self.gates.breaker.succeeded(began, now, (before.failures > 0).then_some(before.at)))
            }
            Fault::Between | Fault::Down | Fault::Refused | Fault::Gone => {
                self.gates.pace.told_nothing(began);
                if is_overload(failure) {
                    self.window.refused(began, now);
                }
                let is_part = before.together.is_some_and(|together| together.get() > 1);
                let before = self.comparable(failed, fault);
                let failed = Failed { fault, began, ended: now, before, is_part, proof: self.proof };
                let (blame, change) = self.gates.breaker.failed(&failed);
                let ruling = match blame {
                    Blame::Message { required } if fault != Fault::Between => {
                        Ruling::paid(required, self.policy.delay(message.attempts))
                    }
                    _ => Ruling::free(self.policy.short_delay(again)),
                };
                (ruling, change)
            }
        }
    }

    /// The webhook wants less of us, or of messages like this one.
    fn throttled(&mut self, failed: &Failing, asked: Option<Duration>) -> Ruling {
        let Failing { began, now, ref before, .. } = *failed;
        // Of those that were under way together only the first tells anything.
        let is_news = !self.gates.pace.has_decided_since(began);
        let others_are_taken = is_news && before.failures > 0 && self.proof > before.at;
        let put_off = before.put_off.saturating_add(u32::from(others_are_taken));
        if put_off >= SELECTIVE {
            self.gates.pace.is_selective(now);
        }
        // Fewer at a time are tried first. Once the rate is limited, it is that which was too much.
        let pace = &self.gates.pace;
        let is_about_number = !pace.is_limited() && !pace.is_about_messages(now);
        let wait = if is_about_number && self.window.refused(began, now) {
            Some(asked.unwrap_or(FEWER_WAIT))
        } else {
            pace.throttled(began, now, asked)
        };
        match wait {
            Some(wait) => {
                // The webhook asks everybody to wait, not only this message (RFC 9110, section 10.2.3).
                self.gates.pause.extend(now + wait);
                Ruling { put_off, wait: Some(wait), ..Ruling::free(wait) }
            }
            None => {
                let delay = self.policy.delay(before.failures + 1).max(asked.unwrap_or_default());
                Ruling { put_off, ..Ruling::free(delay) }
            }
        }
    }

    /// When the same message failed the last time before, in a way that this failure can be compared with. One that is
    /// refused with this answer for the first time may be the first that a new credential, or a new address, is refused
    /// for, however it failed before.
    fn comparable(&self, failed: &Failing, fault: Fault) -> Option<Time> {
        let is_refusal = matches!(fault, Fault::Refused | Fault::Gone);
        let last = self.policy.fault(failed.last?, None);
        // What stands before the webhook says nothing of how it finds a message.
        if [last, fault].contains(&Fault::Between) {
            return None;
        }
        (!is_refusal || failed.last? == failed.failure).then_some(failed.before.at)
    }

    fn told_nothing(&self, began: Time) -> Option<Change> {
        self.gates.breaker.told_nothing(began);
        None
    }

    /// Decides what follows a failed attempt at `message`.
    pub(super) fn follow(
        &mut self,
        mut message: Message,
        ruling: &Ruling,
        failure: Failure,
        now: Time,
    ) -> Verdict {
        let begun = message.attempts;
        let spared = self.is_ending && self.policy.is_retried(failure);
        match ruling.required.filter(|_| !spared) {
            Some(required) => {
                if let Some(reason) = self.policy.ends(failure, begun, required) {
                    return Verdict::Dead(message, reason);
                }
                let comes_back =
                    || message.ack.as_ref().is_some_and(|ack| ack.comes_back(now + ruling.delay));
                if ruling.delay > LONGEST_WAIT && comes_back() {
                    return Verdict::Return(message, ruling.delay);
                }
            }
            // What the message does not pay for is not in the number that the webhook sees either. It stays here,
            // however long it waits: it may be its turn earlier.
            None => message.attempts = begun.saturating_sub(1),
        }
        let due = now + ruling.delay;
        match self.retries.push(message, due) {
            Ok(()) => Verdict::Retry(due),
            // A message that ends for want of room shows every attempt in its dead letter.
            Err(message) => Verdict::Dead(Message { attempts: begun, ..message }, Reason::RetryQueueFull),
        }
    }
}
