//! The workers of a pipeline: a pool that grows up to the route's concurrency, and never shrinks.
//!
//! A worker that finds nothing to do parks. Those that were parked last are woken first, so that a quiet route keeps
//! few connections warm, and the others reach their idle timeout and are closed.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::task::yield_now;

use super::{in_hand::InHand, pipeline::Pipeline, schedule::Pick};
use crate::{
    deliver::Deliver,
    message::{
        batch::Batch,
        outcome::{Attempt, Failure},
    },
};

/// By what a worker can be woken.
#[derive(Debug, Default)]
pub(super) struct WorkerHandle {
    /// Whether it was woken and has not run yet. Its connection wakes the same task: only this tells the two apart.
    woken: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// What it has under way, where somebody wants to see that.
    pub(super) shown: RefCell<Option<Vec<InHand>>>,
}

/// What workers are to do before they go on with an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// Nothing.
    #[default]
    None,
    /// Show what they have under way.
    Show,
    /// Break it off.
    Abort,
}

impl WorkerHandle {
    /// Has the task of `cx` woken by [`Self::wake`].
    fn register(&self, cx: &Context<'_>) {
        // This is called on each poll, and the waker is nearly always the same: comparing is cheaper than cloning.
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// Where in the pile of those that wait: the top one is woken first.
enum Place {
    Top,
    Bottom,
}

impl<D: Deliver + 'static> Pipeline<D> {
    pub(super) fn is_aborted(&self) -> bool {
        self.interrupt.get() == Interrupt::Abort
    }

    /// Has all that wait look after their connections.
    pub fn look_after_connections(&self) {
        self.parked.borrow().iter().for_each(|worker| worker.wake());
    }

    /// Wakes the worker that was parked last, or starts a new one. False where all that there may be are at work.
    pub(super) fn wake_one(self: &Rc<Self>) -> bool {
        let Some(worker) = self.parked_or_new() else { return false };
        worker.woken.set(true);
        self.woken.set(self.woken.get() + 1);
        worker.wake();
        true
    }

    fn parked_or_new(self: &Rc<Self>) -> Option<Rc<WorkerHandle>> {
        if let Some(worker) = self.parked.borrow_mut().pop() {
            return Some(worker);
        }
        let mut workers = self.workers.borrow_mut();
        if workers.len() >= self.concurrency || self.is_aborted() {
            return None;
        }
        let worker = Rc::new(WorkerHandle::default());
        workers.push(Rc::clone(&worker));
        self.spawn(Rc::clone(self).work((self.client)(), Rc::clone(&worker)));
        Some(worker)
    }

    /// The life of a worker: it ends only with the pipeline.
    async fn work(self: Rc<Self>, mut client: D, worker: Rc<WorkerHandle>) {
        // A new worker was counted as woken when it was started.
        self.has_started(&worker);
        // When the last attempt ended, where the next one begins at once: the clock is not read twice.
        let mut ended = None;
        while !self.is_aborted() {
            let began = ended.take().unwrap_or_else(|| self.clock.now());
            let Pick::Attempt(batch) = self.take(began) else {
                self.park(&mut client, &worker, Place::Top).await;
                continue;
            };
            // Pinned here: the future of an attempt is large, and would be moved into the one that waits for it.
            let attempted = {
                let attempt = pin!(client.deliver(&batch, began));
                self.unless_aborted(&worker, &batch, attempt).await
            };
            match attempted {
                Some((attempt, now)) => {
                    self.finish(batch, &attempt, began, now);
                    match attempt {
                        // Whoever has a connection goes first: one that finds none fails in no time, and would take
                        // all messages from the others.
                        Attempt::Failed { failure: Failure::Local, .. } => {
                            self.park(&mut client, &worker, Place::Bottom).await;
                        }
                        // It waited for nothing, and a queue full of such messages must not hold up the lane.
                        Attempt::Failed { failure: Failure::Unsendable, .. } => yield_now().await,
                        _ => ended = Some(now),
                    }
                }
                None => self.abandon(batch, began),
            }
        }
    }

    /// Waits until woken, and looks after the connection meanwhile: one that the webhook closes is noticed now and not
    /// by the next message.
    async fn park(&self, client: &mut D, worker: &Rc<WorkerHandle>, place: Place) {
        // Whoever goes on shows it when the next attempt begins.
        self.show_load();
        match place {
            Place::Top => self.parked.borrow_mut().push(Rc::clone(worker)),
            Place::Bottom => self.parked.borrow_mut().insert(0, Rc::clone(worker)),
        }
        let mut has_connection = true;
        poll_fn(|cx| {
            if worker.woken.get() || self.is_aborted() {
                return Poll::Ready(());
            }
            worker.register(cx);
            has_connection = has_connection && client.poll_idle(cx).is_pending();
            Poll::Pending
        })
        .await;
        self.has_started(worker);
    }

    /// Takes note that `worker` runs, where it was woken for that.
    fn has_started(&self, worker: &WorkerHandle) {
        if worker.woken.replace(false) {
            self.woken.set(self.woken.get() - 1);
        }
    }

    /// Runs `attempt` to its end, or breaks it off when the pipeline is aborted.
    async fn unless_aborted<T>(
        &self,
        worker: &WorkerHandle,
        batch: &Batch,
        mut attempt: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        poll_fn(|cx| {
            match self.interrupt.get() {
                Interrupt::None => {}
                Interrupt::Abort => return Poll::Ready(None),
                Interrupt::Show => worker.show(batch),
            }
            worker.register(cx);
            attempt.as_mut().poll(cx).map(Some)
        })
        .await
    }
}
