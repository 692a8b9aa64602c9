//! Hand-over: what a replica could not deliver before it stops goes to another one of the same queue group.
//!
//! Each replica listens on `broadcaster.handover.<queue group>`, as a member of that queue group, so that exactly one
//! of them gets a request. One that stops leaves first, and then offers what is left, each message as a request: the
//! payload is the payload, the rest travels in headers ([`parcel`]). A replica that takes it into a queue of its own
//! says so; one that has no room says that too, and the request is made again. What nobody confirms stays with the
//! giver.
//!
//! All of this uses one connection of the process, which does nothing else: what the lanes count on theirs stays true,
//! and a user without the permission for this subject loses nothing but the hand-over.

mod receive;
mod send;
pub mod wire;

use std::{sync::Arc, time::Duration};

use async_nats::{Message as Received, StatusCode};
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_local},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::receive::Taker;
pub use self::{receive::LaneTaker, send::Giver};
use crate::{
    base::clock::Clock,
    config::{Config, PublishSubject, QueueGroup, Route},
    nats::{Echo, Link, LinkError, LinkState},
};

/// How many messages may be on their way from the connection to a lane.
const ON_THE_WAY: usize = 1024;
/// How long leaving may take.
const LEAVING: Duration = Duration::from_secs(2);

/// This process's part in handing over. See the module.
#[derive(Debug)]
pub struct HandOver {
    link: Arc<Link>,
    stop: CancellationToken,
    taker: JoinHandle<()>,
}

/// A lane's part in handing over.
#[derive(Debug)]
pub struct Desk {
    /// Takes what others offer.
    pub taker: LaneTaker,
    /// Offers what is left.
    pub giver: Giver,
}

impl HandOver {
    /// Begins to take for so many `lanes`, over a connection that may take its time. Nothing where no route could hand
    /// anything over: what comes from a stream goes back there.
    pub async fn start(
        config: &Arc<Config>,
        lanes: usize,
        clock: Clock,
    ) -> Result<Option<(Self, Vec<Desk>)>, LinkError> {
        if !config.routes.iter().any(is_core) {
            return Ok(None);
        }
        let link = Arc::new(Link::open(&config.nats, "hand-over", None).await?);
        let echo = Echo::over(&link).await?;
        let stop = CancellationToken::new();
        let (mut doors, mut desks) = (Vec::with_capacity(lanes), Vec::with_capacity(lanes));
        for _ in 0..lanes {
            let (door, offers) = mpsc::channel(ON_THE_WAY);
            doors.push(door);
            let taker = LaneTaker::new(offers, link.client().clone());
            desks.push(Desk { taker, giver: Giver::new(Arc::clone(&link), clock) });
        }
        let taker = Taker::new(Arc::clone(config), Arc::clone(&link), doors, clock);
        let taker = spawn_local(taker.run(echo, stop.clone()));
        Ok(Some((Self { link, stop, taker }, desks)))
    }

    /// What is known of the connection.
    pub fn link(&self) -> Arc<LinkState> {
        Arc::clone(self.link.state())
    }

    /// Takes nothing more, and has told NATS so: what is offered from now on over this connection comes to others.
    pub async fn leave(self) {
        self.stop.cancel();
        if timeout(LEAVING, self.taker).await.is_err() {
            debug!("NATS takes its time to end the subscriptions for the hand-over");
        }
    }
}

/// Whether what is left of `route` can be handed over.
pub const fn is_core(route: &Route) -> bool {
    route.jetstream.is_none()
}

/// Where the members of `group` hand over to each other.
fn subject(group: &QueueGroup) -> String {
    const UNFIT: &AsciiSet = &CONTROLS.add(b'.').add(b'*').add(b'>').add(b'%');
    let subject = |group: &str| format!("broadcaster.handover.{group}");
    let literal = subject(group.as_str());
    if literal.parse::<PublishSubject>().is_ok() {
        return literal;
    }
    // A queue group may have what a subject can't: empty tokens and wildcards.
    subject(&utf8_percent_encode(group.as_str(), UNFIT).to_string())
}

/// What is said to an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It is in good hands.
    Taken,
    /// It was not taken, for want of room or of such a route. Another replica may take it.
    Refused,
    /// Nobody listens there: the server says so itself.
    Nobody,
}

impl Answer {
    const TAKEN: &[u8] = b"taken";
    const REFUSED: &[u8] = b"refused";

    const fn payload(self) -> Bytes {
        match self {
            Self::Taken => Bytes::from_static(Self::TAKEN),
            Self::Refused | Self::Nobody => Bytes::from_static(Self::REFUSED),
        }
    }

    /// What `message` says. Nothing where a stranger answers: a stream that keeps this subject confirms that too.
    fn read(message: &Received) -> Option<Self> {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return Some(Self::Nobody);
        }
        match &*message.payload {
            Self::TAKEN => Some(Self::Taken),
            Self::REFUSED => Some(Self::Refused),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_group_has_a_subject_of_its_own() {
        let groups = [
            ("broadcaster-workers", "broadcaster.handover.broadcaster-workers"),
            ("team.todos", "broadcaster.handover.team.todos"),
            ("a..b", "broadcaster.handover.a%2E%2Eb"),
            ("all>*", "broadcaster.handover.all%3E%2A"),
        ];
        for (group, expected) in groups {
            let subject = subject(&group.parse().unwrap());
            assert_eq!(subject, expected);
            assert!(subject.parse::<PublishSubject>().is_ok(), "{subject}");
        }
    }
}
