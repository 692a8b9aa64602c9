//! A set of response statuses, as `statuses` of `[routes.NAME.retry]` has it.

use std::{fmt, str::FromStr};

/// The response statuses after which another attempt makes sense, written as `408, 5xx, !501`.
///
/// An item is a status (`429`), a class (`5xx`), or one of these left out again (`!501`), wherever in the list it
/// stands. 1xx and 2xx are not failures, so they cannot be in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Statuses {
    items: Vec<String>,
    /// One bit for each status from 0 to 1023: a failed attempt looks here, and not through the items.
    bits: [u64; 16],
}

/// An item that is no status which could be retried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected statuses from 300 to 999 such as \"429\", \"5xx\" or \"!501\", not {0:?}")]
pub struct StatusesError(String);

/// No more of a wrong item is repeated, in characters.
const SHOWN: usize = 64;

impl Statuses {
    /// Whether another attempt makes sense after `status`.
    pub fn contains(&self, status: u16) -> bool {
        let (word, bit) = position(status);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// The set as it was written, item by item.
    pub fn items(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(String::as_str)
    }

    /// The set that items such as `429`, `5xx` and `!501` describe; those with `!` take others out.
    ///
    /// # Errors
    /// The first item that is no status which could be retried.
    pub fn from_items<'a>(items: impl IntoIterator<Item = &'a str>) -> Result<Self, StatusesError> {
        let (mut included, mut excluded) = ([0; 16], [0; 16]);
        let mut kept = Vec::new();
        for item in items.into_iter().map(str::trim) {
            let (target, rest) =
                item.strip_prefix('!').map_or((&mut included, item), |rest| (&mut excluded, rest));
            for status in range(rest).ok_or_else(|| StatusesError(item.chars().take(SHOWN).collect()))? {
                let (word, bit) = position(status);
                target[word] |= bit;
            }
            kept.push(item.to_owned());
        }
        let bits = std::array::from_fn(|word| included[word] & !excluded[word]);
        Ok(Self { items: kept, bits })
    }
}

/// The word of a status in the set, and its bit in that word.
fn position(status: u16) -> (usize, u64) {
    (usize::from(status / 64), 1 << (status % 64))
}

/// The statuses that one item means: `429` or `5xx`.
fn range(item: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (low, high) = match item.as_bytes() {
        [class @ b'3'..=b'9', b'x', b'x'] => {
            let low = 100 * u16::from(class - b'0');
            (low, low + 99)
        }
        [b'3'..=b'9', b'0'..=b'9', b'0'..=b'9'] => {
            let status = item.parse().ok()?;
            (status, status)
        }
        _ => return None,
    };
    Some(low..=high)
}

impl Default for Statuses {
    /// What may be better the next time: 408, 425, 429 and 5xx, but not 501.
    fn default() -> Self {
        Self::from_items(["408", "425", "429", "5xx", "!501"]).expect("the default statuses are valid")
    }
}

impl FromStr for Statuses {
    type Err = StatusesError;

    fn from_str(text: &str) -> Result<Self, StatusesError> {
        Self::from_items(text.split(','))
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.items.join(", "))
    }
}

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Statuses({self})")
    }
}
