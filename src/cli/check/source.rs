//! Where the messages of a route come from, and where its dead letters go: the user's permissions, the stream, the
//! consumer.

use async_nats::jetstream::{consumer, stream};

use super::{
    api::{Api, NoAnswer, USUAL},
    letters::{self, Keeper, LetterStream},
    needs,
    permissions::User,
    report::Line,
};
use crate::{
    config::{Config, DeadLetter, Jetstream, Route},
    nats::Connection,
    source::jetstream::consumer::{Finding, Severity, judge, judge_stream},
};

/// A user's login that ends within so many seconds is worth a warning: two weeks.
const ENDS_SOON: u64 = 14 * 24 * 60 * 60;

/// NATS as the routes would find it.
pub(super) struct Nats<'c> {
    pub(super) config: &'c Config,
    pub(super) api: Api,
    pub(super) user: Result<User, NoAnswer>,
}

impl<'c> Nats<'c> {
    /// Over `connection`, which is logged in.
    pub(super) async fn over(connection: Connection, config: &'c Config) -> Self {
        let mut api = Api::over(connection).await;
        let user = api.user().await;
        Self { config, api, user }
    }

    /// Who we have logged in as.
    pub(super) fn user(&self) -> Line {
        match &self.user {
            Err(why) => Line::warning(
                "user",
                format_args!("what it may do can't be seen: {why}"),
                "let it publish to $SYS.REQ.USER.INFO and subscribe to its inboxes, and check again",
            ),
            Ok(user) => {
                let name = if user.user.is_empty() { "nobody in particular" } else { &user.user };
                let found = format!("{name}, in the account {}", user.account);
                match user.seconds_left() {
                    Some(left) if left < ENDS_SOON => {
                        let days = left / (24 * 60 * 60);
                        Line::warning(
                            "user",
                            format_args!("{found}: its login ends in {days} days"),
                            "renew its JWT",
                        )
                    }
                    _ => Line::fine("user", found),
                }
            }
        }
    }

    /// What is found of the source of `route`, and of its dead letters.
    pub(super) async fn check(&mut self, route: &Route) -> Vec<Line> {
        let mut lines = Vec::new();
        if let Ok(user) = &self.user {
            lines.extend(needs::judge(&needs::of_route(route, self.config), user));
        } else if route.jetstream.is_none() {
            lines.extend(self.subject(route).await);
        }
        if let Some(jetstream) = &route.jetstream {
            lines.extend(self.durable(route, jetstream).await);
        }
        if let Some(letters) = &route.dead_letter {
            lines.extend(self.dead_letters(route, letters).await);
        }
        lines
    }

    /// Whether messages may be had, where the server does not say what the user may do.
    async fn subject(&self, route: &Route) -> Option<Line> {
        match self.api.may_subscribe(route.subject.as_str()).await {
            Ok(true) => {
                Some(Line::fine("permissions", format_args!("the user may subscribe to {}", route.subject)))
            }
            // It may still be permitted in the queue group, which is not joined for a check: that would take messages.
            Ok(false) => Some(Line::warning(
                "permissions",
                format_args!("the user may not subscribe to {} outside of its queue group", route.subject),
                "see that it may in it: let it publish to $SYS.REQ.USER.INFO, and check again",
            )),
            Err(_) => None,
        }
    }

    async fn durable(&mut self, route: &Route, jetstream: &Jetstream) -> Vec<Line> {
        let (prefix, stream) = (jetstream.api(), jetstream.stream.as_str());
        let found = match self.api.stream::<stream::Info>(&prefix, stream).await {
            Ok(found) => found,
            Err(NoAnswer::NotFound) => {
                let advice = format!(
                    "make it, with the subject {}: broadcaster makes none for messages",
                    route.subject
                );
                return vec![Line::failed("stream", format_args!("there is no stream {stream}"), advice)];
            }
            Err(why) => return vec![unseen_jetstream("stream", &why, WITHOUT_STREAM)],
        };
        let (messages, subjects) = (found.state.messages, found.config.subjects.join(", "));
        let mut lines =
            vec![Line::fine("stream", format_args!("{stream} has {messages} messages of {subjects}"))];
        lines.extend(self.consumer(route, jetstream, &prefix, &found).await);
        lines
    }

