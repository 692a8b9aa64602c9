//! Asking a running daemon to read its configuration again, and what came of it: for a signal, a request or whoever else
//! asks. Whoever reads and applies it is in [`app`](crate::app).

use std::{future, io, sync::Arc, time::SystemTime};

use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tracing::info;

use crate::{base::clock::rfc3339, config::ConfigErrors, route::registry::Changes};

/// How many may ask at the same time; more wait until those are answered. They are answered together.
const ASKING: usize = 64;
/// How many mistakes of a configuration are told at once. A mistake in a default may be one in each of many routes.
const TOLD: usize = 20;

/// Asks a running daemon to read its configuration again. Clones ask the same one.
#[derive(Clone, Debug)]
pub struct Reloader {
    asking: mpsc::Sender<oneshot::Sender<Answer>>,
    status: watch::Receiver<ReloadStatus>,
}

/// Those who ask, for whoever reads the configuration; what came of it is shown to all.
#[derive(Debug)]
pub struct Reloads {
    asking: mpsc::Receiver<oneshot::Sender<Answer>>,
    status: watch::Sender<ReloadStatus>,
}

/// What somebody hears who asked for a reload.
type Answer = Result<Report, ReloadError>;

/// What a new configuration has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The number of the list of routes that runs now.
    pub generation: u64,
    /// The routes that are new, have other settings, or are gone.
    pub changes: Changes,
    /// Sections that differ from those the process was started with, and count only after a restart.
    pub need_restart: Vec<&'static str>,
}

/// The configuration could not be read again, or not be applied. What ran before runs on.
#[derive(Clone, Debug, Error)]
pub enum ReloadError {
    /// It has mistakes.
    #[error("{0}")]
    Refused(Arc<ConfigErrors>),
    /// The system refuses a thread to read it on.
    #[error("cannot read the configuration: {0}")]
    Unread(Arc<io::Error>),
    /// There is no mistake in it, but with what the process was started with it can't be applied.
    #[error("{0}")]
    Unfit(String),
    /// It is too late.
    #[error("the process is stopping")]
    Stopping,
}

/// How far the daemon has followed its configuration.
#[derive(Clone, Debug)]
pub struct ReloadStatus {
    /// The number of the list of routes that came of the configuration that is applied; 1 at the start.
    pub generation: u64,
    /// When that configuration was read.
    pub applied: SystemTime,
    /// How many reloads were applied since the start of the process.
    pub succeeded: u64,
    /// How many were not.
    pub failed: u64,
    /// Sections that differ from those the process was started with, and count only after a restart.
    pub need_restart: Vec<&'static str>,
    /// What the last reload has failed by; `None` when it was applied.
    pub failure: Option<Failure>,
}

/// A reload that was not applied.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When it was tried.
    pub at: SystemTime,
    /// Why it was not applied.
    pub error: ReloadError,
}

/// A reloader of a daemon whose configuration was read at `read`, and those who will ask by it.
pub fn reloader(read: SystemTime) -> (Reloader, Reloads) {
    let (asking, asked) = mpsc::channel(ASKING);
    let (status, shown) = watch::channel(ReloadStatus::at_start(read));
    (Reloader { asking, status: shown }, Reloads { asking: asked, status })
}

impl Reloader {
    /// Has the daemon read its configuration again, all of it, and returns when all lanes follow it. Those who ask at the
    /// same time share a reload; who asks during one gets the next.
    ///
    /// # Errors
    /// Then nothing has changed.
    pub async fn reload(&self) -> Result<Report, ReloadError> {
        let (asked, answer) = oneshot::channel();
        self.asking.send(asked).await.map_err(|_gone| ReloadError::Stopping)?;
        answer.await.unwrap_or(Err(ReloadError::Stopping))
    }

    /// How far the daemon has followed its configuration, and every change of that.
    pub fn status(&self) -> watch::Receiver<ReloadStatus> {
        self.status.clone()
    }

    /// Asks whenever `wish` is notified. What comes of it is in the log.
    pub async fn follow(self, wish: Arc<Notify>) {
        loop {
            wish.notified().await;
            if let Err(ReloadError::Stopping) = self.reload().await {
                info!("the configuration is not read again: the process is stopping");
            }
        }
    }
}

impl Reloads {
    /// All who ask by now, when somebody does.
    pub(crate) async fn next(&mut self) -> Vec<oneshot::Sender<Answer>> {
        let mut asking = Vec::new();
        if self.asking.recv_many(&mut asking, ASKING).await == 0 {
            // Nobody is left who could ask.
            future::pending::<()>().await;
        }
        asking
    }

    /// Tells `asking` and everybody else what came of a configuration that was read at `read`.
    pub(crate) fn done(&self, asking: Vec<oneshot::Sender<Answer>>, read: SystemTime, answer: &Answer) {
        self.status.send_modify(|status| status.follow(read, answer));
        for asked in asking {
            // Whoever asked may have gone away meanwhile.
            drop(asked.send(answer.clone()));
        }
    }
}

impl ReloadStatus {
    /// That of a process that has read its configuration at `read`, and never again.
    pub const fn at_start(read: SystemTime) -> Self {
        Self {
            generation: 1,
            applied: read,
            succeeded: 0,
            failed: 0,
            need_restart: Vec::new(),
            failure: None,
        }
    }

    /// What of the configuration, as it is now, does not count, in words for operators.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if let Some(Failure { at, error }) = &self.failure {
            let (applied, at) = (rfc3339(self.applied), rfc3339(*at));
            complaints.push(format!("that of {at} is refused, and that of {applied} runs on"));
            complaints.extend(error.told());
        }
        let waiting = self.need_restart.iter();
        complaints
            .extend(waiting.map(|section| format!("what has changed in [{section}] counts after a restart")));
        complaints
    }

    fn follow(&mut self, read: SystemTime, answer: &Answer) {
        match answer {
            Ok(report) => {
                self.generation = report.generation;
                self.applied = read;
                self.succeeded += 1;
                self.need_restart.clone_from(&report.need_restart);
                self.failure = None;
            }
            Err(error) => {
                self.failed += 1;
                self.failure = Some(Failure { at: read, error: error.clone() });
            }
        }
    }
}

impl ReloadError {
    /// What is wrong, one by one; of many mistakes the first ones, and how many more there are.
    pub fn told(&self) -> Vec<String> {
        let Self::Refused(mistakes) = self else { return vec![self.to_string()] };
        let mut told: Vec<_> = mistakes.iter().take(TOLD).map(ToString::to_string).collect();
        let more = mistakes.iter().count() - told.len();
        told.extend((more > 0).then(|| format!("and {more} more")));
        told
    }
}
