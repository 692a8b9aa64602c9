//! The runtime that everything runs on: one thread, and tasks that need not be sent to others, so that they share what
//! they work on without locks.

use std::io;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

/// A runtime for the thread that calls this. The error is the system's: it has no more file descriptors, say.
pub fn local() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        // The main thread's wait for the lanes, and a command's client library looks up names: nobody needs the default of
        // 512 threads.
        .max_blocking_threads(4)
        .build_local(LocalOptions::default())
}
