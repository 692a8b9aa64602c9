//! The states of a breaker and what leads from one to the next. It is told the time and knows no locks: one caller at a
//! time is the business of [`Breaker`](super::Breaker).
//!
//! Closed → open, after too many failures → probing, when the time is over → ramp, after the first probe that succeeds
//! → closed, at the end of the ramp. From probing and ramp, failures lead back to open.
//!
//! Each failure is charged either to its message or to the webhook, never to both. It is the message's where the webhook
//! has taken another one since this one failed last: only then is there anything to tell the two apart by. So an outage
//! costs no message an attempt, and a message that always fails opens no breaker.

use std::time::Duration;

use super::{Blame, BreakerState, Change, Failed, Why, odds::Odds, window::Window};
use crate::{base::clock::Time, config, route::schedule::fault::Fault};

/// On a route with few messages, two that fail and nothing that is delivered in this time are enough: the twentieth
/// failure in a row may never come.
const QUIET: Duration = Duration::from_secs(2);
/// So many different messages in a row that are refused tell that it is not the messages.
const REFUSALS: u32 = 3;
/// Each probe that is refused doubles the time to the next one, up to this: to go on knocking with a wrong credential
/// gets senders locked out.
const LONGEST_REFUSAL: Duration = Duration::from_secs(60);
/// When a webhook is tried again that has said it is gone for good.
const GONE_FOR: Duration = Duration::from_secs(3600);
/// How long to wait for the outcome of probes before looking again. It may come in on another lane, which wakes nobody
/// here.
const RECHECK: Duration = Duration::from_millis(50);
/// A ramp begins with so many attempts a second, and doubles them in this time: by the end of a ramp
/// of ten seconds, the default, the rate has doubled twenty times, which is as good as no limit.
const RAMP_START: f64 = 20.0;
const RAMP_DOUBLING: Duration = Duration::from_millis(500);

/// The breaker of a route, as one that is used by one caller at a time.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    config: config::Breaker,
    phase: Phase,
    row: Row,
    window: Window,
    odds: Odds,
    /// When the latest attempt began that was delivered.
    proof: Time,
    /// Why the webhook is left alone, or is on trial by probes.
    why: Option<Why>,
    /// How often in a row it opened because the webhook refused.
    refusals: u32,
    /// When it opened for the last time. What became of attempts that began earlier says nothing about the webhook of
    /// today: with a timeout longer than `open_for`, they would open it again and again.
    opened: Time,
    changed: Option<Change>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open {
        until: Time,
    },
    /// So many probes were sent since `since`, and so many of them failed.
    Probing {
        since: Time,
        sent: u32,
        failed: u32,
    },
    /// So many attempts were begun since `since`.
    Ramp {
        since: Time,
        begun: f64,
    },
}

/// What has failed since the last delivery and is charged to the webhook.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    since: Time,
    /// Different messages. One that fails again tells nothing new.
    messages: u32,
    /// Those of them that were refused.
    refused: u32,
}

impl Row {
    /// Counts a failure. False where its message is in the row already.
    fn add(&mut self, failed: &Failed) -> bool {
        let again = self.messages > 0 && failed.before.is_some_and(|before| before >= self.since);
        if again && !failed.is_part {
            return false;
        }
        if self.messages == 0 {
            self.since = failed.ended;
        }
        self.messages = self.messages.saturating_add(1);
        self.refused += u32::from(matches!(failed.fault, Fault::Refused | Fault::Gone));
        true
    }
}

impl Machine {
    pub(super) fn new(config: config::Breaker) -> Self {
        Self {
            config,
            phase: Phase::Closed,
            row: Row::default(),
            window: Window::new(config.window),
            odds: Odds::default(),
            proof: Time::START,
            why: None,
            refusals: 0,
            opened: Time::START,
            changed: None,
        }
    }

    /// One that stands where this one stands, and has nothing to tell of how it came there.
    pub(super) fn successor(&self) -> Self {
        Self { changed: None, ..self.clone() }
    }

