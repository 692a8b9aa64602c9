//! The daemon as a service of NATS (ADR-32): clients find it by `$SRV.…`, and ask it for what the management API does.
//!
//! It goes over the connection of the process, which takes whatever a stranger publishes. Every replica answers, so that
//! one question reaches a whole fleet. What comes after another is answered after it, and nothing of it is on the way of a
//! message.

mod acts;
mod discovery;

use std::{
    future::{self, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Instant,
};

use tracing::{debug, info};

use self::{
    acts::{Act, Failed},
    discovery::{Figures, Identity, Verb},
};
use super::{reload::Reloader, status::StatusBoard};
use crate::{
    config::{Service as Settings, ServiceAccess},
    endpoints::Fleet,
    message::{HeaderBlock, reply::is_answerable},
    nats::{Connection, Incoming, OnDemand, Outgoing, PublishError, Subscription},
    route::registry::Registry,
};

/// Headers by which a service says that it could not do what it was asked for.
const ERROR: &str = "Nats-Service-Error";
const ERROR_CODE: &str = "Nats-Service-Error-Code";
/// By this an answer says which replica it is of.
const REPLICA: &str = "Broadcaster-Service-Id";

/// What the service asks and acts on.
pub struct Parts {
    /// What is told of the process.
    pub board: StatusBoard,
    /// The routes.
    pub registry: Arc<Registry>,
    /// By this routes are held, as far as that reaches.
    pub fleet: Rc<Fleet>,
    /// By this the configuration is read again.
    pub reloader: Reloader,
}

/// The service.
pub struct Service {
    identity: Identity,
    acts: Vec<(Act, Figures)>,
    parts: Parts,
    connection: Rc<OnDemand>,
    is_wanted: bool,
}

/// A subscription, and what is asked for by it.
struct Topic {
    asked: Asked,
    questions: Subscription,
}

#[derive(Clone, Copy)]
enum Asked {
    Verb(Verb),
    /// The act at this place of the list.
    Act(usize),
}

impl Service {
    /// The service that `settings` want, over `connection`.
    pub fn new(settings: &Settings, parts: Parts, connection: Rc<OnDemand>) -> Self {
        let acts = Act::ALL.into_iter().filter(|act| act.needs() <= settings.access);
        let acts = acts.map(|act| (act, Figures::default())).collect();
        let is_wanted = settings.access != ServiceAccess::Off;
        Self { identity: Identity::new(&settings.name), acts, parts, connection, is_wanted }
    }

    /// Answers for as long as it is polled. Where no service is wanted, there is not even a connection for it.
    pub async fn run(mut self) {
        if !self.is_wanted {
            return future::pending().await;
        }
        let connection = self.connection.get();
        let mut topics = self.topics(&connection);
        info!(
            service = self.identity.name,
            id = self.identity.id,
            "clients of NATS find this process as a service"
        );
        loop {
            let (asked, question) = next(&mut topics).await;
            match asked {
                Asked::Verb(verb) => {
                    let told = self.identity.tell(verb, &self.acts);
                    answer(&connection, &question, &self.identity, &told, None);
                }
                Asked::Act(place) => self.act(&connection, place, &question).await,
            }
        }
    }

    fn topics(&self, connection: &Connection) -> Vec<Topic> {
        let subscribe =
            |asked, subject: &str| Topic { asked, questions: connection.subscribe(subject, None) };
        let verbs = Verb::ALL.into_iter().flat_map(|verb| {
            self.identity.subjects(verb).map(|subject| subscribe(Asked::Verb(verb), &subject))
        });
        let acts = self.acts.iter().enumerate();
        let acts =
            acts.map(|(place, (act, _))| subscribe(Asked::Act(place), &act.subject(&self.identity.name)));
        verbs.chain(acts).collect()
    }

    async fn act(&mut self, connection: &Connection, place: usize, question: &Incoming) {
        let Some((act, figures)) = self.acts.get_mut(place) else { return };
        let began = Instant::now();
        let done = act.run(&self.parts, &question.payload()).await;
        figures.count(began.elapsed(), done.as_ref().err());
        let (told, failed) = match done {
            Ok(told) => (told, None),
            Err(failed) => (failed.told(), Some(failed)),
        };
        answer(connection, question, &self.identity, &told, failed.as_ref());
    }
}

/// The next question of any kind.
async fn next(topics: &mut [Topic]) -> (Asked, Incoming) {
    poll_fn(|cx| {
        for topic in topics.iter_mut() {
            if let Poll::Ready(question) = pin!(topic.questions.next()).poll(cx) {
                return Poll::Ready((topic.asked, question));
            }
        }
        Poll::Pending
    })
    .await
}

/// Answers a question, where that asks for an answer: to no subject at which it would mean something else.
fn answer(
    connection: &Connection,
    question: &Incoming,
    identity: &Identity,
    told: &[u8],
    failed: Option<&Failed>,
) {
    let Some(reply) = question.reply().filter(|reply| is_answerable(reply)) else { return };
    let mut headers = HeaderBlock::new();
    headers.put(REPLICA, &identity.id);
    if let Some(failed) = failed {
        headers.put(ERROR_CODE, failed.code().to_string());
        headers.put(ERROR, failed.to_string());
    }
    let mut published =
        connection.publish(Outgoing { subject: reply, reply: None, headers: Some(&headers), payload: told });
    if published == Err(PublishError::TooLarge) {
        let failed = Failed::TooLarge;
        headers.put(ERROR_CODE, failed.code().to_string());
        headers.put(ERROR, failed.to_string());
        let told = failed.told();
        let smaller = Outgoing { subject: reply, reply: None, headers: Some(&headers), payload: &told };
        published = connection.publish(smaller);
    }
    if let Err(error) = published {
        debug!(%error, "a client of the service can't be answered");
    }
}
