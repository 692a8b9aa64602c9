//! The connections that a server has: how many, for how long, and which one makes room for a newcomer.
//!
//! Whoever comes gets in at once, a probe above all: where all places are taken, the connection is closed that has been
//! in the same phase for the longest time. One that asks as soon as it is in has its answer long before its turn comes.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::Rc,
    time::Duration,
};

use tokio::{task::AbortHandle, time::Instant};

/// How many answers may be under way to clients that are slow to read them. Each keeps its page in memory.
const SLOW_READERS: usize = 8;

/// An answer of fewer bytes hardly matters.
const SMALL_ANSWER: usize = 16 * 1024;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It asks for nothing.
    Idle,
    /// It has begun to ask.
    Asking,
    /// Its question is worked on.
    Waiting,
    /// It has not read all of its answer.
    Reading,
    /// It reads an answer that goes on. This phase begins again whenever all is read that there was.
    Streaming,
}

impl Phase {
    /// How long it may last.
    const fn limit(self) -> Duration {
        Duration::from_secs(match self {
            // Longer than scrapers pause.
            Self::Idle => 75,
            Self::Asking => 5,
            // Longer than anybody waits for the work.
            Self::Waiting => 60,
            Self::Reading | Self::Streaming => 30,
        })
    }
}

/// The phase of a connection, and since when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    pub(super) phase: Phase,
    since: Instant,
}

impl Stage {
    pub(super) fn begin(phase: Phase) -> Self {
        Self { phase, since: Instant::now() }
    }

    fn is_over(self, now: Instant) -> bool {
        now.duration_since(self.since) >= self.phase.limit()
    }
}

/// The connections of a server, by their numbers.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: RefCell<HashMap<u64, Connection>>,
    numbers: Cell<u64>,
    /// Who goes first: numbers with the begin of the phase that they were in when they were put here. One that has
    /// entered another one since is put behind the others when it comes to be its turn.
    turns: RefCell<VecDeque<(u64, Instant)>>,
}

#[derive(Debug)]
struct Connection {
    stage: Rc<Cell<Stage>>,
    task: AbortHandle,
}

/// Frees the place of a connection when it is dropped.
pub(super) struct Place {
    places: Rc<Places>,
    number: u64,
}

