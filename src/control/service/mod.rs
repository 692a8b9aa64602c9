//! The daemon as a service of NATS (ADR-32): clients find it by `$SRV.…`, and ask it for what the management API does.
//!
//! It goes over the connection of the process, which takes whatever a stranger publishes. Every replica answers, so that
//! one question reaches a whole fleet; each also has subjects of its own. Nothing of it is on the way of a message.

pub mod acts;
pub mod discovery;

use std::{
    future::{self, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Instant,
};

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use tokio::{
    select,
    task::{JoinSet, yield_now},
};
use tracing::{debug, info};

use self::{
    acts::Act,
    discovery::{Figures, Identity, Verb},
};
use super::{
    api::Api,
    server::{Answer, Body, Head, LARGEST_BODY, Problem, ProblemKind, Reply, Workshop},
};
use crate::{
    config::{Service as Settings, ServiceAccess},
    message::{HeaderBlock, reply::is_answerable},
    nats::{Connection, Incoming, OnDemand, Outgoing, PublishError, Subscription},
};

/// The header by which a service says why it could not do what it was asked for.
const ERROR: &str = "Nats-Service-Error";
/// The header with the code of that, as of HTTP.
pub const ERROR_CODE: &str = "Nats-Service-Error-Code";
/// By this an answer says which replica it is of.
pub const REPLICA: &str = "Broadcaster-Service-Id";

/// The service.
pub struct Service {
    identity: Identity,
    acts: Vec<(Act, Figures)>,
    api: Rc<Api>,
    connection: Rc<OnDemand>,
    is_wanted: bool,
    workshop: Workshop,
    /// What takes longer; few at the same time.
    under_way: JoinSet<Done>,
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

/// A question, and what came of it.
struct Done {
    /// The place of the act in the list.
    place: usize,
    question: Incoming,
    began: Instant,
    answer: Answer,
}

/// What an answer of the API says of what was not done.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    title: String,
    detail: String,
}

impl Service {
    /// The service that `settings` want, over `connection`, of the machine or pod with the name `replica`: it answers what
    /// `api` does.
    pub fn new(settings: &Settings, replica: &str, api: Rc<Api>, connection: Rc<OnDemand>) -> Self {
        let acts = Act::ALL.into_iter().filter(|act| act.needs() <= settings.access);
        Self {
            identity: Identity::new(&settings.name, replica),
            acts: acts.map(|act| (act, Figures::default())).collect(),
            api,
            connection,
            is_wanted: settings.access != ServiceAccess::Off,
            workshop: Workshop::default(),
            under_way: JoinSet::new(),
        }
    }

    /// Answers for as long as it is polled. Where no service is wanted, there is not even a connection for it. Needs a
    /// runtime that takes local tasks.
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
            select! {
                (asked, question) = next(&mut topics) => self.hear(&connection, asked, question),
                Some(Ok(done)) = self.under_way.join_next() => self.end(&connection, done),
            }
            // Whoever asks without end holds up nobody.
            yield_now().await;
        }
    }

    /// Answers `question`, or has it under way.
    fn hear(&mut self, connection: &Connection, asked: Asked, question: Incoming) {
        match asked {
            Asked::Verb(verb) => {
                let told = self.identity.tell(verb, &self.acts);
                answer(connection, &question, &self.identity, &told, None);
            }
            Asked::Act(place) => {
                if let Some(done) = self.begin(place, question) {
                    self.end(connection, done);
                }
            }
        }
    }

    fn topics(&self, connection: &Connection) -> Vec<Topic> {
        let subscribe = |asked, subject: &str, group: Option<&str>| Topic {
            asked,
            questions: connection.subscribe(subject, group),
        };
        let Identity { name, id, .. } = &self.identity;
        let verbs = Verb::ALL.into_iter().flat_map(|verb| {
            self.identity.subjects(verb).map(|subject| subscribe(Asked::Verb(verb), &subject, None))
        });
        let acts = self.acts.iter().enumerate().flat_map(|(place, (act, _))| {
            let asked = Asked::Act(place);
            let group = self.identity.queue_group(*act);
            [subscribe(asked, &act.subject(name), group), subscribe(asked, &act.own_subject(name, id), None)]
        });
        verbs.chain(acts).collect()
    }

    /// Does what `question` asks for, where that is done at once. Else it is under way.
    fn begin(&mut self, place: usize, question: Incoming) -> Option<Done> {
        let began = Instant::now();
        let (act, _) = self.acts.get(place)?;
        let (reply, body) = match asked(*act, &question.payload()) {
            Ok((head, body)) => (self.api.answer_over_nats(&head), body),
            Err(problem) => (Reply::Now(problem.into()), Bytes::new()),
        };
        let work = match reply {
            Reply::Now(answer) => return Some(Done { place, question, began, answer }),
            Reply::Later(work) | Reply::Awaited(work) => Ok(work),
            Reply::WithBody(work) => Err(work),
        };
        match self.workshop.place() {
            Ok(desk) => {
                let work = work.unwrap_or_else(|work| work(Ok(body)));
                let done = async move { Done { place, question, began, answer: desk.finish(work).await } };
                drop(self.under_way.spawn_local(done));
                None
            }
            Err(busy) => Some(Done { place, question, began, answer: busy.into() }),
        }
    }

    fn end(&mut self, connection: &Connection, Done { place, question, began, answer: done }: Done) {
        let (head, body) = done.into_parts();
        let told = match body {
            Body::Whole(told) => told,
            // No act has one.
            Body::Stream(_) | Body::Unpacked(_) => Bytes::new(),
        };
        let failed = (!head.status.is_success()).then(|| Failed::of(head.status, &told));
        if let Some((_, figures)) = self.acts.get_mut(place) {
            let failed = failed.as_ref().map(|Failed { code, words }| (*code, words.as_str()));
            figures.count(began.elapsed(), failed);
        }
        answer(connection, &question, &self.identity, &told, failed.as_ref());
    }
}

