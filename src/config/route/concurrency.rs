//! `webhook.concurrency`: how many requests a webhook gets at the same time.

use std::{fmt, num::NonZeroUsize};

use crate::config::{
    parse,
    reader::{Reported, Section},
    tree::Value,
};

/// No route makes more requests at the same time.
const MOST: u32 = 10_000;
const WORD: &str = "adaptive";

/// How many requests a webhook gets at the same time, over all threads of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// Always so many, 1 to 10,000, where there is so much to do. Default 64.
    Fixed(NonZeroUsize),
    /// As many as it takes without having them stand in line.
    Adaptive {
        /// `min_concurrency`: never less, 1 to 10,000. Default 1.
        min: NonZeroUsize,
        /// `max_concurrency`: never more, 1 to 10,000. Default 500.
        max: NonZeroUsize,
    },
}

impl Concurrency {
    /// How many where nothing is set.
    pub const FIXED: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not 0");
    /// How many of an adaptive one at the most, where nothing is set.
    pub const ADAPTIVE_MAX: NonZeroUsize = NonZeroUsize::new(500).expect("500 is not 0");

    /// The most requests at the same time.
    pub const fn most(self) -> NonZeroUsize {
        match self {
            Self::Fixed(number) | Self::Adaptive { max: number, .. } => number,
        }
    }

    /// The key that says how many there are at the most.
    pub const fn key_of_most(self) -> &'static str {
        match self {
            Self::Fixed(_) => "webhook.concurrency",
            Self::Adaptive { .. } => "webhook.max_concurrency",
        }
    }

    /// For work that nobody waits for, where it is not worth while to find out how many the webhook takes.
    pub fn modest(self) -> NonZeroUsize {
        match self {
            Self::Fixed(number) => number,
            Self::Adaptive { max, .. } => max.min(Self::FIXED),
        }
    }
}

/// As it is written in a configuration.
impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(number) => number.fmt(f),
            Self::Adaptive { .. } => write!(f, "{WORD:?}"),
        }
    }
}

/// Reads the keys of the webhook that is `at`.
pub(super) fn read(at: &Section<'_>) -> Result<Concurrency, Reported> {
    let fixed = at.or("concurrency", Some(Concurrency::FIXED), number_or_adaptive);
    let min = at.or("min_concurrency", NonZeroUsize::MIN, parse::count(MOST));
    let max = at.or("max_concurrency", Concurrency::ADAPTIVE_MAX, parse::count(MOST));
    if let Some(number) = fixed? {
        let of_adaptive = ["min_concurrency", "max_concurrency"];
        return match of_adaptive.into_iter().find(|key| at.place(key).is_some()) {
            Some(key) => Err(at.report(key, format!("expected concurrency = {WORD:?} with it"))),
            None => Ok(Concurrency::Fixed(number)),
        };
    }
    let (min, max) = (min?, max?);
    if min > max {
        let key = if at.place("min_concurrency").is_some() { "min_concurrency" } else { "max_concurrency" };
        return Err(at.report(
            key,
            format!("expected min_concurrency up to max_concurrency: {min} is more than {max}"),
        ));
    }
    Ok(Concurrency::Adaptive { min, max })
}

/// None for an adaptive one.
fn number_or_adaptive(value: &Value) -> Result<Option<NonZeroUsize>, String> {
    if matches!(value, Value::Text(text) if text.trim() == WORD) {
        return Ok(None);
    }
    let number = parse::count(MOST)(value).map(Some);
    number.map_err(|_| value.unexpected(&format!("a whole number from 1 to {MOST} or {WORD:?}")))
}
