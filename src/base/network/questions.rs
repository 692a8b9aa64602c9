//! The threads on which the system is asked for names.
//!
//! Nothing can stop such a question, and it can take most of a minute where a name server does not answer. So it is
//! asked on a thread that nobody ever waits for: not on those of the runtime, which a stop would wait for, and which are
//! so few that some silent names would hold up all others.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::base::descriptors;

/// Of each kind no more questions are under way than this part of the descriptors that the process may have: each takes
/// one or two.
const OF_DESCRIPTORS: u64 = 8;
/// How much of its stack such a thread may use. The system's resolver takes some 70 KiB at most.
const STACK: usize = 256 * 1024;

/// What is known of a question before it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It may well be answered at once.
    Usual,
    /// It took long the last time. Such questions have threads of their own, so that they wait for each other alone.
    Slow,
}

impl Kind {
    /// How many are asked at the same time, at most: 512 silent names were measured to take 14 MiB.
    const fn most(self) -> usize {
        match self {
            Self::Usual => 512,
            Self::Slow => 128,
        }
    }
}

/// What is asked, and who gets the answer.
pub(super) type Question = Box<dyn FnOnce() + Send>;

/// The questions of the process.
#[derive(Default)]
pub(super) struct Questions(Mutex<Queues<Question>>);

impl Questions {
    /// Asks `question` on a thread, as soon as one is free. Never waits.
    ///
    /// # Errors
    /// The system refuses another thread, and no other question is under way.
    pub(super) fn ask(self: &Arc<Self>, kind: Kind, question: Question) -> io::Result<()> {
        let most = usize::try_from(descriptors::limit() / OF_DESCRIPTORS)
            .unwrap_or(usize::MAX)
            .clamp(1, kind.most());
        let Some(question) = self.queues().begin(kind, question, most) else { return Ok(()) };
        let questions = Arc::clone(self);
        let thread = thread::Builder::new().name("names".to_owned()).stack_size(STACK);
        let started = thread.spawn(move || {
            let mut next = Some(question);
            while let Some(question) = next {
                question();
                next = questions.queues().end(kind);
            }
        });
        if started.is_err() {
            // The queue is left as it is: whoever is under way goes on with it.
            drop(self.queues().end(kind));
        }
        started.map(drop)
    }

    fn queues(&self) -> MutexGuard<'_, Queues<Question>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions").finish_non_exhaustive()
    }
}

/// Who is asked now and who waits, by kind.
struct Queues<T>([Queue<T>; 2]);

struct Queue<T> {
    under_way: usize,
    waiting: VecDeque<T>,
}

impl<T> Default for Queues<T> {
    fn default() -> Self {
        Self([(); 2].map(|()| Queue { under_way: 0, waiting: VecDeque::new() }))
    }
}

impl<T> Queues<T> {
    fn of(&mut self, kind: Kind) -> &mut Queue<T> {
        let [usual, slow] = &mut self.0;
        match kind {
            Kind::Usual => usual,
            Kind::Slow => slow,
        }
    }

    /// The question, where it can be asked now: fewer than `most` of its kind are. Else it waits for its turn.
    fn begin(&mut self, kind: Kind, question: T, most: usize) -> Option<T> {
        let queue = self.of(kind);
        if queue.under_way < most {
            queue.under_way += 1;
            return Some(question);
        }
        queue.waiting.push_back(question);
        None
    }

    /// One is answered: the next one, if there is one.
    fn end(&mut self, kind: Kind) -> Option<T> {
        let queue = self.of(kind);
        let next = queue.waiting.pop_front();
        queue.under_way -= usize::from(next.is_none());
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_asked_and_the_others_wait_in_their_order() {
        let mut queues = Queues::default();
        for question in 0..2 {
            assert_eq!(queues.begin(Kind::Usual, question, 2), Some(question));
        }
        assert_eq!(queues.begin(Kind::Usual, 1_000, 2), None);
        assert_eq!(queues.begin(Kind::Usual, 1_001, 2), None);
        assert_eq!(queues.begin(Kind::Slow, 1_002, 2), Some(1_002), "another kind waits for them");
        assert_eq!(queues.end(Kind::Usual), Some(1_000));
        assert_eq!(queues.end(Kind::Usual), Some(1_001));
        assert_eq!(queues.end(Kind::Usual), None);
        assert_eq!(queues.begin(Kind::Usual, 1_003, 2), Some(1_003));
        assert_eq!(queues.begin(Kind::Usual, 1_004, 2), None);
    }
}
