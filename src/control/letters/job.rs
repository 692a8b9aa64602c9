//! A replay or a discard that somebody has ordered: what it does, how far it is, and what came of it.

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::SystemTime,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::told::{Figures, JobTold, NotAccepted};
use crate::{
    base::clock::rfc3339,
    config::RouteName,
    control::api::ACTS,
    dead_letter::{Claim, Selection, Store, StoreError, Walk, discard},
    replay::{News, Replay, Summary, Watcher, Webhook},
    route::{hold::HoldAct, registry::Routes, shared::Route},
};

/// How many letters are named that were not accepted.
const NAMED: usize = 20;

/// What may be done with letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// They are delivered after all, and removed then.
    Replay,
    /// They are removed for good.
    Discard,
}

/// What somebody orders.
#[derive(Clone, Debug)]
pub struct Order {
    /// What is to be done.
    pub act: Act,
    /// The route whose letters are meant; may be left out where only one keeps any.
    pub route: Option<String>,
    /// The route whose webhook they are for, where that is another one.
    pub to_route: Option<String>,
    /// Which letters.
    pub selection: Selection,
    /// How many of them at the most.
    pub most: u64,
    /// Whether they are only counted.
    pub dry_run: bool,
    /// Who orders it.
    pub by: String,
}

/// What it takes to do what is ordered.
pub(super) enum Work {
    Count,
    Discard,
    Replay {
        /// Held until the end.
        claim: Claim,
        webhook: Box<Webhook>,
        /// The route with that webhook.
        to: Arc<Route>,
        /// What should run: the replay ends where the route is not to be delivered to any more.
        routes: watch::Receiver<Arc<Routes>>,
    },
}

/// One of them, under way or at its end.
pub(super) struct Job {
    number: u64,
    order: Order,
    route: RouteName,
    began: SystemTime,
    total: u64,
    figures: Cell<Figures>,
    failures: RefCell<Vec<NotAccepted>>,
    /// Why it takes no more letters, where something but its end is the reason.
    cause: RefCell<Option<String>>,
    ended: Cell<Option<(SystemTime, End)>>,
    stop: CancellationToken,
}

/// How a job has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All that was meant was seen to.
    Done,
    /// Before that, by somebody's wish.
    Stopped,
    /// Before that, since it could not be gone on with.
    Failed,
}

impl Act {
    const fn word(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
        }
    }
}

impl End {
    const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

impl Job {
    /// One that begins now, at `total` letters.
    pub(super) fn new(
        number: u64,
        order: Order,
        route: &RouteName,
        total: u64,
        stop: CancellationToken,
    ) -> Self {
        Self {
            number,
            order,
            route: route.clone(),
            began: SystemTime::now(),
            total,
            figures: Cell::default(),
            failures: RefCell::default(),
            cause: RefCell::default(),
            ended: Cell::default(),
            stop,
        }
    }

    /// In words, for whoever has to wait for it.
    pub(super) fn words(&self) -> String {
        let Order { act, by, .. } = &self.order;
        format!("the {} of {} by {by} since {}", act.word(), self.route, rfc3339(self.began))
    }

    /// Whether it is under way.
    pub(super) const fn is_running(&self) -> bool {
        self.ended.get().is_none()
    }

    /// How far it is.
    pub(super) fn told(&self) -> JobTold {
        let Order { act, to_route, selection, dry_run, by, .. } = &self.order;
        let ended = self.ended.get();
        JobTold {
            number: self.number,
            act: act.word(),
            dry_run: *dry_run,
            route: self.route.to_string(),
            to_route: to_route.clone(),
            selection: selection.to_string(),
            by: by.clone(),
            began: rfc3339(self.began),
            ended: ended.map(|(at, _)| rfc3339(at)),
            state: ended.map_or("running", |(_, end)| end.word()),
            cause: self.cause.borrow().clone(),
            total: self.total,
            figures: self.figures.get(),
            failures: self.failures.borrow().clone(),
        }
    }

    /// Takes no more letters, as somebody wishes.
    pub(super) fn stop(&self) {
        if self.is_running() {
            self.because("it was stopped by hand");
            self.stop.cancel();
        }
    }

