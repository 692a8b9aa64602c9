//! Follows the bucket for as long as the process runs: reads what comes of it, and has it applied.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_local,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::{
    catalogue::{Changes, Value},
    gone::GoneWebhooks,
    key::{Key, Keys},
    named_files::NamedFiles,
    notices::Notices,
    state::FleetState,
    status::Status,
    store::Store,
    watch::{Batch, News, Trouble, Watch, new_consumer},
};
use crate::{
    base::{blocking::BlockingThreads, clock::Clock},
    config::{ConfigErrors, Endpoints, RouteName},
    nats::{Connection, OnDemand},
    route::{registry::Registry, webhook_health::Word},
};

/// How soon to try again what has failed.
const AGAIN: Duration = Duration::from_secs(1);
/// For how long the first connection is waited for, before the file's routes may take messages though nobody knows what is
/// held: it may be this connection alone that NATS refuses.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long reading values may take, and the files that they name: a file system of a network may never answer, and nothing of the
/// bucket would be followed any more without a word.
const READING: Duration = Duration::from_secs(60);
/// For how many times as long as changes took to be applied it is waited for more of them, and for how long at the most. Each
/// change has all routes looked at, here and by the lanes, however little it changes: of ten thousand that come one after the
/// other, many are to be one change.
const PAUSES: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Changes that are to be applied, by whoever has the routes.
#[derive(Debug)]
pub struct Update {
    /// The changes.
    pub changes: Changes,
    /// Told when they run.
    pub done: oneshot::Sender<()>,
}

/// Follows the bucket.
pub struct Follower {
    endpoints: Arc<Endpoints>,
    keys: Keys,
    connection: Connection,
    registry: Arc<Registry>,
    status: Arc<Status>,
    updates: mpsc::Sender<Update>,
    threads: BlockingThreads,
    named_files: NamedFiles,
    /// The name of the next consumer of the bucket.
    consumer: String,
    /// What of the bucket is held here.
    held: BTreeSet<RouteName>,
    gone: GoneWebhooks,
    /// What webhooks have said here that other replicas want to know.
    words: mpsc::Receiver<Word>,
}

/// Of which process a follower is a part.
pub struct Replica {
    /// What it is called.
    pub name: Arc<str>,
    /// What its webhooks say that other replicas want to know.
    pub words: mpsc::Receiver<Word>,
    /// The clock of the process.
    pub clock: Clock,
}

impl Follower {
    /// Follows the bucket of `endpoints` for this `replica`, over the `connection` of its process. Holds go to `registry`, routes
    /// to whoever takes `updates`, and how far it is to `status`. Needs a runtime that takes local tasks.
    pub fn new(
        replica: Replica,
        endpoints: &Endpoints,
        connection: &Rc<OnDemand>,
        registry: &Arc<Registry>,
        status: &Arc<Status>,
        updates: mpsc::Sender<Update>,
    ) -> Self {
        let Replica { name, words, clock } = replica;
        let store = Store::over(&connection.get(), endpoints);
        Self {
            gone: GoneWebhooks::new(registry, store, name, clock),
            words,
            keys: Keys::of(endpoints),
            endpoints: Arc::new(endpoints.clone()),
            connection: connection.get(),
            registry: Arc::clone(registry),
            status: Arc::clone(status),
            updates,
            threads: BlockingThreads::default(),
            named_files: NamedFiles::new(),
            consumer: new_consumer(),
            held: BTreeSet::new(),
        }
    }

    /// Goes on until nobody takes its updates any more.
    pub async fn run(mut self) {
        let notices = Notices::new(&self.connection, &self.endpoints, &self.status);
        let _ends_with_this = AbortOnDropHandle::new(spawn_local(notices.run()));
        let connected = timeout(PATIENCE, self.connection.state().connected()).await;
        if connected.is_err() {
            self.registry.know_holds([]);
        }
        while !self.updates.is_closed() {
            self.connection.state().connected().await;
            if let Err(trouble) = self.follow().await {
                // What is known of holds is all that can be known.
                self.registry.know_holds([]);
                self.status.troubled(trouble.to_string());
                sleep(AGAIN).await;
            }
        }
    }

