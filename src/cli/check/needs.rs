//! Which permissions a route needs for what it does. docs/permissions.md has the same as a table; a test holds the two
//! together, and others run the daemon with exactly these.

use super::{
    permissions::{Action, User},
    report::{Line, Mark},
};
use crate::{
    config::{
        Answer, Config, DeadLetter, Endpoints, History, HistoryStream, Jetstream, Nats, Route, Service,
        ServiceAccess,
    },
    handover,
    source::jetstream::attempts_subject,
};

/// Something that the user of NATS must be permitted to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    action: Action,
    /// As it is written into the configuration of a server.
    pattern: String,
    queue_group: Option<String>,
    /// What it is needed for, and so what does not work without it.
    purpose: &'static str,
    /// How bad it is without.
    lack: Mark,
}

impl Need {
    fn new(action: Action, pattern: impl Into<String>, purpose: &'static str) -> Self {
        Self { action, pattern: pattern.into(), queue_group: None, purpose, lack: Mark::Failed }
    }

    /// One without which the rest works.
    fn only_a_warning(self) -> Self {
        Self { lack: Mark::Warning, ..self }
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.action, &self.pattern) == (other.action, &other.pattern)
    }

    /// Whether `user` may.
    fn is_met(&self, user: &User) -> bool {
        // Of a pattern that ends in `>`, something as long as what is used, which a shorter pattern does not stand for.
        let subject = self.pattern.strip_suffix('>').map(|start| match self.action {
            Action::Publish => format!("{start}1.1.1.1.1"),
            Action::Subscribe => format!("{start}1.*"),
        });
        user.may(self.action, subject.as_ref().unwrap_or(&self.pattern), self.queue_group.as_deref())
    }

    fn lacking(&self) -> Line {
        let action = match self.action {
            Action::Publish => "publish to",
            Action::Subscribe => "subscribe to",
        };
        let group = self.queue_group.as_ref().map(|group| format!(" in the queue group {group}"));
        let found = format!(
            "the user may not {action} {}{}, {}",
            self.pattern,
            group.unwrap_or_default(),
            self.purpose
        );
        let advice = "give it this permission: docs/permissions.md has all";
        Line { mark: self.lack, ..Line::failed("permissions", found, advice) }
    }
}

/// What is to be said of `needs`, which `user` is to meet.
pub(super) fn judge(needs: &[Need], user: &User) -> Vec<Line> {
    let lacking: Vec<_> = needs.iter().filter(|need| !need.is_met(user)).map(Need::lacking).collect();
    if lacking.is_empty() {
        return vec![Line::fine("permissions", format_args!("all that it needs ({})", needs.len()))];
    }
    lacking
}

/// All that `route` of `config` needs.
pub(super) fn of_route(route: &Route, config: &Config) -> Vec<Need> {
    let Config { nats, shutdown, .. } = config;
    let mut all = match &route.jetstream {
        None => core(route),
        Some(jetstream) => durable(route, jetstream, nats),
    };
    if shutdown.hand_over {
        all.extend(match &route.jetstream {
            None => hand_over(route, nats),
            Some(jetstream) => attempts(jetstream),
        });
    }
    all.extend(route.dead_letter.iter().flat_map(|letters| dead_letters(letters, nats)));
    all.extend(route.answer.iter().flat_map(answers));
    each_once(all)
}

/// These, each once.
fn each_once(all: Vec<Need>) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for need in all {
        match needs.iter_mut().find(|known| known.is_same(&need)) {
            // It is as bad as the worst that comes of it.
            Some(known) if known.lack < need.lack => *known = need,
            Some(_) => {}
            None => needs.push(need),
        }
    }
    needs
}

fn core(route: &Route) -> Vec<Need> {
    let group = Some(route.queue_group.to_string());
    let need = Need::new(Action::Subscribe, route.subject.as_str(), "where the messages come from");
    vec![Need { queue_group: group, ..need }]
}

/// Without these a replica that stops keeps what it has, and loses it: all else works.
fn hand_over(route: &Route, nats: &Nats) -> Vec<Need> {
    let (subject, inboxes) = (handover::subject(&route.queue_group), inboxes(nats));
    let take = "to take over what other replicas leave";
    let listen = Need::new(Action::Subscribe, subject.clone(), take);
    let all = [
        Need { queue_group: Some(route.queue_group.to_string()), ..listen },
        Need::new(Action::Publish, inboxes.clone(), take),
        Need::new(Action::Publish, subject, "to hand over what is left at a stop"),
        Need::new(Action::Subscribe, inboxes, "to hand over what is left at a stop"),
    ];
    all.map(Need::only_a_warning).into()
}

/// Without these a message that goes to another replica begins with its first attempt again.
fn attempts(jetstream: &Jetstream) -> Vec<Need> {
    let subject = attempts_subject(jetstream);
    let all = [
        Need::new(Action::Publish, subject.clone(), "to tell other replicas of attempts"),
        Need::new(Action::Subscribe, subject, "to hear from other replicas of attempts"),
    ];
    all.map(Need::only_a_warning).into()
}

