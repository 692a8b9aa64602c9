//! The runtime that everything runs on: one thread, and tasks that need not be sent to others.

use std::io;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

/// A runtime for the thread that calls this.
pub fn local() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        // Only names are resolved there, one at a time for each route.
        .max_blocking_threads(4)
        .build_local(LocalOptions::default())
}
