//! The rules about whose fault a failure is, against thousands of webhooks that chance makes up, in time that is only
//! reckoned. Each has a number that makes it again.

mod batches;
pub(super) mod webhook;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    num::{NonZeroU32, NonZeroUsize},
    thread,
    time::Duration,
};

use webhook::{Answer, Chance, Condition, Poison, Webhook};

use super::{
    breaker::Breaker,
    concurrency::{AdaptiveLimit, Window},
    login::LoginGate,
    pace::Pace,
    pause::Pause,
    slow_start::{FIRST, SlowStart},
    testing::{at, bounds, message, retry},
    *,
};
use crate::{
    config::{self, Overflow, Retry},
    deliver::login::readiness::Readiness,
};

/// What came of one webhook's messages.
#[derive(Default)]
struct Record {
    delivered: HashMap<usize, Time>,
    dead: HashMap<usize, Reason>,
    /// When each request began, and for which messages.
    requests: Vec<(Time, Vec<usize>)>,
}

impl Record {
    fn delivered(&mut self, number: usize, now: Time) {
        let ended = self.dead.contains_key(&number) || self.delivered.insert(number, now).is_some();
        assert!(!ended, "message {number} has ended twice");
    }

    fn dead(&mut self, number: usize, reason: Reason) {
        let ended = self.delivered.contains_key(&number) || self.dead.insert(number, reason).is_some();
        assert!(!ended, "message {number} has ended twice");
    }
}

/// Things that happen at a time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival(usize),
    End(u64),
    Look,
}

struct Simulation {
    schedule: Schedule,
    readiness: Readiness,
    webhook: Webhook,
    events: BinaryHeap<Reverse<(Time, Event)>>,
    under_way: HashMap<u64, (Batch, Attempt, Time)>,
    begun: u64,
    /// When to look next, as an alarm that is set only to an earlier time.
    alarm: Option<Time>,
    record: Record,
}

const ATTEMPTS: u32 = 4;
const CONCURRENCY: usize = 64;

impl Simulation {
    fn new(webhook: Webhook, breaker: Option<&config::Breaker>, window: Window, batching: Batching) -> Self {
        let retry = Retry {
            attempts: NonZeroU32::new(ATTEMPTS).unwrap(),
            bounds: bounds(100_000, usize::MAX),
            ..retry()
        };
        let breaker = Breaker::new(breaker);
        let readiness = Readiness::default();
        let schedule = Schedule::new(
            Queue::new(bounds(100_000, usize::MAX), Overflow::DeadLetter),
            RetryQueue::new(retry.bounds),
            Gates::new(
                Some(LoginGate::new(readiness.clone())),
                Pause::default(),
                None,
                Pace::default(),
                breaker,
            ),
            Policy::from(&retry),
            window,
        )
        .batching(batching);
        let arrivals = webhook.arrivals.iter().enumerate();
        let events = arrivals.map(|(number, at)| Reverse((*at, Event::Arrival(number)))).collect();
        let (under_way, record) = (HashMap::new(), Record::default());
        Self { schedule, readiness, webhook, events, under_way, begun: 0, alarm: None, record }
    }

    fn run(mut self) -> (Webhook, Record) {
        while let Some(Reverse((now, event))) = self.events.pop() {
            if now > self.webhook.end {
                break;
            }
            match event {
                Event::Arrival(number) => {
                    let message = Message { received: now, ..message(number) };
                    self.schedule.offer(message, |_| panic!("there is room"));
                }
                Event::End(attempt) => self.end(attempt, now),
                Event::Look if self.alarm != Some(now) => continue,
                Event::Look => {
                    self.alarm = None;
                    self.schedule.tick(now);
                }
            }
            self.begin(now);
        }
        (self.webhook, self.record)
    }

    fn begin(&mut self, now: Time) {
        let until = if self.webhook.has_login(now) { now + Duration::from_secs(1) } else { Time::START };
        self.readiness.set(until);
        loop {
            if self.under_way.len() >= self.schedule.window() {
                // Nothing is lost where it is full already: the end of an attempt looks again.
                if let Some(next) = self.schedule.widen(now) {
                    self.set_alarm(next);
                }
                if self.under_way.len() >= self.schedule.window() {
                    return;
                }
            }
            match self.schedule.pick(now) {
                Pick::Idle => return,
                Pick::Wait(until) => return self.set_alarm(until),
                Pick::Attempt(batch) => {
                    let numbers: Vec<_> = batch.iter().map(number).collect();
                    let Answer { attempt, after } = self.webhook.answer(&numbers, now);
                    self.record.requests.push((now, numbers));
                    self.begun += 1;
                    self.under_way.insert(self.begun, (batch, attempt, now));
                    self.events.push(Reverse((now + after, Event::End(self.begun))));
                }
            }
        }
    }

