//! Reading the configuration again, when somebody asks for it: the whole of it, from where it came from at the start. What
//! is in it is applied when nothing is wrong with it, and else changes nothing.

use std::time::SystemTime;

use tracing::{error, info, warn};

use super::{ApplyError, ConfigHandle, announce};
use crate::{
    base::blocking::BlockingThreads,
    config::{self, Config, ConfigWarning, Sources},
    control::reload::{ReloadError, Reloads, Report},
};

/// Reads the configuration again, and has it applied.
pub(super) struct Follower {
    /// The file by its path; environment and options as they were at the start, since nobody can change those later.
    pub(super) sources: Sources,
    pub(super) reloads: Reloads,
    pub(super) handle: ConfigHandle,
}

impl Follower {
    /// Follows the configuration, for as long as it is polled.
    pub(super) async fn run(mut self) {
        let threads = BlockingThreads::default();
        let mut warned: Vec<ConfigWarning> = Vec::new();
        loop {
            let asking = self.reloads.next().await;
            if asking.is_empty() {
                return;
            }
            info!("reading the configuration again");
            let read = SystemTime::now();
            let sources = self.sources.clone();
            let loaded = threads.run(move || config::load_with_warnings(sources)).await;
            let answer = match loaded {
                Ok(Ok((config, warnings))) => {
                    warnings
                        .iter()
                        .filter(|warning| !warned.contains(warning))
                        .for_each(|new| warn!("{new}"));
                    warned = warnings;
                    self.apply(config).await
                }
                Ok(Err(mistakes)) => Err(ReloadError::Refused(mistakes.into())),
                Err(refused) => Err(ReloadError::Unread(refused.into())),
            };
            tell(&answer);
            self.reloads.done(asking, read, &answer);
        }
    }

    async fn apply(&self, config: Config) -> Result<Report, ReloadError> {
        self.handle.apply(config).await.map_err(|ApplyError::Stopping| ReloadError::Stopping)
    }
}

/// Logs what came of a reload.
fn tell(answer: &Result<Report, ReloadError>) {
    match answer {
        Ok(Report { generation, changes, need_restart }) => {
            info!(
                generation,
                added = announce::first(&changes.added),
                changed = announce::first(&changes.changed),
                removed = announce::first(&changes.removed),
                "configuration applied"
            );
            if !need_restart.is_empty() {
                let sections = need_restart.join(", ");
                warn!(sections, "what has changed in these sections counts after a restart");
            }
        }
        Err(ReloadError::Stopping) => {}
        Err(failed) => {
            error!(mistakes = failed.told().join("; "), "configuration refused: what ran before runs on");
        }
    }
}
