//! A peer's own thread, so that its work takes no time from the runtime of the test.

use std::thread::JoinHandle;

use tokio::sync::oneshot;

/// A future that runs in a runtime of its own, on a thread of its own, until this is dropped.
pub struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Runs what `start` makes. It is made on the new thread, where sockets can be registered with the new runtime.
    pub fn run<F: Future<Output = ()>>(name: &str, start: impl FnOnce() -> F + Send + 'static) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime can be built");
                runtime.block_on(async {
                    tokio::select! {
                        () = start() => {}
                        _ = stopped => {}
                    }
                });
            })
            .expect("a thread can be started");
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has printed its own message, and a second one in a drop would abort the tests.
            drop(thread.join());
        }
    }
}
