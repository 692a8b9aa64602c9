//! Which letters are published next, and what follows from what was said about them. No I/O, and no clock: it is told the
//! time.
//!
//! A stream that takes nothing is full, or away: then all letters wait. One that takes others and refuses this letter
//! does not want this letter: it is tried a few times more, shortened, and put aside for good, while the others go on.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::queued::{Answer, Fate, QueuedLetter};
use crate::base::{
    backoff::{Backoff, Jitter},
    clock::Time,
};

/// How many letters are published before they are confirmed, at most: a round trip for each would make a few thousand a
/// second at best.
const MOST: usize = 2048;
/// About how many bytes those may have.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// How many are tried while none is taken.
const PROBE: usize = 64;
/// After so many refusals while others were taken, a letter is shortened.
const PATIENT: u32 = 2;
/// After so many it is not tried any more.
const STRIKES: u32 = 6;

/// The letters that were tried and have to be tried again, and when.
#[derive(Debug)]
pub(super) struct Rounds {
    /// Those that the next round takes.
    waiting: VecDeque<QueuedLetter>,
    /// Those that were refused while others were taken: each waits by itself.
    refused: Vec<QueuedLetter>,
    /// How many rounds in a row have brought nothing.
    failures: u32,
    /// When the next round may begin.
    next: Time,
    backoff: Backoff,
}

/// What a round came to.
#[derive(Debug, Default)]
pub(super) struct Conclusion {
    /// Letters that came to their end.
    pub(super) ended: Vec<(QueuedLetter, Fate)>,
    /// Why none was taken, where none was and some could have been.
    pub(super) trouble: Option<Arc<str>>,
}

impl Rounds {
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5), 2.0, Jitter::None);
        Self { waiting: VecDeque::new(), refused: Vec::new(), failures: 0, next: Time::START, backoff }
    }

    /// Until when nothing is published, where something went wrong.
    pub(super) fn paused_until(&self, now: Time) -> Option<Time> {
        (self.next > now).then_some(self.next)
    }

    /// When the first of the letters is due that are tried again; none where there are none.
    pub(super) fn next_due(&self) -> Option<Time> {
        let refused = self.refused.iter().map(|letter| letter.due);
        refused.chain((!self.waiting.is_empty()).then_some(self.next)).min()
    }

    /// Fills `batch` for a round at `now`: with letters that are due, and those that `fresh` gives. Neither keeps the other
    /// out: what was refused so far may be refused for good.
    pub(super) fn fill(
        &mut self,
        batch: &mut Vec<QueuedLetter>,
        now: Time,
        mut fresh: impl FnMut() -> Option<QueuedLetter>,
    ) {
        let most = if self.failures > 0 { PROBE } else { MOST };
        let mut bytes: usize = batch.iter().map(QueuedLetter::cost).sum();
        let mut add = |most: usize, next: &mut dyn FnMut() -> Option<QueuedLetter>| {
            while batch.len() < most
                && bytes < MOST_BYTES
                && let Some(letter) = next()
            {
                bytes += letter.cost();
                batch.push(letter);
            }
        };
        add(most / 2, &mut || self.pop_due(now));
        add(most, &mut fresh);
        add(most, &mut || self.pop_due(now));
    }

    fn pop_due(&mut self, now: Time) -> Option<QueuedLetter> {
        match self.refused.iter().position(|letter| letter.due <= now) {
            Some(at) => Some(self.refused.swap_remove(at)),
            None => self.waiting.pop_front(),
        }
    }

    /// Takes all of `batch` after a round that has ended at `now`. A stream takes what is published to it in order: where it
    /// has refused a letter and taken one behind it, it is this letter that it does not want.
    pub(super) fn conclude(&mut self, batch: &mut Vec<QueuedLetter>, now: Time) -> Conclusion {
        let is_stored = |letter: &QueuedLetter| letter.answer == Some(Answer::Stored);
        let last_stored = batch.iter().rposition(is_stored);
        let mut conclusion = Conclusion::default();
        let mut is_open = false;
        for (at, mut letter) in batch.drain(..).enumerate() {
            let is_alone = last_stored.is_some_and(|stored| at < stored);
            let answer = letter.answer.take();
            let is_other_now = matches!(answer, Some(Answer::TooLarge | Answer::Again));
            let fate = match answer {
                Some(Answer::Stored) => Some(Fate::Stored),
                Some(Answer::TooLarge) => letter.shorten_or("it is larger than NATS takes"),
                Some(Answer::Refused(reason)) => {
                    letter.refusal = Some(Arc::clone(&reason));
                    conclusion.trouble = Some(reason);
                    letter.refused(is_alone)
                }
                // Where nobody said anything about it, that may be for want of time, and is not held against it.
                Some(Answer::Again) | None => None,
            };
            if let Some(fate) = fate {
                conclusion.ended.push((letter, fate));
            } else if letter.strikes > 0 {
                letter.due = now + self.backoff.delay(letter.strikes);
                self.refused.push(letter);
            } else {
                is_open |= !is_other_now;
                self.waiting.push_back(letter);
            }
        }
        self.count(&mut conclusion, last_stored.is_none() && is_open, now);
        conclusion
    }

    fn count(&mut self, conclusion: &mut Conclusion, is_in_trouble: bool, now: Time) {
        if is_in_trouble {
            conclusion.trouble.get_or_insert_with(|| "nothing confirms them".into());
            self.failures += 1;
            self.next = now + self.backoff.delay(self.failures);
        } else {
            conclusion.trouble = None;
            self.failures = 0;
        }
    }

    /// Takes out everything, at the end.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = QueuedLetter> {
        self.waiting.drain(..).chain(self.refused.drain(..))
    }
}