    pub(super) const fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::Probing { .. } | Phase::Ramp { .. } => BreakerState::HalfOpen,
        }
    }

    /// Why the webhook is left alone, and until when; a time that has passed where it is being tried.
    pub(super) fn trouble(&self) -> Option<(Why, Time)> {
        let until = if let Phase::Open { until } = self.phase { until } else { Time::START };
        Some((self.why?, until))
    }

    /// Whether a success would change nothing, and need not be told.
    pub(super) fn is_calm(&self) -> bool {
        matches!(self.phase, Phase::Closed)
            && self.row.messages == 0
            && self.window.is_clean()
            && self.odds.is_clean()
    }

    /// The last change that nobody was told of yet.
    pub(super) const fn take_change(&mut self) -> Option<Change> {
        self.changed.take()
    }

    /// From when on an attempt may begin, as far as is known at `now`.
    pub(super) fn opens(&self, now: Time) -> Time {
        match self.phase {
            Phase::Closed => Time::START,
            Phase::Open { until } => until,
            Phase::Probing { .. } if self.capacity(now) > 0 => Time::START,
            // All probes are on their way. Their outcome changes the phase, so this is asked again soon.
            Phase::Probing { since, .. } => (now + RECHECK).min(since + self.config.open_for),
            Phase::Ramp { since, begun } => since + ramp_time(begun + 1.0).min(self.config.ramp),
        }
    }

    /// How many attempts may begin at `now`: some where [`Self::opens`] is not after it, else none.
    pub(super) fn capacity(&self, now: Time) -> usize {
        // One that refuses has an opinion of each request, and may count them.
        let probes = if self.why == Some(Why::Down) { self.config.half_open_probes.get() } else { 1 };
        let room = match self.phase {
            Phase::Closed => return usize::MAX,
            Phase::Open { until } if until > now => 0,
            Phase::Open { .. } => probes,
            // Probes that were not heard of for so long were broken off, or take longer than anybody waits. Without new
            // ones, a lane that gets no new messages would stand still for ever.
            Phase::Probing { since, .. } if now >= since + self.config.open_for => probes,
            Phase::Probing { sent, .. } => probes.saturating_sub(sent),
            Phase::Ramp { since, .. } if now >= since + self.config.ramp => return usize::MAX,
            Phase::Ramp { .. } => u32::from(self.opens(now) <= now),
        };
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// Takes the permission for an attempt at `now`, or says when to ask again.
    pub(super) fn admit(&mut self, now: Time) -> Result<(), Time> {
        if self.capacity(now) == 0 {
            return Err(self.opens(now));
        }
        self.phase = match self.phase {
            Phase::Closed => Phase::Closed,
            Phase::Probing { since, sent, failed } if now < since + self.config.open_for => {
                Phase::Probing { since, sent: sent + 1, failed }
            }
            Phase::Open { .. } | Phase::Probing { .. } => Phase::Probing { since: now, sent: 1, failed: 0 },
            Phase::Ramp { since, begun } => Phase::Ramp { since, begun: begun + 1.0 },
        };
        Ok(())
    }

    /// When it closes by itself, without an attempt.
    pub(super) fn closes(&self) -> Option<Time> {
        match self.phase {
            Phase::Ramp { since, .. } => Some(since + self.config.ramp),
            _ => None,
        }
    }

    /// Closes at the end of the ramp.
    pub(super) fn tick(&mut self, now: Time) {
        if self.closes().is_some_and(|end| end <= now) {
            self.phase = Phase::Closed;
            self.changed = Some(Change::Closed);
        }
    }

    /// Opens at `now`, as another replica has heard `age` ago that the webhook is gone for good. Where that is known here, it is no
    /// news.
    pub(super) fn disable(&mut self, now: Time, age: Duration) {
        if self.why != Some(Why::Gone) {
            self.open_for(Why::Gone, GONE_FOR.saturating_sub(age), now);
        }
    }

    /// Has a webhook that is gone for good tried at once. Returns whether there was something to change.
    pub(super) const fn revive(&mut self) -> bool {
        match (&mut self.phase, self.why) {
            (Phase::Open { until }, Some(Why::Gone)) => {
                *until = Time::START;
                true
            }
            _ => false,
        }
    }

    /// Lets probes begin at `now`, and lets a failed one cost no more than `longest`. This is never undone: the route
    /// ends.
    pub(super) fn expedite(&mut self, now: Time, longest: Duration) {
        self.config.open_for = self.config.open_for.min(longest);
        if let Phase::Open { until } = &mut self.phase
            && self.why != Some(Why::Gone)
        {
            *until = now.min(*until);
        }
    }

    /// Takes note of the success of an attempt that began at `began`, at a message that failed at `before`, if it did.
    pub(super) fn succeeded(&mut self, began: Time, now: Time, before: Option<Time>) {
        if began < self.opened {
            return;
        }
        // The ramp may be over by now without anybody having said so: the state of `now` counts, not that of the last
        // call.
        self.tick(now);
        self.row = Row::default();
        (self.why, self.refusals) = (None, 0);
        self.proof = self.proof.max(began);
        if self.is_first(before) {
            self.odds.add(false);
        }
        match self.phase {
            Phase::Closed | Phase::Ramp { .. } => self.window.add(now, false),
            Phase::Open { .. } => {}
            // One success is enough: a ramp begins gently, and opens again where the webhook can't stand it.
            Phase::Probing { .. } => {
                self.phase = Phase::Ramp { since: now, begun: 0.0 };
                self.changed = Some(Change::Ramping);
            }
        }
    }

    /// Takes note of an attempt that told nothing about whether the webhook works.
    pub(super) fn told_nothing(&mut self, began: Time) {
        if began >= self.opened
            && let Phase::Probing { sent, .. } = &mut self.phase
        {
            *sent = sent.saturating_sub(1);
        }
    }

    /// Takes note of a failure, and decides who pays for it.
    pub(super) fn failed(&mut self, failed: &Failed) -> Blame {
        if failed.began < self.opened {
            return Blame::Endpoint;
        }
        self.tick(failed.ended);
        let proven = failed.before.is_some_and(|before| self.proof.max(failed.proof) > before);
        // A webhook that took one and fails most of the next has hardly recovered.
        let hardly_works =
            matches!(self.phase, Phase::Ramp { .. }) && self.window.mostly_fails(self.config.rate);
        let blame = if proven && !hardly_works {
            Blame::Message { required: self.odds.required() }
        } else {
            Blame::Endpoint
        };
        match self.phase {
            Phase::Open { .. } => return Blame::Endpoint,
            Phase::Probing { .. } if proven => self.told_nothing(failed.began),
            Phase::Probing { since, sent, failed: others } => {
                // One of them may be a message that always fails, however well the webhook is. All have to fail.
                if others + 1 < sent {
                    self.phase = Phase::Probing { since, sent, failed: others + 1 };
                } else {
                    self.open(Why::from(failed.fault), failed.ended);
                }
            }
            Phase::Closed | Phase::Ramp { .. } => self.failed_at_large(failed, proven),
        }
        blame
    }

    /// A failure while attempts are let through.
    fn failed_at_large(&mut self, failed: &Failed, proven: bool) {
        if self.is_first(failed.before) {
            self.odds.add(true);
        }
        let again = !proven && !self.row.add(failed);
        // In a ramp every failure is a reason to go back, whoever pays for it: a webhook that can take little more than
        // a probe would else be flooded with messages that have all failed before.
        let ramping = matches!(self.phase, Phase::Ramp { .. });
        if ramping || !(proven || again) {
            self.window.add(failed.ended, true);
        }
        let Row { since, messages, refused } = self.row;
        let refuses = matches!(failed.fault, Fault::Refused | Fault::Gone);
        let opens = self.window.fails(self.config.rate)
            || messages >= self.config.failures.get()
            || (messages >= 2 && failed.ended.since(since) >= QUIET)
            || (refuses && !proven && !ramping && refused >= REFUSALS)
            // It has said so twice, and took nothing in between.
            || (failed.fault == Fault::Gone && again);
        if opens {
            self.open(Why::from(failed.fault), failed.ended);
        }
    }

    /// Whether an attempt is the first one at its message since the webhook was left alone for the last time, where the
    /// message failed at `before`, if it did.
    fn is_first(&self, before: Option<Time>) -> bool {
        before.is_none_or(|before| before < self.opened)
    }

    fn open(&mut self, why: Why, now: Time) {
        let wait = match why {
            Why::Down => self.config.open_for,
            Why::Refused => {
                let doubled = self.config.open_for * (1 << self.refusals.min(8));
                doubled.min(LONGEST_REFUSAL.max(self.config.open_for))
            }
            Why::Gone => GONE_FOR,
        };
        self.refusals = if why == Why::Refused { self.refusals.saturating_add(1) } else { 0 };
        self.open_for(why, wait, now);
    }

    fn open_for(&mut self, why: Why, wait: Duration, now: Time) {
        self.phase = Phase::Open { until: now + wait };
        self.why = Some(why);
        self.opened = now;
        // All of these failed because the webhook did: that tells nothing about what chance does while it works.
        self.odds.forget(self.row.messages);
        self.row = Row::default();
        self.window.clear();
        self.changed = Some(Change::Opened { why, wait });
    }
}

/// How long after its beginning the ramp is at its `nth` attempt. With a rate that begins at r and doubles in the time
/// τ, the attempts up to the time t are n = r·τ/ln 2·(2^(t/τ) − 1); this is that formula solved for t.
fn ramp_time(nth: f64) -> Duration {
    let doubling = RAMP_DOUBLING.as_secs_f64();
    let scale = RAMP_START * doubling / std::f64::consts::LN_2;
    // The first one begins at once.
    Duration::from_secs_f64(((nth - 1.0) / scale + 1.0).log2() * doubling)
}
