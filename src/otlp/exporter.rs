//! Exports spans: takes them from the queue in batches, posts each, and tries again where the collector may take it later.
//! Meanwhile the queue fills up, and what finds no room there is dropped: nothing else waits for a collector.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Response, header::RETRY_AFTER};
use prost::Message as _;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_local},
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    collector::{Collector, cause},
    encode::Encoder,
    messages::ExportTraceServiceResponse,
    retry::{Retry, Verdict},
};
use crate::{
    base::clock::Clock,
    config::Tracing,
    deliver::{answer, endpoint::Surroundings, fault::Fault},
    trace::{
        span::Span,
        spans::{Counts, Spans},
    },
};

/// How many spans one request has at most, and how long the first of them waits for others.
const BATCH: usize = 512;
const LINGER: Duration = Duration::from_secs(1);
/// How long a stop waits for the last ones.
const FLUSH: Duration = Duration::from_secs(2);

/// The task that exports spans, for as long as the process runs.
pub struct Exporter {
    spans: Spans,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Exporter {
    /// Exports by these `settings` from now on. Needs a runtime that takes local tasks.
    pub fn start(settings: &Tracing, surroundings: &Surroundings, clock: Clock) -> Self {
        let (spans, queue) = Spans::queue();
        let stop = CancellationToken::new();
        let task = Task {
            queue,
            stop: stop.clone(),
            counts: spans.counts(),
            encoder: Encoder::new(&settings.service_name, clock),
            collector: Collector::new(settings, surroundings, clock),
            retry: Retry::new(),
            trouble: None,
            clock,
        };
        info!(endpoint = %settings.endpoint, sample = settings.sample, "spans are exported");
        Self { spans, task: spawn_local(task.run()), stop }
    }

    /// Where spans are given to it.
    pub const fn spans(&self) -> &Spans {
        &self.spans
    }

    /// Exports what is left, as far as there is time for it.
    pub async fn finish(mut self) {
        self.stop.cancel();
        if timeout(FLUSH, &mut self.task).await.is_err() {
            self.task.abort();
            warn!("the collector has not taken the last spans in time");
        }
    }
}

struct Task {
    queue: mpsc::Receiver<Span>,
    stop: CancellationToken,
    counts: Arc<Counts>,
    encoder: Encoder,
    collector: Collector,
    retry: Retry,
    /// What the log was told of last, until spans are exported again.
    trouble: Option<String>,
    clock: Clock,
}

impl Task {
    /// Returns after a stop, when nothing is left.
    async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            self.export(&batch).await;
        }
    }

    /// The next batch; none when there are no more after a stop.
    async fn next_batch(&mut self) -> Option<Vec<Span>> {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            _ = self.queue.recv_many(&mut batch, BATCH) => {}
            () = self.stop.cancelled() => return None,
        }
        let full = Instant::now() + LINGER;
        while batch.len() < BATCH && !self.stop.is_cancelled() {
            let room = BATCH - batch.len();
            let more = async {
                tokio::select! {
                    _ = self.queue.recv_many(&mut batch, room) => {}
                    () = self.stop.cancelled() => {}
                }
            };
            if timeout_at(full, more).await.is_err() {
                break;
            }
        }
        Some(batch)
    }

    /// Has the collector take `batch`, or gives it up.
    async fn export(&mut self, batch: &[Span]) {
        let body = self.encoder.encode(batch);
        let begin = self.clock.now();
        loop {
            tokio::select! {
                () = sleep_until(self.clock.instant(self.retry.opens())) => {}
                () = self.stop.cancelled() => {}
            }
            let answered = self.collector.post(body.clone()).await;
            let verdict = answered.as_ref().map_or(Verdict::Later(Duration::ZERO), verdict);
            match verdict {
                Verdict::Exported => return self.exported(batch, answered.ok()),
                Verdict::Refused => {
                    self.retry.answered();
                    self.counts.add_dropped(batch.len());
                    return self.tell(&answered);
                }
                Verdict::Later(wait) => {
                    self.tell(&answered);
                    let is_over = self.stop.is_cancelled();
                    if !self.retry.failed(wait, begin, self.clock.now()) || is_over {
                        return self.counts.add_dropped(batch.len());
                    }
                }
            }
        }
    }

    /// The collector has taken `batch`, but for what it says of it.
    fn exported(&mut self, batch: &[Span], answer: Option<Response<Bytes>>) {
        self.retry.answered();
        let answer = answer.and_then(|answer| ExportTraceServiceResponse::decode(answer.into_body()).ok());
        let partly = answer.and_then(|answer| answer.partial_success).unwrap_or_default();
        let rejected = usize::try_from(partly.rejected_spans).unwrap_or_default().min(batch.len());
        self.counts.add_dropped(rejected);
        self.counts.add_exported(batch.len() - rejected);
        if rejected > 0 {
            debug!(rejected, message = partly.error_message, "the collector has rejected spans");
        }
        if self.trouble.take().is_some() {
            info!("spans are exported again");
        }
    }

    /// Says why spans are not exported, where that was not said yet.
    fn tell(&mut self, answered: &Result<Response<Bytes>, Fault>) {
        let cause = match answered {
            Ok(answer) => format!("the collector answers {}", answer.status().as_u16()),
            Err(fault) => cause(fault),
        };
        if self.trouble.is_none() {
            warn!(cause, "spans can't be exported, those that find no room are dropped");
        } else {
            debug!(cause, "spans can't be exported");
        }
        self.trouble = Some(cause);
    }
}

fn verdict(answer: &Response<Bytes>) -> Verdict {
    let wait = answer.headers().get(RETRY_AFTER).and_then(|value| answer::retry_after_now(value.as_bytes()));
    Verdict::of(answer.status(), wait)
}
