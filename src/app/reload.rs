//! Reading the configuration again, when somebody asks for it or its files change: the whole of it, from where it came from
//! at the start. What is in it is applied when nothing is wrong with it, and else changes nothing.

use std::{
    collections::BTreeSet,
    future,
    io::{self, ErrorKind},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tokio::{select, time::timeout};
use tracing::{error, info, warn};

use super::{
    ApplyError, ConfigHandle, announce,
    watch::{Looks, Watch},
};
use crate::{
    base::blocking::BlockingThreads,
    config::{self, Config, ConfigErrors, ConfigWarning, Origin, Sources},
    control::{
        reload::{ReloadError, Reloads, Report},
        systemd,
    },
};

/// How long reading the files may take. A file system of a network may never answer, and who asked would wait forever.
const READING: Duration = Duration::from_secs(60);

/// Reads the configuration again, and has it applied.
pub(super) struct Follower {
    /// The file by its path; environment and options as they were at the start, since nobody can change those later.
    pub(super) sources: Sources,
    watch: Watch,
    /// Whether what was applied last wants its files to be watched.
    is_watching: bool,
    warned: Vec<ConfigWarning>,
    reloads: Reloads,
    handle: ConfigHandle,
    threads: BlockingThreads,
}

/// A configuration as it was found in its sources, good or not.
struct Read {
    loaded: Result<(Config, Vec<ConfigWarning>), ConfigErrors>,
    /// How the files looked that it was read from.
    files: Looks,
    at: SystemTime,
}

impl Follower {
    /// Follows what `config` was read from.
    pub(super) fn new(config: &Config, origin: Origin, reloads: Reloads, handle: ConfigHandle) -> Self {
        Self {
            watch: Watch::new(Looks::as_read(&origin.files, &Looks::default(), origin.at)),
            sources: origin.sources,
            is_watching: config.reload.watch,
            warned: Vec::new(),
            reloads,
            handle,
            threads: BlockingThreads::default(),
        }
    }

    /// Follows the configuration, for as long as it is polled.
    pub(super) async fn run(mut self) {
        loop {
            let changed =
                async { if self.is_watching { self.watch.changed().await } else { future::pending().await } };
            let asking = select! {
                asking = self.reloads.next() => asking,
                () = changed => {
                    info!("a file of the configuration has changed");
                    Vec::new()
                }
            };
            info!("reading the configuration again");
            systemd::reloading().await;
            let (at, answer) = self.reload().await;
            tell(&answer);
            self.reloads.done(asking, at, &answer);
            systemd::reloaded().await;
        }
    }

    async fn reload(&mut self) -> (SystemTime, Result<Report, ReloadError>) {
        let now = SystemTime::now();
        let (sources, files) = (self.sources.clone(), self.watch.files());
        let reading = timeout(READING, self.threads.run(move || read(sources, files))).await;
        let read = reading.unwrap_or_else(|late| Err(late.into())).and_then(|read| read);
        let Read { loaded, files, at } = match read {
            Ok(read) => read,
            Err(error) => {
                // A pipe or a folder is none the next second either.
                if error.kind() == ErrorKind::InvalidInput {
                    self.watch.give_up();
                }
                return (now, Err(ReloadError::Unread(error.into())));
            }
        };
        self.watch.follow(files);
        match loaded {
            Ok((config, warnings)) => {
                let is_new = |warning: &&ConfigWarning| !self.warned.contains(warning);
                warnings.iter().filter(is_new).for_each(|warning| warn!("{warning}"));
                self.warned = warnings;
                self.is_watching = config.reload.watch;
                let applied = self.handle.apply(config).await;
                let failed = |error| match error {
                    ApplyError::Stopping => ReloadError::Stopping,
                    error @ ApplyError::OwnHistory(..) => ReloadError::Unfit(error.to_string()),
                };
                (at, applied.map_err(failed))
            }
            Err(mistakes) => (at, Err(ReloadError::Refused(mistakes.into()))),
        }
    }
}

/// Reads `sources` again, of which `files` were read the last time.
fn read(sources: Sources, mut files: BTreeSet<PathBuf>) -> io::Result<Read> {
    // Its end was reached the last time: what is read from it now is nothing, and no configuration.
    let is_no_file = |path: &PathBuf| path.metadata().is_ok_and(|found| !found.is_file());
    if let Some(path) = sources.file().filter(is_no_file) {
        let problem = format!("{} is no file that can be read again", path.display());
        return Err(io::Error::new(ErrorKind::InvalidInput, problem));
    }
    let before = Looks::of(&files);
    let (origin, loaded) = config::load_from(sources);
    if loaded.is_ok() {
        files.clear();
    }
    // Of a configuration with mistakes it may be open which files it names: then the former ones are watched as well.
    files.extend(origin.files);
    Ok(Read { loaded, files: Looks::as_read(&files, &before, origin.at), at: origin.at })
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
