//! `[endpoints.limits]`: what no value of the bucket goes beyond, whoever has written it.
//!
//! What a value leaves out is what the limit says, where the usual default would be more. What it sets beyond a limit is a
//! mistake, in words for whoever has written it: that need not be whoever has set the limit.

use std::num::NonZeroUsize;

use super::{
    Bounds, Concurrency, Place, Proxying, PublishSubject, Route, Subject, parse,
    reader::{Reported, Section},
    tree::{Entry, Table, Value},
};

/// `[endpoints.limits]`: what no value of the bucket goes beyond.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    /// `deny_private`: whether routes connect to hosts of the public internet only, without exceptions, and by no proxy of
    /// their own. Default false.
    pub deny_private: bool,
    /// `subjects`: what routes may take messages from, and publish to. Default: everything.
    pub subjects: Vec<Subject>,
    /// `concurrency`: how many attempts a route may have under way. Default: as many as it wants.
    pub concurrency: Option<NonZeroUsize>,
    /// `messages`: how many messages each of its two queues may hold. Default: as many as it wants.
    pub messages: Option<NonZeroUsize>,
    /// `bytes`: how much memory each of its two queues may take, in bytes. Default: as much as it wants.
    pub bytes: Option<NonZeroUsize>,
}

pub(super) fn read(at: &Section<'_>) -> Result<Limits, Reported> {
    let deny_private = at.or("deny_private", false, parse::switch);
    let subjects = at.or("subjects", Vec::new(), subjects);
    let concurrency = at.optional("concurrency", parse::count(10_000));
    let messages = at.optional("messages", parse::count(100_000_000));
    let bytes = at.optional("bytes", parse::size);
    Ok(Limits {
        deny_private: deny_private?,
        subjects: subjects?,
        concurrency: concurrency?,
        messages: messages?,
        bytes: bytes?,
    })
}

fn subjects(value: &Value) -> Result<Vec<Subject>, String> {
    let subject = |text: &String| text.parse::<Subject>().map_err(|error| error.to_string());
    parse::list(value)?.iter().map(subject).collect()
}

/// The two queues of a route.
const QUEUES: [&str; 2] = ["queue", "retry"];

impl Limits {
    /// Sets what a value leaves out, and what by default would be beyond a limit.
    pub(super) fn fill(&self, route: &mut Table, place: &Place) {
        for queue in QUEUES {
            let messages = self.messages.filter(|most| *most < Bounds::DEFAULT.messages);
            let bytes = self.bytes.filter(|most| *most < Bounds::DEFAULT.bytes);
            for (key, most) in [("messages", messages), ("bytes", bytes)] {
                let whole = |most: NonZeroUsize| Value::Integer(most.get() as i128);
                most.into_iter().for_each(|most| set(route, &[queue, key], whole(most), place));
            }
        }
        if self.deny_private {
            set(route, &["webhook", "egress", "deny_private"], Value::Bool(true), place);
        }
        if let Some(most) = self.concurrency {
            let (key, default) = match find(route, &["webhook", "concurrency"]) {
                Some(Value::Text(_)) => ("max_concurrency", Concurrency::ADAPTIVE_MAX),
                _ => ("concurrency", Concurrency::FIXED),
            };
            if most < default {
                set(route, &["webhook", key], Value::Integer(most.get() as i128), place);
            }
        }
    }

    /// In what `route` goes beyond a limit: the keys, each with what would be right.
    pub(super) fn exceeded(&self, route: &Route) -> Vec<(String, String)> {
        let mut exceeded = Vec::new();
        let mut say = |key: &str, expected: String| {
            exceeded.push((format!("routes.{}.{key}", route.name), format!("expected {expected}")));
        };
        let egress = &route.webhook.egress;
        if self.deny_private {
            const BY: &str = "as the operator has set endpoints.limits.deny_private";
            if !egress.deny_private {
                say("webhook.egress.deny_private", format!("true, {BY}"));
            }
            if !egress.allow.is_empty() {
                say("webhook.egress.allow", format!("no exceptions, {BY}"));
            }
            if let Proxying::By(_) = egress.proxy {
                say("webhook.egress.proxy", format!("no proxy of your own, {BY}"));
            }
        }
        let concurrency = route.webhook.concurrency;
        let numbers = [
            (concurrency.key_of_most(), concurrency.most(), "concurrency", self.concurrency),
            ("queue.messages", route.queue.bounds.messages, "messages", self.messages),
            ("retry.messages", route.retry.bounds.messages, "messages", self.messages),
            ("queue.bytes", route.queue.bounds.bytes, "bytes", self.bytes),
            ("retry.bytes", route.retry.bounds.bytes, "bytes", self.bytes),
        ];
        for (key, number, limit, most) in numbers {
            if let Some(most) = most.filter(|most| *most < number) {
                say(key, format!("{most} at most, as the operator has set endpoints.limits.{limit}"));
            }
        }
        if !self.subjects.is_empty() {
            let all: Vec<_> = self.subjects.iter().map(ToString::to_string).collect();
            let within = format!(
                "a subject within {}, as the operator has set endpoints.limits.subjects",
                all.join(", ")
            );
            if !self.subjects.iter().any(|limit| limit.covers(&route.subject)) {
                say("subject", within.clone());
            }
            for (key, subject) in route.published() {
                if !self.publishes(&subject) {
                    say(key, within.clone());
                }
            }
        }
        exceeded
    }

    fn publishes(&self, subject: &PublishSubject) -> bool {
        self.subjects.iter().any(|limit| limit.matches(subject))
    }
}

/// The value at a path of keys, where there is one.
fn find<'t>(table: &'t Table, path: &[&str]) -> Option<&'t Value> {
    let (first, rest) = path.split_first()?;
    let value = &table.get(*first)?.value;
    match value {
        Value::Table(below) if !rest.is_empty() => find(below, rest),
        value => rest.is_empty().then_some(value),
    }
}

/// Sets the value at a path of keys, where there is none. What is no table on the way is a mistake, which its reader reports.
fn set(table: &mut Table, path: &[&str], value: Value, place: &Place) {
    let Some((first, rest)) = path.split_first() else { return };
    let entry = |value| Entry { place: place.clone(), value };
    if rest.is_empty() {
        table.entry((*first).to_owned()).or_insert_with(|| entry(value));
        return;
    }
    let below = table.entry((*first).to_owned()).or_insert_with(|| entry(Value::Table(Table::new())));
    if let Value::Table(below) = &mut below.value {
        set(below, rest, value, place);
    }
}
