//! Tells a stream what became of its messages, until it has confirmed that it knows, and that others are in hand.
//!
//! An ack has no answer, unless it asks for one. So the last one of those that go out together does: they went one way, in
//! one order, and the answer to it stands for all. What is not answered in time, or went over a connection that is gone,
//! is said again.

use std::{cell::Cell, rc::Rc, time::Duration};

use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    time::{sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{attempts::SharedAttempts, feed::Common};
use crate::{
    base::clock::Time,
    config::Jetstream,
    message::{
        acknowledgement::AckKind,
        ledger::{Ledger, Ledgers, Saying},
    },
    nats::{Attached, Outgoing},
};

/// How many acks go out together at most.
const BATCH: usize = 512;
/// How many batches may be without an answer: while one is on its way, the next one is there already.
const MOST_UNANSWERED: usize = 2;
/// How many messages may have come to an end that the stream has not confirmed, before no more are taken.
const MOST_UNCONFIRMED: usize = 64 * 1024;
/// After so long without an answer, no more messages are taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a sign may take to be answered before another one is sent: at first, and at most.
const SIGN: Duration = Duration::from_secs(1);
const LONGEST_SIGN: Duration = Duration::from_secs(2);

/// What the stream of a route is told on one lane.
pub(super) struct Acks {
    pub(super) ledger: Ledger,
    common: Common,
    /// Tells the other replicas how often messages were attempted; none where replicas tell each other nothing.
    attempts: Option<SharedAttempts>,
    /// What the reply subjects of all messages begin with, as long as no message has told.
    consumer: String,
    /// The connection over which the stream is known to be the one that the ledger is about.
    verified: Cell<Option<u64>>,
    path: Cell<Path>,
    /// Over which connection what was said has gone.
    connection: Cell<u64>,
    /// Since when nothing that was said has been answered, though something should have been.
    silent_since: Cell<Option<Time>>,
    /// How often acks were refused before the last sign was sent.
    refusals: Cell<u64>,
    hearing: watch::Sender<Hearing>,
    /// Whether somebody waits for a sign though there is nothing to say.
    wants_sign: Cell<bool>,
    /// Notified when an answer has come, and when something else has changed.
    told: Notify,
}

/// Whether the stream hears what it is told here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    /// As far as is known.
    Well,
    /// It has answered over this connection.
    Sure,
    /// No more messages should be taken.
    Troubled(AckTrouble),
}

/// Whether what is said to the stream is answered.
#[derive(Clone, Copy, Debug)]
enum Path {
    /// It is not known.
    Unknown,
    /// A sign was sent then, with this number.
    Asked { at: Time, number: u64, patience: Duration },
    /// It is.
    Open,
}

/// Why the stream does not hear of what became of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum AckTrouble {
    #[error("NATS refuses acknowledgements: the user needs the permission to publish to $JS.ACK.>")]
    Refused,
    #[error("the stream does not confirm acknowledgements")]
    Unconfirmed,
}

impl Acks {
    pub(super) fn new(ledger: Ledger, common: Common, jetstream: &Jetstream) -> Rc<Self> {
        let attempts = common.shares_attempts.then(|| SharedAttempts::over(&common.connection, jetstream));
        let connection = Cell::new(common.connection.connections());
        Rc::new(Self {
            ledger,
            common,
            attempts,
            consumer: format!("$JS.ACK.{}.{}", jetstream.stream, jetstream.consumer),
            verified: Cell::new(None),
            path: Cell::new(Path::Unknown),
            connection,
            silent_since: Cell::new(None),
            refusals: Cell::new(0),
            hearing: watch::Sender::new(Hearing::Well),
            wants_sign: Cell::new(false),
            told: Notify::new(),
        })
    }

