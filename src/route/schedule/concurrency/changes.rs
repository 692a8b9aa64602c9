//! Why an adaptive limit was changed: what an operator asks who sees it rise and fall.

/// Why a limit was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Raised, since the webhook takes no longer than without a line.
    Quick,
    /// Lowered, since requests stand in line at the webhook.
    Slower,
    /// Lowered for a moment, to see how long the webhook takes without a line.
    Trial,
    /// Raised again after that.
    Tried,
    /// Lowered, since the webhook had too much to do.
    Refused,
}

impl Change {
    /// All of them, at their places.
    pub const ALL: [Self; 5] = [Self::Quick, Self::Slower, Self::Trial, Self::Tried, Self::Refused];

    /// As metrics have it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Slower => "slower",
            Self::Trial => "trial",
            Self::Tried => "tried",
            Self::Refused => "refused",
        }
    }
}

/// How often a limit was changed, by the reason.
#[derive(Clone, Debug, Default)]
pub struct Changes([u64; Change::ALL.len()]);

impl Changes {
    /// Counts one more.
    pub(super) fn count(&mut self, why: Change) {
        if let Some(count) = self.0.get_mut(why as usize) {
            *count += 1;
        }
    }

    /// The counts, in the order of [`Change::ALL`].
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }
}
