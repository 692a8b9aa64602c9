//! `[runtime]`: how many threads do the work.

use std::num::NonZeroUsize;

use super::{
    parse,
    reader::{Reported, Section},
    tree::Value,
};

/// `[runtime]`: how many threads do the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// `runtime.threads`: `"auto"` or 1 to 64. Default `"auto"`.
    pub threads: Threads,
}

/// How many threads do the work. Each has its own connection to NATS, and its share of each route's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// As many as the machine, or the pod's CPU limit, makes sensible.
    Auto,
    /// Exactly so many: 1 to 64, and no more than the concurrency, `queue.messages` or `retry.messages` of any route.
    Fixed(NonZeroUsize),
}

pub(super) fn read(at: &Section<'_>) -> Result<Runtime, Reported> {
    Ok(Runtime { threads: at.or("threads", Threads::Auto, threads)? })
}

fn threads(value: &Value) -> Result<Threads, String> {
    if matches!(value, Value::Text(text) if text == "auto") {
        return Ok(Threads::Auto);
    }
    let fixed = parse::count(64)(value).map(Threads::Fixed);
    fixed.map_err(|_| value.unexpected("\"auto\" or a whole number from 1 to 64"))
}
