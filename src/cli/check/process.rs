//! What the process has of NATS beside its routes: the bucket of endpoints, the history, the service.

use async_nats::jetstream::stream;

use super::{
    api::{NoAnswer, USUAL},
    needs::{self, Need},
    permissions::Action,
    report::{Line, Section},
    source::{Nats, unseen, unseen_jetstream},
};
use crate::config::{Endpoints, History, HistoryStream, Service, ServiceAccess, Subject};

impl Nats<'_> {
    /// What is found of that, each in a section of its own.
    pub(super) async fn check_process(&mut self) -> Vec<Section> {
        let config = self.config;
        let mut sections = Vec::new();
        let mut add = |title: &str, lines| sections.push(Section { title: title.to_owned(), lines });
        if let Some(endpoints) = &config.endpoints {
            let mut lines = self.permitted(&needs::of_endpoints(endpoints, &config.nats));
            lines.push(self.bucket(endpoints).await);
            add("endpoints", lines);
        }
        if let Some(history) = &config.history {
            let mut lines = self.permitted(&needs::of_history(history, &config.nats));
            lines.push(self.history(history).await);
            add("history", lines);
        }
        if config.service.access != ServiceAccess::Off {
            let mut lines = self.permitted(&needs::of_service(&config.service));
            lines.push(service(&config.service));
            add("service", lines);
        }
        sections
    }

    /// Whether the user may do what is needed, where the server says what it may.
    fn permitted(&self, needs: &[Need]) -> Vec<Line> {
        self.user.as_ref().map(|user| needs::judge(needs, user)).unwrap_or_default()
    }

    async fn bucket(&mut self, endpoints: &Endpoints) -> Line {
        const WHAT: &str = "bucket";
        let bucket = endpoints.bucket.as_str();
        let subject = format!("{USUAL}.STREAM.INFO.KV_{bucket}");
        // The daemon does without this permission.
        if self.user.as_ref().is_ok_and(|user| !user.may(Action::Publish, &subject, None)) {
            let found = format_args!("whether {bucket} is there is not known: the user may not look");
            return Line::warning(WHAT, found, format_args!("let it publish to {subject}, for this check"));
        }
        match self.api.stream::<stream::Info>(USUAL, &format!("KV_{bucket}")).await {
            Ok(found) => {
                let messages = found.state.messages;
                Line::fine(
                    WHAT,
                    format_args!("{bucket} is there, with {messages} values and marks of removed ones"),
                )
            }
            Err(NoAnswer::NotFound) if endpoints.create => {
                Line::fine(WHAT, format_args!("{bucket} is not there yet: it will be made"))
            }
            Err(NoAnswer::NotFound) => Line::failed(
                WHAT,
                format_args!("there is no bucket {bucket}: the process will not be ready"),
                format_args!("make it, by nats kv add {bucket}, or set endpoints.create"),
            ),
            Err(why) => unseen_jetstream(WHAT, &why, "leave the section endpoints out"),
        }
    }

    async fn history(&mut self, history: &History) -> Line {
        match &history.keeper {
            Some(keeper) => self.kept(history, keeper).await,
            None => self.kept_by_any(history).await,
        }
    }

    /// Whether the stream that the configuration names keeps the history.
    async fn kept(&mut self, History { subject, .. }: &History, keeper: &HistoryStream) -> Line {
        let name = &keeper.name;
        match self.api.stream::<stream::Info>(USUAL, name.as_str()).await {
            Ok(found) => {
                let has = |pattern: &String| {
                    pattern.parse::<Subject>().is_ok_and(|pattern| pattern.matches(subject))
                };
                let config = &found.config;
                if !config.subjects.iter().any(has) {
                    let advice = format!("add the subject to it: nats stream edit {name} --subjects …");
                    return Line::failed(
                        STREAM,
                        format_args!("the stream {name} does not keep {subject}"),
                        advice,
                    );
                }
                if config.no_ack || config.sealed {
                    let found = format_args!("the stream {name} confirms nothing (no_ack, or sealed)");
                    return Line::failed(STREAM, found, "set no_ack to false, or name another stream");
                }
                if config.max_age.is_zero() && config.max_bytes <= 0 && config.max_messages <= 0 {
                    let found = format_args!("the stream {name} keeps {subject} without an end");
                    return Line::warning(STREAM, found, "set its max_age or max_bytes");
                }
                Line::fine(
                    STREAM,
                    format_args!("the stream {name} keeps {subject}: {} messages", found.state.messages),
                )
            }
            Err(NoAnswer::NotFound) if keeper.create => {
                Line::fine(STREAM, format_args!("the stream {name} is not there yet: it will be made"))
            }
            Err(NoAnswer::NotFound) => Line::failed(
                STREAM,
                format_args!("there is no stream {name}"),
                format_args!("make it with the subject {subject}, or set history.create"),
            ),
            Err(why) => unseen_jetstream(STREAM, &why, "leave history.stream out"),
        }
    }

    /// Whether any stream keeps the history, where the configuration names none.
    async fn kept_by_any(&mut self, History { subject, .. }: &History) -> Line {
        let nobody = || {
            Line::warning(
                STREAM,
                format_args!("no stream keeps {subject}: it is for whoever listens at that moment"),
                "set history.stream, and history.create where it is missing",
            )
        };
        match self.api.stream_with(subject.as_str()).await {
            Ok(Some(stream)) => Line::fine(STREAM, format_args!("the stream {stream} keeps {subject}")),
            Ok(None) | Err(NoAnswer::NoJetStream) => nobody(),
            Err(why) => unseen(STREAM, &why),
        }
    }
}

const STREAM: &str = "stream";

fn service(service: &Service) -> Line {
    let name = &service.name;
    let asked = if service.access == ServiceAccess::Act {
        "may be asked for everything"
    } else {
        "may be asked how it is doing"
    };
    Line::fine("service", format_args!("clients of NATS find it as {name}, and it {asked}"))
}
