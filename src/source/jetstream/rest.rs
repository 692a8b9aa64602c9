//! A durable route that takes nothing, as an operator has drained it. Its consumer is looked after all the same: what is in
//! hand can only be acknowledged as long as the stream is known to be the same, over the present connection.

use std::rc::Rc;

use tokio::sync::watch;

use super::observer::Observer;

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

    /// Takes nothing until that is wanted again, or until the route leaves.
    pub(super) async fn rest(&self, observer: &Observer) {
        self.0.rests.send_replace(true);
        tokio::select! {
            () = observer.leave.cancelled() => {}
            () = self.over() => {}
            () = observer.keep_in_touch() => {}
        }
        self.0.rests.send_replace(false);
    }
}
