//! `[routes.NAME.rate_limit]`: how often the webhook is called at most.

use std::num::NonZeroU32;

use crate::config::{
    parse,
    reader::{Reported, Section},
};

/// `[routes.NAME.rate_limit]`: how often the webhook is called at most, retries included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// `per_second`: attempts a second, 1 to 1,000,000. Required in this section.
    pub per_second: NonZeroU32,
    /// `burst`: how many attempts may come at once after a quiet time. Default: as `per_second`.
    pub burst: NonZeroU32,
}

pub(super) fn read(at: &Section<'_>) -> Result<RateLimit, Reported> {
    let per_second = at.required("per_second", parse::count(1_000_000));
    let burst = at.optional("burst", parse::count(1_000_000));
    let per_second = per_second?;
    Ok(RateLimit { per_second, burst: burst?.unwrap_or(per_second) })
}