    fn end(&mut self, attempt: u64, now: Time) {
        let Some((batch, attempt, began)) = self.under_way.remove(&attempt) else { return };
        let mut due = Vec::new();
        let record = &mut self.record;
        self.schedule.resolve(batch, &attempt, began, now, |verdict| match verdict {
            Verdict::Delivered(message) => record.delivered(number(&message), now),
            Verdict::Dead(message, reason) => record.dead(number(&message), reason),
            Verdict::Unwanted(_) => panic!("nobody says so"),
            Verdict::Retry(at) => due.push(at),
            Verdict::Return(..) => panic!("it came from no stream"),
        });
        due.into_iter().for_each(|at| self.set_alarm(at));
    }

    fn set_alarm(&mut self, at: Time) {
        if self.alarm.is_none_or(|set| at < set) {
            self.alarm = Some(at);
            self.events.push(Reverse((at, Event::Look)));
        }
    }
}

fn number(message: &Message) -> usize {
    std::str::from_utf8(&message.payload).unwrap().parse().unwrap()
}

/// What is wrong with a record.
#[derive(Debug)]
enum Problem {
    /// A promise is broken.
    Broken(String),
    /// What is promised on the whole does not hold for this one, of which there may be one in a thousand.
    Odd(String),
}

/// What is promised of every webhook.
fn check(webhook: &Webhook, record: &Record) -> Result<(), Problem> {
    let broken = |problem: String| Err(Problem::Broken(problem));
    for number in 0..webhook.arrivals.len() {
        let (dead, delivered) = (record.dead.get(&number), record.delivered.contains_key(&number));
        match webhook.poison(number) {
            // Where every second attempt fails by chance, a message may do so until nobody believes it any more.
            None if dead.is_some() && webhook.is_flaky() => {
                return Err(Problem::Odd(format!("message {number} died by chance")));
            }
            None if dead.is_some() => {
                return broken(format!("message {number} died ({dead:?}), with which nothing is wrong"));
            }
            None if !delivered => return broken(format!("message {number} was not delivered")),
            Some(Poison::Rejected) if dead != Some(&Reason::Rejected) => {
                return broken(format!("message {number} is rejected whenever it comes and did not die"));
            }
            // These die of their failures among messages that are taken, where there are enough of those.
            Some(Poison::Fails | Poison::Refused)
                if dead.is_none() && webhook.has_many && !webhook.is_flaky() =>
            {
                return Err(Problem::Odd(format!(
                    "message {number} fails whenever it comes and did not die"
                )));
            }
            _ => {}
        }
    }
    if let Some((at, numbers)) = record.requests.iter().find(|(at, _)| !webhook.has_login(*at)) {
        return broken(format!("{numbers:?} was attempted at {at:?} with nothing to log in with"));
    }
    held_up(webhook, record).and_then(|()| stampede(webhook, record)).map_err(Problem::Odd)
}

/// Nobody gets many more requests than tell something.
fn stampede(webhook: &Webhook, record: &Record) -> Result<(), String> {
    for (from, until, condition) in webhook.conditions() {
        let during = record.requests.iter().filter(|(at, _)| (from..until).contains(at)).count();
        let seconds = until.since(from).as_secs_f64();
        let most = match condition {
            Condition::Up | Condition::Flaky(_) => continue,
            // What it takes to notice, and then a few probes each time, or now and then a message alone.
            Condition::Down(_) | Condition::Hangs | Condition::Refuses(_) => 90.0 + seconds,
            // Its share of them, a third more, and what it takes to notice.
            Condition::Limited { interval, .. } => 90.0 + 1.35 * (seconds / interval.as_secs_f64() + 1.0),
        };
        if during as f64 > most {
            return Err(format!("{during} requests in {seconds} s of {condition:?}, {most:.0} would do"));
        }
    }
    Ok(())
}

