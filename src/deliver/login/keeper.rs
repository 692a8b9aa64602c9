//! Has a token: fetches it, keeps it until its end is near, and fetches the next one. One task for all lanes of a route,
//! so that there is one fetch at a time.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use arc_swap::ArcSwapOption;
use tokio::{sync::Notify, task::spawn_local, time::sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::{
    Credential, Fetches, Lack,
    oauth2::{Token, TokenServer},
    readiness::Readiness,
    renewal::Renewal,
};
use crate::{
    base::clock::{Clock, Time},
    config::RouteName,
    deliver::fault::Fault,
};

/// The tokens of a route. Dropping it ends the task.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    route: RouteName,
    token: ArcSwapOption<Credential>,
    readiness: Readiness,
    state: Mutex<State>,
    /// Tells the task that the next fetch is due earlier.
    hurry: Notify,
    fetched: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug)]
struct State {
    renewal: Renewal,
    /// The number of the token that counts: another one than that of the token that is there while it is exchanged.
    number: u64,
    is_fetching: bool,
    /// Why the last fetch has failed, until one has not.
    cause: Option<Arc<str>>,
    told: Told,
}

/// What the log was told last, so that each change is said once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Fine,
    /// That the token can't be renewed.
    Unrenewed,
    /// That there is no token.
    Lacking,
}

impl Keeper {
    /// Fetches the tokens of `route` from `server` from now on.
    pub(super) fn start(server: TokenServer, route: RouteName, clock: Clock) -> Self {
        let state =
            State { renewal: Renewal::new(), number: 0, is_fetching: false, cause: None, told: Told::Fine };
        let shared = Arc::new(Shared {
            route,
            token: ArcSwapOption::empty(),
            readiness: Readiness::default(),
            state: Mutex::new(state),
            hurry: Notify::new(),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let task = spawn_local(Arc::clone(&shared).keep(server, clock));
        Self { shared, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn token(&self) -> Option<Arc<Credential>> {
        self.shared.token.load_full()
    }

    pub(super) fn fetches(&self) -> Fetches {
        let Shared { fetched, failed, .. } = &*self.shared;
        Fetches { fetched: fetched.load(Relaxed), failed: failed.load(Relaxed) }
    }

    pub(super) fn readiness(&self) -> Readiness {
        self.shared.readiness.clone()
    }

    /// Whether the 401 to the token of this number is answered by another token.
    pub(super) fn refused(&self, number: u64, now: Time) -> bool {
        let shared = &self.shared;
        let mut state = shared.lock();
        // Of those that were under way with the same token, the first has it exchanged.
        if state.number != number {
            return true;
        }
        if !state.renewal.exchange(now) {
            return false;
        }
        state.number += 1;
        // Nothing goes out with it any more: each request would be another refusal.
        shared.readiness.take_away();
        drop(state);
        shared.hurry.notify_one();
        info!(
            route = shared.route.as_str(),
            "the webhook does not take the token any more (401), another one is fetched"
        );
        true
    }

    pub(super) fn lack(&self, now: Time) -> Option<Lack> {
        if self.shared.readiness.is_given(now) {
            return None;
        }
        let state = self.shared.lock();
        let next = (!state.is_fetching).then(|| state.renewal.due());
        Some(Lack { next, cause: state.cause.clone() })
    }
}

impl Shared {
    async fn keep(self: Arc<Self>, server: TokenServer, clock: Clock) {
        loop {
            let due = self.lock().renewal.due();
            tokio::select! {
                () = sleep_until(clock.instant(due)) => {}
                () = self.hurry.notified() => continue,
            }
            self.lock().is_fetching = true;
            let asked = clock.now();
            match server.fetch().await {
                Ok(token) => self.fetched(token, asked),
                Err(fault) => self.failed(&fault, clock.now()),
            }
        }
    }

    fn fetched(&self, token: Token, asked: Time) {
        self.fetched.fetch_add(1, Relaxed);
        let mut state = self.lock();
        state.is_fetching = false;
        state.cause = None;
        state.number += 1;
        let until = state.renewal.fetched(asked, token.life);
        self.token.store(Some(Arc::new(Credential { header: token.header, number: state.number })));
        // After the token: whoever sees that there is one finds it.
        self.readiness.set(until);
        let before = std::mem::replace(&mut state.told, Told::Fine);
        drop(state);
        let (route, life) = (self.route.as_str(), token.life.map(|life| life.as_secs()));
        if before == Told::Fine {
            debug!(route, expires_in = life, "a token was fetched");
        } else {
            info!(route, expires_in = life, "there is a token for the webhook again");
        }
    }

    fn failed(&self, fault: &Fault, now: Time) {
        self.failed.fetch_add(1, Relaxed);
        let mut state = self.lock();
        state.is_fetching = false;
        state.cause.clone_from(&fault.cause);
        state.renewal.failed(now);
        let tell = if self.readiness.is_given(now) { Told::Unrenewed } else { Told::Lacking };
        let before = std::mem::replace(&mut state.told, tell);
        drop(state);
        let (route, cause) = (self.route.as_str(), fault.cause.as_deref());
        match tell {
            _ if tell == before => debug!(route, cause, "no token again"),
            Told::Unrenewed => {
                warn!(
                    route,
                    cause, "the token for the webhook can't be renewed, it is used while it is valid"
                );
            }
            Told::Lacking | Told::Fine => {
                warn!(route, cause, "there is no token to log in to the webhook with, its messages wait");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
