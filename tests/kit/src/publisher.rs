//! Numbered messages, published at a pace that the test sets.

use std::collections::VecDeque;
use std::future::Future;
use std::time::{Duration, Instant};

use async_nats::{Client, jetstream};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often a steady publisher publishes its share.
const TICK: Duration = Duration::from_millis(5);

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Publishes messages whose bodies are the numbers from 0 on, each with the time of its publication kept.
pub struct Publisher {
    client: Client,
    subject: String,
    /// How much the bodies have beside the number, in turn.
    padding: Vec<usize>,
    published: Vec<Instant>,
}

impl Publisher {
    /// To `subject`, over `client`.
    pub fn new(client: Client, subject: &str) -> Self {
        Self { client, subject: subject.to_owned(), padding: vec![0], published: Vec::new() }
    }

    /// Bodies of `bytes` more than the number takes.
    pub fn padded(self, bytes: usize) -> Self {
        self.mixed(&[bytes])
    }

    /// Bodies of so many bytes more than the number takes, in turn.
    pub fn mixed(mut self, bytes: &[usize]) -> Self {
        self.padding = bytes.to_vec();
        self
    }

    /// From now on over another client.
    pub fn switch_to(&mut self, client: Client) {
        self.client = client;
    }

    /// How many messages were published so far; the next one has this number.
    pub fn count(&self) -> u64 {
        self.published.len() as u64
    }

    /// When the message with this number was published.
    pub fn published_at(&self, number: u64) -> Instant {
        self.published[usize::try_from(number).expect("it is an index")]
    }

    /// Publishes `count` messages as fast as it goes, and waits until the server has them.
    pub async fn burst(&mut self, count: u64) {
        self.publish(count).await;
        self.settle().await;
    }

    /// Publishes `count` messages to a stream, and waits until it has said of each that it keeps it.
    pub async fn store(&mut self, count: u64) {
        /// So many may be unconfirmed: enough to hide the way to the server and back.
        const WINDOW: usize = 1_000;
        let stream = jetstream::new(self.client.clone());
        let mut waiting = VecDeque::with_capacity(WINDOW);
        for _ in 0..count {
            if waiting.len() == WINDOW {
                confirm(waiting.pop_front()).await;
            }
            let (number, body) = self.next();
            let promise = stream.publish(self.subject.clone(), body).await;
            let promise =
                promise.unwrap_or_else(|error| panic!("message {number} can't be published: {error}"));
            waiting.push_back((number, promise));
        }
        while !waiting.is_empty() {
            confirm(waiting.pop_front()).await;
        }
    }

    /// Publishes `count` messages, no more than `ahead` of what `arrived` says, and waits until the server has them.
    pub async fn paced(&mut self, count: u64, ahead: u64, arrived: impl Fn() -> u64) {
        const STEP: u64 = 100;
        let (begin, end) = (Instant::now(), self.count() + count);
        while self.count() < end {
            if self.count() < arrived() + ahead {
                self.publish(STEP.min(end - self.count())).await;
            } else {
                assert!(begin.elapsed() < 10 * PATIENCE, "{} arrived, no more", arrived());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        self.settle().await;
    }

    /// Publishes so many messages a second, until it is told to stop.
    pub fn steadily(mut self, per_second: u32) -> Steady {
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let begin = Instant::now();
            let before = self.count();
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                ticks.tick().await;
                let due = begin.elapsed().as_micros() * u128::from(per_second) / 1_000_000;
                let due = before + u64::try_from(due).expect("it is a count");
                self.publish(due.saturating_sub(self.count())).await;
            }
            self
        });
        Steady { stop, task }
    }

    /// Waits until the server has what was published: a client's `flush` returns before.
    pub async fn settle(&self) {
        // Nobody listens there, and the server says so at once: a round trip behind all that was published.
        let answer = timeout(PATIENCE, self.client.request("nobody.listens.here", Bytes::new()));
        let answer = answer.await.expect("the server answers");
        assert!(answer.is_err(), "somebody listens where nobody should");
    }

    async fn publish(&mut self, count: u64) {
        for _ in 0..count {
            let (number, body) = self.next();
            let published = self.client.publish(self.subject.clone(), body).await;
            published.unwrap_or_else(|error| panic!("message {number} can't be published: {error}"));
        }
    }

    /// The number and the body of the message that is published now.
    fn next(&mut self) -> (u64, Bytes) {
        let number = self.count();
        let mut body = number.to_string();
        let padding = self.padding.iter().cycle().nth(self.published.len() % self.padding.len());
        body.extend(std::iter::repeat_n(' ', padding.copied().unwrap_or_default()));
        self.published.push(Instant::now());
        (number, body.into())
    }
}

/// Waits for the word of the stream on a message.
async fn confirm(published: Option<(u64, jetstream::context::PublishAckFuture)>) {
    if let Some((number, promise)) = published {
        let kept = promise.await;
        kept.unwrap_or_else(|error| panic!("the stream does not keep message {number}: {error}"));
    }
}

/// A publisher at work.
pub struct Steady {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Publisher>,
}

impl Steady {
    /// Ends the publishing, and waits until the server has all of it.
    pub async fn stop(self) -> Publisher {
        let publisher = self.halt().await;
        publisher.settle().await;
        publisher
    }

    /// Ends the publishing whatever has become of the server.
    pub fn halt(self) -> impl Future<Output = Publisher> {
        let _told = self.stop.send(());
        async { self.task.await.expect("the publisher does not panic") }
    }
}
