//! `[routes.NAME.retry]`: what happens after an attempt that failed.

use std::{num::NonZeroU32, time::Duration};

use super::{Bounds, Statuses, StatusesError, queue};
use crate::{
    base::backoff::Jitter,
    config::{
        parse::{self, Choice},
        reader::{Reported, Section},
        tree::Value,
    },
};

/// `[routes.NAME.retry]`: what happens after an attempt that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// `attempts`: how many attempts a message gets, the first one included; 1 never retries. Default 12:
    /// the last wait is the longest then.
    pub attempts: NonZeroU32,
    /// `initial`: the wait after the first attempt, 1 ms to 24 h. Default `500ms`, or `max` if that is less.
    pub initial: Duration,
    /// `max`: no wait is longer, 1 ms to 24 h; also the limit of what a webhook's `Retry-After` may ask for.
    /// Default `5m`.
    pub max: Duration,
    /// `multiplier`: each wait is so many times the one before, 1.0 to 100.0; 1.0 waits evenly. Default 2.0.
    pub multiplier: f64,
    /// `jitter`: whether waits are spread by chance. Default `full`.
    pub jitter: Jitter,
    /// `messages` and `bytes`: how much may wait for its next attempt.
    pub bounds: Bounds,
    /// `statuses`: the response statuses after which another attempt makes sense. Failures of the network and
    /// timeouts are always retried. Default `["408", "425", "429", "5xx", "!501"]`.
    pub statuses: Statuses,
}

const ATTEMPTS: NonZeroU32 = NonZeroU32::new(12).expect("12 is not 0");

pub(super) fn read(at: &Section<'_>) -> Result<Retry, Reported> {
    let attempts = at.or("attempts", ATTEMPTS, parse::count(1_000_000));
    let max = at.or("max", Duration::from_secs(5 * 60), parse::duration);
    // Whoever lowers only `max` gets an `initial` that fits. A `max` that is wrong is reported once.
    let limit = max.unwrap_or(Duration::MAX);
    let initial = at.or("initial", Duration::from_millis(500).min(limit), parse::duration);
    if initial.is_ok_and(|initial| initial > limit) {
        at.report("initial", "expected no more than max, the longest wait");
    }
    let multiplier = at.or("multiplier", 2.0, multiplier);
    let jitter = at.or("jitter", Jitter::Full, parse::choice);
    let bounds = queue::bounds(at);
    let statuses = at.optional("statuses", statuses).map(Option::unwrap_or_default);
    Ok(Retry {
        attempts: attempts?,
        initial: initial?,
        max: max?,
        multiplier: multiplier?,
        jitter: jitter?,
        bounds: bounds?,
        statuses: statuses?,
    })
}

fn multiplier(value: &Value) -> Result<f64, String> {
    let wrong = || value.unexpected("a number from 1.0 to 100.0");
    parse::number(value).filter(|number| (1.0..=100.0).contains(number)).ok_or_else(wrong)
}

fn statuses(value: &Value) -> Result<Statuses, String> {
    let items = match value {
        Value::List(_) | Value::Text(_) => parse::list(value)?,
        other => return Err(other.unexpected("a list of statuses such as [\"429\", \"5xx\", \"!501\"]")),
    };
    Statuses::from_items(items.iter().map(String::as_str)).map_err(|error: StatusesError| error.to_string())
}

impl Choice for Jitter {
    const ALL: &'static [(&'static str, Self)] = &[("full", Self::Full), ("none", Self::None)];
}
