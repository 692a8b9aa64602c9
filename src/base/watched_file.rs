//! Files that are read again when they change, such as secrets that something else renews.
//!
//! One thread looks at all of them, so that whoever needs what is in one never waits for a disk. It is started with the
//! first file. A network's file system that hangs holds up the renewal of the other files, and nothing else.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use tracing::{info, warn};

/// How often files are looked at. Reading a small one costs less than finding out whether it has changed: the time of a
/// change is too coarse on some file systems, and stays the same when a folder is swapped for another one.
const PERIOD: Duration = Duration::from_secs(1);

/// The files that a process watches. Clones watch together.
#[derive(Clone, Debug, Default)]
pub struct WatchedFiles(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    files: Mutex<Vec<Weak<dyn Look>>>,
    thread: OnceLock<()>,
}

/// What is in a file at present. Clones are of the same file.
pub struct Watched<T>(Arc<File<T>>);

/// Reads a file. The error says what is wrong with it, without what is in it.
type Read<T> = dyn Fn(&Path) -> Result<T, String> + Send + Sync;

struct File<T> {
    path: PathBuf,
    read: Box<Read<T>>,
    current: ArcSwap<T>,
    /// What is wrong with the file, once that was said.
    told: Mutex<Option<String>>,
}

trait Look: Send + Sync + fmt::Debug {
    fn look(&self);
}

impl WatchedFiles {
    /// Watches the file at `path`, in which `first` was found. What `read` finds in it later takes the place of `first`
    /// until it can't be read: then what was there stays, and the log says why.
    pub fn watch<T: PartialEq + Send + Sync + 'static>(
        &self,
        path: &Path,
        first: T,
        read: impl Fn(&Path) -> Result<T, String> + Send + Sync + 'static,
    ) -> Watched<T> {
        let current = ArcSwap::from_pointee(first);
        let file =
            Arc::new(File { path: path.to_owned(), read: Box::new(read), current, told: Mutex::default() });
        let entry: Arc<dyn Look> = Arc::clone(&file) as _;
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&entry));
        self.0.thread.get_or_init(|| {
            let shared = Arc::downgrade(&self.0);
            let started =
                thread::Builder::new().name("watched files".to_owned()).spawn(move || watch(&shared));
            if let Err(error) = started {
                warn!(%error, "no thread to watch files with: what is in them now is used until a restart");
            }
        });
        Watched(file)
    }
}

/// Looks at all files until nobody is left who could add one.
fn watch(shared: &Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        let files = {
            let mut files = shared.files.lock().unwrap_or_else(PoisonError::into_inner);
            files.retain(|file| file.strong_count() > 0);
            files.clone()
        };
        drop(shared);
        files.iter().filter_map(Weak::upgrade).for_each(|file| file.look());
        thread::sleep(PERIOD);
    }
}

impl<T> Watched<T> {
    /// What is in it, as far as is known.
    pub fn current(&self) -> Arc<T> {
        self.0.current.load_full()
    }
}

impl<T: PartialEq + Send + Sync> Look for File<T> {
    fn look(&self) {
        let found = (self.read)(&self.path);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(found) => {
                let is_mended = told.take().is_some();
                let is_new = **self.current.load() != found;
                if is_new {
                    self.current.store(Arc::new(found));
                }
                if is_new || is_mended {
                    info!(file = %self.path.display(), "file read again");
                }
            }
            Err(problem) if told.as_ref() != Some(&problem) => {
                warn!(problem, "a file can't be read again: what was in it is used further");
                *told = Some(problem);
            }
            Err(_known) => {}
        }
    }
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.0.path).finish()
    }
}

impl<T> fmt::Debug for File<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.path).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Instant};

    use super::*;

    fn number(path: &Path) -> Result<u32, String> {
        fs::read_to_string(path).ok().and_then(|text| text.parse().ok()).ok_or_else(|| "no number".to_owned())
    }

    #[test]
    fn what_changes_is_read_and_what_is_wrong_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let watched = WatchedFiles::default().0;
        let files = WatchedFiles(watched);
        fs::write(&path, "1").unwrap();
        let value = files.watch(&path, 1, number);
        let becomes = |wanted: u32| {
            let end = Instant::now() + Duration::from_secs(20);
            while *value.current() != wanted {
                assert!(Instant::now() < end, "{} and not {wanted}", value.current());
                thread::yield_now();
            }
        };
        // Swapped as a whole, so that nobody reads half of it.
        let swap = |text: &str| {
            fs::write(folder.path().join("new"), text).unwrap();
            fs::rename(folder.path().join("new"), &path).unwrap();
        };
        swap("2");
        becomes(2);
        value.0.look();
        swap("nothing");
        value.0.look();
        assert_eq!(*value.current(), 2);
        swap("3");
        becomes(3);
    }
}
