//! Work that may block or take long, such as reading files: on a thread of its own, which nobody waits for in the end. A network's
//! file system that hangs must hang neither a lane nor a stop, as the threads of the runtime would.

use std::{io, sync::Arc, thread};

use tokio::sync::{Semaphore, oneshot};

/// How many such threads there are at the same time, at most, unless somebody wants fewer. Where all of them hang, others
/// wait for one.
const MOST: usize = 4;

/// The threads for such work.
#[derive(Clone, Debug)]
pub struct BlockingThreads(Arc<Semaphore>);

impl Default for BlockingThreads {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl BlockingThreads {
    /// So many at most.
    pub fn of(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// What `work` returns. Whoever gives up waiting leaves it behind.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let place = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let (sender, receiver) = oneshot::channel();
        thread::Builder::new().name("blocking".to_owned()).spawn(move || {
            let done = work();
            drop(place);
            // Nobody may want to know any more.
            drop(sender.send(done));
        })?;
        receiver.await.map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    #[tokio::test]
    async fn what_hangs_is_left_behind_and_bounded() {
        let threads = BlockingThreads::default();
        assert_eq!(threads.run(|| 1).await.unwrap(), 1);
        let (release, held) = mpsc::sync_channel::<()>(1);
        let held = Arc::new(std::sync::Mutex::new(held));
        let moment = Duration::from_millis(20);
        for _ in 0..MOST {
            let held = Arc::clone(&held);
            let hangs = threads.run(move || held.lock().unwrap().recv().is_ok());
            assert!(tokio::time::timeout(moment, hangs).await.is_err());
        }
        assert!(tokio::time::timeout(moment, threads.run(|| 2)).await.is_err());
        release.send(()).unwrap();
        assert_eq!(threads.run(|| 3).await.unwrap(), 3);
    }
}