impl QueuedLetter {
    /// What follows for a letter that was refused, `is_alone` where others were taken behind it.
    fn refused(&mut self, is_alone: bool) -> Option<Fate> {
        self.strikes += u32::from(is_alone);
        if self.strikes >= STRIKES {
            return self.refusal.clone().map(Fate::Unfit);
        }
        if is_alone && self.strikes > PATIENT {
            self.shorten();
        }
        None
    }

    fn shorten_or(&mut self, unfit: &str) -> Option<Fate> {
        (!self.shorten()).then(|| Fate::Unfit(unfit.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dead_letter::{letter::tests::letter, outbox::Outbox},
        route::schedule::testing::at,
    };

    fn queued(id: &str) -> QueuedLetter {
        let mut letter = letter(&[]);
        letter.message.id = crate::message::Id::given(id);
        QueuedLetter::new(letter, Arc::<Outbox>::default().place(1).unwrap())
    }

    fn ids(letters: &[QueuedLetter]) -> Vec<String> {
        letters.iter().map(|letter| letter.letter.message.id.to_string()).collect()
    }

    fn full() -> Answer {
        Answer::Refused("full".into())
    }

    /// A round at `now` with what is due and `fresh`, each of which gets the answer that `answer` has for its id.
    fn round(
        rounds: &mut Rounds,
        now: Time,
        fresh: &[&str],
        answer: impl Fn(&str) -> Option<Answer>,
    ) -> Conclusion {
        let (mut batch, mut fresh) = (Vec::new(), fresh.iter().map(|id| queued(id)));
        rounds.fill(&mut batch, now, || fresh.next());
        for letter in &mut batch {
            letter.answer = answer(&letter.letter.message.id.to_string());
        }
        rounds.conclude(&mut batch, now)
    }

    #[test]
    fn what_a_full_stream_refuses_waits_for_as_long_as_it_takes() {
        let mut rounds = Rounds::new();
        for second in 0..1_000 {
            let now = at(second * 10);
            assert_eq!(rounds.paused_until(now), None);
            let ended =
                round(&mut rounds, now, if second == 0 { &["a", "b"] } else { &[] }, |_| Some(full()));
            assert!(ended.ended.is_empty());
            assert_eq!(ended.trouble.as_deref(), Some("full"));
            assert!(rounds.paused_until(now).is_some(), "it is not asked again at once");
        }
        let ended = round(&mut rounds, at(10_000), &[], |_| Some(Answer::Stored)).ended;
        assert_eq!(ended.len(), 2);
        assert!(ended.iter().all(|(letter, _)| letter.cut == super::super::letter::Cut::Nothing));
        assert_eq!(rounds.next_due(), None);
    }

    #[test]
    fn what_is_refused_while_others_are_taken_is_put_aside_and_holds_nobody_up() {
        let mut rounds = Rounds::new();
        let answer = |id: &str| Some(if id == "odd" { full() } else { Answer::Stored });
        let mut now = at(0);
        let mut trials = 0;
        let reason = loop {
            let fresh: &[&str] = if trials == 0 { &["odd", "good"] } else { &["good"] };
            let Conclusion { ended, trouble } = round(&mut rounds, now, fresh, answer);
            assert_eq!(trouble, None);
            assert_eq!(rounds.paused_until(now), None);
            trials += 1;
            assert!(trials < 20, "it is tried for ever");
            let (odd, good): (Vec<_>, Vec<_>) =
                ended.into_iter().partition(|(_, fate)| *fate != Fate::Stored);
            assert_eq!(good.len(), 1);
            if let Some((_, fate)) = odd.into_iter().next() {
                break fate;
            }
            now = rounds.next_due().unwrap();
        };
        assert_eq!(reason, Fate::Unfit("full".into()));
        assert!(now >= at(5), "it was given up after {now:?}");
    }

    /// A stream from which letters are taken away as it fills: those at the end of a round find it full each time.
    #[test]
    fn what_is_refused_behind_others_is_not_put_aside() {
        let mut rounds = Rounds::new();
        let fresh: Vec<_> = (0..1_000).map(|number| number.to_string()).collect();
        let fresh: Vec<_> = fresh.iter().map(String::as_str).collect();
        let mut left = 1_000;
        for second in 0.. {
            let first = std::cell::Cell::new(true);
            let answer = |_: &str| Some(if first.replace(false) { Answer::Stored } else { full() });
            let ended = round(&mut rounds, at(second), if second == 0 { &fresh } else { &[] }, answer).ended;
            assert!(ended.iter().all(|(_, fate)| *fate == Fate::Stored));
            left -= ended.len();
            if left == 0 {
                return;
            }
        }
    }

    #[test]
    fn what_is_too_large_is_shortened_at_once_until_nothing_is_left_to_cut() {
        let mut rounds = Rounds::new();
        for trial in 0.. {
            let ended =
                round(&mut rounds, at(0), if trial == 0 { &["a"] } else { &[] }, |_| Some(Answer::TooLarge));
            assert_eq!((ended.trouble, rounds.paused_until(at(0))), (None, None));
            if let [(_, Fate::Unfit(_))] = ended.ended[..] {
                return assert_eq!(trial, 3);
            }
        }
    }

    #[test]
    fn many_that_are_refused_for_good_do_not_keep_others_out() {
        let mut rounds = Rounds::new();
        let odd: Vec<_> = (0..3 * MOST).map(|number| format!("odd{number}")).collect();
        let odd: Vec<_> = odd.iter().map(String::as_str).collect();
        for chunk in odd.chunks(MOST) {
            round(&mut rounds, at(0), chunk, |_| Some(full()));
        }
        let (mut batch, mut good) = (Vec::new(), std::iter::once(queued("good")));
        rounds.fill(&mut batch, at(100), || good.next());
        assert!(ids(&batch).contains(&"good".to_owned()));
    }
}