fn durable(route: &Route, jetstream: &Jetstream, nats: &Nats) -> Vec<Need> {
    let Jetstream { stream, consumer, .. } = jetstream;
    let (api, at) = (jetstream.api(), format!("{stream}.{consumer}"));
    let mut needs = vec![
        Need::new(Action::Subscribe, inboxes(nats), "where messages and answers come from"),
        Need::new(Action::Publish, format!("{api}.STREAM.INFO.{stream}"), "to look at the stream")
            .only_a_warning(),
        Need::new(Action::Publish, format!("{api}.CONSUMER.INFO.{at}"), "to look at the consumer"),
        Need::new(Action::Publish, format!("{api}.CONSUMER.MSG.NEXT.{at}"), "to ask for messages"),
        Need::new(
            Action::Publish,
            format!("$JS.ACK.{at}.>"),
            "to acknowledge: all messages would come again and again",
        ),
    ];
    if jetstream.create {
        let subject = format!("{api}.CONSUMER.CREATE.{at}.{}", route.subject);
        needs.push(Need::new(Action::Publish, subject, "to make the consumer"));
    }
    needs
}

fn dead_letters(letters: &DeadLetter, nats: &Nats) -> Vec<Need> {
    let publish = |subject: String, purpose| Need::new(Action::Publish, subject, purpose);
    let confirmations = "where the confirmations of dead letters come from";
    let mut needs = vec![
        publish(letters.subject.to_string(), "where the dead letters go"),
        Need::new(Action::Subscribe, inboxes(nats), confirmations),
        publish("$JS.API.STREAM.NAMES".to_owned(), "to see which stream keeps the dead letters")
            .only_a_warning(),
    ];
    if let Some(stream) = &letters.stream {
        let look = publish(format!("$JS.API.STREAM.INFO.{stream}"), "to see how the dead letters are kept");
        needs.push(look.only_a_warning());
        if letters.create {
            let make =
                publish(format!("$JS.API.STREAM.CREATE.{stream}"), "to make the stream of the dead letters");
            needs.push(make.only_a_warning());
        }
    }
    needs
}

/// Without these nobody hears of the answers: the messages are delivered all the same.
fn answers(answer: &Answer) -> Vec<Need> {
    // Those of requesters, who may have others.
    let requesters = answer.reply.then(|| "_INBOX.>".to_owned());
    let listeners = answer.publish.as_ref().map(ToString::to_string);
    let replies = requesters.map(|subject| (subject, "where requesters wait for their answers"));
    let all =
        replies.into_iter().chain(listeners.map(|subject| (subject, "where the answers of the webhook go")));
    all.map(|(subject, purpose)| Need::new(Action::Publish, subject, purpose).only_a_warning()).collect()
}

/// What it takes to follow the bucket of endpoints: until it is read, the process is not ready.
pub(super) fn of_endpoints(endpoints: &Endpoints, nats: &Nats) -> Vec<Need> {
    let stream = format!("KV_{}", endpoints.bucket.as_str());
    let publish = |what: String, purpose| Need::new(Action::Publish, format!("$JS.API.{what}"), purpose);
    let bucket = endpoints.bucket.as_str();
    let values = endpoints.prefix.as_ref().map(|prefix| format!("*.$KV.{bucket}.{prefix}.>"));
    let values = values.unwrap_or_else(|| ">".to_owned());
    let mut needs = vec![
        publish(format!("CONSUMER.CREATE.{stream}.{values}"), "to follow the bucket of endpoints"),
        Need::new(Action::Subscribe, inboxes(nats), "where the values of endpoints come from"),
    ];
    if endpoints.create {
        needs.push(
            publish(format!("STREAM.CREATE.{stream}"), "to make the bucket of endpoints").only_a_warning(),
        );
    }
    needs
}

/// What it takes to tell what came of attempts. Without these nobody gets to know it, and the messages are still delivered.
pub(super) fn of_history(history: &History, nats: &Nats) -> Vec<Need> {
    let publish = |subject: String, purpose| Need::new(Action::Publish, subject, purpose);
    let mut needs = vec![publish(history.subject.to_string(), "where what came of attempts is told")];
    if let Some(HistoryStream { name, create, .. }) = &history.keeper {
        let confirmations = "where its stream confirms that";
        needs.push(Need::new(Action::Subscribe, inboxes(nats), confirmations));
        needs.push(publish(format!("$JS.API.STREAM.INFO.{name}"), "to look at the stream of the history"));
        if *create {
            needs.push(publish(format!("$JS.API.STREAM.CREATE.{name}"), "to make the stream of the history"));
        }
    }
    needs.into_iter().map(Need::only_a_warning).collect()
}

/// What it takes to be a service of NATS. Without these it is not found, or can't be asked.
pub(super) fn of_service(service: &Service) -> Vec<Need> {
    let subscribe =
        |subject: String, purpose| Need::new(Action::Subscribe, subject, purpose).only_a_warning();
    let name = &service.name;
    let verbs = ["PING", "INFO", "STATS"].map(|verb| format!("$SRV.{verb}"));
    let found = verbs.into_iter().flat_map(|verb| [format!("{verb}.>"), verb]);
    let mut needs: Vec<_> = found.map(|verb| subscribe(verb, "to be found as a service")).collect();
    needs.push(subscribe(format!("{name}.service.read.>"), "to be asked how it is doing"));
    if service.access == ServiceAccess::Act {
        needs.push(subscribe(format!("{name}.service.act.>"), "to be asked to do something"));
    }
    needs
}

fn inboxes(nats: &Nats) -> String {
    format!("{}.>", nats.inbox_prefix)
}