    /// Says what there is to say, until the `puller` has ended, which brings messages to the last, and the stream knows
    /// of the end of all; or until `close`.
    pub(super) async fn run(self: Rc<Self>, puller: TaskTracker, close: CancellationToken) {
        let mut changes = self.common.connection.state().changes();
        loop {
            let now = self.common.clock.now();
            let next = self.say(now);
            if puller.is_empty() && self.ledger.in_hand() == 0 && self.ledger.unconfirmed() == 0 {
                return;
            }
            tokio::select! {
                () = self.ledger.news() => {}
                () = self.told.notified() => {}
                () = sleep_until(self.common.clock.instant(next)) => {}
                _ = changes.changed() => {}
                () = puller.wait(), if !puller.is_empty() => {}
                () = close.cancelled() => return,
            }
        }
    }

    /// Has `ledgers` remember what other replicas say of attempts, for as long as the result is kept.
    pub(super) fn listen(&self, ledgers: &Ledgers) -> Option<Attached> {
        self.attempts.as_ref().map(|attempts| attempts.listen(ledgers))
    }

    /// Tells the other replicas what this one remembers of attempts, before it forgets that.
    pub(super) fn pass_on(&self, ledgers: &Ledgers) {
        if let Some(attempts) = &self.attempts {
            ledgers.returned().into_iter().for_each(|returned| attempts.tell(returned));
        }
    }

    /// The stream is known to be the one that the ledger is about, over the present connection.
    pub(super) fn verified(&self) {
        self.verified.set(Some(self.common.connection.connections()));
        // It has just answered: no need to wait out what it did not answer before.
        if let Path::Asked { number, .. } = self.path.get() {
            self.common.answers.forget(number);
            self.path.set(Path::Unknown);
        }
        self.told.notify_one();
    }

    pub(super) fn is_verified(&self) -> bool {
        self.verified.get() == Some(self.common.connection.connections())
    }

    /// It may be another one by now.
    pub(super) fn unverified(&self) {
        self.verified.set(None);
    }

    /// Returns when there is trouble.
    pub(super) async fn troubled(&self) -> AckTrouble {
        let mut hearing = self.hearing.subscribe();
        loop {
            if let Hearing::Troubled(trouble) = *hearing.borrow_and_update() {
                return trouble;
            }
            // The sender is here, so that this can't fail.
            drop(hearing.changed().await);
        }
    }

    /// Returns when the stream hears what it is told, or nothing speaks against that; or with what does.
    pub(super) async fn heard(&self) -> Result<(), AckTrouble> {
        self.wants_sign.set(true);
        self.told.notify_one();
        let mut hearing = self.hearing.subscribe();
        drop(timeout(SIGN + SIGN / 4, hearing.wait_for(|hearing| *hearing != Hearing::Well)).await);
        let hearing = *hearing.borrow();
        match hearing {
            Hearing::Troubled(trouble) => Err(trouble),
            Hearing::Well | Hearing::Sure => Ok(()),
        }
    }

    /// Returns when there is no trouble.
    pub(super) async fn untroubled(&self) {
        let mut hearing = self.hearing.subscribe();
        drop(hearing.wait_for(|hearing| !matches!(hearing, Hearing::Troubled(_))).await);
    }

    /// An answer has come to what was said under this number; or the server says that nobody has heard it.
    pub(super) fn answered(&self, number: u64, is_heard: bool) {
        if !is_heard {
            // What was said with it is said again in time.
            self.path.set(Path::Unknown);
            return self.told.notify_one();
        }
        self.ledger.confirm(number);
        self.path.set(Path::Open);
        self.silent_since.set(None);
        self.wants_sign.set(false);
        self.hears(Hearing::Sure);
        self.told.notify_one();
    }

