//! Whether the server has handled what was sent over a connection before.
//!
//! The client's own `flush` does not tell: it returns when the bytes are written, and asks the server nothing.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_nats::{Client, Subscriber};
use thiserror::Error;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{NatsConnection, SetUpError, next};
use crate::stats::Counter;

/// The server did not answer in time, or the client has ended. What was sent before may have arrived or not.
#[derive(Debug, Error)]
#[error("no answer from the NATS server")]
pub struct BarrierError;

/// The messages of barriers, which nobody else counts as received.
#[derive(Debug, Default)]
pub(super) struct BarrierCounts {
    pub(super) sent: Counter,
    /// Whether one is on its way.
    pub(super) is_out: AtomicBool,
}

/// Marks that a message of a barrier is on its way, for as long as somebody waits for it: also where the wait is broken off.
struct Out<'c>(&'c BarrierCounts);

impl<'c> Out<'c> {
    fn mark(counts: &'c BarrierCounts) -> Self {
        counts.is_out.store(true, Relaxed);
        Self(counts)
    }
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        self.0.is_out.store(false, Relaxed);
    }
}

/// Asks the server over a connection whether it has handled what was sent over it before.
#[derive(Debug)]
pub struct Barrier {
    client: Client,
    inbox: String,
    subscriber: Subscriber,
    counts: Arc<BarrierCounts>,
}

impl Barrier {
    /// A barrier over `connection`, which may not be connected yet.
    pub async fn over(connection: &NatsConnection) -> Result<Self, SetUpError> {
        let client = connection.client().clone();
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(inbox.clone()).await?;
        Ok(Self { client, inbox, subscriber, counts: Arc::clone(&connection.barriers) })
    }

    /// Sends a message to itself and waits for it. The server handles what comes over one connection in order: when the
    /// message is back, it has handled everything before it. Returns how long that took.
    pub async fn pass(&mut self, patience: Duration) -> Result<Duration, BarrierError> {
        let began = Instant::now();
        match timeout(patience, self.round_trip()).await {
            Ok(true) => Ok(began.elapsed()),
            Ok(false) | Err(_) => Err(BarrierError),
        }
    }

    async fn round_trip(&mut self) -> bool {
        let counts = Arc::clone(&self.counts);
        let _out = Out::mark(&counts);
        counts.sent.add(1);
        let token = counts.sent.get().to_string();
        if self.client.publish(self.inbox.clone(), token.clone().into()).await.is_err() {
            return false;
        }
        // One that was waited for in vain may come late: it is not the one we want.
        while let Some(message) = next(&mut self.subscriber).await {
            if message.payload == token {
                return true;
            }
        }
        false
    }
}

/// A barrier for many who ask at the same time: one round trip answers all who asked before it began. So nobody waits for
/// longer than two of them, however many ask, and whether the server answers or not.
#[derive(Debug)]
pub struct SharedBarrier {
    barrier: Mutex<Barrier>,
    /// How many round trips were begun.
    begun: Cell<u64>,
    /// Whether the last one came to its end in time.
    passed: Cell<bool>,
}

impl SharedBarrier {
    /// A barrier over `connection`, which may not be connected yet.
    pub async fn over(connection: &NatsConnection) -> Result<Self, SetUpError> {
        let barrier = Mutex::new(Barrier::over(connection).await?);
        Ok(Self { barrier, begun: Cell::new(0), passed: Cell::new(false) })
    }

    /// Returns when the server has handled what was sent before; see [`Barrier::pass`]. A round trip takes no longer than
    /// the `patience` of the one who began it.
    pub async fn pass(&self, patience: Duration) -> Result<(), BarrierError> {
        let asked = self.begun.get();
        let mut barrier = self.barrier.lock().await;
        if self.begun.get() == asked {
            self.begun.set(asked + 1);
            // Whoever waits for this one must not take its end for an answer when it is given up halfway.
            self.passed.set(false);
            self.passed.set(barrier.pass(patience).await.is_ok());
        }
        if self.passed.get() { Ok(()) } else { Err(BarrierError) }
    }
}
