//! Limits against receivers that are known: whether they find what each can do, and leave it in peace. Time is only
//! reckoned, and chance has a number that makes it again.

mod cases;
mod figures;
mod peers;
mod promises;
mod receiver;
mod senders;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::Duration,
};

use receiver::{Arrival, Receiver};
use senders::{Answer, Sender};

use crate::{base::clock::Time, route::schedule::simulation::webhook::Chance};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A server has served a request.
    Served(u64),
    /// A sender is told.
    Answered(u64),
    Arrivals(usize, usize),
    Look(usize),
    /// The receiver has changed.
    Changed,
    Measure,
}

struct Request {
    sender: usize,
    began: Time,
    answer: Answer,
}

/// What happened in a while.
#[derive(Clone, Debug, Default)]
struct Measure {
    at: f64,
    capacity: f64,
    delivered: Vec<usize>,
    refused: usize,
    /// On the average.
    in_line: f64,
    limits: Vec<usize>,
    latency: f64,
}

/// What one sender has to send.
#[derive(Clone, Debug)]
struct Traffic {
    /// From when on, and until when, there is always something.
    always: (Time, Time),
    /// How many messages come beside that, and when.
    arrivals: Vec<(Time, usize)>,
}

impl Traffic {
    /// There is always something from then on.
    const fn from(second: u64) -> Self {
        Self { always: (seconds(second), seconds(1_000_000)), arrivals: Vec::new() }
    }
}

struct World {
    now: Time,
    end: Time,
    chance: Chance,
    receiver: Receiver,
    senders: Vec<(Box<dyn Sender>, Traffic)>,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    count: u64,
    requests: HashMap<u64, Request>,
    looks: Vec<Option<Time>>,
    measure: Measure,
    measured: Vec<Measure>,
    every: Duration,
    observed: Time,
}

impl World {
    fn new(seed: u64, receiver: Receiver, senders: Vec<(Box<dyn Sender>, Traffic)>, end: u64) -> Self {
        let start = Time::from_nanos(1);
        let mut world = Self {
            now: start,
            end: seconds(end),
            chance: Chance::new(seed),
            looks: vec![None; senders.len()],
            measure: Measure { delivered: vec![0; senders.len()], ..Measure::default() },
            receiver,
            senders,
            events: BinaryHeap::new(),
            count: 0,
            requests: HashMap::new(),
            measured: Vec::new(),
            every: Duration::from_secs(1),
            observed: start,
        };
        for condition in world.receiver.conditions.clone() {
            world.at(condition.from.max(start), Event::Changed);
        }
        for number in 0..world.senders.len() {
            for (at, messages) in world.senders[number].1.arrivals.clone() {
                world.at(at, Event::Arrivals(number, messages));
            }
            let (from, _) = world.senders[number].1.always;
            world.at(from.max(start), Event::Look(number));
        }
        world.at(start + world.every, Event::Measure);
        world
    }

    fn at(&mut self, time: Time, event: Event) {
        self.count += 1;
        self.events.push(Reverse((time, self.count, event)));
    }

