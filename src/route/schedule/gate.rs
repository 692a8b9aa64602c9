//! What may keep a route from attempting anything, seen as one: the operator's hold, the login, the pause, the rate limit,
//! the pace and the breaker.

use super::{
    breaker::Breaker, hold::HoldGate, login::LoginGate, pace::Pace, pause::Pause, rate_limit::Limiter,
};
use crate::base::clock::Time;

/// Something that every attempt has to pass.
///
/// A gate answers all questions about itself, so that whoever picks a message, sets a timer, wakes workers or asks a
/// stream for more can't come to different conclusions.
pub trait Gate {
    /// From when on an attempt may begin, as far as is known at `now`: not after it where one may begin at once.
    fn opens(&self, now: Time) -> Time;

    /// How many attempts may begin at `now`.
    fn capacity(&self, now: Time) -> usize;

    /// Takes the permission for one attempt at `now`, or says when to ask again.
    fn admit(&self, now: Time) -> Result<(), Time>;

    /// Until when the webhook is left alone, where it is at `now`: until then, more messages would only wait here.
    fn paused_until(&self, now: Time) -> Option<Time>;
}

/// All gates of a route, in the order in which an attempt passes them.
#[derive(Debug)]
pub struct Gates {
    /// Whether an operator holds the route.
    hold: HoldGate,
    /// What to log in with, where that has to be fetched.
    pub login: Option<LoginGate>,
    /// The webhook's own wish to be left alone for a while.
    pub pause: Pause,
    /// The operator's limit to the rate of attempts, where there is one.
    limit: Option<Limiter>,
    /// Whether the operator restricts attempts, by a hold or a limit: asked for each message, so that it costs one question.
    is_restricted: bool,
    /// The rate that the webhook takes, where it said that it was too much.
    pub pace: Pace,
    /// Leaves a webhook alone that fails.
    pub breaker: Breaker,
}

impl Gates {
    /// These gates, of a route that nobody holds.
    pub const fn new(
        login: Option<LoginGate>,
        pause: Pause,
        limit: Option<Limiter>,
        pace: Pace,
        breaker: Breaker,
    ) -> Self {
        let is_restricted = limit.is_some();
        Self { hold: HoldGate::OPEN, login, pause, limit, is_restricted, pace, breaker }
    }

    /// Holds the route, or lets it go on.
    pub(super) const fn hold(&mut self, hold: HoldGate) {
        self.hold = hold;
        self.is_restricted = hold.is_closed() || self.limit.is_some();
    }

    /// Whether an operator holds the route.
    pub(super) const fn is_held(&self) -> bool {
        self.hold.is_closed()
    }

    /// Whether none of them holds anything up at `now`. So it is most of the time, and several times for each message.
    #[inline]
    fn are_open(&self, now: Time) -> bool {
        self.login.as_ref().is_none_or(|login| login.is_open(now))
            && !self.is_restricted
            && self.breaker.is_closed()
            && !self.pace.is_limited()
            && self.pause.is_over(now)
    }
}

impl Gate for Gates {
    #[inline]
    fn opens(&self, now: Time) -> Time {
        if self.are_open(now) {
            return Time::START;
        }
        let others = self.limit.opens(now).max(self.pace.opens(now)).max(self.breaker.opens(now));
        self.hold.opens(now).max(self.login.opens(now)).max(self.pause.opens(now)).max(others)
    }

    #[inline]
    fn capacity(&self, now: Time) -> usize {
        if self.are_open(now) {
            return usize::MAX;
        }
        let others = self.limit.capacity(now).min(self.pace.capacity(now)).min(self.breaker.capacity(now));
        self.hold.capacity(now).min(self.login.capacity(now)).min(self.pause.capacity(now)).min(others)
    }

    #[inline]
    fn admit(&self, now: Time) -> Result<(), Time> {
        if self.are_open(now) {
            return Ok(());
        }
        // Hold, login and pause take nothing and come first. Pace and breaker come last: a probe that they let through must be
        // attempted, while a permit of the limit that is not used only makes the rate a little lower. Of the two only
        // the breaker is asked before, since the pace could not be told that its probe was not sent.
        self.hold.admit(now)?;
        self.login.admit(now)?;
        self.pause.admit(now)?;
        self.limit.admit(now)?;
        if self.breaker.capacity(now) == 0 {
            return Err(self.breaker.opens(now));
        }
        self.pace.admit(now)?;
        self.breaker.admit(now)
    }

    fn paused_until(&self, now: Time) -> Option<Time> {
        let each = [&self.hold as &dyn Gate, &self.login, &self.pause, &self.limit, &self.breaker]
            .map(|gate| gate.paused_until(now));
        each.into_iter().flatten().max()
    }
}

/// A gate that is not there is always open.
impl<G: Gate> Gate for Option<G> {
    fn opens(&self, now: Time) -> Time {
        self.as_ref().map_or(Time::START, |gate| gate.opens(now))
    }

    fn capacity(&self, now: Time) -> usize {
        self.as_ref().map_or(usize::MAX, |gate| gate.capacity(now))
    }

    fn admit(&self, now: Time) -> Result<(), Time> {
        self.as_ref().map_or(Ok(()), |gate| gate.admit(now))
    }

    fn paused_until(&self, now: Time) -> Option<Time> {
        self.as_ref()?.paused_until(now)
    }
}
