//! What each series shows, so that none ever goes down and nothing is counted in two of them, whoever has a name when.
//!
//! A route that gets a name counts from 0 there: what it has counted before stays among the rest. One that loses it, or is
//! gone, ends, and what it counts later is among the rest again.

use std::collections::BTreeMap;

use crate::stats::Counts;

/// The accounts of the routes with a name.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    accounts: BTreeMap<u64, Account>,
    /// What series have shown that ended.
    ended: Counts,
    /// The highest number that was there when this was settled last: who comes later was never among the rest.
    newest: u64,
}

#[derive(Debug)]
struct Account {
    /// What had been counted among the rest before there was a name.
    before: Counts,
    /// What the series has shown.
    shown: Counts,
}

impl Ledger {
    /// Settles what the series of the `named` show, each with its number and all that it has ever counted, and returns that
    /// in the same order, and what is left of `total` for the rest. `newest` is the highest number that there is.
    pub(super) fn settle<'c>(
        &mut self,
        named: impl IntoIterator<Item = (u64, &'c Counts)>,
        total: &Counts,
        newest: u64,
    ) -> (Vec<Counts>, Counts) {
        let mut former = std::mem::take(&mut self.accounts);
        let mut rest = total.without(&self.ended);
        let mut series = Vec::new();
        for (number, counts) in named {
            let is_new = number > self.newest;
            let before = former.remove(&number).map(|account| account.before);
            let before = before.unwrap_or_else(|| if is_new { Counts::default() } else { counts.clone() });
            let shown = counts.without(&before);
            rest = rest.without(&shown);
            series.push(shown.clone());
            self.accounts.insert(number, Account { before, shown });
        }
        for account in former.values() {
            self.ended.add(&account.shown);
            rest = rest.without(&account.shown);
        }
        self.newest = self.newest.max(newest);
        (series, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::RouteStats;

    fn received(messages: u64) -> Counts {
        let lane = RouteStats::default();
        lane.received.add(messages);
        Counts::of([&lane])
    }

    /// Settles, and says what the series and the rest show of messages received.
    fn settle(ledger: &mut Ledger, named: &[(u64, u64)], total: u64, newest: u64) -> (Vec<u64>, u64) {
        let named: Vec<_> = named.iter().map(|(number, count)| (*number, received(*count))).collect();
        let named = named.iter().map(|(number, counts)| (*number, counts));
        let (series, rest) = ledger.settle(named, &received(total), newest);
        (series.iter().map(|counts| counts.tally().received).collect(), rest.tally().received)
    }

    #[test]
    fn a_name_that_is_given_or_taken_moves_nothing_that_was_counted() {
        let mut ledger = Ledger::default();
        assert_eq!(settle(&mut ledger, &[(1, 100)], 150, 3), (vec![100], 50));
        // 2 has had 40 of the rest, and begins at 0.
        assert_eq!(settle(&mut ledger, &[(1, 110), (2, 40)], 165, 3), (vec![110, 0], 55));
        assert_eq!(settle(&mut ledger, &[(1, 110), (2, 47)], 175, 3), (vec![110, 7], 58));
        // 1 counts among the rest from now on, and 4 has come with a name.
        assert_eq!(settle(&mut ledger, &[(2, 47), (4, 9)], 189, 4), (vec![7, 9], 63));
        // 2 is gone, having received 3 more.
        assert_eq!(settle(&mut ledger, &[(4, 9)], 192, 4), (vec![9], 66));
        // 1 has a name again.
        assert_eq!(settle(&mut ledger, &[(1, 115), (4, 9)], 192, 4), (vec![0, 9], 66));
    }
}
