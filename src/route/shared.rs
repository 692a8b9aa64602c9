//! A route as all its lanes see it: its settings, and what holds for the whole of it.
//!
//! The concurrency and the bounds in messages are divided: each lane keeps its own part without asking the others. Bytes
//! are drawn of one pool, since one message may need most of them. The rate limit, the pause that a webhook asks for, the
//! breaker and the webhook's health are shared, since they are about the webhook and not about a lane: by atomics as long
//! as all goes well, by a lock in trouble.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    num::NonZeroUsize,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};

use super::{
    answers::{Answers, Publish},
    filter::Filter,
    pipeline::{Parts, Pipeline},
    registry::LaneStats,
    schedule::{
        Schedule,
        batching::Batching,
        breaker::Breaker,
        concurrency::{AdaptiveLimit, Window},
        gate::{Gate as _, Gates},
        login::LoginGate,
        pace::Pace,
        pause::Pause,
        policy::Policy,
        queue::{Queue, Room},
        rate_limit::{Limiter, SharedLimit},
        retry_queue::RetryQueue,
        share::Pool,
        slow_start::{self, SlowStart},
    },
    settle::Settle,
    source_status::SourceStatus,
    trouble::Trouble,
    under_way::UnderWay,
    webhook_health::WebhookHealth,
};
use crate::{
    base::clock::{Clock, Time},
    config::{self, Bounds, Concurrency, RouteName},
    dead_letter,
    deliver::{
        Deliver,
        endpoint::Endpoint,
        login::{Lack, Login},
    },
    history::Feed,
    message::ledger::Ledgers,
    trace::Tracer,
};

/// A route with one set of settings. Other settings make another `Route` of the same name, which keeps the figures.
#[derive(Debug)]
pub struct Route {
    /// What the operator decided.
    pub settings: Arc<config::Route>,
    /// The breaker, shared by the lanes.
    pub breaker: Breaker,
    /// Whether the webhook works, as all lanes see it.
    pub health: Arc<WebhookHealth>,
    /// The figures, by lane.
    pub stats: LaneStats,
    /// The webhook.
    pub endpoint: Endpoint,
    /// Where dead letters go; none where they are dropped.
    pub dead_letters: Option<dead_letter::Sender>,
    tracer: Option<Arc<Tracer>>,
    feed: Option<Arc<Feed>>,
    filter: Option<Filter>,
    limit: Option<SharedLimit>,
    /// How many attempts may be under way, where that follows the webhook.
    pub adaptive: Option<AdaptiveLimit>,
    pause: Pause,
    pace: Pace,
    queue_bytes: Arc<Pool>,
    retry_bytes: Arc<Pool>,
    /// The first lane that it runs on.
    first_lane: usize,
    /// What is in hand of its stream.
    ledgers: Ledgers,
    /// Whether messages come, for each lane that it runs on, from the first one.
    sources: Box<[Arc<SourceStatus>]>,
    /// On how many lanes messages have come to come.
    live: AtomicUsize,
}

impl Route {
    /// A route for the lanes that `stats` are of. Where there is not enough to divide among all of them, it runs on some.
    pub fn new(
        settings: impl Into<Arc<config::Route>>,
        stats: LaneStats,
        endpoint: Endpoint,
        dead_letters: Option<dead_letter::Sender>,
    ) -> Self {
        let settings = settings.into();
        let lanes = most_lanes(&settings).min(stats.len());
        let first_lane = first_lane(&settings.name, stats.len());
        Self {
            breaker: Breaker::new(settings.breaker.as_ref()),
            health: Arc::new(WebhookHealth::new(settings.name.clone())),
            stats,
            endpoint,
            dead_letters,
            tracer: None,
            feed: None,
            filter: settings.filter.clone().map(|filter| Filter::new(settings.name.clone(), filter)),
            limit: settings.rate_limit.map(SharedLimit::new),
            adaptive: adaptive(settings.webhook.concurrency),
            pause: Pause::default(),
            pace: Pace::default(),
            queue_bytes: Pool::new(settings.queue.bounds.bytes, lanes),
            retry_bytes: Pool::new(settings.retry.bounds.bytes, lanes),
            first_lane,
            ledgers: Ledgers::default(),
            sources: (0..lanes).map(|_| Arc::new(SourceStatus::new(settings.name.clone()))).collect(),
            live: AtomicUsize::new(0),
            settings,
        }
    }

