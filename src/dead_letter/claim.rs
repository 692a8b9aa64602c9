//! The claim to be the only one who replays a stream. Nobody keeps it: whoever has it says so when it is asked for. So it is
//! gone with the one who had it, however that ended.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use async_nats::{Client, Message, Subscriber};
use tokio::{
    task::{AbortHandle, spawn_local},
    time::timeout,
};
use uuid::Uuid;

use super::store::{StoreError, failed};
use crate::nats::{NatsConnection, next};

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
    pub async fn take(connection: &NatsConnection, stream: &str) -> Result<Self, StoreError> {
        let (client, subject) = (connection.client().clone(), format!("broadcaster.replay.{stream}"));
        // Of two that ask at the same time it is the one with the smaller name, which began earlier.
        let name = Uuid::now_v7();
        let standing = Rc::new(Cell::new(Standing::Asking));
        let refused = || StoreError::Unclaimable(subject.clone());
        let questions = client.subscribe(subject.clone()).await.map_err(failed("subscribe"))?;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(failed("subscribe"))?;
        let answering = answer(client.clone(), questions, name, Rc::clone(&standing));
        let claim = Self(spawn_local(answering).abort_handle());
        let (asked, mut patience) = (Instant::now(), ECHO);
        client
            .publish_with_reply(subject.clone(), inbox, name.to_string().into())
            .await
            .map_err(failed("ask"))?;
        let mut is_heard = false;
        while let Some(left) = patience.checked_sub(asked.elapsed()) {
            let Ok(Some(said)) = timeout(left, next(&mut answers)).await else { break };
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
    fn read(message: &Message) -> Option<Self> {
        let text = std::str::from_utf8(&message.payload).ok()?;
        let holding = text.strip_prefix(Self::HOLDING).map(|name| (true, name));
        let (is_holding, name) = holding.or_else(|| Some((false, text.strip_prefix(Self::ASKING)?)))?;
        Some(Self { is_holding, name: name.parse().ok()? })
    }
}

/// Answers all who ask, for as long as it lives.
async fn answer(client: Client, mut questions: Subscriber, name: Uuid, standing: Rc<Cell<Standing>>) {
    while let Some(question) = next(&mut questions).await {
        let Some(reply) = question.reply else { continue };
        let is_holding = standing.get() == Standing::Holding;
        let asker = std::str::from_utf8(&question.payload).ok().and_then(|name| name.parse::<Uuid>().ok());
        if !is_holding && asker.is_some_and(|asker| asker < name) {
            standing.set(Standing::Second);
        }
        let said = if is_holding { Answer::HOLDING } else { Answer::ASKING };
        // Whoever does not hear it hears nothing of others either.
        drop(client.publish(reply, format!("{said}{name}").into()).await);
    }
}