    fn run(mut self) -> Run {
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            if now > self.end {
                break;
            }
            self.observe(now);
            self.now = now;
            match event {
                Event::Served(request) => {
                    self.receiver.served();
                    self.at(now + self.receiver.network, Event::Answered(request));
                    self.serve();
                }
                Event::Answered(request) => self.answered(request),
                Event::Arrivals(sender, messages) => {
                    self.senders[sender].0.offer(messages);
                    self.send(sender);
                }
                Event::Look(sender) => {
                    self.looks[sender] = None;
                    self.send(sender);
                }
                Event::Changed => self.serve(),
                Event::Measure => self.finish_measure(),
            }
        }
        let lost = self.senders.iter().map(|(sender, _)| sender.lost()).sum();
        Run { measured: self.measured, lost }
    }

    fn observe(&mut self, now: Time) {
        let span = now.since(self.observed).as_secs_f64();
        self.measure.in_line += self.receiver.in_line() as f64 * span;
        self.observed = now;
    }

    fn serve(&mut self) {
        while let Some((request, service)) = self.receiver.next(self.now, &mut self.chance) {
            self.at(self.now + service, Event::Served(request));
        }
    }

    fn answered(&mut self, request: u64) {
        let Request { sender, began, answer } = self.requests.remove(&request).unwrap();
        match answer {
            Answer::Taken => {
                self.measure.delivered[sender] += 1;
                self.measure.latency += self.now.since(began).as_secs_f64();
            }
            Answer::Refused(_) => self.measure.refused += 1,
        }
        self.senders[sender].0.ended(request, answer, began, self.now);
        self.send(sender);
    }

    fn send(&mut self, sender: usize) {
        loop {
            let (who, traffic) = &mut self.senders[sender];
            let (from, until) = traffic.always;
            if (from..until).contains(&self.now) && who.waiting() < 100 {
                who.offer(500);
            }
            self.count += 1;
            let request = self.count;
            match who.begin(request, self.now) {
                Ok(()) => self.arrive(sender, request),
                Err(Some(again)) if self.looks[sender].is_none_or(|set| again < set) => {
                    self.looks[sender] = Some(again);
                    return self.at(again.max(self.now + Duration::from_nanos(1)), Event::Look(sender));
                }
                Err(_) => return,
            }
        }
    }

    fn arrive(&mut self, sender: usize, request: u64) {
        let mut answer = Answer::Taken;
        match self.receiver.arrive(request, self.now, &mut self.chance) {
            Arrival::Served(service) => self.at(self.now + service, Event::Served(request)),
            Arrival::InLine => {}
            Arrival::Refused(status) => {
                answer = Answer::Refused(status);
                self.at(self.now + self.receiver.network, Event::Answered(request));
            }
        }
        self.requests.insert(request, Request { sender, began: self.now, answer });
    }

    fn finish_measure(&mut self) {
        let next = Measure { delivered: vec![0; self.senders.len()], ..Measure::default() };
        let mut done = std::mem::replace(&mut self.measure, next);
        let span = self.every.as_secs_f64();
        done.latency /= done.delivered.iter().sum::<usize>().max(1) as f64;
        done.in_line /= span;
        done.at = self.now.since_start().as_secs_f64();
        done.capacity = self.receiver.capacity(self.now.before(self.every));
        done.limits = self.senders.iter().map(|(sender, _)| sender.limit()).collect();
        self.measured.push(done);
        self.at(self.now + self.every, Event::Measure);
    }
}

struct Run {
    measured: Vec<Measure>,
    lost: usize,
}

/// What came of a run.
#[derive(Debug)]
struct Summary {
    /// Of what the receiver can do.
    throughput: f64,
    in_line: f64,
    refused: f64,
    /// The share of the one that got least, of an even one.
    fairness: f64,
    latency: f64,
}

impl Run {
    fn summary(&self, from: f64, until: f64) -> Summary {
        let within: Vec<_> = self.measured.iter().filter(|m| m.at > from && m.at <= until + 1e-6).collect();
        let count = within.len() as f64;
        let sum = |figure: &dyn Fn(&Measure) -> f64| within.iter().map(|m| figure(m)).sum::<f64>();
        let delivered = sum(&|m| m.delivered.iter().sum::<usize>() as f64);
        let senders = within[0].delivered.len();
        let each = (0..senders).map(|sender| sum(&|m| m.delivered[sender] as f64));
        let least = each.fold(f64::INFINITY, f64::min);
        Summary {
            throughput: delivered / sum(&|m| m.capacity),
            in_line: sum(&|m| m.in_line) / count,
            refused: sum(&|m| m.refused as f64) / count,
            fairness: least * senders as f64 / delivered.max(1.0),
            latency: sum(&|m| m.latency) / count,
        }
    }
}

const fn seconds(seconds: u64) -> Time {
    Time::from_start(Duration::from_secs(seconds))
}
