//! The dead letters of a running daemon: looking at them, delivering them after all, removing them.
//!
//! It goes over the connection of the process and on its runtime; lanes have nothing to do with it. One letter is in memory for
//! each worker, and of a list no payload. One job is under way at a time, and ends with the process.

mod job;
mod kept;
mod told;

use std::{
    cell::{Cell, OnceCell, RefCell},
    fmt,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    sync::Semaphore,
    task::spawn_local,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    job::{Act, Order},
    told::{Brief, JobTold, Letter, Listed},
};
use self::{
    job::{Job, Work, is_paused},
    kept::Counts,
};
use crate::{
    base::clock::Clock,
    config::{PublishSubject, RouteName},
    dead_letter::{Claim, Orphans, Selected, Selection, Store, StoreError, Walk},
    nats::{OnDemand, Requests},
    replay::Webhook,
    route::{
        registry::{Registry, Routes},
        shared::Route,
    },
};

/// How long there may be no connection to NATS before that is the answer.
const CONNECTING: Duration = Duration::from_secs(3);
/// How long JetStream may take to answer one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long letters are looked through for one list: one that asks for few of many is gone on with by the next request.
const LOOKING: Duration = Duration::from_secs(8);
/// How many routes are named to whoever has to choose one.
const NAMED: usize = 10;

/// What can't be done with dead letters, and what to do.
#[derive(Debug, Error)]
pub enum LettersError {
    /// No route has this name.
    #[error("no route has the name {0:?}")]
    NoSuchRoute(String),
    /// The route keeps no letters, or no route does: the text says what to set.
    #[error("{0}")]
    NoLetters(String),
    /// Several routes keep letters.
    #[error("several routes keep dead letters, say which one is meant (route): {0}")]
    WhichRoute(String),
    /// The letter is not there, or is not the route's.
    #[error("the route {route} has no dead letter with the sequence {sequence} (any more)")]
    NoSuchLetter {
        /// The route that was asked for its letters.
        route: RouteName,
        /// Where in the stream it would be.
        sequence: u64,
    },
    /// The webhook is not to be tried.
    #[error("the route {0} is held, so that nothing is attempted there: let it go on first")]
    Held(RouteName),
    /// One thing after the other.
    #[error("one is under way: {0}; GET /api/v1/dead-letters/job shows how far it is, DELETE stops it")]
    UnderWay(String),
    /// It is too late.
    #[error("the process is stopping")]
    Stopping,
    /// Nobody can be asked.
    #[error("there is no connection to NATS: {0}")]
    Away(String),
    /// The stream with the letters can't be found, read or changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The dead letters of all routes.
pub struct Letters {
    registry: Arc<Registry>,
    connection: Rc<OnDemand>,
    requests: OnceCell<Rc<Requests>>,
    counts: Counts,
    /// Held by whoever counts.
    counting: Arc<Semaphore>,
    /// Held by the job that is under way, or about to be.
    place: Arc<Semaphore>,
    numbers: Cell<u64>,
    latest: RefCell<Option<Rc<Job>>>,
    jobs: TaskTracker,
    stop: CancellationToken,
    clock: Clock,
}

/// The letters of one route.
struct Opened {
    routes: Arc<Routes>,
    route: Arc<Route>,
    store: Store,
}

impl Letters {
    /// Those of the routes of `registry`. Nothing is asked over `connection` before somebody asks for letters.
    pub fn new(registry: Arc<Registry>, connection: Rc<OnDemand>, clock: Clock) -> Self {
        Self {
            registry,
            connection,
            requests: OnceCell::new(),
            counts: Counts::default(),
            counting: Arc::new(Semaphore::new(1)),
            place: Arc::new(Semaphore::new(1)),
            numbers: Cell::default(),
            latest: RefCell::default(),
            jobs: TaskTracker::new(),
            stop: CancellationToken::new(),
            clock,
        }
    }

