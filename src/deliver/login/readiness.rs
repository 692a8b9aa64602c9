//! Until when there is something to log in with.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::base::clock::Time;

/// Until when there is something to log in with, as all lanes see it. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU64>);

impl Readiness {
    /// Whether there is something to log in with at `now`.
    #[inline]
    pub fn is_given(&self, now: Time) -> bool {
        self.0.load(Relaxed) > now.as_nanos()
    }

    /// Has it be given until this time.
    pub fn set(&self, until: Time) {
        self.0.store(until.as_nanos(), Relaxed);
    }

    /// Has it be given no more: what there was is not good any longer.
    pub fn take_away(&self) {
        self.set(Time::START);
    }
}
