//! Going through the letters that are meant, in the order of the stream.

use std::collections::VecDeque;

use super::{Cursor, Selected, Store, StoreError, Stored};

/// How far somebody has gone through the letters that are meant. Their payloads are left out, so that it takes little memory.
pub struct Walk {
    selected: Selected,
    places: Places,
    /// Letters that were read and not looked at yet.
    ahead: VecDeque<Stored>,
    /// The sequence of the last letter that was looked at.
    after: u64,
    passed: u64,
    orphans: u64,
}

/// Where there may be letters that are meant.
enum Places {
    Anywhere(Cursor),
    These(VecDeque<u64>),
}

impl Walk {
    /// Begins behind the letter with this sequence; 0 is before all of them.
    pub fn behind(after: u64, selected: Selected) -> Self {
        let places = match &selected.selection().sequences {
            None => Places::Anywhere(Cursor::behind(after)),
            Some(sequences) => Places::These(sequences.range(after.saturating_add(1)..).copied().collect()),
        };
        Self { selected, places, ahead: VecDeque::new(), after, passed: 0, orphans: 0 }
    }

    /// The next letter that is meant; none at the end. What is stored after `store` was opened is left out: where messages go
    /// on failing, this would never end.
    ///
    /// Dropped, nothing is left out by the next call.
    pub async fn next(&mut self, store: &Store) -> Result<Option<Stored>, StoreError> {
        loop {
            let Some(letter) = self.ahead.pop_front() else {
                if self.read(store).await? {
                    continue;
                }
                return Ok(None);
            };
            if letter.sequence > store.last() {
                return Ok(None);
            }
            self.after = letter.sequence;
            if self.selected.has(&letter) {
                return Ok(Some(letter));
            }
            self.passed += 1;
            self.orphans += u64::from(self.selected.leaves_orphan(&letter));
        }
    }

    /// Reads ahead. False at the end.
    async fn read(&mut self, store: &Store) -> Result<bool, StoreError> {
        match &mut self.places {
            Places::Anywhere(cursor) => {
                let letters = store.page(cursor).await?;
                let is_at_end = letters.is_empty() && cursor.is_at_end();
                self.ahead.extend(letters.into_iter().map(Stored::without_payload));
                Ok(!is_at_end)
            }
            Places::These(sequences) => {
                let Some(sequence) = sequences.front() else { return Ok(false) };
                let letter = store.get(*sequence).await?;
                sequences.pop_front();
                self.ahead.extend(letter.map(Stored::without_payload));
                Ok(true)
            }
        }
    }

    /// The sequence of the last letter that was looked at: another walk may go on behind it.
    pub const fn after(&self) -> u64 {
        self.after
    }

    /// How many letters were looked at that are not meant.
    pub const fn passed(&self) -> u64 {
        self.passed
    }

    /// How many of those are nobody's.
    pub const fn orphans(&self) -> u64 {
        self.orphans
    }
}
