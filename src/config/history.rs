//! `[history]`: whether what came of attempts is published, and of which.

use std::{num::NonZeroUsize, time::Duration};

use super::{
    PublishSubject, Route, StreamName,
    parse::{self, Choice},
    reader::{Reported, Section},
    tree::Value,
};

/// `[history]`: what came of attempts is published. Without it, it is not.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// `history.subject`: what it is published to. Required. No route may subscribe to it.
    pub subject: PublishSubject,
    /// `history.outcomes`: which attempts. Default `failed`.
    pub outcomes: Outcomes,
    /// `history.sample`: of which part of the messages, from 0 to 1. Default 1.
    pub sample: f64,
    /// `history.stream` and what belongs to it: the stream that keeps it, and confirms it. Default: none, it is published for
    /// whoever listens.
    pub keeper: Option<HistoryStream>,
}

/// The stream that keeps the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryStream {
    /// `history.stream`: its name.
    pub name: StreamName,
    /// `history.create`: whether it is made where it is missing. Default false.
    pub create: bool,
    /// `history.max_age`: for how long one that is made keeps anything, 1 s at least. Default 7 days.
    pub max_age: Duration,
    /// `history.max_bytes`: how much it keeps at the most; the oldest goes then. Default 1 GiB.
    pub max_bytes: NonZeroUsize,
}

/// Which attempts are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcomes {
    /// Those that failed.
    Failed,
    /// All of them.
    All,
}

impl Outcomes {
    /// Its name.
    pub fn name(self) -> &'static str {
        self.word()
    }
}

impl Choice for Outcomes {
    const ALL: &'static [(&'static str, Self)] = &[("failed", Self::Failed), ("all", Self::All)];
}

const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MAX_BYTES: NonZeroUsize = NonZeroUsize::new(1 << 30).expect("it is not 0");

/// Reads the section beside these `routes`, where those are good.
pub(super) fn read(at: &Section<'_>, routes: Option<&[Route]>) -> Result<History, Reported> {
    let subject = at.required("subject", parse::name);
    let outcomes = at.or("outcomes", Outcomes::Failed, parse::choice);
    let sample = at.or("sample", 1.0, ratio);
    let keeper = keeper(at);
    let subject: PublishSubject = subject?;
    let takes_it = |route: &&Route| route.subject.matches(&subject);
    if let Some(route) = routes.and_then(|routes| routes.iter().find(takes_it)) {
        // Each attempt would be told of by a message that is attempted.
        let problem = format!("expected a subject that no route subscribes to, unlike routes.{}", route.name);
        return Err(at.report("subject", problem));
    }
    Ok(History { subject, outcomes: outcomes?, sample: sample?, keeper: keeper? })
}

fn keeper(at: &Section<'_>) -> Result<Option<HistoryStream>, Reported> {
    let name: Result<Option<StreamName>, _> = at.optional("stream", parse::name);
    let create = at.optional("create", parse::switch);
    let max_age = at.optional("max_age", age);
    let max_bytes = at.optional("max_bytes", parse::size);
    let (name, create, max_age, max_bytes) = (name?, create?, max_age?, max_bytes?);
    let Some(name) = name else {
        let is_alone = create.is_none() && max_age.is_none() && max_bytes.is_none();
        return if is_alone { Ok(None) } else { Err(at.missing("stream")) };
    };
    Ok(Some(HistoryStream {
        name,
        create: create.unwrap_or(false),
        max_age: max_age.unwrap_or(MAX_AGE),
        max_bytes: max_bytes.unwrap_or(MAX_BYTES),
    }))
}

/// How long a stream may keep something.
fn age(value: &Value) -> Result<Duration, String> {
    let allowed = Duration::from_secs(1)..=YEAR * 10;
    let wrong = || value.unexpected("a duration from 1s to 10years such as \"7d\"");
    parse::length(value).filter(|age| allowed.contains(age)).ok_or_else(wrong)
}

/// A number from 0 to 1.
pub(super) fn ratio(value: &Value) -> Result<f64, String> {
    let ratio = parse::number(value).filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| value.unexpected("a number from 0 to 1 such as 0.1"))
}
