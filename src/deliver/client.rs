//! The client of one worker: at most one connection, kept as long as it is good.

use std::{
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio_rustls::rustls::ClientConfig;

use super::{
    Deliver,
    answer::Answer,
    connect::{connector::Connector, stream::Stream},
    h1::connection::{Buffers, Connection, Unanswered},
    request::Template,
};
use crate::base::timer::Timer;
use crate::{
    base::clock::{Clock, Time},
    config::Webhook,
    message::{
        Message,
        outcome::{Attempt, Failure},
    },
};

/// Where a route's messages go. Shared by the route's workers in one lane.
pub struct Target {
    template: Template,
    connector: Connector,
    buffers: Rc<Buffers>,
    timeout: Duration,
    idle_timeout: Duration,
    max_age: Duration,
    clock: Clock,
}

impl Target {
    /// The webhook as configured; `tls` is for https.
    pub fn new(webhook: &Webhook, tls: Arc<ClientConfig>, clock: Clock) -> Self {
        Self {
            template: Template::new(webhook),
            connector: Connector::new(&webhook.url, tls, webhook.connect_timeout, clock),
            buffers: Rc::default(),
            timeout: webhook.timeout,
            idle_timeout: webhook.idle_timeout,
            max_age: webhook.max_connection_age,
            clock,
        }
    }
}

/// See the module.
pub struct Client {
    target: Rc<Target>,
    kept: Option<Kept>,
    timer: Timer,
}

/// A connection that is in order and waits for its next request.
struct Kept {
    connection: Connection<Stream>,
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

impl Deliver for Client {
    async fn deliver(&mut self, message: &Message, now: Time) -> Attempt {
        let deadline = now + self.target.timeout;
        // The connection is given away for the attempt and comes back only in good order: one that was broken off in
        // the middle, at the deadline or because this future was dropped, must never be used again.
        let kept = self.kept.take().filter(|kept| kept.expires > now);
        let (attempt, kept) = {
            let mut attempt = pin!(self.target.attempt(kept, message));
            poll_fn(|cx| {
                if let Poll::Ready(done) = attempt.as_mut().poll(cx) {
                    return Poll::Ready(done);
                }
                let passed = self.timer.poll_passed(cx, deadline);
                passed.map(|()| (Attempt::failed(Failure::Timeout), None))
            })
            .await
        };
        self.kept = kept;
        attempt
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
    /// One attempt, over `kept` where that is still good, else over a new connection.
    async fn attempt(&self, kept: Option<Kept>, message: &Message) -> (Attempt, Option<Kept>) {
        if let Some(mut kept) = kept {
            match self.exchange(&mut kept.connection, message).await {
                Ok(answer) => {
                    let kept = self.keep(kept.connection, kept.opened, &answer);
                    return (answer.attempt(), kept);
                }
                Err(Unanswered::Failed(failure)) => return (Attempt::failed(failure), None),
                // The webhook closed the connection while it was idle. That is its right, and no failure.
                Err(Unanswered::NotTaken) => {}
            }
        }
        let opened = self.clock.now();
        // Boxed, because this is seldom and its state is large: a worker that has a connection shall not carry it along.
        let mut connection = match Box::pin(self.connector.connect()).await {
            Ok(stream) => Connection::new(stream, Rc::clone(&self.buffers)),
            Err(failure) => return (Attempt::failed(failure), None),
        };
        match self.exchange(&mut connection, message).await {
            Ok(answer) => {
                let kept = self.keep(connection, opened, &answer);
                (answer.attempt(), kept)
            }
            Err(Unanswered::Failed(failure)) => (Attempt::failed(failure), None),
            Err(Unanswered::NotTaken) => (Attempt::failed(Failure::Reset), None),
        }
    }

    async fn exchange(
        &self,
        connection: &mut Connection<Stream>,
        message: &Message,
    ) -> Result<Answer, Unanswered> {
        connection.exchange(|head| self.template.write(message, head), &message.payload).await
    }

    /// Keeps `connection` for the next message, where that makes sense.
    fn keep(&self, connection: Connection<Stream>, opened: Time, answer: &Answer) -> Option<Kept> {
        // A second before the webhook closes it, so that no request meets the closing half-way.
        let announced = answer.keep_alive.map(|timeout| timeout.saturating_sub(Duration::from_secs(1)));
        let idle = announced.map_or(self.idle_timeout, |announced| announced.min(self.idle_timeout));
        let expires = (self.clock.now() + idle).min(opened + self.max_age);
        connection.is_open().then_some(Kept { connection, opened, expires })
    }
}