    /// `limit` of those that `selection` means at the most, behind the sequence `after`.
    ///
    /// # Errors
    /// They can't be read.
    pub async fn list(
        &self,
        route: Option<&str>,
        selection: Selection,
        (after, limit): (u64, usize),
    ) -> Result<Listed, LettersError> {
        let opened = self.open(route).await?;
        let total = opened.store.count().await?;
        let mut walk = Walk::behind(after, opened.selected(selection, Orphans::Included));
        let (mut letters, mut next, until) = (Vec::new(), None, Instant::now() + LOOKING);
        while next.is_none() {
            match timeout_at(until, walk.next(&opened.store)).await {
                Err(_late) => next = Some(walk.after()),
                Ok(letter) => match letter? {
                    None => break,
                    Some(_) if letters.len() == limit => next = letters.last().map(Brief::sequence),
                    Some(letter) => letters.push(Brief::of(&letter)),
                },
            }
        }
        let (route, stream) = (opened.route.name().to_string(), opened.store.name().to_owned());
        Ok(Listed { route, stream, total, letters, next })
    }

    /// The letter with this sequence, payload included.
    ///
    /// # Errors
    /// It can't be read, or is not one of the route's.
    pub async fn show(&self, route: Option<&str>, sequence: u64) -> Result<Letter, LettersError> {
        let opened = self.open(route).await?;
        let selected = opened.selected(Selection::default(), Orphans::Included);
        let letter = opened.store.get(sequence).await?.filter(|letter| selected.has(letter));
        let route = || opened.route.name().clone();
        letter
            .map(|letter| Letter::of(&letter))
            .ok_or_else(|| LettersError::NoSuchLetter { route: route(), sequence })
    }

    /// How many letters the stream keeps of the route of this name, as far as is known. They are counted for whoever asks next.
    pub fn kept(self: &Rc<Self>, name: &RouteName) -> Option<u64> {
        let (known, is_old) = self.counts.of(name, Instant::now());
        if is_old && let Ok(place) = Arc::clone(&self.counting).try_acquire_owned() {
            let (letters, name) = (Rc::clone(self), name.clone());
            drop(spawn_local(async move {
                let counted = async {
                    Ok::<_, LettersError>(letters.open(Some(name.as_str())).await?.store.count().await?)
                };
                let kept = counted.await.ok();
                letters.counts.note(name, kept, Instant::now());
                drop(place);
            }));
        }
        known
    }

    /// Begins what is ordered.
    ///
    /// # Errors
    /// It is not begun.
    pub async fn begin(&self, order: Order) -> Result<JobTold, LettersError> {
        let place = Arc::clone(&self.place).try_acquire_owned();
        let place = place.map_err(|_taken| LettersError::UnderWay(self.under_way()))?;
        let opened = self.open(order.route.as_deref()).await?;
        let to = match &order.to_route {
            Some(name) => find(&opened.routes, name)?,
            None => Arc::clone(&opened.route),
        };
        let work = self.work(&order, &opened, &to).await?;
        let total = opened.store.count().await?;
        // Whoever names another route says that it is the right one for letters that are nobody's; and nobody is asked about
        // what is only removed.
        let is_for_any = order.act == Act::Discard || order.to_route.is_some();
        let orphans = if is_for_any { Orphans::Included } else { Orphans::Excluded };
        let walk = Walk::behind(0, opened.selected(order.selection.clone(), orphans));
        // Since the process was asked to stop meanwhile, it may wait for the end of jobs already.
        if self.stop.is_cancelled() {
            return Err(LettersError::Stopping);
        }
        self.numbers.set(self.numbers.get() + 1);
        let (number, stop) = (self.numbers.get(), self.stop.child_token());
        let job = Rc::new(Job::new(number, order, opened.route.name(), total, stop));
        *self.latest.borrow_mut() = Some(Rc::clone(&job));
        let told = job.told();
        let doing = job.run(opened.store, walk, work);
        drop(spawn_local(self.jobs.track_future(async move {
            doing.await;
            drop(place);
        })));
        Ok(told)
    }

    /// How far the latest job is, or what came of it; none where there was none.
    pub fn job(&self) -> Option<JobTold> {
        self.latest.borrow().as_ref().map(|job| job.told())
    }