impl Places {
    /// So many connections at most.
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: RefCell::default(), numbers: Cell::default(), turns: RefCell::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken.borrow().is_empty()
    }

    /// Whether so many are taken that none is to be kept for longer than it needs.
    pub(super) fn is_crowded(&self) -> bool {
        self.taken.borrow().len() > self.most / 2
    }

    /// Gives a place to the connection that `start` makes a task of.
    pub(super) fn admit(self: &Rc<Self>, stage: Rc<Cell<Stage>>, start: impl FnOnce(Place) -> AbortHandle) {
        if self.taken.borrow().len() >= self.most {
            self.make_room();
        }
        let number = self.numbers.get();
        self.numbers.set(number + 1);
        let since = stage.get().since;
        let task = start(Place { places: Rc::clone(self), number });
        let mut taken = self.taken.borrow_mut();
        taken.insert(number, Connection { stage, task });
        let mut turns = self.turns.borrow_mut();
        // Those that have gone are forgotten now and then: without need for room nobody else looks here.
        if turns.len() >= 2 * self.most {
            turns.retain(|(number, _)| taken.contains_key(number));
        }
        turns.push_back((number, since));
    }

    /// Closes the connection that has stood still for the longest time. Returns whether there was one.
    pub(super) fn make_room(&self) -> bool {
        let (mut taken, mut turns) = (self.taken.borrow_mut(), self.turns.borrow_mut());
        while let Some((number, since)) = turns.pop_front() {
            let Some(connection) = taken.get(&number) else { continue };
            let now_since = connection.stage.get().since;
            if now_since > since {
                turns.push_back((number, now_since));
                continue;
            }
            connection.task.abort();
            taken.remove(&number);
            return true;
        }
        false
    }

    /// Makes sure that few clients have an answer of so many `bytes` that they don't read. To be called before there is
    /// one more.
    pub(super) fn make_room_for_an_answer(&self, bytes: usize) {
        if bytes < SMALL_ANSWER {
            return;
        }
        let mut taken = self.taken.borrow_mut();
        let stages = taken.iter().map(|(number, connection)| (*number, connection.stage.get()));
        let reading: Vec<_> = stages.filter(|(_, stage)| stage.phase == Phase::Reading).collect();
        let slowest = reading.iter().min_by_key(|(_, stage)| stage.since);
        if let Some((number, _)) = slowest.filter(|_| reading.len() >= SLOW_READERS)
            && let Some(connection) = taken.remove(number)
        {
            connection.task.abort();
        }
    }

    /// Whether one more client may follow what happens: some places are for the others.
    pub(super) fn has_room_for_a_stream(&self) -> bool {
        let taken = self.taken.borrow();
        let streams = taken.values().filter(|connection| connection.stage.get().phase == Phase::Streaming);
        streams.count() < self.most * 2 / 3
    }

    /// Closes the connections that are too slow.
    pub(super) fn close_overdue(&self, now: Instant) {
        self.taken.borrow_mut().retain(|_, connection| {
            let stays = !connection.stage.get().is_over(now);
            if !stays {
                connection.task.abort();
            }
            stays
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::{JoinHandle, spawn_local, yield_now};

    use super::*;
    use crate::base::runtime;

    type Client = (Rc<Cell<Stage>>, JoinHandle<()>);

    async fn come(places: &Rc<Places>) -> Client {
        let stage = Rc::new(Cell::new(Stage::begin(Phase::Idle)));
        let mut client = None;
        places.admit(Rc::clone(&stage), |place| {
            let task = spawn_local(async move {
                let _place = place;
                pending::<()>().await;
            });
            let handle = task.abort_handle();
            client = Some(task);
            handle
        });
        yield_now().await;
        (stage, client.unwrap())
    }

    fn here(clients: &[Client]) -> Vec<usize> {
        (0..clients.len()).filter(|index| !clients[*index].1.is_finished()).collect()
    }

    #[test]
    fn whoever_stands_still_for_the_longest_time_makes_room() {
        runtime::local().unwrap().block_on(async {
            let places = Rc::new(Places::new(3));
            let mut clients = Vec::new();
            for _ in 0..3 {
                clients.push(come(&places).await);
            }
            clients[0].0.set(Stage::begin(Phase::Asking));
            clients.push(come(&places).await);
            assert_eq!(here(&clients), [0, 2, 3]);
            clients.push(come(&places).await);
            assert_eq!(here(&clients), [0, 3, 4]);
            clients[3].1.abort();
            yield_now().await;
            clients.push(come(&places).await);
            assert_eq!(here(&clients), [0, 4, 5], "one that went by itself has left its place");
            for _ in 0..100 {
                clients.push(come(&places).await);
            }
            assert_eq!(here(&clients), [103, 104, 105]);
            assert!(places.turns.borrow().len() <= 6, "{places:?}");
        });
    }

    #[test]
    fn streams_leave_places_for_others() {
        runtime::local().unwrap().block_on(async {
            let places = Rc::new(Places::new(6));
            let mut clients = Vec::new();
            for _ in 0..4 {
                assert!(places.has_room_for_a_stream());
                clients.push(come(&places).await);
                clients.last().unwrap().0.set(Stage::begin(Phase::Streaming));
            }
            assert!(!places.has_room_for_a_stream());
            clients[0].1.abort();
            yield_now().await;
            assert!(places.has_room_for_a_stream());
        });
    }

    #[test]
    fn a_phase_has_a_time_and_large_answers_a_number() {
        runtime::local().unwrap().block_on(async {
            let places = Rc::new(Places::new(100));
            let (mut clients, begin) = (Vec::new(), Instant::now());
            for phase in [Phase::Idle, Phase::Asking, Phase::Waiting, Phase::Reading, Phase::Streaming] {
                clients.push(come(&places).await);
                clients.last().unwrap().0.set(Stage { phase, since: begin });
            }
            let times = [
                (4, vec![0, 1, 2, 3, 4]),
                (5, vec![0, 2, 3, 4]),
                (30, vec![0, 2]),
                (60, vec![0]),
                (75, vec![]),
            ];
            for (seconds, left) in times {
                places.close_overdue(begin + Duration::from_secs(seconds));
                yield_now().await;
                assert_eq!(here(&clients), left, "after {seconds} s");
            }
            let mut readers = Vec::new();
            for _ in 0..SLOW_READERS {
                readers.push(come(&places).await);
                readers.last().unwrap().0.set(Stage::begin(Phase::Reading));
            }
            places.make_room_for_an_answer(SMALL_ANSWER - 1);
            yield_now().await;
            assert_eq!(here(&readers).len(), SLOW_READERS);
            places.make_room_for_an_answer(SMALL_ANSWER);
            yield_now().await;
            assert_eq!(here(&readers), (1..SLOW_READERS).collect::<Vec<_>>());
        });
    }
}