    /// The same, with spans of its messages where there is a `tracer`.
    #[must_use]
    pub fn traced_by(self, tracer: Option<Tracer>) -> Self {
        Self { tracer: tracer.map(Arc::new), ..self }
    }

    /// The same, which tells `feed` what comes of attempts.
    #[must_use]
    pub fn told_to(self, feed: &Arc<Feed>) -> Self {
        Self { feed: Some(Arc::clone(feed)), ..self }
    }

    /// Goes on where `former` is, which has the same name: a webhook that fails, or asked to be left alone, does not get
    /// better by another setting, nor does a rate limit begin anew that is the same.
    #[must_use]
    pub fn after(mut self, former: &Self) -> Self {
        let (settings, before) = (&self.settings, &former.settings);
        if settings.rate_limit == before.rate_limit {
            self.limit.clone_from(&former.limit);
        }
        let consumer = |route: &config::Route| {
            route.jetstream.as_ref().map(|jetstream| (jetstream.stream.clone(), jetstream.consumer.clone()))
        };
        if consumer(settings) == consumer(before) {
            self.ledgers = former.ledgers.clone();
        }
        // What was fetched is still good, and a server need not be asked again for it.
        if settings.webhook.auth == before.webhook.auth {
            self.endpoint.login.clone_from(&former.endpoint.login);
        }
        if settings.webhook.url == before.webhook.url {
            self.pause = former.pause.clone();
            self.pace = former.pace.clone();
            self.health = Arc::clone(&former.health);
            if settings.webhook.concurrency == before.webhook.concurrency {
                self.adaptive.clone_from(&former.adaptive);
            }
            if settings.breaker == before.breaker {
                self.breaker = former.breaker.successor();
            }
        }
        self
    }

    /// What metrics, logs and the configuration call it.
    pub fn name(&self) -> &RouteName {
        &self.settings.name
    }

    /// The rate limit and the webhook's wish for a pause, for whoever else attempts something there.
    pub fn limits(&self) -> (Option<Limiter>, Pause) {
        (self.limit.clone().map(Limiter::new), self.pause.clone())
    }

    /// How many attempts may be under way now, over all lanes.
    pub fn concurrency_limit(&self) -> usize {
        let fixed = self.settings.webhook.concurrency.most().get();
        self.adaptive.as_ref().map_or(fixed, AdaptiveLimit::limit)
    }

    /// What is wrong with its webhook at `now`, so that its messages wait.
    pub(super) fn trouble(&self, now: Time) -> Option<Trouble> {
        if let Some(lack) = self.lack(now) {
            return Some(Trouble::Login(lack.next.map(|next| next.since(now))));
        }
        if let Some((why, until)) = self.breaker.trouble() {
            return Some(Trouble::LeftAlone(why, until.since(now)));
        }
        if let Some(until) = self.pause.paused_until(now) {
            return Some(Trouble::Paused(until.since(now)));
        }
        self.pace.is_limited().then(|| Trouble::Slowed(self.pace.rate()))
    }

    /// Why it is in `trouble`, in the words of whoever knows.
    pub(super) fn cause(&self, trouble: Trouble, now: Time) -> Option<String> {
        match trouble {
            Trouble::Login(_) => self.lack(now)?.cause.map(|cause| cause.to_string()),
            _ => self.health.latest_failure(),
        }
    }

    fn lack(&self, now: Time) -> Option<Lack> {
        self.endpoint.login.as_ref()?.lack(now)
    }

    /// Whether its messages come from a stream.
    pub fn is_durable(&self) -> bool {
        self.settings.jetstream.is_some()
    }

    /// What all lanes have in hand of its stream, also what a predecessor took of it.
    pub const fn ledgers(&self) -> &Ledgers {
        &self.ledgers
    }

    /// The first of the lanes that run it, for what one of them does for all.
    pub const fn first_lane(&self) -> usize {
        self.first_lane
    }

