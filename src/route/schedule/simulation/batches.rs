//! The same rules where messages go together, and those that are about batches alone.

use std::num::NonZeroUsize;

use super::{
    webhook::{Chance, Webhook},
    *,
};
use crate::{
    config::BatchFormat,
    message::{
        answer::{Content, EntryVerdict},
        outcome::Failure,
    },
};

fn batching(max_messages: usize, max_wait: Duration) -> Batching {
    let max_messages = NonZeroUsize::new(max_messages).unwrap();
    let max_bytes = NonZeroUsize::MAX;
    Batching::from(&config::Batch { max_messages, max_bytes, max_wait, format: BatchFormat::Json })
}

/// What is promised of every webhook, and of batches: a message that has nothing wrong with it is not to pay for one that
/// has.
fn examine(seed: u64, webhook: Webhook, batching: Batching) -> Result<(), Problem> {
    let breaker = config::Breaker::default();
    let (webhook, record) = Simulation::new(webhook, Some(&breaker), fixed(), batching).run();
    check(&webhook, &record).map_err(|problem| match problem {
        Problem::Broken(what) => Problem::Broken(format!("webhook {seed}: {what}: {webhook:?}")),
        Problem::Odd(what) => Problem::Odd(format!("webhook {seed}: {what}")),
    })
}

#[test]
fn thousands_of_webhooks_get_what_is_promised_in_batches() {
    let odd = odd_among(4_000, |seed| {
        let mut chance = Chance::new(seed + 2_000_000);
        let most = chance.one_of(&[2, 3, 10, 100]);
        let wait = chance.one_of(&[0, 50, 2_000]);
        let webhook = Webhook::made_by(Chance::new(seed));
        let with_batches = |problem| format!("most {most}, wait {wait} ms, {problem}");
        examine(seed, webhook, batching(most, Duration::from_millis(wait))).map_err(|problem| match problem {
            Problem::Broken(problem) => Problem::Broken(with_batches(problem)),
            Problem::Odd(problem) => Problem::Odd(with_batches(problem)),
        })
    });
    assert!(odd.len() <= 20, "{} of 4000:\n{}", odd.len(), odd.join("\n"));
}

/// A schedule that has `count` messages, which go together, for a webhook that answers with what `answer` says.
struct Trial {
    schedule: Schedule,
    requests: Vec<Vec<usize>>,
    record: Record,
}

impl Trial {
    fn run(count: usize, batching: Batching, mut answer: impl FnMut(&[usize]) -> Attempt) -> Self {
        let breaker = Breaker::new(Some(&config::Breaker::default()));
        let gates = Gates::new(None, Pause::default(), None, Pace::default(), breaker);
        let room = || bounds(100_000, usize::MAX);
        let retry = Retry { attempts: NonZeroU32::new(ATTEMPTS).unwrap(), bounds: room(), ..retry() };
        let schedule = Schedule::new(
            Queue::new(room(), Overflow::DeadLetter),
            RetryQueue::new(room()),
            gates,
            Policy::from(&retry),
            SlowStart::new(FIRST, CONCURRENCY).into(),
        );
        let schedule = schedule.batching(batching);
        let mut trial = Self { schedule, requests: Vec::new(), record: Record::default() };
        for number in 0..count {
            trial.schedule.offer(message(number), |_| panic!("there is room"));
        }
        let mut now = Time::from_start(Duration::from_secs(1));
        loop {
            match trial.schedule.pick(now) {
                Pick::Idle => break,
                // What is only ever refused for reasons that may be the webhook's lives on.
                Pick::Wait(until) if until > at(3_600) => break,
                Pick::Wait(until) => now = until,
                Pick::Attempt(batch) => {
                    let numbers: Vec<_> = batch.iter().map(number).collect();
                    let attempt = answer(&numbers);
                    trial.requests.push(numbers);
                    let record = &mut trial.record;
                    trial.schedule.resolve(batch, &attempt, now, now, |verdict| match verdict {
                        Verdict::Delivered(message) => record.delivered(number(&message), now),
                        Verdict::Dead(message, reason) => record.dead(number(&message), reason),
                        Verdict::Retry(_) => {}
                        other => panic!("{other:?}"),
                    });
                    now = now + Duration::from_millis(1);
                }
            }
        }
        let mut left = 0;
        while trial.schedule.pop_any().is_some() {
            left += 1;
        }
        let ended = trial.record.delivered.len() + trial.record.dead.len();
        assert_eq!(ended + left, count, "some are lost");
        let bytes = (trial.schedule.queue().bytes(), trial.schedule.retries().bytes());
        assert_eq!(bytes, (0, 0), "what has ended takes up no room");
        trial
    }
}

fn status(status: u16) -> Attempt {
    Attempt::failed(Failure::Status(status))
}

/// How often `n` can be halved, rounded up.
fn halvings(n: usize) -> usize {
    n.next_power_of_two().trailing_zeros() as usize
}

