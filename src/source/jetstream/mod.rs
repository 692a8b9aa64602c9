//! The durable source: routes that take their messages from a stream, and owe it a word about each.
//!
//! A lane has one connection for all of its durable routes. Each route is pulled by a [`puller`](self) of its own; one task
//! says what the streams are to be told, another gives signs of life for what is in hand.

mod consumer;
mod credit;
mod heartbeats;
mod prefetch;
mod puller;
mod session;

use std::{
    fmt,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::jetstream::heartbeats::Keeper;
use super::jetstream::puller::Puller;
use async_nats::jetstream;
use tokio::{
    task::spawn_local,
    time::{interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::{
    base::clock::Clock,
    config::{Jetstream, RouteName, Subject},
    deliver::Deliver,
    message::ack_queue::Acks,
    nats::{Echo, Link, LinkError},
    route::pipeline::Line,
    stats::RouteStats,
};

/// How long JetStream may take to answer. While a leader is chosen it does not answer at all, so that asking again soon is
/// better than waiting.
const ANSWER: Duration = Duration::from_secs(1);
/// How long to wait before a word is said again that the client did not take.
const FAILED: Duration = Duration::from_millis(100);
/// How long the last words may take to reach the server.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A durable route as its source sees it.
pub struct Feed<D> {
    /// Whose messages they are.
    pub route: RouteName,
    /// What the consumer should filter by.
    pub subject: Subject,
    /// The stream and the consumer.
    pub jetstream: Jetstream,
    /// Where the messages go.
    pub line: Rc<Line<D>>,
    /// Its figures.
    pub stats: Arc<RouteStats>,
    /// What others may know of it.
    pub status: Arc<Status>,
}

/// Whether a durable route gets its messages.
#[derive(Debug)]
pub struct Status {
    route: RouteName,
    condition: Mutex<Condition>,
}

#[derive(Debug)]
enum Condition {
    /// Not live since the start, perhaps with a reason.
    Starting(Option<String>),
    Live,
    /// Not live any more.
    Failing(String),
}

impl Status {
    /// Not live yet.
    pub const fn new(route: RouteName) -> Self {
        Self { route, condition: Mutex::new(Condition::Starting(None)) }
    }

    /// Why the route gets no messages, if it gets none.
    pub fn reason(&self) -> Option<String> {
        let condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        let why = match &*condition {
            Condition::Live => return None,
            Condition::Starting(None) => "has not found its consumer yet",
            Condition::Starting(Some(why)) | Condition::Failing(why) => why,
        };
        Some(format!("route {}: {why}", self.route))
    }

    /// From now on it gets its messages. How it was before.
    fn went_live(&self) -> Condition {
        let mut condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *condition, Condition::Live)
    }

    /// It does not get its messages, because of this. Whether that is news.
    fn trouble(&self, trouble: &dyn fmt::Display) -> bool {
        let text = trouble.to_string();
        let mut condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        match &*condition {
            Condition::Starting(Some(known)) | Condition::Failing(known) if *known == text => return false,
            Condition::Starting(_) => *condition = Condition::Starting(Some(text)),
            Condition::Live | Condition::Failing(_) => *condition = Condition::Failing(text),
        }
        true
    }
}

/// The durable routes of a lane at work.
pub struct Streams {
    link: Rc<Link>,
    echo: Echo,
    acks: Acks,
    stop: CancellationToken,
    leave: CancellationToken,
    close: CancellationToken,
    pullers: TaskTracker,
    tasks: TaskTracker,
}

impl Streams {
    /// Begins to pull for every feed over `link`, which may not be connected yet. `acks` is where the lines say what has
    /// become of the messages; `lane` is the number of the lane.
    pub async fn start<D: Deliver + 'static>(
        link: Link,
        feeds: Vec<Feed<D>>,
        acks: Acks,
        clock: Clock,
        lane: usize,
    ) -> Result<Self, LinkError> {
        let echo = Echo::over(&link).await?;
        let link = Rc::new(link);
        let [stop, leave, close] = std::array::from_fn(|_| CancellationToken::new());
        let (pullers, tasks) = (TaskTracker::new(), TaskTracker::new());
        let mut context = jetstream::new(link.client().clone());
        context.set_timeout(ANSWER);
        for feed in feeds {
            let keeper = Keeper::new(feed.jetstream.ack_wait);
            drop(spawn_local(tasks.track_future(keep(
                keeper.clone(),
                acks.clone(),
                Rc::clone(&link),
                clock,
                close.clone(),
            ))));
            let puller = Puller {
                feed,
                link: Rc::clone(&link),
                context: context.clone(),
                acks: acks.clone(),
                keeper,
                clock,
                stop: stop.clone(),
                leave: leave.clone(),
                lane,
                // One lane asks, for all.
                reports_lag: lane == 0,
            };
            drop(spawn_local(pullers.track_future(puller.run())));
        }
        drop(spawn_local(tasks.track_future(speak(acks.clone(), Rc::clone(&link), close.clone()))));
        drop(spawn_local(tasks.track_future(move_away(Rc::clone(&link), close.clone()))));
        pullers.close();
        tasks.close();
        Ok(Self { link, echo, acks, stop, leave, close, pullers, tasks })
    }

    /// Asks for no more. What is on its way is still taken.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Brings what is known of the connection up to date.
    pub fn refresh(&self) {
        self.link.refresh();
    }

    /// Takes nothing more. To be called before the lines are cut: they would keep what comes later for ever.
    pub async fn leave(&self) {
        self.leave.cancel();
        self.pullers.wait().await;
    }

    /// Ends the work when nothing is in hand any more, and sees to it that the last words reach the server.
    pub async fn close(mut self) {
        self.close.cancel();
        self.tasks.wait().await;
        let told = timeout(LAST_WORDS, async {
            while let Some(notice) = self.acks.try_next() {
                if self.link.client().publish(notice.subject, notice.payload).await.is_err() {
                    return false;
                }
            }
            // The server handles what comes over one connection in order.
            self.echo.call(LAST_WORDS).await.is_ok()
        });
        if !matches!(told.await, Ok(true)) {
            warn!("NATS does not confirm the last acknowledgements: some messages may be delivered again");
        }
        drop(self.link.client().drain().await);
    }
}

/// Says what the streams are to be told, one after the other. While NATS is away it waits there.
async fn speak(acks: Acks, link: Rc<Link>, close: CancellationToken) {
    loop {
        let notice = tokio::select! {
            () = close.cancelled() => return,
            notice = acks.next() => notice,
        };
        let again = notice.clone();
        let said = tokio::select! {
            biased;
            said = link.client().publish(notice.subject, notice.payload) => said.is_ok(),
            () = close.cancelled() => false,
        };
        if !said {
            acks.say(again);
            if close.is_cancelled() {
                return;
            }
            // A client that fails at once would take all of the lane's time.
            sleep(FAILED).await;
        }
    }
}

/// Gives signs of life.
async fn keep(keeper: Keeper, acks: Acks, link: Rc<Link>, clock: Clock, close: CancellationToken) {
    let mut pace = interval(keeper.pace());
    loop {
        tokio::select! {
            () = close.cancelled() => return,
            _ = pace.tick() => {}
        }
        if pace.period() != keeper.pace() {
            pace = interval(keeper.pace());
        }
        let notices = keeper.due(clock.now());
        // Without a connection they would come too late, and pile up.
        if link.is_connected() {
            notices.into_iter().for_each(|notice| acks.say(notice));
        }
    }
}

/// Goes to another server when this one is about to stop. Requests and acknowledgements are made again there.
async fn move_away(link: Rc<Link>, close: CancellationToken) {
    loop {
        tokio::select! {
            () = close.cancelled() => return,
            () = link.state().lame_duck() => {}
        }
        if let Err(error) = link.client().force_reconnect().await {
            warn!(%error, "cannot move to another NATS server");
        }
    }
}
