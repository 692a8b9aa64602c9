//! The inbox of a lane for the answers of JetStream: each goes to whoever waits for it, by its number.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use super::acks::Acks;
use crate::{
    base::clock::Time,
    nats::{Attached, Connection, ConnectionState, Incoming, Outgoing, Sink},
};

/// How many answers are waited for at most. What is not answered is asked again under another number, and taken out before.
const MOST: usize = 64 * 1024;

pub(super) struct Answers {
    connection: Connection,
    inbox: String,
    asked: Cell<u64>,
    waiting: Rc<WaitingList>,
    attached: Attached,
}

#[derive(Default)]
struct WaitingList(RefCell<HashMap<u64, Waiting>>);

enum Waiting {
    /// A request, which has one answer.
    Request(oneshot::Sender<Incoming>),
    /// Something that was said to a stream.
    Saying(Rc<Acks>),
}

impl Answers {
    pub(super) fn over(connection: &Connection) -> Self {
        let inbox = connection.new_inbox();
        let waiting = Rc::<WaitingList>::default();
        let attached = connection.attach(&format!("{inbox}.*"), None, Rc::clone(&waiting) as Rc<dyn Sink>);
        Self { connection: connection.clone(), inbox, asked: Cell::new(0), waiting, attached }
    }

    /// What is known of the connection.
    pub(super) fn connection_state(&self) -> Arc<ConnectionState> {
        Arc::clone(self.connection.state())
    }

    /// Asks `subject`, and waits for the answer. None where it can't be asked, and where no answer comes in time.
    pub(super) async fn ask(&self, subject: &str, question: &[u8], patience: Duration) -> Option<Incoming> {
        let (answer, answered) = oneshot::channel();
        let number = self.expect(Waiting::Request(answer))?;
        let reply = self.subject(number);
        if self.connection.publish(Outgoing::new(subject, question).replying_to(&reply)).is_err() {
            self.forget(number);
            return None;
        }
        let answer = timeout(patience, answered).await;
        self.forget(number);
        answer.ok()?.ok()
    }

    /// The number of something that `acks` is about to say, and the subject of its answer; none where too much is waited
    /// for.
    pub(super) fn expect_saying(&self, acks: &Rc<Acks>) -> Option<(u64, String)> {
        let number = self.expect(Waiting::Saying(Rc::clone(acks)))?;
        Some((number, self.subject(number)))
    }

    /// Nobody waits for the answer with this number any more.
    pub(super) fn forget(&self, number: u64) {
        self.waiting.0.borrow_mut().remove(&number);
    }

    /// Why the server refuses the inbox, in its own words; none while it does not.
    pub(super) fn refusal(&self) -> Option<String> {
        self.attached.refusal()
    }

    fn expect(&self, waiting: Waiting) -> Option<u64> {
        let mut list = self.waiting.0.borrow_mut();
        if list.len() >= MOST {
            return None;
        }
        let number = self.asked.get() + 1;
        self.asked.set(number);
        list.insert(number, waiting);
        Some(number)
    }

    fn subject(&self, number: u64) -> String {
        format!("{}.{number}", self.inbox)
    }
}

impl Sink for WaitingList {
    fn take(&self, answer: Incoming, _now: Time) {
        let number = answer.subject().rsplit('.').next().and_then(|token| token.parse().ok());
        let waiting = number.and_then(|number| Some((number, self.0.borrow_mut().remove(&number)?)));
        match waiting {
            // Whoever asked may have given up.
            Some((_, Waiting::Request(asker))) => drop(asker.send(answer)),
            // The server itself answers with a status where nobody has heard it.
            Some((number, Waiting::Saying(acks))) => acks.answered(number, answer.status().is_none()),
            None => {}
        }
    }

    fn taken(&self) {}
}
