//! How many failures it takes until they can't be chance any more.

/// First attempts of late, by what came of them. What is older counts less and less.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Odds {
    failed: u32,
    delivered: u32,
}

/// So small must the chance be that a message which nothing is wrong with failed so often.
const CHANCE: f64 = 1e-4;
/// More failures than others have is no longer told apart: else nothing would ever die at a webhook that hardly works.
const LARGEST_SHARE: f64 = 0.9;
/// At so many, all counts are halved.
const REMEMBERED: u32 = 256;

impl Odds {
    pub(super) fn add(&mut self, failed: bool) {
        *(if failed { &mut self.failed } else { &mut self.delivered }) += 1;
        if self.failed + self.delivered >= REMEMBERED {
            self.failed /= 2;
            self.delivered /= 2;
        }
    }

    /// Whether nothing failed of late.
    pub(super) const fn is_clean(&self) -> bool {
        self.failed == 0
    }

    /// Takes `failures` back.
    pub(super) const fn forget(&mut self, failures: u32) {
        self.failed = self.failed.saturating_sub(failures);
    }

    /// How often a message that is among those that failed has to fail before that says something about it. Where a
    /// share p of the others fails, n failures in a row happen by chance with the probability p^n.
    pub(super) fn required(&self) -> u32 {
        let others = self.failed.saturating_sub(1);
        if others == 0 {
            return 1;
        }
        let share = (f64::from(others) / f64::from(others + self.delivered)).min(LARGEST_SHARE);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 88")]
        let required = (CHANCE.ln() / share.ln()).ceil() as u32;
        required.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odds(failed: u32, delivered: u32) -> Odds {
        let mut odds = Odds::default();
        for n in 0..failed.max(delivered) {
            if n < failed {
                odds.add(true);
            }
            if n < delivered {
                odds.add(false);
            }
        }
        odds
    }

    #[test]
    fn a_message_that_fails_alone_needs_no_statistics() {
        assert_eq!(odds(1, 0).required(), 1);
        assert_eq!(odds(1, 100).required(), 1);
    }

    #[test]
    fn the_more_of_the_others_fail_the_more_it_takes() {
        assert_eq!(odds(2, 100).required(), 2);
        assert_eq!(odds(101, 100).required(), 14);
        assert_eq!(odds(200, 1).required(), 88);
    }
}