    /// Does it, to its end: the letters of `walk`, which goes through `store`.
    pub(super) async fn run(self: Rc<Self>, store: Store, mut walk: Walk, work: Work) {
        let failed = match work {
            Work::Count => self.count(&store, &mut walk).await.err().map(|error| error.to_string()),
            Work::Discard => {
                let told = |removed, walk: &Walk| {
                    let (selected, seen) = (removed, removed + walk.passed());
                    self.figures.set(Figures { seen, selected, removed, ..Figures::default() });
                };
                let store = store.persistent();
                let discarded = discard(&store, &mut walk, self.order.most, &self.stop, told);
                discarded.await.err().map(|error| error.to_string())
            }
            Work::Replay { claim, webhook, to, routes } => {
                let watcher = Rc::clone(&self);
                let watcher: Watcher = Box::new(move |summary, news| watcher.hear(summary, &news));
                let stop = self.stop.clone();
                let replay = Replay::new(store, walk, *webhook, self.order.most, stop, watcher);
                let mut replaying = pin!(replay.run());
                let (_, error) = tokio::select! {
                    replayed = &mut replaying => replayed,
                    why = not_any_more(routes, &to) => {
                        // When the process stops, no route is there any more.
                        if !self.stop.is_cancelled() {
                            self.because(&why);
                            self.stop.cancel();
                        }
                        replaying.await
                    }
                };
                drop(claim);
                error.map(|error| error.to_string())
            }
        };
        self.end(failed);
    }

    /// Counts the letters that are meant.
    async fn count(&self, store: &Store, walk: &mut Walk) -> Result<(), StoreError> {
        let mut figures = Figures::default();
        while figures.selected < self.order.most {
            let letter = tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                letter = walk.next(store) => letter?,
            };
            figures.selected += u64::from(letter.is_some());
            figures.seen = figures.selected + walk.passed();
            figures.of_no_route = walk.orphans();
            self.figures.set(figures);
            if letter.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Takes note of what happens in a replay.
    fn hear(&self, summary: &Summary, news: &News<'_>) {
        let Summary { delivered, failed, not_removed, orphans, .. } = *summary;
        self.figures.set(Figures {
            seen: summary.seen(),
            selected: summary.tried(),
            delivered,
            failed,
            not_removed,
            removed: delivered - not_removed,
            of_no_route: orphans,
        });
        match news {
            News::Failed(letter, failure) if self.failures.borrow().len() < NAMED => {
                let failure = failure.label().into_owned();
                let (sequence, id) = (letter.sequence, letter.id().to_string());
                self.failures.borrow_mut().push(NotAccepted { sequence, id, failure });
            }
            News::Unreachable => self.because("the webhook can't be reached"),
            News::Failed(..) | News::Progress => {}
        }
    }

    /// The first reason is the one that counts.
    fn because(&self, why: &str) {
        self.cause.borrow_mut().get_or_insert_with(|| why.to_owned());
    }

    fn end(&self, failed: Option<String>) {
        let end = match failed {
            Some(error) => {
                *self.cause.borrow_mut() = Some(error);
                End::Failed
            }
            None if self.stop.is_cancelled() => {
                self.because("the process was stopping");
                End::Stopped
            }
            None => End::Done,
        };
        self.ended.set(Some((SystemTime::now(), end)));
        let Order { act, to_route, selection, dry_run, by, .. } = &self.order;
        let Figures { selected, delivered, failed, removed, .. } = self.figures.get();
        let (what, route, cause) = (act.word(), self.route.as_str(), self.cause.borrow());
        let selection = selection.to_string();
        let (to_route, cause) = (to_route.as_deref(), cause.as_deref());
        info!(
            target: ACTS, by, what, route, to_route, selection, dry_run, selected, delivered, failed, removed, cause,
            "dead letters: {}", end.word()
        );
    }
}

/// Whether an operator has the route of this name attempt nothing.
pub(super) fn is_paused(routes: &Routes, name: &RouteName) -> bool {
    routes.held(name).is_some_and(|hold| hold.act == HoldAct::Pause)
}

/// Returns when `to` is not to be delivered to any more, as it was when the replay began: why.
async fn not_any_more(mut routes: watch::Receiver<Arc<Routes>>, to: &Arc<Route>) -> String {
    let name = to.name();
    let is_over = |routes: &Arc<Routes>| {
        is_paused(routes, name) || !routes.get(name).is_some_and(|now| Arc::ptr_eq(now, to))
    };
    match routes.wait_for(is_over).await {
        Ok(routes) if is_paused(&routes, name) => format!("the route {name} is held"),
        Ok(routes) if routes.get(name).is_some() => format!("the route {name} has other settings now"),
        Ok(_) | Err(_) => format!("the route {name} is gone"),
    }
}
