//! `[routes.NAME.breaker]`: when a webhook is left alone for a while, and how it is tried again.

use std::{num::NonZeroU32, time::Duration};

use crate::config::{
    parse,
    reader::{Reported, Section},
    tree::Value,
};

/// `[routes.NAME.breaker]`: when a webhook is left alone for a while, and how it is tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Breaker {
    /// `failures`: so many failed attempts in a row open it, 1 to 1,000,000. Default 20.
    pub failures: NonZeroU32,
    /// `rate`: so large a share of the attempts within `window` opens it too, above 0 and at most 1, once there were 20
    /// of them. Default 0.5.
    pub rate: f64,
    /// `window`: how far back `rate` looks. Default `10s`.
    pub window: Duration,
    /// `open_for`: how long nothing is attempted before the next probes. Default `5s`.
    pub open_for: Duration,
    /// `half_open_probes`: how many attempts find out whether the webhook is back, 1 to 1,000. Default 3.
    pub half_open_probes: NonZeroU32,
    /// `ramp`: for how long the rate of attempts grows before there is no limit to it again. Default `10s`.
    pub ramp: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: NonZeroU32::new(20).expect("20 is not 0"),
            rate: 0.5,
            window: Duration::from_secs(10),
            open_for: Duration::from_secs(5),
            half_open_probes: NonZeroU32::new(3).expect("3 is not 0"),
            ramp: Duration::from_secs(10),
        }
    }
}

/// The breaker of a route; none where it is switched off.
pub(super) fn read(at: &Section<'_>) -> Result<Option<Breaker>, Reported> {
    let default = Breaker::default();
    let enabled = at.or("enabled", true, parse::switch);
    let failures = at.or("failures", default.failures, parse::count(1_000_000));
    let rate = at.or("rate", default.rate, share);
    let window = at.or("window", default.window, parse::duration);
    let open_for = at.or("open_for", default.open_for, parse::duration);
    let half_open_probes = at.or("half_open_probes", default.half_open_probes, parse::count(1_000));
    let ramp = at.or("ramp", default.ramp, parse::duration);
    let breaker = Breaker {
        failures: failures?,
        rate: rate?,
        window: window?,
        open_for: open_for?,
        half_open_probes: half_open_probes?,
        ramp: ramp?,
    };
    Ok(enabled?.then_some(breaker))
}

fn share(value: &Value) -> Result<f64, String> {
    let wrong = || value.unexpected("a number above 0 and at most 1 such as 0.5");
    parse::number(value).filter(|share| *share > 0.0 && *share <= 1.0).ok_or_else(wrong)
}
