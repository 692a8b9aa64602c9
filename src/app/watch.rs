//! Watching the files of a configuration: looking at them once a second.
//!
//! No notification of the kernel: those say nothing about the file systems of a network, nor of what a link is swapped
//! for in a folder that nobody watches, and would need this look besides. A look costs some microseconds for each file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::time::sleep;
use tracing::debug;

use crate::base::blocking::BlockingThreads;

/// How often the files are looked at. What has changed has to look the same twice before it is read: then whoever writes it
/// is done, most likely.
const PERIOD: Duration = Duration::from_secs(1);

/// The files of the configuration that was read last.
pub(super) struct Watch {
    /// How they looked when they were read.
    read: Looks,
    /// How they looked last.
    last: Looks,
    /// Of its own: a file system that hangs must hold up no reload that somebody asks for.
    threads: BlockingThreads,
}

/// Files, and how each looks from outside; `None` for what is no file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Looks(BTreeMap<PathBuf, Option<Look>>);

/// What differs where a file was written, or another one is at its path: one that was renamed has another number, and
/// nobody but the kernel sets `changed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    device: u64,
    number: u64,
    length: u64,
    /// In seconds and nanoseconds since 1970.
    changed: (i64, i64),
}

impl Watch {
    /// Of what looked like this when it was read.
    pub(super) fn new(read: Looks) -> Self {
        Self { read, last: Looks::default(), threads: BlockingThreads::default() }
    }

    /// From now on these are the files, which looked like this when they were read.
    pub(super) fn follow(&mut self, read: Looks) {
        self.read = read;
    }

    /// The files can't be read as they look now: not before one of them has changed again.
    pub(super) fn give_up(&mut self) {
        // Whoever asks before the first look has the files read once more.
        if !self.last.0.is_empty() {
            self.read = self.last.clone();
        }
    }

    /// The files.
    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        self.read.0.keys().cloned().collect()
    }

    /// Returns when one of the files has changed, and holds still.
    pub(super) async fn changed(&mut self) {
        loop {
            sleep(PERIOD).await;
            let files = self.files();
            match self.threads.run(move || Looks::of(&files)).await {
                Ok(now) => {
                    if self.is_ripe(now) {
                        return;
                    }
                }
                Err(error) => debug!(%error, "cannot look at the files of the configuration"),
            }
        }
    }

    /// Whether the files, as they look now, differ from what was read, and hold still.
    fn is_ripe(&mut self, now: Looks) -> bool {
        let is_still = self.last == now;
        self.last = now;
        is_still && self.last != self.read
    }
}

impl Looks {
    /// How `files` look now.
    pub(super) fn of(files: &BTreeSet<PathBuf>) -> Self {
        Self(files.iter().map(|path| (path.clone(), look(path))).collect())
    }

    /// How `files` looked when they were read at `at`: as they did `before`, where that is known. One that has changed since
    /// counts as not seen, so that it is read again.
    pub(super) fn as_read(files: &BTreeSet<PathBuf>, before: &Self, at: SystemTime) -> Self {
        let as_read = |path: &PathBuf| {
            let before = before.0.get(path).copied();
            (path.clone(), before.unwrap_or_else(|| look(path).filter(|look| look.is_before(at))))
        };
        Self(files.iter().map(as_read).collect())
    }
}

impl Look {
    fn is_before(&self, time: SystemTime) -> bool {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.changed < (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), i64::from(since.subsec_nanos()))
    }
}

