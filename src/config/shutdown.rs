//! `[shutdown]`: how long a stop may take.

use std::time::Duration;

use super::{
    parse,
    reader::{Reported, Section},
    tree::Value,
};

/// `[shutdown]`: how long a stop may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    /// `shutdown.grace`: how long a stop goes on delivering what is in hand, at most one hour. 0 does not wait: what is
    /// in hand is dead-lettered or dropped at once. Keep it some seconds below the time after which the process is
    /// killed (Kubernetes: `terminationGracePeriodSeconds`). Default `25s`.
    pub grace: Duration,
    /// `shutdown.hand_over`: whether what is left in core mode is handed over to other replicas, and taken over from them.
    /// Default true.
    pub hand_over: bool,
}

pub(super) fn read(at: &Section<'_>) -> Result<Shutdown, Reported> {
    // Kubernetes kills a pod 30 s after it has asked it to stop, unless it is told otherwise.
    let grace = at.or("grace", Duration::from_secs(25), grace);
    let hand_over = at.or("hand_over", true, parse::switch);
    Ok(Shutdown { grace: grace?, hand_over: hand_over? })
}

fn grace(value: &Value) -> Result<Duration, String> {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let wrong = || value.unexpected("a duration from 0s to 1h such as \"25s\"");
    parse::length(value).filter(|length| *length <= HOUR).ok_or_else(wrong)
}
