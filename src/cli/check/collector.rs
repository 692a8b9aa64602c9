//! Whether the collector takes spans: it is asked to take none, which one that works does.

use super::report::Line;
use crate::{
    base::clock::Clock,
    config::Tracing,
    deliver::endpoint::Surroundings,
    otlp::{Collector, cause},
};

const WHAT: &str = "collector";
const ADVICE: &str = "correct [tracing] (endpoint, headers, tls), or see what the log there says";

/// Asks the collector to take no spans at all, as it would be asked to take some.
pub(super) async fn check(settings: &Tracing, clock: Clock) -> Line {
    let answered = Collector::new(settings, &Surroundings::default(), clock).try_out().await;
    match answered.map(|answer| answer.status()) {
        Ok(status) if status.is_success() => {
            Line::fine(WHAT, format_args!("{} takes spans", settings.endpoint))
        }
        Ok(status) => {
            let found = format_args!("{} answers {}", settings.endpoint, status.as_u16()).to_string();
            Line::failed(WHAT, found, ADVICE)
        }
        Err(fault) => Line::failed(WHAT, cause(&fault), ADVICE),
    }
}
