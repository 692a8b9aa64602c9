//! Whether the server has handled what was sent over a connection before.

use std::{cell::Cell, sync::Arc, time::Duration};

use async_nats::{Client, Subscriber};
use thiserror::Error;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{NatsConnection, SetUpError, next};
use crate::stats::Counter;

/// The server did not answer.
#[derive(Debug, Error)]
#[error("no answer from the NATS server")]
pub struct BarrierError;

/// How many messages barriers have sent, and how many came back: nobody else counts those as received.
#[derive(Debug, Default)]
pub(super) struct BarrierCounts {
    pub(super) sent: Counter,
    pub(super) taken: Counter,
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
        self.counts.sent.add(1);
        let token = self.counts.sent.get().to_string();
        if self.client.publish(self.inbox.clone(), token.clone().into()).await.is_err() {
            return false;
        }
        // An echo that was waited for in vain may come late: it is not the one we want.
        while let Some(message) = next(&mut self.subscriber).await {
            self.counts.taken.add(1);
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