    /// Takes note that messages come on one more lane, for the first time there. True for the last one: the route is live.
    pub fn went_live(&self) -> bool {
        self.live.fetch_add(1, Relaxed) + 1 == self.sources.len()
    }

    /// Whether messages come on every lane that runs this route, when there are any.
    pub fn is_live(&self) -> bool {
        self.sources.iter().all(|source| source.is_live())
    }

    /// Whether it is known on some lane why messages don't come.
    pub fn has_failed_source(&self) -> bool {
        self.sources.iter().any(|source| source.has_failed())
    }

    /// Whether messages come on `lane`; none where that lane does not run this route.
    pub fn source(&self, lane: usize) -> Option<&Arc<SourceStatus>> {
        self.sources.get(self.rank(lane))
    }

    /// Which of the lanes that run it `lane` is. Those after the last one don't.
    fn rank(&self, lane: usize) -> usize {
        let lanes = self.stats.len().max(1);
        (lane + lanes - self.first_lane) % lanes
    }

    /// Starts its pipeline on `lane`, whose workers are clients that `client` makes. They add to what is `under_way` at the
    /// webhook already, while the last attempts of a predecessor go on. What the webhook answers is told over `out`.
    pub fn start<D: Deliver + 'static>(
        &self,
        lane: usize,
        client: Box<dyn Fn() -> D>,
        under_way: Rc<UnderWay>,
        out: Rc<dyn Publish>,
        clock: Clock,
    ) -> Rc<Pipeline<D>> {
        let Self { settings, .. } = self;
        let stats = Arc::clone(&self.stats[lane]);
        let readiness = self.endpoint.login.as_ref().and_then(Login::readiness);
        let (login, (limit, pause)) = (readiness.map(LoginGate::new), self.limits());
        let gates = Gates::new(login, pause, limit, self.pace.clone(), self.breaker.clone());
        let room = |bounds: Bounds, bytes: &Arc<Pool>| Room {
            messages: self.part(bounds.messages, lane),
            bytes: bytes.share(),
        };
        let queue = Queue::new(room(settings.queue.bounds, &self.queue_bytes), settings.queue.overflow);
        let retries = RetryQueue::new(room(settings.retry.bounds, &self.retry_bytes));
        let answers = settings
            .answer
            .as_ref()
            .map(|answer| Answers::new(settings.name.clone(), answer.clone(), out, Arc::clone(&stats)));
        let settle = Settle::new(settings.name.clone(), Arc::clone(&stats), self.dead_letters.clone(), clock);
        let concurrency = self.part(settings.webhook.concurrency.most(), lane).get();
        let window = match &self.adaptive {
            None => SlowStart::new(self.part(slow_start::FIRST, lane), concurrency).into(),
            Some(limit) => {
                let wall = clock.wall(Time::START).duration_since(SystemTime::UNIX_EPOCH);
                let share = limit.share(self.sources.len(), self.rank(lane), wall.unwrap_or_default());
                Window::Adaptive(share)
            }
        };
        let schedule = Schedule::new(queue, retries, gates, Policy::from(&settings.retry), window);
        Pipeline::start(Parts {
            filter: self.filter.clone(),
            schedule: schedule.batching(Batching::from(&settings.batch)),
            overflow: settings.queue.overflow,
            concurrency,
            under_way,
            client,
            settle: settle.answering(answers),
            health: Arc::clone(&self.health),
            stats,
            tracer: self.tracer.clone(),
            feed: self.feed.clone(),
            clock,
        })
    }

    fn part(&self, whole: NonZeroUsize, lane: usize) -> NonZeroUsize {
        part(whole, self.sources.len(), self.rank(lane))
    }
}

/// Among how many lanes the settings can be divided. NATS gives a message to a lane whatever that one has in hand: with few
/// workers, or little room, one lane has nobody left or is full while another one is idle. With many, that evens out.
fn most_lanes(settings: &config::Route) -> usize {
    const FEWEST_WORKERS: usize = 16;
    const FEWEST_MESSAGES: usize = 256;
    let workers = settings.webhook.concurrency.most().get() / FEWEST_WORKERS;
    let messages = settings.queue.bounds.messages.min(settings.retry.bounds.messages).get() / FEWEST_MESSAGES;
    workers.min(messages).max(1)
}

