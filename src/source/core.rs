//! The core source: the membership of a route in its queue group, on one lane. Messages go straight from the block that
//! they were read into to the route's pipeline, whose queue decides about those that it has no room for.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use tracing::{debug, info};

use crate::{
    base::clock::Time,
    deliver::Deliver,
    message::{
        Id, Message, fresh_ids::FreshIds, header_names::nats as names, header_safe, reply::is_answerable,
    },
    nats::{Attached, Connection, Incoming, Sink},
    route::{
        pipeline::Pipeline,
        shared::Route,
        source_status::{SourceState, SourceStatus},
    },
};

/// How long the server may take to confirm that it has heard of the end of subscriptions.
const LEAVING: Duration = Duration::from_secs(3);
/// What the subjects begin with to which replicas hand over.
const HAND_OVER: &str = "broadcaster.handover.";

/// A route's membership in its queue group, to be ended by [`leave`].
pub struct Membership<D> {
    attached: Attached,
    member: Rc<Member<D>>,
}

/// Makes `pipeline` a member of the queue group of `route`. Where there is no connection, the subscription follows when
/// there is one; `status` tells whether the server has confirmed it.
pub fn join<D: Deliver + 'static>(
    connection: &Connection,
    route: &Arc<Route>,
    pipeline: Rc<Pipeline<D>>,
    status: Arc<SourceStatus>,
    lane: usize,
) -> Membership<D> {
    let settings = &route.settings;
    let subject: Arc<str> = settings.subject.as_str().into();
    let member = Rc::new(Member {
        excluded: Excluded::from(&subject, &connection.inboxes()),
        inboxes: connection.inboxes().into(),
        subject,
        ids: FreshIds::default(),
        served: RefCell::new(Served { pipeline, route: Arc::clone(route), status }),
        lane,
    });
    let group = settings.queue_group.as_str();
    let sink = Rc::clone(&member) as Rc<dyn Sink>;
    let attached = connection.attach(settings.subject.as_str(), Some(group), sink);
    Membership { attached, member }
}

impl<D: Deliver + 'static> Membership<D> {
    /// Has `pipeline` get what comes from now on, for a `route` of the same queue group.
    ///
    /// To join anew and to leave then would not be as good: a server chooses the member that gets a message some time
    /// before it sends it, and drops the message where that one has left in between. No answer of the server tells that
    /// there is no such message any more.
    pub fn pass_on(&self, route: &Arc<Route>, pipeline: Rc<Pipeline<D>>, status: Arc<SourceStatus>) {
        let served = Served { pipeline, route: Arc::clone(route), status };
        let former = self.member.served.replace(served);
        if let Some(why) = self.attached.refusal() {
            self.member.refused(&why);
        } else if former.status.is_live() {
            self.member.confirmed();
        }
    }
}

/// Leaves the queue groups of `memberships` without losing a message that the server has sent already.
pub async fn leave<D>(connection: &Connection, memberships: Vec<Membership<D>>) {
    if memberships.is_empty() {
        return;
    }
    memberships.iter().for_each(|membership| membership.attached.end());
    // What the server has sent before it heard of the end arrives before its answer.
    if connection.round_trip(LEAVING).await.is_err() {
        debug!("the NATS server does not confirm the end of subscriptions");
    }
}

struct Member<D> {
    subject: Arc<str>,
    ids: FreshIds,
    excluded: Option<Excluded>,
    /// What the inboxes of broadcaster begin with.
    inboxes: Box<str>,
    served: RefCell<Served<D>>,
    lane: usize,
}

/// Whom a membership serves at present.
struct Served<D> {
    pipeline: Rc<Pipeline<D>>,
    route: Arc<Route>,
    status: Arc<SourceStatus>,
}

impl<D: Deliver + 'static> Sink for Member<D> {
    fn take(&self, message: Incoming, now: Time) {
        if self.excluded.as_ref().is_some_and(|excluded| excluded.has(message.subject_bytes())) {
            return;
        }
        let served = self.served.borrow();
        let replies = served.route.settings.answer.as_ref().is_some_and(|answer| answer.reply);
        let reply = if replies { self.reply_of(&message) } else { None };
        let mut message = accept(message, &self.subject, now, || self.ids.next(now));
        message.reply = reply;
        served.pipeline.offer(message);
    }

    fn taken(&self) {
        self.served.borrow().pipeline.wake_workers();
    }

    fn confirmed(&self) {
        let Served { route: served, status, .. } = &*self.served.borrow();
        let (settings, lane) = (&served.settings, self.lane);
        let route = settings.name.as_str();
        match status.went_live() {
            SourceState::Live | SourceState::Drained => {}
            SourceState::Starting(_) if served.went_live() => info!(
                route,
                subject = settings.subject.as_str(),
                queue_group = settings.queue_group.as_str(),
                webhook = %settings.webhook.url,
                "route is live"
            ),
            SourceState::Starting(_) => debug!(route, lane, "subscribed"),
            SourceState::Failing(after) => info!(route, lane, after, "route is live again"),
        }
    }

    fn refused(&self, why: &str) {
        let trouble = format!("NATS refuses the subscription to {}: {why}", self.subject);
        self.served.borrow().status.failed_by(&trouble);
    }
}

