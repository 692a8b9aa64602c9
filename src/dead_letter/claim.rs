//! The claim to be the only one who replays a stream. Nobody keeps it: whoever has it says so when it is asked for. So it is
//! gone with the one who had it, however that ended.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    task::{AbortHandle, spawn_local},
    time::timeout,
};
use tracing::debug;
use uuid::Uuid;

use super::store::StoreError;
use crate::nats::{Connection, Incoming, Outgoing, Subscription};

/// How long our own answer may take: longer, and the user has no permission for it.
const ECHO: Duration = Duration::from_secs(3);
/// How long others have to answer at least, once our own answer has come.
const OTHERS: Duration = Duration::from_millis(200);

/// What this process is to others that ask for the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It asks for the claim itself.
    Asking,
    /// It asks for it, and has heard of another that began to ask earlier.
    Second,
    /// It has it.
    Holding,
}

/// Held for as long as letters are replayed. Needs a runtime that takes local tasks.
#[derive(Debug)]
pub struct Claim(AbortHandle);

impl Claim {
    /// Claims `stream`. Fails where another process has the claim, or asks for it and was first.
    pub async fn take(connection: &Connection, stream: &str) -> Result<Self, StoreError> {
        let subject = format!("broadcaster.replay.{stream}");
        // Of two that ask at the same time it is the one with the smaller name, which began earlier.
        let name = Uuid::now_v7();
        let standing = Rc::new(Cell::new(Standing::Asking));
        let refused = || StoreError::Unclaimable(subject.clone());
        let (questions, inbox) = (connection.subscribe(&subject, None), connection.new_inbox());
        let mut answers = connection.subscribe(&inbox, None);
        let answering = answer(connection.clone(), questions, name, Rc::clone(&standing));
        let claim = Self(spawn_local(answering).abort_handle());
        let (asked, mut patience) = (Instant::now(), ECHO);
        let question = name.to_string();
        let asked_by = Outgoing::new(&subject, question.as_bytes()).replying_to(&inbox);
        connection.publish(asked_by).map_err(|_away| refused())?;
        let mut is_heard = false;
        while let Some(left) = patience.checked_sub(asked.elapsed()) {
            let Ok(said) = timeout(left, answers.next()).await else { break };
            let Some(other) = Answer::read(&said) else { continue };
            if other.name == name {
                is_heard = true;
                patience = asked.elapsed() * 3 + OTHERS;
            } else if other.is_holding || other.name < name {
                return Err(StoreError::Claimed(stream.to_owned()));
            }
        }
        if !is_heard {
            return Err(refused());
        }
        if standing.get() == Standing::Second {
            return Err(StoreError::Claimed(stream.to_owned()));
        }
        standing.set(Standing::Holding);
        Ok(claim)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What one says who asks for the claim or has it.
struct Answer {
    is_holding: bool,
    name: Uuid,
}

impl Answer {
    const HOLDING: &'static str = "holding ";
    const ASKING: &'static str = "asking ";

    /// None where it is not such an answer: a stream that keeps the subject answers, too.
    fn read(message: &Incoming) -> Option<Self> {
        let payload = message.payload();
        let text = std::str::from_utf8(&payload).ok()?;
        let holding = text.strip_prefix(Self::HOLDING).map(|name| (true, name));
        let (is_holding, name) = holding.or_else(|| Some((false, text.strip_prefix(Self::ASKING)?)))?;
        Some(Self { is_holding, name: name.parse().ok()? })
    }
}

/// Answers all who ask, for as long as it lives.
async fn answer(
    connection: Connection,
    mut questions: Subscription,
    name: Uuid,
    standing: Rc<Cell<Standing>>,
) {
    loop {
        let question = questions.next().await;
        let Some(reply) = question.reply() else { continue };
        let is_holding = standing.get() == Standing::Holding;
        let asker = std::str::from_utf8(&question.payload()).ok().and_then(|name| name.parse::<Uuid>().ok());
        if !is_holding && asker.is_some_and(|asker| asker < name) {
            standing.set(Standing::Second);
        }
        let said = if is_holding { Answer::HOLDING } else { Answer::ASKING };
        // Whoever does not hear it hears nothing of others either.
        let said = format!("{said}{name}");
        if let Err(error) = connection.publish(Outgoing::new(reply, said.as_bytes())) {
            debug!(%error, "another replay is not told of this one");
        }
    }
}