/// Nobody waits for long who comes when the webhook has been well for a while.
fn held_up(webhook: &Webhook, record: &Record) -> Result<(), String> {
    for (number, arrived) in webhook.arrivals.iter().enumerate() {
        let (Some(well_since), Some(delivered)) =
            (webhook.well_since(*arrived), record.delivered.get(&number))
        else {
            continue;
        };
        // The longest time between two probes, and a ramp.
        if arrived.since(well_since) > Duration::from_secs(75) {
            let waited = delivered.since(*arrived);
            if waited > Duration::from_secs(30) {
                return Err(format!("message {number} came at a good time and waited for {waited:?}"));
            }
        }
    }
    Ok(())
}

fn simulate(seed: u64, breaker: Option<&config::Breaker>) -> Result<(), Problem> {
    examine(seed, Webhook::made_by(Chance::new(seed)), breaker, fixed())
}

fn fixed() -> Window {
    SlowStart::new(FIRST, CONCURRENCY).into()
}

fn examine(
    seed: u64,
    webhook: Webhook,
    breaker: Option<&config::Breaker>,
    window: Window,
) -> Result<(), Problem> {
    let (webhook, record) = Simulation::new(webhook, breaker, window, Batching::OFF).run();
    check(&webhook, &record).map_err(|problem| match problem {
        Problem::Broken(what) => Problem::Broken(format!("webhook {seed}: {what}: {webhook:?}")),
        Problem::Odd(what) => Problem::Odd(format!("webhook {seed}: {what}")),
    })
}

/// What is odd about the webhooks that `seeds` numbers make, which the cores share; nothing may be broken.
fn odd_among(seeds: u64, examined: impl Fn(u64) -> Result<(), Problem> + Sync) -> Vec<String> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let odd = |seed| match examined(seed) {
        Ok(()) => None,
        Err(Problem::Broken(problem)) => panic!("{problem}"),
        Err(Problem::Odd(problem)) => Some(problem),
    };
    thread::scope(|scope| {
        let odd = &odd;
        let share =
            |first| scope.spawn(move || (first..seeds).step_by(cores).filter_map(odd).collect::<Vec<_>>());
        let shares: Vec<_> = (0..cores as u64).map(share).collect();
        shares.into_iter().flat_map(|share| share.join().expect("nothing is broken")).collect()
    })
}

#[test]
fn ten_thousand_webhooks_get_what_is_promised() {
    let odd = odd_among(10_000, |seed| simulate(seed, Some(&config::Breaker::default())));
    assert!(odd.len() <= 20, "{}", odd.join("\n"));
}

#[test]
fn an_adaptive_limit_keeps_what_is_promised() {
    let odd = odd_among(3_000, |seed| {
        let limit = AdaptiveLimit::new(NonZeroUsize::MIN, NonZeroUsize::new(CONCURRENCY).unwrap());
        let window = Window::Adaptive(limit.share(1, 0, Duration::ZERO));
        let webhook = Webhook::made_by(Chance::new(seed));
        examine(seed, webhook, Some(&config::Breaker::default()), window)
    });
    assert!(odd.len() <= 15, "{} {}", odd.len(), odd.join("\n"));
}

#[test]
fn nobody_pays_while_there_is_nothing_to_log_in_with() {
    let odd = odd_among(500, |seed| {
        let webhook = Webhook::made_by(Chance::new(seed)).with_lacks_made_by(Chance::new(seed + 1_000_000));
        examine(seed, webhook, Some(&config::Breaker::default()), fixed())
    });
    assert!(odd.len() <= 3, "{}", odd.join("\n"));
}

/// A simulation that finds nothing might be one that looks at nothing.
#[test]
fn a_rule_that_is_missing_is_noticed() {
    let found =
        |breaker: Option<&config::Breaker>| (0..300).filter(|seed| simulate(*seed, breaker).is_err()).count();
    let without = found(None);
    assert!(without > 30, "without a breaker, messages pay for everything: {without} of 300");
    let slow = config::Breaker { open_for: Duration::from_secs(3600), ..config::Breaker::default() };
    let held_up = found(Some(&slow));
    assert!(held_up > 30, "one that is open for an hour holds everybody up: {held_up} of 300");
}
