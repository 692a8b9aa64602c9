//! The queue of finished spans, between the lanes and whoever exports them. It never makes a lane wait, and never grows:
//! what finds no room is counted and gone.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::mpsc;

use super::span::Span;

/// How many spans may wait. At some 400 bytes each that is less than 2 MiB; a `tracestate` may double it.
const ROOM: usize = 4096;

/// The end of the queue that spans are put in. Clones are of the same one.
#[derive(Clone, Debug)]
pub struct Spans {
    queue: mpsc::Sender<Span>,
    counts: Arc<Counts>,
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Spans {
    /// A queue, and the end of it that spans are taken from.
    pub fn queue() -> (Self, mpsc::Receiver<Span>) {
        let (queue, taken) = mpsc::channel(ROOM);
        (Self { queue, counts: Arc::default() }, taken)
    }

    /// Gives `span` away.
    pub fn record(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.counts.add_dropped(1);
        }
    }

    /// What became of those that were recorded.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }
}

impl Counts {
    /// Counts spans that the collector has taken.
    pub fn add_exported(&self, count: usize) {
        self.exported.fetch_add(count as u64, Relaxed);
    }

    /// Counts spans that nobody will see.
    pub fn add_dropped(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Relaxed);
    }

    /// How many the collector has taken.
    pub fn exported(&self) -> u64 {
        self.exported.load(Relaxed)
    }

    /// How many were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}
