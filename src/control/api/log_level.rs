//! `/api/v1/log-level`: a line for each message, for a while.

use std::time::Duration;

use http::{Method, StatusCode};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{Access, Router};
use crate::{
    base::clock::rfc3339,
    config::LogLevel,
    control::{
        log_level::LevelControl,
        server::{self, Answer, Problem, ProblemKind, Reply},
    },
};

const PATH: &str = "/api/v1/log-level";
/// For how long another level counts where that is not said, and at the most.
const USUAL: Duration = Duration::from_secs(10 * 60);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(deserialize_with = "level")]
    level: LogLevel,
    #[serde(default = "usual", rename = "for", deserialize_with = "period")]
    period: Duration,
}

#[derive(Serialize)]
struct Shown {
    level: &'static str,
    configured: &'static str,
    until: Option<String>,
}

/// Adds it to `router`.
pub(super) fn add(router: &mut Router, control: &LevelControl) {
    let shown = control.clone();
    router.add(Method::GET, PATH, Access::Read, move |_| Reply::Now(answer(&shown)));
    let control = control.clone();
    router.add(Method::PUT, PATH, Access::Act, move |call| {
        let control = control.clone();
        call.work_with(move |wanted: Wanted| async move {
            let changed = control.change(wanted.level, wanted.period);
            changed.map_err(|fixed| Problem::new(ProblemKind::Busy, fixed.to_string()))?;
            Ok(answer(&control))
        })
    });
}

fn answer(control: &LevelControl) -> Answer {
    let (configured, changed) = control.present();
    let level = changed.map_or(configured, |changed| changed.level);
    let until = changed.map(|changed| rfc3339(changed.until));
    server::json(StatusCode::OK, &Shown { level: level.word(), configured: configured.word(), until })
}

fn level<'de, D: Deserializer<'de>>(from: D) -> Result<LogLevel, D::Error> {
    let word = String::deserialize(from)?;
    LogLevel::of_word(&word)
        .ok_or_else(|| D::Error::custom("level: expected error, warn, info, debug or trace"))
}

const fn usual() -> Duration {
    USUAL
}

fn period<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let period = humantime::parse_duration(&text)
        .ok()
        .filter(|period| (Duration::from_secs(1)..=LONGEST).contains(period));
    period.ok_or_else(|| D::Error::custom("for: expected a duration from 1s to 24h, such as 10m"))
}
