//! The level of the log, which can be another one for a while: for whoever looks into something that happens now.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use thiserror::Error;
use tokio::{
    task::{AbortHandle, spawn_local},
    time::sleep,
};
use tracing::{info, level_filters::LevelFilter};
use tracing_subscriber::{
    Registry,
    filter::Targets,
    reload::{self, Handle},
};

use crate::config::LogLevel;

/// The level of the log. Clones change the same one.
#[derive(Clone)]
pub struct LevelControl(Arc<Shared>);

struct Shared {
    filter: Handle<Targets, Registry>,
    /// That of the configuration.
    configured: LogLevel,
    present: Mutex<Present>,
}

#[derive(Default)]
struct Present {
    changed: Option<Changed>,
    /// Ends the change in its time.
    end: Option<AbortHandle>,
}

/// Another level than that of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The level.
    pub level: LogLevel,
    /// Until when.
    pub until: SystemTime,
}

/// The level can't be changed: the log was not started by this process.
#[derive(Debug, Error)]
#[error("the log of this process can't be changed")]
pub struct Fixed;

impl LevelControl {
    /// A log from `configured` on, and the filter that it is to be read through.
    pub(super) fn new(configured: LogLevel) -> (Self, reload::Layer<Targets, Registry>) {
        let (layer, filter) = reload::Layer::new(targets(configured));
        let shared = Shared { filter, configured, present: Mutex::default() };
        (Self(Arc::new(shared)), layer)
    }

    /// The level of the configuration, and another one where that counts now.
    pub fn present(&self) -> (LogLevel, Option<Changed>) {
        (self.0.configured, self.lock().changed)
    }

    /// Makes it `level` for so long, or that of the configuration again. Needs a runtime that takes local tasks.
    ///
    /// # Errors
    /// There is no log to change.
    pub fn change(&self, level: LogLevel, period: Duration) -> Result<(), Fixed> {
        self.set(level)?;
        let is_changed = level != self.0.configured;
        let until = SystemTime::now().checked_add(period).filter(|_| is_changed);
        let mut present = self.lock();
        if let Some(end) = present.end.take() {
            end.abort();
        }
        present.changed = until.map(|until| Changed { level, until });
        if present.changed.is_some() {
            let control = self.clone();
            let end = spawn_local(async move {
                sleep(period).await;
                control.end();
            });
            present.end = Some(end.abort_handle());
        }
        Ok(())
    }

    fn end(&self) {
        let level = self.0.configured;
        if self.set(level).is_ok() {
            self.lock().changed = None;
            info!(level = level.word(), "the level of the log is that of the configuration again");
        }
    }

    fn set(&self, level: LogLevel) -> Result<(), Fixed> {
        self.0.filter.reload(targets(level)).map_err(|_gone| Fixed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Present> {
        self.0.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LevelControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LevelControl").field(&self.present()).finish()
    }
}

/// Our own lines from `level` on, and always those about who has done what. The libraries' are for their developers:
/// async-nats writes one for every message that it drops, and one for every attempt to connect.
fn targets(level: LogLevel) -> Targets {
    let (ours, theirs) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::OFF),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::OFF),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::OFF),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    let acts = ours.max(LevelFilter::INFO);
    Targets::new()
        .with_target(env!("CARGO_PKG_NAME"), ours)
        .with_target(super::api::ACTS, acts)
        .with_default(theirs)
}