fn adaptive(concurrency: Concurrency) -> Option<AdaptiveLimit> {
    match concurrency {
        Concurrency::Fixed(_) => None,
        Concurrency::Adaptive { min, max } => Some(AdaptiveLimit::new(min, max)),
    }
}

/// Where the lanes of a route begin: elsewhere for another route, so that small ones are not all on the same lane.
fn first_lane(name: &RouteName, lanes: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    name.as_str().hash(&mut hasher);
    // The remainder is less than a number of lanes.
    usize::try_from(hasher.finish() % lanes.max(1) as u64).unwrap_or_default()
}

/// The part of `whole` that the lane with this number gets. The parts add up to the whole; the first lanes take what
/// does not divide.
fn part(whole: NonZeroUsize, lanes: usize, lane: usize) -> NonZeroUsize {
    // `max(1)`: a route on no lane divides nothing, and must not divide by zero either.
    let rest = usize::from(lane < whole.get() % lanes.max(1));
    NonZeroUsize::new(whole.get() / lanes.max(1) + rest).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        config::{Sources, load},
        deliver::endpoint::Surroundings,
    };

    fn route(name: &str, settings: &[(&str, &str)], lanes: usize) -> Route {
        let url = [("webhook.url", "http://a/")];
        let flags = url
            .iter()
            .chain(settings)
            .map(|(key, value)| (format!("routes.{name}.{key}"), (*value).to_owned(), "--set".to_owned()));
        let config = load(Sources { flags: flags.collect(), ..Sources::default() }).unwrap();
        let settings = config.routes.into_iter().next().unwrap();
        let endpoint = Surroundings::default().endpoint(&settings, Clock::start());
        Route::new(settings, (0..lanes).map(|_| Arc::default()).collect(), endpoint, None)
    }

    fn lanes_of(route: &Route, lanes: usize) -> Vec<usize> {
        (0..lanes).filter(|lane| route.source(*lane).is_some()).collect()
    }

    #[test]
    fn a_route_with_little_to_divide_runs_on_few_lanes() {
        let count = |settings: &[(&str, &str)]| lanes_of(&route("a", settings, 4), 4).len();
        assert_eq!(count(&[]), 4);
        for (concurrency, lanes) in [("1", 1), ("2", 1), ("16", 1), ("31", 1), ("32", 2), ("100", 4)] {
            assert_eq!(count(&[("webhook.concurrency", concurrency)]), lanes, "{concurrency}");
        }
        assert_eq!(count(&[("queue.messages", "10")]), 1);
        assert_eq!(count(&[("retry.messages", "600")]), 2);
    }

    #[test]
    fn small_routes_are_spread_over_the_lanes() {
        let only = |number: usize| {
            let route = route(&format!("r{number}"), &[("webhook.concurrency", "8")], 4);
            assert_eq!(route.part(NonZeroUsize::new(8).unwrap(), route.first_lane()).get(), 8);
            let lanes = lanes_of(&route, 4);
            assert_eq!(lanes, [route.first_lane()]);
            lanes[0]
        };
        assert_eq!((0..20).map(only).collect::<BTreeSet<_>>().len(), 4);
    }

    #[test]
    fn the_lanes_of_a_route_divide_all_it_has() {
        let route = route("a", &[("webhook.concurrency", "35"), ("queue.messages", "1001")], 4);
        let (workers, messages) =
            (route.settings.webhook.concurrency.most(), route.settings.queue.bounds.messages);
        let lanes = lanes_of(&route, 4);
        let sum = |whole| lanes.iter().map(|lane| route.part(whole, *lane).get()).sum::<usize>();
        assert_eq!((lanes.len(), sum(workers), sum(messages)), (2, 35, 1001));
    }

    #[test]
    fn the_parts_add_up_to_the_whole() {
        let number = |n| NonZeroUsize::new(n).unwrap();
        for whole in [4, 7, 64, 65_536, 1_000_003] {
            for lanes in 1..=4 {
                let parts: Vec<_> = (0..lanes).map(|lane| part(number(whole), lanes, lane).get()).collect();
                assert_eq!(parts.iter().sum::<usize>(), whole, "{parts:?}");
                assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1, "{parts:?}");
            }
        }
    }
}