impl<D> Member<D> {
    /// Where the publisher of `message` waits for an answer. Not one of our own inboxes: with our permissions, a stranger
    /// would speak there for the server.
    fn reply_of(&self, message: &Incoming) -> Option<Box<str>> {
        let reply = message.reply()?;
        if is_answerable(reply) && !reply.starts_with(&*self.inboxes) {
            return Some(reply.into());
        }
        debug!(reply = %header_safe(reply), "no answer goes to this subject");
        None
    }
}

/// What a subscription with wildcards gets beside messages: requests to NATS itself, answers to them, and what replicas say
/// to each other. To deliver that would make more of it.
struct Excluded(Vec<String>);

impl Excluded {
    /// None where `subject` is too narrow for any of it.
    fn from(subject: &str, inboxes: &str) -> Option<Self> {
        let is_wide = subject.starts_with(['*', '>']);
        // Who names `$JS.…` wants what is said there.
        let system = is_wide.then(|| "$".to_owned());
        let ours =
            [inboxes, HAND_OVER].into_iter().filter(|prefix| reaches(subject, prefix)).map(str::to_owned);
        let excluded: Vec<_> = system.into_iter().chain(ours).collect();
        (!excluded.is_empty()).then_some(Self(excluded))
    }

    fn has(&self, subject: &[u8]) -> bool {
        self.0.iter().any(|prefix| subject.starts_with(prefix.as_bytes()))
    }
}

/// Whether a subscription to `pattern` gets what is published to subjects that begin with `prefix`.
fn reaches(pattern: &str, prefix: &str) -> bool {
    let mut tokens = pattern.split('.');
    for wanted in prefix.split('.') {
        match tokens.next() {
            Some(">") => return true,
            // The last token of a prefix may be the beginning of one.
            Some(token)
                if token == "*" || token == wanted || wanted.is_empty() || token.starts_with(wanted) => {}
            Some(_) | None => return false,
        }
    }
    true
}

/// A message as it came from NATS, made ours.
/// One whose publisher gave it no id gets a `fresh` one.
pub(super) fn accept(
    message: Incoming,
    subscribed: &Arc<str>,
    now: Time,
    fresh: impl FnOnce() -> Id,
) -> Message {
    // Most subscriptions are to one subject: all its messages share one copy of the name.
    let subject = if message.subject_bytes() == subscribed.as_bytes() {
        Arc::clone(subscribed)
    } else {
        message.subject().into()
    };
    let (headers, payload) = message.into_parts();
    let id = headers.get_bytes(names::MESSAGE_ID).and_then(Id::safe).unwrap_or_else(fresh);
    Message::new(id, subject, headers, payload, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_replicas_and_nats_say_to_each_other_is_no_message() {
        let inboxes = "_INBOX.broadcaster-";
        let all = Excluded::from(">", inboxes).unwrap();
        for subject in ["$JS.API.INFO", "_INBOX.broadcaster-1.7", "broadcaster.handover.workers"] {
            assert!(all.has(subject.as_bytes()), "{subject}");
        }
        for subject in ["_INBOX.other.7", "broadcaster.events", "todos.events"] {
            assert!(!all.has(subject.as_bytes()), "{subject}");
        }
        let inbox = Excluded::from("_INBOX.*.*", inboxes).unwrap();
        assert!(inbox.has(b"_INBOX.broadcaster-1.7") && !inbox.has(b"_INBOX.other.7"));
        for subject in ["todos.>", "*.events.a.b", "broadcaster.events", "$JS.EVENT.>", "_INBOX.other.>"] {
            let excluded = Excluded::from(subject, inboxes).map(|excluded| excluded.0);
            let system = subject.starts_with('*').then(|| vec!["$".to_owned()]);
            assert_eq!(excluded, system, "{subject}");
        }
    }
}
