//! `[history]`: whether what came of attempts is published, and of which.

use super::{
    PublishSubject, Route,
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

/// Reads the section beside these `routes`, where those are good.
pub(super) fn read(at: &Section<'_>, routes: Option<&[Route]>) -> Result<History, Reported> {
    let subject = at.required("subject", parse::name);
    let outcomes = at.or("outcomes", Outcomes::Failed, parse::choice);
    let sample = at.or("sample", 1.0, ratio);
    let subject: PublishSubject = subject?;
    let takes_it = |route: &&Route| route.subject.matches(&subject);
    if let Some(route) = routes.and_then(|routes| routes.iter().find(takes_it)) {
        // Each attempt would be told of by a message that is attempted.
        let problem = format!("expected a subject that no route subscribes to, unlike routes.{}", route.name);
        return Err(at.report("subject", problem));
    }
    Ok(History { subject, outcomes: outcomes?, sample: sample? })
}

/// A number from 0 to 1.
pub(super) fn ratio(value: &Value) -> Result<f64, String> {
    let ratio = parse::number(value).filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| value.unexpected("a number from 0 to 1 such as 0.1"))
}
