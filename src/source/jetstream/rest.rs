//! A durable route that takes nothing, as an operator has drained it. Its consumer is looked after all the same: what is in
//! hand can only be acknowledged as long as the stream is known to be the same, over the present connection.

use std::{rc::Rc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::puller::{LOOK, Puller};
use crate::deliver::Deliver;

/// How soon to look again at what could not be looked at.
const AGAIN: Duration = Duration::from_secs(1);

/// Whether a route takes messages, as its lane wants it, and whether it does not. Clones are the same one.
#[derive(Clone)]
pub(super) struct Rest(Rc<Words>);

struct Words {
    takes: watch::Sender<bool>,
    rests: watch::Sender<bool>,
}

impl Default for Rest {
    fn default() -> Self {
        Self(Rc::new(Words { takes: watch::Sender::new(true), rests: watch::Sender::new(false) }))
    }
}

impl Rest {
    pub(super) fn take(&self, takes: bool) {
        self.0.takes.send_if_modified(|former| std::mem::replace(former, takes) != takes);
    }

    /// Returns when nothing is taken any more, or is to be again.
    pub(super) async fn rests(&self) {
        let (mut rests, mut takes) = (self.0.rests.subscribe(), self.0.takes.subscribe());
        // The senders are here, so that this can't fail.
        tokio::select! {
            rests = rests.wait_for(|rests| *rests) => drop(rests),
            takes = takes.wait_for(|takes| *takes) => drop(takes),
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        !*self.0.takes.borrow()
    }

    /// Returns when nothing is to be taken.
    pub(super) async fn wanted(&self) {
        drop(self.0.takes.subscribe().wait_for(|takes| !*takes).await);
    }

    async fn over(&self) {
        drop(self.0.takes.subscribe().wait_for(|takes| *takes).await);
    }
}

impl<D: Deliver + 'static> Puller<D> {
    /// Takes nothing until that is wanted again, or until `leave`.
    pub(super) async fn rest(&self) {
        self.rest.0.rests.send_replace(true);
        tokio::select! {
            () = self.leave.cancelled() => {}
            () = self.rest.over() => {}
            () = self.keep_in_touch() => {}
        }
        self.rest.0.rests.send_replace(false);
    }

    /// Looks at the consumer over each connection, and again and again on the lane that does so for all. Never returns.
    async fn keep_in_touch(&self) {
        let state = self.common.connection.state();
        loop {
            state.connected().await;
            let mut changes = state.changes();
            let again = if self.look().await.is_ok() {
                self.acks.verified();
                self.is_first().then_some(LOOK)
            } else {
                // It may be another stream that has the name by now.
                self.acks.unverified();
                Some(AGAIN)
            };
            drop(timeout(again.unwrap_or(Duration::MAX), changes.changed()).await);
        }
    }
}