/// How the file at `path` looks, or the one that a link there leads to. A pipe can be read once only: it never changes.
fn look(path: &Path) -> Option<Look> {
    let file = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let changed = (file.ctime(), file.ctime_nsec());
    Some(Look { device: file.dev(), number: file.ino(), length: file.len(), changed })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with a file `a` in it, and how that looked when it was read.
    fn read_once() -> (tempfile::TempDir, PathBuf, Watch) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "1").unwrap();
        let watch = Watch::new(Looks::of(&BTreeSet::from([path.clone()])));
        (folder, path, watch)
    }

    /// Whether the files are found changed at each of the next three looks.
    fn looks_at(watch: &mut Watch) -> [bool; 3] {
        [(); 3].map(|()| {
            let now = Looks::of(&watch.files());
            watch.is_ripe(now)
        })
    }

    #[test]
    fn what_has_changed_is_read_when_it_holds_still() {
        let (folder, path, mut watch) = read_once();
        assert_eq!(looks_at(&mut watch), [false; 3]);
        let other = folder.path().join("other");
        let changes: [&dyn Fn(); 4] = [
            &|| fs::write(&path, "22").unwrap(),
            &|| {
                // The same contents, but another file.
                fs::write(&other, "22").unwrap();
                fs::rename(&other, &path).unwrap();
            },
            &|| fs::remove_file(&path).unwrap(),
            &|| fs::write(&path, "22").unwrap(),
        ];
        for change in changes {
            change();
            assert_eq!(looks_at(&mut watch), [false, true, true]);
            watch.follow(Looks::of(&watch.files()));
            assert_eq!(looks_at(&mut watch), [false; 3], "it was read");
        }
    }

    #[test]
    fn a_file_that_is_written_again_and_again_or_gone_for_a_moment_is_left_alone() {
        let (_folder, path, mut watch) = read_once();
        for length in 2..10 {
            fs::write(&path, "x".repeat(length)).unwrap();
            let now = Looks::of(&watch.files());
            assert!(!watch.is_ripe(now), "it is still being written");
        }
        watch.follow(Looks::of(&watch.files()));
        fs::remove_file(&path).unwrap();
        let gone = Looks::of(&watch.files());
        assert!(!watch.is_ripe(gone));
    }

    #[test]
    fn what_is_no_file_is_tried_once() {
        let (folder, path, mut watch) = read_once();
        fs::rename(&path, folder.path().join("other")).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(looks_at(&mut watch), [false, true, true]);
        watch.give_up();
        assert_eq!(looks_at(&mut watch), [false; 3]);
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "1").unwrap();
        assert_eq!(looks_at(&mut watch), [false, true, true]);
    }

    /// As Kubernetes does it with the volumes of `ConfigMap`s and secrets.
    #[test]
    fn a_link_to_another_folder_changes_what_is_below_it() {
        let folder = tempfile::tempdir().unwrap();
        let below = |path: &str| folder.path().join(path);
        for version in ["1", "2"] {
            fs::create_dir(below(version)).unwrap();
            fs::write(below(version).join("a"), "same").unwrap();
        }
        symlink("1", below("..data")).unwrap();
        symlink("..data/a", below("a")).unwrap();
        let mut watch = Watch::new(Looks::of(&BTreeSet::from([below("a")])));
        assert_eq!(looks_at(&mut watch), [false; 3]);
        symlink("2", below("..new")).unwrap();
        fs::rename(below("..new"), below("..data")).unwrap();
        assert_eq!(looks_at(&mut watch), [false, true, true]);
    }

    #[test]
    fn what_has_changed_since_it_was_read_counts_as_not_seen() {
        let (_folder, path, _) = read_once();
        let (files, hour) = (BTreeSet::from([path]), Duration::from_secs(3600));
        let later = Looks::as_read(&files, &Looks::default(), SystemTime::now() + hour);
        assert_eq!(later, Looks::of(&files));
        let earlier = Looks::as_read(&files, &Looks::default(), SystemTime::now() - hour);
        assert_ne!(earlier, Looks::of(&files));
        let known = Looks::as_read(&files, &Looks::of(&files), SystemTime::now() - hour);
        assert_eq!(known, Looks::of(&files), "it is known how it looked before");
    }

    #[test]
    fn a_pipe_never_changes() {
        assert_eq!(look(Path::new("/dev/null")), None);
    }
}