    /// Returns without an error when nobody takes its updates any more.
    async fn follow(&mut self) -> Result<(), Trouble> {
        let (connection, keys) = (self.connection.clone(), self.keys.clone());
        let known = self.status.revision();
        // In the place of one that was followed an empty one is made by nobody here: all of its routes would end.
        let may_create = self.endpoints.create && known.is_none();
        let opened = Watch::open(&connection, &keys, keys.subjects(), &self.consumer, may_create).await;
        // As long as it may not be made, the name stays: a refusal that has another name each time would be news each time. Where the
        // server did not answer, one of this name may be there now, with nobody who listens to it.
        if !matches!(opened, Err(Trouble::Forbidden(_))) {
            self.consumer = new_consumer();
        }
        let mut watch = opened.map_err(|trouble| match trouble {
            Trouble::Missing(bucket) if known.is_some() => Trouble::Gone(bucket),
            trouble => trouble,
        })?;
        let mut all = Batch::default();
        while !watch.is_caught_up() {
            let Batch { news, strange, revision } = watch.next().await?;
            all.news.extend(news);
            all.strange.extend(strange);
            all.revision = revision;
        }
        if known > Some(all.revision) {
            warn!(
                "the bucket was made anew, or emptied: of its routes, those that are not in it any more end"
            );
        }
        if !self.apply(all, true).await? {
            return Ok(());
        }
        loop {
            // All that has come while the last changes were applied, and for some time after that, is one change.
            tokio::select! {
                batch = watch.next() => {
                    let batch = batch?;
                    let began = Instant::now();
                    if !self.apply(batch, false).await? {
                        return Ok(());
                    }
                    sleep((began.elapsed() * PAUSES).min(LONGEST_PAUSE)).await;
                }
                Some(word) = self.words.recv() => self.gone.hear(word),
                () = self.named_files.due() => {
                    if !self.look_at_files().await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Has run what has come of files that values name. False where nobody takes it any more.
    async fn look_at_files(&mut self) -> Result<bool, Trouble> {
        let read = self.reading();
        let values = within(self.named_files.changed(&self.threads, read)).await?;
        if values.is_empty() {
            return Ok(true);
        }
        let revision = self.status.revision().unwrap_or_default();
        Ok(self.update(Changes { values, is_all: false, revision }).await)
    }

    /// What reads a value.
    fn reading(&self) -> impl Fn(&RouteName, u64, &[u8]) -> Value + Send + use<> {
        let (endpoints, keys) = (Arc::clone(&self.endpoints), self.keys.clone());
        move |name, revision, text| read(&endpoints, &keys, name, revision, text)
    }

    /// Has what is new run. False where nobody takes it any more.
    ///
    /// # Errors
    /// It could not be read. All is to be read anew: what was not read of one change is not in the next one.
    async fn apply(&mut self, batch: Batch, is_all: bool) -> Result<bool, Trouble> {
        for key in &batch.strange {
            warn!(key, "a key of the bucket is neither that of a route nor of its state: not used");
        }
        // Of two values of a key that come together only the later one counts.
        let mut latest = HashMap::new();
        for news in batch.news {
            latest.insert(news.key.clone(), news);
        }
        let (mut routes, mut states) = (Vec::new(), Vec::new());
        for (_, News { key, revision, value }) in latest {
            match key {
                Key::Route(name) => routes.push((name, revision, value)),
                Key::State(name) => states.push((name, revision, value)),
                Key::Status(_) => {}
            }
        }
        let read = self.reading();
        let read = move || -> Vec<_> {
            let read = |(name, revision, text): (RouteName, u64, Option<bytes::Bytes>)| {
                let value = text.as_ref().map(|text| read(&name, revision, text));
                (name, revision, text, value)
            };
            routes.into_iter().map(read).collect()
        };
        let read = within(self.threads.run(read)).await?;
        if is_all {
            self.named_files = NamedFiles::new();
        }
        let note = |(name, revision, text, value): (RouteName, u64, Option<bytes::Bytes>, Option<Value>)| {
            self.named_files.take_note(&name, revision, text.as_deref().zip(value.as_ref()));
            (name, revision, value)
        };
        let values = read.into_iter().map(note).collect();
        // Before the routes: what is held begins no attempt.
        self.follow_states(states, is_all);
        self.status.hears(batch.revision);
        Ok(self.update(Changes { values, is_all, revision: batch.revision }).await)
    }

    /// Has all lanes run `changes`. False where nobody takes them any more.
    async fn update(&mut self, changes: Changes) -> bool {
        let revision = changes.revision;
        let (done, applied) = oneshot::channel();
        let is_taken = self.updates.send(Update { changes, done }).await.is_ok() && applied.await.is_ok();
        if is_taken {
            self.gone.tell_routes();
            self.status.applied(revision);
        }
        is_taken
    }

    /// Takes note of what the fleet knows of routes, all at once.
    fn follow_states(&mut self, states: Vec<(RouteName, u64, Option<bytes::Bytes>)>, is_all: bool) {
        let mut former = if is_all { std::mem::take(&mut self.held) } else { BTreeSet::new() };
        let mut gone: BTreeSet<_> =
            if is_all { self.gone.begin_anew().into_iter().collect() } else { BTreeSet::new() };
        let mut changes = Vec::with_capacity(states.len());
        for (name, revision, value) in states {
            let was_held = former.remove(&name);
            let state = value.map_or_else(|| Ok(FleetState::default()), |value| FleetState::read(&value));
            match state {
                Ok(FleetState { held, gone: known }) => {
                    gone.insert(name.clone());
                    self.gone.take_note(&name, revision, known);
                    changes.push((name, held));
                }
                Err(why) => {
                    let route = name.as_str();
                    warn!(route, why, "the state of a route in the bucket makes no sense: not used");
                    self.held.extend(was_held.then_some(name));
                }
            }
        }
        changes.extend(former.into_iter().map(|name| (name, None)));
        for (name, held) in &changes {
            if held.is_some() {
                self.held.insert(name.clone());
            } else {
                self.held.remove(name);
            }
        }
        self.registry.know_holds(changes);
        // Whoever has removed what was known wants it to be tried again.
        gone.retain(|name| !self.gone.has(name));
        self.registry.revive(&gone);
    }
}

/// What comes of `reading`, in time.
async fn within<T>(reading: impl Future<Output = io::Result<T>>) -> Result<T, Trouble> {
    let read = timeout(READING, reading).await.unwrap_or_else(|late| Err(late.into()));
    read.map_err(|error| Trouble::Unread(error.to_string()))
}

fn read(endpoints: &Endpoints, keys: &Keys, name: &RouteName, revision: u64, value: &[u8]) -> Value {
    let key = keys.name(&Key::Route(name.clone()));
    let problems = |errors: ConfigErrors| errors.iter().map(ToString::to_string).collect();
    endpoints.route(name, value, &key, revision).map(Arc::new).map_err(problems)
}
