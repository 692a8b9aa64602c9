//! `[metrics]`: what `/metrics` tells of each route.

use std::num::NonZeroUsize;

use super::{
    parse,
    reader::{Reported, Section},
    tree::Value,
};

/// `[metrics]`: what `/metrics` tells of each route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// `metrics.per_route`: how many routes have series of their own; the others share some. Default `"auto"`.
    pub per_route: PerRoute,
}

/// How many routes have series of their own in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerRoute {
    /// Up to 200, which is a page of 1.5 MiB.
    Auto,
    /// All of them, however many there are.
    All,
    /// None: there is only what all have together.
    None,
    /// Up to so many.
    Most(NonZeroUsize),
}

impl PerRoute {
    /// How many that are at the most.
    pub fn most(self) -> usize {
        match self {
            Self::Auto => 200,
            Self::All => usize::MAX,
            Self::None => 0,
            Self::Most(most) => most.get(),
        }
    }
}

pub(super) fn read(at: &Section<'_>) -> Result<Metrics, Reported> {
    Ok(Metrics { per_route: at.or("per_route", PerRoute::Auto, per_route)? })
}

fn per_route(value: &Value) -> Result<PerRoute, String> {
    if let Value::Text(text) = value {
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => return Ok(PerRoute::Auto),
            "all" => return Ok(PerRoute::All),
            "none" => return Ok(PerRoute::None),
            _ => {}
        }
    }
    let most = parse::count(1_000_000)(value).map(PerRoute::Most);
    most.map_err(|_| value.unexpected("\"auto\", \"all\", \"none\" or a whole number from 1 to 1000000"))
}