/// What could not be done.
struct Failed {
    code: u16,
    words: String,
}

impl Failed {
    fn of(status: StatusCode, told: &[u8]) -> Self {
        let Said { title, detail } = serde_json::from_slice(told).unwrap_or_default();
        Self { code: status.as_u16(), words: if detail.is_empty() { title } else { detail } }
    }
}

/// The request to the API that a question is.
fn asked(act: Act, question: &[u8]) -> Result<(Head, Bytes), Problem> {
    if question.len() > LARGEST_BODY {
        let detail = format!("no more than {} KiB are read", LARGEST_BODY / 1024);
        return Err(Problem::new(ProblemKind::TooLarge, detail));
    }
    let wrong = |error: &dyn std::fmt::Display| Problem::new(ProblemKind::BadQuery, error.to_string());
    let request = acts::read(question).and_then(|question| act.request(question));
    let request = request.map_err(|error| wrong(&error))?;
    let head = http::Request::builder().method(request.method).uri(request.target).body(());
    let (head, ()) = head.map_err(|error| wrong(&error))?.into_parts();
    let body = request.body.map(|body| body.to_string()).unwrap_or_default();
    Ok((Head::without_peer(head), body.into()))
}

/// The next question of any kind. Its topic is the last to be looked at then: who asks for one thing without end keeps nobody
/// from asking for another.
async fn next(topics: &mut [Topic]) -> (Asked, Incoming) {
    let (place, question) = poll_fn(|cx| {
        for (place, topic) in topics.iter_mut().enumerate() {
            if let Poll::Ready(question) = pin!(topic.questions.next()).poll(cx) {
                return Poll::Ready((place, question));
            }
        }
        Poll::Pending
    })
    .await;
    let asked = topics[place].asked;
    topics[place..].rotate_left(1);
    (asked, question)
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
    let mut published = publish(connection, reply, identity, told, failed);
    if published == Err(PublishError::TooLarge) {
        let detail = "the answer is larger than NATS takes here: ask for less, by \"limit\"";
        let (head, body) = Answer::from(Problem::new(ProblemKind::TooLarge, detail)).into_parts();
        if let Body::Whole(told) = body {
            let failed = Failed::of(head.status, &told);
            published = publish(connection, reply, identity, &told, Some(&failed));
        }
    }
    if let Err(error) = published {
        debug!(%error, "a client of the service can't be answered");
    }
}

fn publish(
    connection: &Connection,
    reply: &str,
    identity: &Identity,
    told: &[u8],
    failed: Option<&Failed>,
) -> Result<(), PublishError> {
    let mut headers = HeaderBlock::new();
    headers.put(REPLICA, &identity.id);
    if let Some(Failed { code, words }) = failed {
        headers.put(ERROR_CODE, code.to_string());
        headers.put(ERROR, words);
    }
    connection.publish(Outgoing { subject: reply, reply: None, headers: Some(&headers), payload: told })
}