    /// Has the job that is under way take no more letters. Returns how far it is.
    pub fn stop_job(&self) -> Option<JobTold> {
        let latest = self.latest.borrow();
        let job = latest.as_ref()?;
        job.stop();
        Some(job.told())
    }

    /// Has no job take any more letters, as the process is stopping.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Returns when what was under way has ended, or at `deadline`.
    pub async fn ended(&self, deadline: Instant) {
        self.jobs.close();
        drop(timeout_at(deadline, self.jobs.wait()).await);
    }

    /// What it takes to do what is ordered.
    async fn work(&self, order: &Order, opened: &Opened, to: &Arc<Route>) -> Result<Work, LettersError> {
        if order.dry_run {
            return Ok(Work::Count);
        }
        opened.store.removable().await?;
        match order.act {
            Act::Discard => Ok(Work::Discard),
            Act::Replay if is_paused(&opened.routes, to.name()) => Err(LettersError::Held(to.name().clone())),
            Act::Replay => {
                let claim = Claim::take(&self.connection.get(), opened.store.name()).await?;
                let webhook = Webhook::beside(to, self.clock);
                let (to, routes) = (Arc::clone(to), self.registry.subscribe());
                Ok(Work::Replay { claim, webhook: Box::new(webhook), to, routes })
            }
        }
    }

    /// The job that is under way, in words.
    fn under_way(&self) -> String {
        let latest = self.latest.borrow();
        let running = latest.as_ref().filter(|job| job.is_running());
        running.map_or_else(|| "it is about to begin".to_owned(), |job| job.words())
    }

    /// The letters of the route of this name, or of the only one that keeps any.
    async fn open(&self, name: Option<&str>) -> Result<Opened, LettersError> {
        let routes = self.registry.current();
        let (route, subject) = choose(&routes, name)?;
        let connection = self.connection.get();
        if timeout(CONNECTING, connection.state().connected()).await.is_err() {
            let trouble = connection.state().trouble();
            return Err(LettersError::Away(trouble.unwrap_or_else(|| "no server has answered".to_owned())));
        }
        let requests = self.requests.get_or_init(|| Rc::new(Requests::over(&connection)));
        let store = Store::open(Rc::clone(requests) as _, &subject, PATIENCE).await?;
        Ok(Opened { routes, route, store })
    }
}

impl fmt::Debug for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letters").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Opened {
    fn selected(&self, selection: Selection, orphans: Orphans) -> Selected {
        let routes = self.routes.iter().map(|route| &*route.settings);
        Selected::new(routes, &self.route.settings, selection, orphans)
    }
}

fn find(routes: &Routes, name: &str) -> Result<Arc<Route>, LettersError> {
    let found = name.parse().ok().and_then(|name: RouteName| routes.get(&name));
    found.cloned().ok_or_else(|| LettersError::NoSuchRoute(name.chars().take(64).collect()))
}

/// The route that is meant, and the subject of its letters.
fn choose(routes: &Routes, name: Option<&str>) -> Result<(Arc<Route>, PublishSubject), LettersError> {
    let with_subject =
        |route: &Arc<Route>| Some((Arc::clone(route), route.settings.dead_letter.as_ref()?.subject.clone()));
    if let Some(name) = name {
        let route = find(routes, name)?;
        return with_subject(&route).ok_or_else(|| {
            let name = route.name();
            LettersError::NoLetters(format!(
                "the route {name} keeps no dead letters: set routes.{name}.dead_letter.subject"
            ))
        });
    }
    let mut keeping = routes.iter().filter_map(with_subject);
    match (keeping.next(), keeping.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(LettersError::NoLetters(
            "no route keeps dead letters: set routes.NAME.dead_letter.subject".to_owned(),
        )),
        // No guess: the next thing may be a discard.
        (Some(first), Some(second)) => {
            let mut names: Vec<_> = [first, second]
                .into_iter()
                .chain(keeping)
                .map(|(route, _)| route.name().to_string())
                .collect();
            let more = names.len().saturating_sub(NAMED);
            names.truncate(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            Err(LettersError::WhichRoute(names.join(", ") + &more))
        }
    }
}