    /// Says what can be said at `now`. Returns when to look again.
    fn say(self: &Rc<Self>, now: Time) -> Time {
        const SOON: Duration = Duration::from_secs(5);
        self.follow_connection(now);
        let connection = &self.common.connection;
        if !self.is_verified() || !connection.is_connected() {
            return now + SOON;
        }
        let given_up = self.ledger.expire(now);
        if !given_up.is_empty() && matches!(self.path.get(), Path::Open) {
            self.path.set(Path::Unknown);
        }
        given_up.into_iter().for_each(|number| self.common.answers.forget(number));
        // Before another sign is sent, which would begin the wait anew.
        self.look_for_trouble(now);
        let due = self.ledger.next_due();
        let wants = self.ledger.has_news() || due.is_some_and(|due| due <= now) || self.wants_sign.get();
        match self.path.get() {
            Path::Unknown if wants => self.ask(now, SIGN),
            Path::Asked { at, number, patience } if now.since(at) >= patience => {
                self.common.answers.forget(number);
                self.ask(now, (2 * patience).min(LONGEST_SIGN));
            }
            Path::Unknown | Path::Asked { .. } => {}
            Path::Open => self.say_all(now),
        }
        let asked = match self.path.get() {
            Path::Asked { at, patience, .. } => Some(at + patience),
            Path::Open => self.ledger.next_due(),
            Path::Unknown => None,
        };
        asked.unwrap_or(now + SOON).min(now + SOON)
    }

    fn follow_connection(&self, now: Time) {
        let connections = self.common.connection.connections();
        if self.connection.replace(connections) != connections {
            let given_up = self.ledger.disconnected(now);
            given_up.into_iter().for_each(|number| self.common.answers.forget(number));
            self.path.set(Path::Unknown);
            self.silent_since.set(None);
            self.hears(Hearing::Well);
        }
    }

    /// Asks the stream for a sign that it hears what it is told here: a heartbeat for a message that there never is.
    fn ask(self: &Rc<Self>, now: Time, patience: Duration) {
        let Some((number, reply)) = self.common.answers.expect_saying(self) else { return };
        self.refusals.set(self.times_refused());
        let subject = self.sign();
        let payload = AckKind::Progress.payload();
        let asked = Outgoing::new(&subject, &payload).replying_to(&reply);
        if self.common.connection.publish(asked).is_err() {
            return self.common.answers.forget(number);
        }
        self.path.set(Path::Asked { at: now, number, patience });
        if self.silent_since.get().is_none() {
            self.silent_since.set(Some(now));
        }
    }

    /// The subject of a sign.
    pub(super) fn sign(&self) -> String {
        let consumer = self.ledger.consumer();
        let consumer = consumer.as_deref().unwrap_or(&self.consumer);
        format!("{consumer}.1.{}.1.0.0", i64::MAX)
    }

    fn say_all(self: &Rc<Self>, now: Time) {
        let connection = &self.common.connection;
        for returned in self.ledger.take_returned() {
            if let Some(attempts) = &self.attempts {
                attempts.tell(returned);
            }
        }
        while self.ledger.has_news() && self.ledger.unanswered() < MOST_UNANSWERED {
            let Some((number, reply)) = self.common.answers.expect_saying(self) else { break };
            let is_complete = self.ledger.say(number, BATCH, now, |saying: Saying<'_>| {
                let payload = saying.kind.payload();
                let ack = Outgoing::new(saying.subject, &payload);
                connection.publish(if saying.is_last { ack.replying_to(&reply) } else { ack }).is_ok()
            });
            if !is_complete {
                self.common.answers.forget(number);
                break;
            }
        }
        self.ledger.beat(now, |saying| {
            connection.publish(Outgoing::new(saying.subject, &saying.kind.payload())).is_ok()
        });
    }

    fn look_for_trouble(&self, now: Time) {
        let is_full = self.ledger.unconfirmed() > MOST_UNCONFIRMED;
        let is_silent = self.silent_since.get().is_some_and(|since| now.since(since) >= PATIENCE);
        if let Path::Asked { at, .. } = self.path.get()
            && now.since(at) >= SIGN
            && self.times_refused() > self.refusals.get()
        {
            self.hears(Hearing::Troubled(AckTrouble::Refused));
        } else if is_full || is_silent {
            self.hears(Hearing::Troubled(AckTrouble::Unconfirmed));
        }
    }

    fn times_refused(&self) -> u64 {
        self.common.connection.state().refused_publications("$JS.ACK.>")
    }

    fn hears(&self, hearing: Hearing) {
        self.hearing.send_if_modified(|former| std::mem::replace(former, hearing) != hearing);
    }
}
