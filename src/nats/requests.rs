//! Requests over a connection of our own, many at the same time.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use super::{
    Attached, Connection, Incoming, Outgoing, Sink,
    jetstream::{Heard, Hearing, JetStream, Unanswered, heard, refused},
};
use crate::base::clock::Time;

/// Asks over a connection. All answers come to one inbox, by the numbers of their questions.
pub struct Requests {
    connection: Connection,
    inbox: String,
    asked: Cell<u64>,
    waiting: Rc<Waiting>,
    /// Kept for as long as there may be answers.
    _subscription: Attached,
}

/// Who waits for which answer.
#[derive(Default)]
struct Waiting(RefCell<BTreeMap<u64, oneshot::Sender<Incoming>>>);

/// A place among those who wait, which is given up however the wait ends.
struct Place<'w> {
    waiting: &'w Waiting,
    number: u64,
}

impl Requests {
    /// Asks over `connection`, which may not be connected yet.
    pub fn over(connection: &Connection) -> Self {
        let (inbox, waiting) = (connection.new_inbox(), Rc::<Waiting>::default());
        let sink = Rc::clone(&waiting) as Rc<dyn Sink>;
        let subscription = connection.attach(&format!("{inbox}.*"), None, sink);
        let connection = connection.clone();
        Self { connection, inbox, asked: Cell::new(0), waiting, _subscription: subscription }
    }

    /// The connection that it goes over.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    async fn answer(&self, subject: &str, question: &[u8]) -> Result<Incoming, Unanswered> {
        let number = self.asked.get() + 1;
        self.asked.set(number);
        let (asker, answer) = oneshot::channel();
        self.waiting.0.borrow_mut().insert(number, asker);
        let _place = Place { waiting: &self.waiting, number };
        let (mut changes, before) = (self.connection.state().changes(), self.connection.connections());
        let reply = format!("{}.{number}", self.inbox);
        let published = self.connection.publish(Outgoing::new(subject, question).replying_to(&reply));
        published.map_err(|_away| Unanswered::Disconnected)?;
        // What was asked over a connection that is gone is answered no more.
        let lost = async {
            while self.connection.is_connected() && self.connection.connections() == before {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            answer = answer => answer.map_err(|_gone| Unanswered::Silence),
            () = lost => Err(Unanswered::Disconnected),
        }
    }
}

impl JetStream for Requests {
    fn ask<'a>(&'a self, request: &'a str, question: &'a [u8], patience: Duration) -> Hearing<'a> {
        Box::pin(async move {
            let subject = format!("$JS.API.{request}");
            let state = self.connection.state();
            let refusals = state.refused_publications(&subject);
            tokio::select! {
                // The refusal first: a request that was refused gets no answer, and would be taken for silence.
                biased;
                () = refused(state, &subject, refusals) => Ok(Heard::Forbidden),
                answer = timeout(patience, self.answer(&subject, question)) => {
                    answer.unwrap_or(Err(Unanswered::Silence)).map(|answer| heard(&answer))
                }
            }
        })
    }
}

impl Sink for Waiting {
    fn take(&self, message: Incoming, _now: Time) {
        let number = message.subject().rsplit('.').next().and_then(|token| token.parse().ok());
        let asker = number.and_then(|number: u64| self.0.borrow_mut().remove(&number));
        // Nobody waits for what comes too late, or was never asked for.
        if let Some(asker) = asker {
            drop(asker.send(message));
        }
    }

    fn taken(&self) {}
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.0.borrow_mut().remove(&self.number);
    }
}