#[test]
fn one_culprit_costs_two_requests_for_each_halving() {
    for count in [2, 3, 7, 64, 100, 1_000] {
        for culprit in [0, 1, count / 2, count - 1] {
            let all = batching(count, Duration::ZERO);
            let trial = Trial::run(count, all, |numbers| match numbers.contains(&culprit) {
                true => status(422),
                false => Attempt::delivered(200),
            });
            let dead: Vec<_> = trial.record.dead.into_iter().collect();
            assert_eq!(dead, [(culprit, Reason::Rejected)], "of {count}");
            let most = 1 + 2 * halvings(count);
            let requests = trial.requests.len();
            assert!(requests <= most, "{requests} for {culprit} of {count}, {most} would do");
        }
    }
}

#[test]
fn the_first_half_comes_first_and_nobody_is_moved() {
    let trial = Trial::run(7, batching(7, Duration::ZERO), |numbers| match numbers.contains(&2) {
        true => status(400),
        false => Attempt::delivered(204),
    });
    let expected: [&[usize]; 7] =
        [&[0, 1, 2, 3, 4, 5, 6], &[0, 1, 2, 3], &[0, 1], &[2, 3], &[2], &[3], &[4, 5, 6]];
    assert_eq!(trial.requests, expected);
}

#[test]
fn what_is_too_large_together_is_taken_in_parts() {
    let trial = Trial::run(100, batching(100, Duration::ZERO), |numbers| match numbers.len() > 30 {
        true => status(413),
        false => Attempt::delivered(200),
    });
    assert!(trial.record.dead.is_empty());
    let sizes: Vec<_> = trial.requests.iter().map(Vec::len).collect();
    assert_eq!(sizes, [100, 50, 25, 25, 50, 25, 25]);
}

/// Receivers with any number of culprits, each of which is refused or fails whenever it comes.
#[test]
fn whatever_a_webhook_has_against_some_the_others_are_taken() {
    for seed in 0..3_000 {
        let mut chance = Chance::new(seed);
        let count = 1 + usize::try_from(chance.below(120)).unwrap();
        let most = chance.one_of(&[2, 3, 16, 100]);
        let kinds = [Some(400), Some(413), Some(422), Some(500), Some(403), None];
        let mut culprits = HashMap::new();
        for number in 0..count {
            if chance.below(12) == 0 {
                culprits.insert(number, chance.one_of(&kinds));
            }
        }
        let trial = Trial::run(count, batching(most, Duration::ZERO), |numbers| {
            match numbers.iter().find_map(|number| culprits.get(number)) {
                None => Attempt::delivered(200),
                Some(Some(refusal)) => status(*refusal),
                Some(None) => Attempt::failed(Failure::Unsendable),
            }
        });
        for number in 0..count {
            let is_dead = trial.record.dead.contains_key(&number);
            let is_delivered = trial.record.delivered.contains_key(&number);
            match culprits.get(&number) {
                None => assert!(is_delivered, "seed {seed}: {number} is not delivered among {culprits:?}"),
                // It may be the webhook's fault until others are taken, which are all taken by then.
                Some(Some(500 | 403)) => assert!(!is_delivered, "seed {seed}: {number}"),
                Some(_) => assert!(is_dead, "seed {seed}: {number} did not die of {culprits:?}"),
            }
        }
    }
}

/// An answer that says this of each message.
fn each(status: u16, verdicts: Vec<Option<EntryVerdict>>) -> Attempt {
    let content = Some(Box::new(Content { status, verdicts, ..Content::default() }));
    if status < 300 {
        return Attempt::Delivered { status, odd: None, unwanted: false, content };
    }
    let failure = Failure::Status(status);
    Attempt::Failed { failure, retry_after: None, excerpt: None, cause: None, content }
}

/// Receivers that say of some messages what they think of them: of the culprits that they refuse them, in the entries or for
/// the whole, and of each other one now and then that it is to come again.
#[test]
fn whatever_a_webhook_says_of_each_message_only_culprits_die() {
    let failed =
        |status| Some(EntryVerdict::Failed { failure: Failure::Status(status), after: None, cause: None });
    for seed in 0..3_000 {
        let mut chance = Chance::new(seed);
        let count = 1 + usize::try_from(chance.below(120)).unwrap();
        let most = chance.one_of(&[2, 3, 16, 100]);
        let culprits: Vec<_> = (0..count).filter(|_| chance.below(10) == 0).collect();
        let mut put_off: HashMap<usize, u32> = HashMap::new();
        let trial = Trial::run(count, batching(most, Duration::ZERO), |numbers| {
            let refuses_all = numbers.iter().any(|number| culprits.contains(number)) && chance.below(3) == 0;
            let verdicts = numbers.iter().map(|number| {
                if culprits.contains(number) {
                    return if refuses_all { None } else { failed(422) };
                }
                let before = put_off.entry(*number).or_default();
                match chance.below(10) {
                    0..3 if *before < 2 => {
                        *before += 1;
                        failed(chance.one_of(&[503, 429, 408]))
                    }
                    0..6 => Some(EntryVerdict::Taken),
                    _ => None,
                }
            });
            each(if refuses_all { 422 } else { 207 }, verdicts.collect())
        });
        for number in 0..count {
            let is_culprit = culprits.contains(&number);
            assert_eq!(trial.record.dead.contains_key(&number), is_culprit, "seed {seed}: {number} died");
            let is_delivered = trial.record.delivered.contains_key(&number);
            assert_eq!(is_delivered, !is_culprit, "seed {seed}: {number} is delivered");
        }
    }
}
