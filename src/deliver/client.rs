//! The client of one worker: at most one connection, kept as long as it is good.

use std::{
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    Deliver,
    answer::Answer,
    connect::{connector::Connector, stream::Stream, tls::Transport},
    h1::{
        connection::{Buffers, HttpConnection, Unanswered},
        head::HeadWriter,
    },
    request::{Request, Template},
};
use crate::{
    base::{
        clock::{Clock, Time},
        timer::Timer,
    },
    config::Webhook,
    message::{
        batch::Batch,
        outcome::{Attempt, Failure},
    },
};

/// Where a route's messages go. Shared by the route's workers in one lane.
pub struct Target {
    template: Template,
    head: HeadWriter,
    connector: Connector,
    buffers: Rc<Buffers>,
    timeout: Duration,
    idle_timeout: Duration,
    max_age: Duration,
    clock: Clock,
}

impl Target {
    /// The webhook as configured, which `transport` leads to. `buffers` are those of the lane.
    pub fn new(webhook: &Webhook, transport: Transport, buffers: Rc<Buffers>, clock: Clock) -> Self {
        let template = Template::new(webhook);
        Self {
            head: HeadWriter::new(&template),
            template,
            connector: Connector::new(&webhook.url, transport, webhook.connect_timeout, clock),
            buffers,
            timeout: webhook.timeout,
            idle_timeout: webhook.idle_timeout,
            max_age: webhook.max_connection_age,
            clock,
        }
    }
}

/// The client of one worker.
pub struct Client {
    target: Rc<Target>,
    kept: Option<Kept>,
    timer: Timer,
}

/// A connection that is in order and waits for its next request.
struct Kept {
    connection: HttpConnection<Stream>,
    opened: Time,
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

/// What an attempt came to.
struct Ended {
    attempt: Attempt,
    kept: Option<Kept>,
    at: Time,
}

/// A whole answer, and what it came over.
struct Answered {
    answer: Answer,
    connection: HttpConnection<Stream>,
    opened: Time,
}

impl Deliver for Client {
    async fn deliver(&mut self, batch: &Batch, now: Time) -> (Attempt, Time) {
        let request = self.target.template.prepare(batch, now);
        let deadline = request.began + self.target.timeout;
        // The connection is given away for the attempt and comes back only in good order: one that was broken off in
        // the middle, at the deadline or because this future was dropped, must never be used again.
        let kept = self.kept.take().filter(|kept| kept.expires > now);
        let ended = {
            let mut attempt = pin!(self.target.attempt(kept, &request));
            poll_fn(|cx| {
                if let Poll::Ready(ended) = attempt.as_mut().poll(cx) {
                    return Poll::Ready(ended);
                }
                self.timer.poll_passed(cx, deadline).map(|()| self.target.failed(Failure::Timeout))
            })
            .await
        };
        self.kept = ended.kept;
        (ended.attempt, ended.at)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(kept) = &mut self.kept else {
            return Poll::Ready(());
        };
        let closed = kept.connection.poll_closed(cx).is_ready();
        if closed || self.timer.poll_passed(cx, kept.expires).is_ready() {
            self.kept = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Target {
    async fn attempt(&self, kept: Option<Kept>, request: &Request<'_>) -> Ended {
        match self.answer(kept, request).await {
            Err(failure) => self.failed(failure),
            Ok(Answered { answer, connection, opened }) => {
                let now = self.clock.now();
                let kept = self.keep(connection, opened, &answer, now);
                Ended { attempt: answer.attempt(), kept, at: now }
            }
        }
    }

    fn failed(&self, failure: Failure) -> Ended {
        Ended { attempt: Attempt::failed(failure), kept: None, at: self.clock.now() }
    }

    /// The answer to `request`, over `kept` where that is still good, else over a new connection.
    async fn answer(&self, kept: Option<Kept>, request: &Request<'_>) -> Result<Answered, Failure> {
        if let Some(Kept { mut connection, opened, .. }) = kept {
            match self.exchange(&mut connection, request).await {
                Ok(answer) => return Ok(Answered { answer, connection, opened }),
                Err(Unanswered::Failed(failure)) => return Err(failure),
                // The webhook closed the connection while it was idle. That is its right, and no failure.
                Err(Unanswered::NotSent) => {}
            }
        }
        let opened = self.clock.now();
        // Boxed, because this is seldom and its state is large: a worker that has a connection shall not carry it along.
        let stream = Box::pin(self.connector.connect()).await?;
        let mut connection = HttpConnection::new(stream, Rc::clone(&self.buffers));
        match self.exchange(&mut connection, request).await {
            Ok(answer) => Ok(Answered { answer, connection, opened }),
            Err(Unanswered::Failed(failure)) => Err(failure),
            Err(Unanswered::NotSent) => Err(Failure::Reset),
        }
    }

    async fn exchange(
        &self,
        connection: &mut HttpConnection<Stream>,
        request: &Request<'_>,
    ) -> Result<Answer, Unanswered> {
        connection.exchange(|head| self.head.write(request, head), request.body).await
    }

    /// Keeps `connection` from `now` on for the next request, where that makes sense.
    fn keep(
        &self,
        connection: HttpConnection<Stream>,
        opened: Time,
        answer: &Answer,
        now: Time,
    ) -> Option<Kept> {
        // A second before the webhook closes it, so that no request meets the closing half-way.
        let announced = answer.keep_alive.map(|timeout| timeout.saturating_sub(Duration::from_secs(1)));
        let idle = announced.map_or(self.idle_timeout, |announced| announced.min(self.idle_timeout));
        let expires = (now + idle).min(opened + self.max_age);
        connection.is_open().then_some(Kept { connection, opened, expires })
    }
}
