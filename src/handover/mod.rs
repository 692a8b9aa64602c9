//! Hand-over: what a replica could not deliver before it stops goes to another one of the same queue group.
//!
//! Each replica listens on `broadcaster.handover.<queue group>`, as a member of that queue group, so that exactly one
//! of them gets a request. One that stops leaves first, and then offers (`send.rs`) what is left, each message as a
//! request: the payload is the payload, the rest travels in headers ([`wire`]). A replica that takes it into a queue of
//! its own says so; one that has no room says that too, and the request is made again. What nobody confirms stays where
//! it is: when an answer is lost, both have the message, and it is delivered twice with the same id. It is never lost
//! over this.
//!
//! A lane offers over its own connection. What others offer comes over the connection of the process, which is opened for
//! the first route that needs it and lives on the main thread: so are the answers to it. A user without the permissions
//! loses nothing but the hand-over.

mod echo;
mod receive;
mod send;
pub mod wire;

use std::{rc::Rc, time::Duration};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_local},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::receive::OfferReceiver;
pub use self::{receive::LaneReceiver, send::Offerer};
use crate::{
    base::clock::Clock,
    config::{PublishSubject, QueueGroup, Route},
    nats::{Incoming, OnDemand},
    route::registry::Registry,
};

/// How many messages may be on their way from the connection to a lane. Where there are more, the lane is behind, and
/// another replica is the better choice: the offer is refused.
const ON_THE_WAY: usize = 1024;
/// How long leaving may take. A process that stops must not wait for a NATS that is away.
const LEAVING: Duration = Duration::from_secs(2);

/// How many answers may be on their way back, of each lane.
const ANSWERS: usize = 1024;

/// This process's part in handing over.
#[derive(Debug)]
pub struct HandOver {
    stop: CancellationToken,
    receiver: JoinHandle<()>,
}

impl HandOver {
    /// Begins to receive for so many `lanes`, as soon as `registry` has a route whose messages can be handed over.
    /// Those of streams can't and need not: they go back there.
    pub fn start(
        connection: Rc<OnDemand>,
        registry: &Registry,
        lanes: usize,
        clock: Clock,
    ) -> (Self, Vec<LaneReceiver>) {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..lanes).map(|_| mpsc::channel(ON_THE_WAY)).unzip();
        let (said, answers) = mpsc::channel(ANSWERS * lanes.max(1));
        let for_lane = |offers| LaneReceiver::new(offers, said.clone());
        let for_lanes = receivers.into_iter().map(for_lane).collect();
        let receiver = OfferReceiver::new(registry.subscribe(), connection, senders, answers, clock);
        let stop = CancellationToken::new();
        let receiver = spawn_local(receiver.run(stop.clone()));
        (Self { stop, receiver }, for_lanes)
    }

    /// Takes nothing more, and returns when NATS knows, and all that was taken is answered. To be called before any lane of
    /// this process offers something, so that it goes to others.
    pub async fn leave(self) {
        self.stop.cancel();
        if timeout(LEAVING, self.receiver).await.is_err() {
            debug!("NATS takes its time to end the subscriptions for the hand-over");
        }
    }
}

/// Whether what is left of `route` can be handed over.
pub const fn is_core(route: &Route) -> bool {
    route.jetstream.is_none()
}

/// The subject on which the members of `group` hand over to each other.
pub fn subject(group: &QueueGroup) -> String {
    const UNFIT: &AsciiSet = &CONTROLS.add(b'.').add(b'*').add(b'>').add(b'%');
    let subject = |group: &str| format!("broadcaster.handover.{group}");
    let literal = subject(group.as_str());
    if literal.parse::<PublishSubject>().is_ok() {
        return literal;
    }
    // A queue group may have what a subject can't: empty tokens and wildcards.
    subject(&utf8_percent_encode(group.as_str(), UNFIT).to_string())
}

/// The queue group in which the members of `group` listen for offers: its own, but where one of its `routes` is subscribed to
/// so much that it gets offers as well. To NATS, those subscriptions would be members too, and most offers would go to them.
fn queue<'r>(group: &QueueGroup, mut routes: impl Iterator<Item = &'r Route>) -> String {
    let offers = subject(group).parse::<PublishSubject>();
    let takes = |route: &Route| offers.as_ref().is_ok_and(|offers| route.subject.matches(offers));
    if routes.any(takes) { format!("{group}.handover") } else { group.to_string() }
}

/// The answer to an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    /// The message is in a queue of the receiver, which answers for it from now on.
    Taken,
    /// The message was not taken, for want of room or of such a route. Another replica may take it.
    Refused,
    /// Nobody listens: this is the server's own answer.
    Nobody,
}

impl Reply {
    const TAKEN: &[u8] = b"taken";
    const REFUSED: &[u8] = b"refused";

    const fn payload(self) -> &'static [u8] {
        match self {
            Self::Taken => Self::TAKEN,
            Self::Refused | Self::Nobody => Self::REFUSED,
        }
    }

    /// What `message` says. None where it is not the answer of a replica: a stream that keeps this subject answers,
    /// too.
    fn read(message: &Incoming) -> Option<Self> {
        const NO_RESPONDERS: u16 = 503;
        if message.status() == Some(NO_RESPONDERS) {
            return Some(Self::Nobody);
        }
        match &*message.payload() {
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
