//! What a route shows of itself at one moment and does not count: what is in hand, its bounds, its state; or several routes
//! together, which is a sum of each but where that would say nothing.

use crate::{
    dead_letter::Sender,
    route::{registry::RouteFigures, schedule::concurrency::Change, shared::Route, trouble::Trouble},
    stats::{InHand, Tally},
};

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Levels {
    /// Messages that were received and came to no end yet.
    pub(super) messages: u64,
    /// What of them waits, and where.
    pub(super) in_hand: InHand,
    /// What only a route has that runs: none of one that only drains.
    pub(super) running: Option<Running>,
    /// How far it is behind its stream; in durable mode only.
    pub(super) lag: Option<Lagging>,
}

/// What a route has that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Running {
    /// The bounds of the queue in messages and bytes, and those of the retry queue.
    pub(super) bounds: [usize; 4],
    /// How many attempts may be under way.
    pub(super) concurrency: usize,
    /// How often that was changed, in the order of [`Change::ALL`], of one adaptive route.
    pub(super) changes: Option<[u64; Change::ALL.len()]>,
    /// Dead letters that wait, in messages and bytes, and how many may.
    pub(super) letters: [usize; 4],
    /// The breaker, of several the one that is the furthest from closed.
    pub(super) breaker: usize,
    /// Whether messages come, of several: whether they come for all.
    pub(super) is_live: bool,
    /// How many are in which trouble, in the order of [`Trouble::LABELS`].
    pub(super) troubles: [usize; Trouble::LABELS.len()],
}

/// How far durable routes are behind their streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lagging {
    pub(super) pending: usize,
    pub(super) ack_pending: usize,
    /// 0 where there is no limit, for one of several at least.
    pub(super) max_ack_pending: usize,
    /// The latest of several.
    pub(super) last_pull: usize,
}

impl Levels {
    /// Those of the route with these `figures`.
    pub(super) fn of(figures: &RouteFigures, route: Option<&Route>, trouble: Option<Trouble>) -> Self {
        let tally: Tally = figures.lanes.iter().map(|lane| lane.tally()).sum();
        let in_hand = figures.lanes.iter().map(|lane| lane.loads.in_hand());
        Self {
            messages: u64::try_from(tally.in_hand()).unwrap_or_default(),
            in_hand: in_hand.fold(InHand::default(), InHand::and),
            running: route.map(|route| Running::of(route, trouble)),
            lag: route.filter(|route| route.is_durable()).map(|_| Lagging::of(figures)),
        }
    }

    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            in_hand: self.in_hand.and(other.in_hand),
            running: both(self.running, other.running, Running::and),
            lag: both(self.lag, other.lag, Lagging::and),
        }
    }
}

fn both<T>(one: Option<T>, other: Option<T>, and: impl FnOnce(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(and(one, other)),
        (one, other) => one.or(other),
    }
}

fn sum<const N: usize>(one: [usize; N], other: [usize; N]) -> [usize; N] {
    std::array::from_fn(|index| one[index].saturating_add(other[index]))
}

impl Running {
    fn of(route: &Route, trouble: Option<Trouble>) -> Self {
        let (queue, retry) = (route.settings.queue.bounds, route.settings.retry.bounds);
        // One that keeps none has room for none.
        let letters = route.dead_letters.as_ref().map(|letters| {
            let (waiting, bounds) = (letters.waiting(), Sender::BOUNDS);
            [waiting.messages, waiting.bytes, bounds.messages, bounds.bytes]
        });
        let trouble = trouble.map(|trouble| trouble.label());
        Self {
            bounds: [queue.messages, queue.bytes, retry.messages, retry.bytes].map(|bound| bound.get()),
            concurrency: route.concurrency_limit(),
            changes: route.adaptive.as_ref().map(|limit| Change::ALL.map(|why| limit.changed(why))),
            letters: letters.unwrap_or_default(),
            breaker: route.breaker.state() as usize,
            is_live: route.is_live(),
            troubles: Trouble::LABELS.map(|label| usize::from(trouble == Some(label))),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            bounds: sum(self.bounds, other.bounds),
            concurrency: self.concurrency.saturating_add(other.concurrency),
            changes: None,
            letters: sum(self.letters, other.letters),
            breaker: self.breaker.max(other.breaker),
            is_live: self.is_live && other.is_live,
            troubles: sum(self.troubles, other.troubles),
        }
    }
}

impl Lagging {
    fn of(figures: &RouteFigures) -> Self {
        // One lane asks for the lag, for all: the others are at 0. Each asks for messages, and the last time counts. Both
        // are the largest value.
        let largest = |figure: fn(&crate::stats::Lag) -> usize| {
            figures.lanes.iter().map(|lane| figure(&lane.lag)).max().unwrap_or_default()
        };
        Self {
            pending: largest(|lag| lag.pending.get()),
            ack_pending: largest(|lag| lag.ack_pending.get()),
            max_ack_pending: largest(|lag| lag.max_ack_pending.get()),
            last_pull: largest(|lag| lag.last_pull.get()),
        }
    }

    fn and(self, other: Self) -> Self {
        let is_unlimited = self.max_ack_pending == 0 || other.max_ack_pending == 0;
        let max_ack_pending = self.max_ack_pending + other.max_ack_pending;
        Self {
            pending: self.pending + other.pending,
            ack_pending: self.ack_pending + other.ack_pending,
            max_ack_pending: if is_unlimited { 0 } else { max_ack_pending },
            last_pull: self.last_pull.max(other.last_pull),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(running: Option<Running>, lag: Option<Lagging>) -> Levels {
        Levels { messages: 3, in_hand: InHand { queue_messages: 3, ..InHand::default() }, running, lag }
    }

    fn running(breaker: usize, is_live: bool, troubles: [usize; 8]) -> Option<Running> {
        let (bounds, letters) = ([5, 1000, 5, 1000], [1, 100, 10, 1000]);
        Some(Running { bounds, concurrency: 4, changes: None, letters, breaker, is_live, troubles })
    }

    fn lag(max_ack_pending: usize, last_pull: usize) -> Option<Lagging> {
        Some(Lagging { pending: 7, ack_pending: 2, max_ack_pending, last_pull })
    }

    #[test]
    fn several_routes_show_what_makes_sense_of_them_together() {
        let one = levels(running(0, true, [0, 0, 0, 0, 1, 0, 0, 0]), lag(10, 1000));
        let other = levels(running(2, false, [0, 1, 0, 0, 0, 0, 0, 0]), lag(20, 900));
        let both = one.and(other).and(levels(None, None));
        let together = both.running.unwrap();
        assert_eq!((both.messages, both.in_hand.queue_messages), (9, 9));
        assert_eq!((together.bounds, together.letters), ([10, 2000, 10, 2000], [2, 200, 20, 2000]));
        assert_eq!((together.concurrency, together.breaker, together.is_live), (8, 2, false));
        assert_eq!(together.troubles, [0, 1, 0, 0, 1, 0, 0, 0]);
        let expected = Lagging { pending: 14, ack_pending: 4, max_ack_pending: 30, last_pull: 1000 };
        assert_eq!(both.lag, Some(expected));
        let unlimited = both.and(levels(None, lag(0, 0))).lag.unwrap();
        assert_eq!((unlimited.ack_pending, unlimited.max_ack_pending), (6, 0));
    }
}
