//! The client of one worker: one deadline for each attempt, and how it is sent.
//!
//! Over HTTP/1.1 each worker has a connection of its own, kept as long as it is good: with one request under way at
//! most, it needs none of others. Over HTTP/2 all of a pipeline share a few (`h2/pool.rs`).

use std::{
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tracing::debug;

use super::{
    Deliver,
    answer::Answer,
    connect::{connector::Connector, stages::Stages},
    endpoint::Endpoint,
    entries,
    fault::{ExchangeError, Fault},
    h1::{
        connection::{Buffers, Exchange, HttpConnection, Shared},
        head::HeadWriter,
    },
    h2::pool::{Pool, Way},
    kept::Use,
    patience::Patience,
    request::{Request, Template},
};
use crate::{
    base::{
        clock::{Clock, Time},
        network::stream::Stream,
        timer::Timer,
    },
    config::{self, Webhook},
    message::{
        batch::Batch,
        outcome::{Attempt, Failure},
    },
};

/// The webhook of a route, as its workers on one lane share it.
pub struct Target {
    template: Template,
    head: HeadWriter,
    connector: Rc<Connector>,
    shared: Rc<Shared>,
    /// The connections that are shared, where HTTP/2 may be spoken.
    pool: Option<Rc<Pool>>,
    /// What is made of answers.
    usage: Option<Use>,
    /// Whether requests have batches.
    has_batches: bool,
    timeout: Duration,
    idle_timeout: Duration,
    max_age: Duration,
    clock: Clock,
}

impl Target {
    /// The webhook as configured. `buffers` are those of the lane.
    pub fn new(webhook: &Webhook, endpoint: &Endpoint, buffers: Rc<Buffers>, clock: Clock) -> Self {
        let template = Template::new(webhook, endpoint);
        let transport = endpoint.transport.clone();
        let connector = Rc::new(Connector::new(&webhook.url, transport, webhook.connect_timeout, clock));
        Self {
            pool: Pool::of(webhook, &template, &connector, endpoint.spoken.clone(), clock).map(Rc::new),
            head: HeadWriter::new(&template),
            template,
            connector,
            shared: Rc::new(Shared::new(buffers)),
            usage: None,
            has_batches: false,
            timeout: webhook.timeout,
            idle_timeout: webhook.idle_timeout,
            max_age: webhook.max_connection_age,
            clock,
        }
    }

    /// The same, for a route that makes this `usage` of answers.
    #[must_use]
    pub fn using(self, usage: Option<Use>) -> Self {
        if let Some(pool) = &self.pool {
            pool.keep(usage.map(|usage| usage.limit));
        }
        Self { usage, ..self }
    }

    /// How long the stages of the latest connection took that was opened to it.
    pub fn latest_stages(&self) -> Stages {
        self.connector.latest_stages()
    }

    /// The same, for a route with such batches.
    #[must_use]
    pub fn batching(self, batch: &config::Batch) -> Self {
        Self { template: self.template.batching(batch), has_batches: batch.is_on(), ..self }
    }
}

/// The client of one worker.
pub struct Client {
    target: Rc<Target>,
    kept: Option<Box<OwnConnection>>,
    timer: Timer,
}

/// A connection that belongs to one worker. Boxed once: it goes from hand to hand for each message, and a worker over HTTP/2
/// has none.
struct OwnConnection {
    connection: HttpConnection<Stream>,
    opened: Time,
    /// Since when it is idle, where it is.
    since: Time,
    /// When it has been idle for too long or has become too old.
    expires: Time,
}

impl Client {
    /// A client without a connection: the first message opens it.
    pub fn new(target: Rc<Target>) -> Self {
        let timer = Timer::new(target.clock);
        Self { target, kept: None, timer }
    }
}

/// A connection that was idle for so long may have been forgotten on the way, by a firewall that was restarted, say.
const LONG_IDLE: Duration = Duration::from_secs(1);

/// How an attempt has ended.
struct Ended {
    attempt: Attempt,
    kept: Option<Box<OwnConnection>>,
    at: Time,
}

/// A whole answer, and the connection that it came over, where that was the worker's own.
struct Answered {
    answer: Answer,
    over: Option<Box<OwnConnection>>,
}

impl Deliver for Client {
    async fn deliver(&mut self, batch: &Batch, now: Time) -> (Attempt, Time) {
        let prepared = self.target.template.prepare(batch, now);
        // Not moved: it is large, and this is done for each message.
        let request = match &prepared {
            Ok(request) => request,
            Err(fault) => return (fault.clone().into(), now),
        };
        // The connection is given away for the attempt and comes back only in good order: one that was broken off in
        // the middle, at the deadline or because this future was dropped, must never be used again.
        let kept = self.kept.take().filter(|kept| kept.expires > now);
        // One deadline from the name lookup to the last byte of the answer: with a limit for each step, a slow webhook
        // could use them up one after the other.
        let patience = Patience::new(request.began, self.target.timeout, self.target.clock);
        let ended = {
            let mut attempt = pin!(self.target.attempt(kept, request, &patience));
            poll_fn(|cx| {
                // The attempt first: an answer that is there already counts, even where the deadline has just passed.
                while !patience.is_over() {
                    if let Poll::Ready(ended) = attempt.as_mut().poll(cx) {
                        return Poll::Ready(ended);
                    }
                    if patience.is_watched() {
                        return Poll::Pending;
                    }
                    ready!(self.timer.poll_passed(cx, patience.wake_at()));
                    patience.time_passed();
                }
                // Once more: what has come so far may be all that matters.
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(ended) => Poll::Ready(ended),
                    Poll::Pending => Poll::Ready(self.target.failed(patience.timed_out("no answer"))),
                }
            })
            .await
        };
        self.kept = ended.kept;
        let mut attempt = ended.attempt;
        if self.target.has_batches && self.target.usage.is_some_and(|usage| usage.verdict) {
            entries::read(&mut attempt, batch);
        }
        (attempt, ended.at)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(kept) = &mut self.kept else {
            return self.target.poll_idle();
        };
        let closed = kept.connection.poll_closed(cx).is_ready();
        if closed || self.target.connector.is_short() || self.timer.poll_passed(cx, kept.expires).is_ready() {
            self.kept = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Target {
    async fn attempt(
        &self,
        kept: Option<Box<OwnConnection>>,
        request: &Request<'_>,
        patience: &Patience,
    ) -> Ended {
        let mut opened = None;
        // A worker that has a connection of its own uses it, whatever is spoken elsewhere.
        if let Some(pool) = self.pool.as_ref().filter(|pool| kept.is_none() && pool.is_spoken()) {
            match pool.answer(request, patience).await {
                Ok(Way::Answered(answer)) => return self.ended(request, answer, None),
                Ok(Way::Http1(stream)) => opened = stream,
                Err(fault) => return self.failed(fault),
            }
        }
        match self.answer(kept, opened, request, patience).await {
            Ok(Answered { answer, over }) => self.ended(request, answer, over),
            Err(fault) => self.failed(fault),
        }
    }

    /// What `answer` to `request` means, and whether the connection that it came over is kept.
    #[inline]
    fn ended(&self, request: &Request<'_>, answer: Answer, over: Option<Box<OwnConnection>>) -> Ended {
        let now = self.clock.now();
        let kept = over.and_then(|connection| self.keep(connection, &answer, now));
        let attempt = match self.template.login_fault(request, answer.status, now) {
            Some(fault) => fault.into(),
            None => {
                let target = request.target.as_deref().unwrap_or(&self.template.target);
                request.explain(answer.attempt(target, self.usage.as_ref()))
            }
        };
        Ended { attempt, kept, at: now }
    }

    /// Looks after the connections that are shared: each has somebody who does, but for a shortage.
    fn poll_idle(&self) -> Poll<()> {
        let Some(pool) = self.pool.as_ref().filter(|pool| !pool.is_empty()) else { return Poll::Ready(()) };
        if self.connector.is_short() {
            pool.close_idle();
        }
        Poll::Pending
    }

    fn failed(&self, fault: Fault) -> Ended {
        Ended { attempt: fault.into(), kept: None, at: self.clock.now() }
    }

    /// The answer to `request`, over `kept` where that is still good, else over a new connection, or the `opened` one.
    async fn answer(
        &self,
        kept: Option<Box<OwnConnection>>,
        opened: Option<Box<Stream>>,
        request: &Request<'_>,
        patience: &Patience,
    ) -> Result<Answered, Fault> {
        if let Some(mut own) = kept {
            if request.began.since(own.since) >= LONG_IDLE {
                own.connection.stream().expect_acknowledgements(true);
                patience.begin_trial();
            }
            let exchanged = self.exchange(&mut own.connection, request, patience).await;
            let was_trial = patience.is_trial();
            patience.end_trial();
            match exchanged {
                Ok(answer) => return Ok(Answered { answer, over: Some(own) }),
                // The webhook closed the connection while it was idle. That is its right and no failure, and since
                // nothing was sent, a second try over a new connection can't deliver twice.
                Err(ExchangeError::NotSent(_)) => {}
                // Something between us has forgotten the connection while it was idle, and drops what is sent over it.
                Err(ExchangeError::NotAcknowledged(fault)) if was_trial => debug!(
                    cause = fault.cause.as_deref(),
                    "an idle connection was lost, the request is sent over a new one"
                ),
                Err(ExchangeError::NotAcknowledged(fault) | ExchangeError::Failed(fault)) => {
                    return Err(fault);
                }
            }
        }
        // Boxed, because connecting is seldom and its state is large: else the future of each worker would be that large.
        Box::pin(self.answer_anew(opened, request, patience)).await
    }

    /// The answer to `request` over a new connection, or the `opened` one.
    async fn answer_anew(
        &self,
        opened: Option<Box<Stream>>,
        request: &Request<'_>,
        patience: &Patience,
    ) -> Result<Answered, Fault> {
        let stream = match opened {
            Some(stream) => *stream,
            None => self.connector.connect().await?,
        };
        if let (Some(pool), true) = (&self.pool, stream.speaks_http2()) {
            // It did not when it was asked before.
            pool.adopt(stream);
            return match pool.answer(request, patience).await? {
                Way::Answered(answer) => Ok(Answered { answer, over: None }),
                Way::Http1(_) => Err(Fault::new(
                    Failure::Protocol,
                    "the webhook speaks HTTP/2 one time, and HTTP/1.1 the next",
                )),
            };
        }
        let mut own = self.own(stream);
        match self.exchange(&mut own.connection, request, patience).await {
            Ok(answer) => Ok(Answered { answer, over: Some(own) }),
            // A new connection that is closed at once is a failure: trying again and again would be a loop.
            Err(
                ExchangeError::NotSent(fault)
                | ExchangeError::NotAcknowledged(fault)
                | ExchangeError::Failed(fault),
            ) => Err(fault),
        }
    }

    fn own(&self, stream: Stream) -> Box<OwnConnection> {
        let connection = HttpConnection::new(stream, Rc::clone(&self.shared));
        let now = self.clock.now();
        Box::new(OwnConnection { connection, opened: now, since: now, expires: now })
    }

    async fn exchange(
        &self,
        connection: &mut HttpConnection<Stream>,
        request: &Request<'_>,
        patience: &Patience,
    ) -> Result<Answer, ExchangeError> {
        let exchange = Exchange::new(|head: &mut Vec<u8>| self.head.write(request, head), &request.body);
        let mut exchange = exchange.keeping(self.usage.map(|usage| usage.limit));
        let mut on_trial = patience.is_trial();
        poll_fn(|cx| {
            let exchanged = connection.poll_exchange(cx, &mut exchange, patience);
            if on_trial && (!patience.is_trial() || exchange.has_begun_to_answer()) {
                // The other end is there. From now on it may take its time, also with reading.
                on_trial = false;
                patience.end_trial();
                connection.stream().expect_acknowledgements(false);
            }
            exchanged
        })
        .await
    }

    /// Keeps `own` from `now` on for the next request, where another one can be sent over it.
    fn keep(&self, mut own: Box<OwnConnection>, answer: &Answer, now: Time) -> Option<Box<OwnConnection>> {
        // We close it a second before the webhook does, so that no request meets the closing half-way: it would not be
        // known whether the webhook has taken it.
        let announced = answer.keep_alive.map(|timeout| timeout.saturating_sub(Duration::from_secs(1)));
        let idle = announced.map_or(self.idle_timeout, |announced| announced.min(self.idle_timeout));
        // Not older than `max_age` either, however busy it is: a new connection notices that the name leads elsewhere
        // now, or that there are more instances behind it.
        own.expires = (now + idle).min(own.opened + self.max_age);
        own.since = now;
        own.connection.is_open().then_some(own)
    }
}
