//! The webhook that letters are delivered to after all: one letter at a time by each worker, with a few attempts.

use std::{num::NonZeroU32, rc::Rc, sync::Arc};

use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::{
    base::clock::{Clock, Time},
    config::{self, Retry},
    deliver::{
        Client, Deliver as _, Target,
        endpoint::{Endpoint, Surroundings},
        login::Login,
    },
    message::{
        Message,
        batch::Batch,
        outcome::{Attempt, Failure},
    },
    route::{
        schedule::{
            gate::Gate,
            login::LoginGate,
            pause::Pause,
            policy::Policy,
            rate_limit::{Limiter, SharedLimit},
        },
        shared::Route,
    },
};

/// How often a letter is tried, where the route has no lower limit: whoever replays is there to see that it fails.
const ATTEMPTS: NonZeroU32 = NonZeroU32::new(3).expect("3 is not 0");
/// How many attempts are under way beside those of a route that goes on delivering: it is not to be crowded out.
const BESIDE: usize = 8;

/// A webhook, and what limits the attempts at it.
pub struct Webhook {
    target: Rc<Target>,
    concurrency: usize,
    policy: Policy,
    login: Option<Login>,
    gate: Option<LoginGate>,
    pause: Pause,
    limit: Option<Limiter>,
    clock: Clock,
}

impl Webhook {
    /// That of `route`, where nobody else in this process delivers to it.
    pub fn alone(route: &config::Route, clock: Clock) -> Self {
        let endpoint = Surroundings::default().endpoint(route, clock);
        let limit = route.rate_limit.map(SharedLimit::new).map(Limiter::new);
        Self::new(route, &endpoint, (limit, Pause::default()), usize::MAX, clock)
    }

    /// That of `route`, whose lanes go on delivering to it: the rate limit and the pauses that it asks for are theirs, too.
    pub fn beside(route: &Route, clock: Clock) -> Self {
        Self::new(&route.settings, &route.endpoint, route.limits(), BESIDE, clock)
    }

    fn new(
        route: &config::Route,
        endpoint: &Endpoint,
        (limit, pause): (Option<Limiter>, Pause),
        most: usize,
        clock: Clock,
    ) -> Self {
        let retry = Retry { attempts: route.retry.attempts.min(ATTEMPTS), ..route.retry.clone() };
        // Each goes alone, in a body like that of a batch.
        let target = Target::new(&route.webhook, endpoint, Rc::default(), clock).batching(&route.batch);
        Self {
            target: Rc::new(target),
            concurrency: route.webhook.concurrency.modest().get().min(most),
            policy: Policy::from(&retry),
            login: endpoint.login.clone(),
            gate: endpoint.login.as_ref().and_then(Login::readiness).map(LoginGate::new),
            pause,
            limit,
            clock,
        }
    }

    /// How many letters may be on their way to it at the same time.
    pub(super) const fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// The clock that attempts are timed by.
    pub(super) const fn clock(&self) -> Clock {
        self.clock
    }

    /// A client of it for one worker.
    pub(super) fn client(&self) -> Client {
        Client::new(Rc::clone(&self.target))
    }

    /// Returns when there is something to log in with, where that is needed.
    ///
    /// # Errors
    /// Why there is nothing.
    pub(super) async fn ready(&self) -> Result<(), Arc<str>> {
        match &self.login {
            Some(login) => login.ready(self.clock).await,
            None => Ok(()),
        }
    }

    /// Attempts to deliver `message` as often as the route's policy says. None where `stop` ended it before the first attempt.
    pub(super) async fn deliver(
        &self,
        message: Message,
        client: &mut Client,
        stop: &CancellationToken,
    ) -> Option<Result<(), Failure>> {
        let mut batch = Batch::from(message);
        let mut last = None;
        for number in 1.. {
            if !self.permit(stop).await {
                break;
            }
            batch.begin_attempt();
            let now = self.clock.now();
            let (attempt, _) = client.deliver(&batch, now).await;
            let Attempt::Failed { failure, retry_after, .. } = attempt else {
                return Some(Ok(()));
            };
            last = Some(Err(failure));
            let now = self.clock.now();
            // `Retry-After` is about the webhook, and so holds for all workers.
            if let Some(asked) = retry_after {
                self.pause.extend(now + self.policy.pause(asked));
            }
            // Here every failure is held against its letter, which stays where it is: somebody waits for an end.
            let ended = self.policy.ends(failure, number, 1).is_some();
            if ended || !self.wait_until(now + self.policy.delay(number), stop).await {
                break;
            }
        }
        last
    }

    fn gates(&self) -> impl Iterator<Item = &dyn Gate> {
        [&self.gate as &dyn Gate, &self.pause, &self.limit].into_iter()
    }

    /// Waits until the route's limits allow an attempt. False where it was ended meanwhile.
    async fn permit(&self, stop: &CancellationToken) -> bool {
        loop {
            let now = self.clock.now();
            let Err(until) = self.gates().try_for_each(|gate| gate.admit(now)) else {
                return !stop.is_cancelled();
            };
            // Then it asks again: another worker may have been given the permit.
            if !self.wait_until(until, stop).await {
                return false;
            }
        }
    }

    async fn wait_until(&self, time: Time, stop: &CancellationToken) -> bool {
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = sleep_until(self.clock.instant(time)) => true,
        }
    }
}