    async fn consumer(
        &mut self,
        route: &Route,
        jetstream: &Jetstream,
        prefix: &str,
        stream: &stream::Info,
    ) -> Vec<Line> {
        let name = &jetstream.consumer;
        match self.api.consumer::<consumer::Info>(prefix, jetstream.stream.as_str(), name.as_str()).await {
            Ok(consumer) => {
                let findings = judge(stream, &consumer, route, self.api.max_payload());
                let (waiting, in_hand) = (consumer.num_pending, consumer.num_ack_pending);
                judged(format!("{name}: {waiting} messages wait, {in_hand} are in hand"), findings)
            }
            Err(NoAnswer::NotFound) if jetstream.create => {
                judged(format!("{name} is not there yet: it will be made"), judge_stream(stream, route))
            }
            Err(NoAnswer::NotFound) => vec![Line::failed(
                "consumer",
                format_args!("stream {} has no consumer {name}", jetstream.stream),
                "make it, or set jetstream.create",
            )],
            Err(why) => vec![unseen_jetstream("consumer", &why, WITHOUT_STREAM)],
        }
    }

    async fn dead_letters(&mut self, route: &Route, letters: &DeadLetter) -> Vec<Line> {
        match self.keeper(letters).await {
            Ok(keeper) => letters::judge(route, letters, &keeper, self.api.max_payload()),
            Err(why) => vec![unseen("dead letters", &why)],
        }
    }

    async fn keeper(&mut self, letters: &DeadLetter) -> Result<Keeper, NoAnswer> {
        match self.api.stream_with(letters.subject.as_str()).await {
            Ok(Some(stream)) => self
                .api
                .stream(USUAL, &stream)
                .await
                .map(|stream: LetterStream| Keeper::Stream(stream.into())),
            Ok(None) => {
                let named_exists = match &letters.stream {
                    Some(named) => self.api.stream::<LetterStream>(USUAL, named.as_str()).await.is_ok(),
                    None => false,
                };
                Ok(Keeper::Nobody { named_exists })
            }
            Err(NoAnswer::NoJetStream) => Ok(Keeper::NoJetStream),
            Err(why) => Err(why),
        }
    }
}

/// `good`, unless it can't be used, and what is not as it should be.
fn judged(good: String, findings: Vec<Finding>) -> Vec<Line> {
    let is_usable = findings.iter().all(|finding| finding.severity == Severity::Warning);
    let line = |finding: Finding| match finding.severity {
        Severity::Warning => Line::notice("consumer", finding.text),
        Severity::Unusable => {
            Line::failed("consumer", finding.text, "until then nothing is pulled: docs/durable.md")
        }
    };
    let good = is_usable.then(|| Line::fine("consumer", good));
    good.into_iter().chain(findings.into_iter().map(line)).collect()
}

/// What a route can do without JetStream.
const WITHOUT_STREAM: &str = "leave the section jetstream out: then messages come as they are published";

/// Of what does nothing without JetStream; `without` says what to do where there is to be none.
pub(super) fn unseen_jetstream(what: &'static str, why: &NoAnswer, without: &str) -> Line {
    match why {
        NoAnswer::NoJetStream => Line::failed(what, why, format_args!("enable it there, or {without}")),
        NoAnswer::Silence => Line::failed(
            what,
            format_args!("JetStream does not answer: {why}"),
            "see whether its servers have a leader: nats server report jetstream",
        ),
        why => unseen(what, why),
    }
}

pub(super) fn unseen(what: &'static str, why: &NoAnswer) -> Line {
    match why {
        NoAnswer::NoInbox(_) => Line::failed(
            what,
            why,
            "let it subscribe to its inboxes, _INBOX.>, or to others that nats.inbox_prefix names",
        ),
        why => Line::warning(
            what,
            format_args!("can't be seen: {why}"),
            "docs/permissions.md has what this check needs",
        ),
    }
}
