//! `/api/v1/dead-letters`: the dead letters of a route, to look at, to deliver after all, and to remove.

use std::{collections::BTreeSet, num::NonZeroU64, rc::Rc, time::SystemTime};

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::{
    Access, Call, Router,
    input::{Query, Whole, given},
};
use crate::{
    control::{
        letters::{Act, JobTold, Letters, LettersError, Order},
        server::{self, Problem, ProblemKind, Reply},
    },
    dead_letter::{Selection, StoreError, time_or_age},
    message::outcome::Reason,
};

const LIST: &str = "/api/v1/dead-letters";
const ONE: &str = "/api/v1/dead-letters/{sequence}";
const REPLAY: &str = "/api/v1/dead-letters/replay";
const DISCARD: &str = "/api/v1/dead-letters/discard";
const JOB: &str = "/api/v1/dead-letters/job";
/// The parameters of a list.
const LISTED_BY: &[&str] =
    &["route", "limit", "after", "id", "reason", "failure", "since", "until", "subject"];
/// How many letters a page has, and how many at the most.
const PAGE: (usize, usize) = (100, 1_000);
/// How many letters may be named by their sequences.
const MOST_SEQUENCES: usize = 1_000;

/// Which letters, and what is done with them.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Ordered {
    #[serde(deserialize_with = "given")]
    route: Option<String>,
    #[serde(deserialize_with = "given")]
    to_route: Option<String>,
    all: bool,
    #[serde(deserialize_with = "given")]
    id: Option<String>,
    #[serde(deserialize_with = "given")]
    reason: Option<String>,
    #[serde(deserialize_with = "given")]
    failure: Option<String>,
    #[serde(deserialize_with = "given")]
    since: Option<String>,
    #[serde(deserialize_with = "given")]
    until: Option<String>,
    #[serde(deserialize_with = "given")]
    subject: Option<String>,
    #[serde(deserialize_with = "given")]
    sequences: Option<BTreeSet<Whole>>,
    #[serde(deserialize_with = "given")]
    limit: Option<Whole>,
    dry_run: bool,
}

/// The latest job, where there was one.
#[derive(Serialize)]
struct Latest {
    job: Option<JobTold>,
}

/// Adds them to `router`.
pub(super) fn add(router: &mut Router, letters: &Rc<Letters>) {
    let on = Rc::clone(letters);
    router.add_taking(LISTED_BY, Method::GET, LIST, Access::Read, move |call| {
        let (on, asked) = (Rc::clone(&on), page(call));
        call.work(async move {
            let (route, selection, place) = asked?;
            let listed = on.list(route.as_deref(), selection, place).await;
            Ok(server::json(StatusCode::OK, &listed.map_err(|error| problem(&error))?))
        })
    });
    let on = Rc::clone(letters);
    router.add_taking(&["route"], Method::GET, ONE, Access::Read, move |call| {
        let (on, asked) = (Rc::clone(&on), one(call));
        call.work(async move {
            let (route, sequence) = asked?;
            let letter = on.show(route.as_deref(), sequence).await;
            Ok(server::json(StatusCode::OK, &letter.map_err(|error| problem(&error))?))
        })
    });
    for (path, act) in [(REPLAY, Act::Replay), (DISCARD, Act::Discard)] {
        let on = Rc::clone(letters);
        router.add(Method::POST, path, Access::Act, move |call| {
            let (on, by) = (Rc::clone(&on), call.by());
            call.work_with(move |ordered: Ordered| async move {
                let begun = on.begin(ordered.order(act, by, SystemTime::now())?).await;
                let job = Some(begun.map_err(|error| problem(&error))?);
                Ok(server::json(StatusCode::ACCEPTED, &Latest { job }))
            })
        });
    }
    let on = Rc::clone(letters);
    router.add(Method::GET, JOB, Access::Read, move |_| {
        Reply::Now(server::json(StatusCode::OK, &Latest { job: on.job() }))
    });
    let on = Rc::clone(letters);
    router.add(Method::DELETE, JOB, Access::Act, move |_| {
        Reply::Now(server::json(StatusCode::OK, &Latest { job: on.stop_job() }))
    });
}

/// The page that is asked for: of which route, of which letters, behind which one and how many.
#[expect(clippy::type_complexity, reason = "it is taken apart at once")]
fn page(call: &Call<'_>) -> Result<(Option<String>, Selection, (u64, usize)), Problem> {
    let mut query = Query::of(call.head);
    let route = query.take("route", "the name of a route")?;
    let expected = format!("a number from 1 to {}", PAGE.1);
    let limit = query.take::<usize>("limit", &expected)?.unwrap_or(PAGE.0);
    let after = query.take("after", "the sequence of a letter")?.unwrap_or(0);
    let mut text = |name: &str| query.take::<String>(name, "a text");
    let asked = Ordered {
        id: text("id")?,
        reason: text("reason")?,
        failure: text("failure")?,
        since: text("since")?,
        until: text("until")?,
        subject: text("subject")?,
        ..Ordered::default()
    };
    query.finish()?;
    let bad = |detail: String| Problem::new(ProblemKind::BadQuery, detail);
    if !(1..=PAGE.1).contains(&limit) {
        return Err(bad(format!("limit: expected {expected}")));
    }
    let selection = asked.selection(SystemTime::now()).map_err(bad)?;
    Ok((route, selection, (after, limit)))
}

/// The letter in the path of `call`, and its route.
fn one(call: &Call<'_>) -> Result<(Option<String>, u64), Problem> {
    let mut query = Query::of(call.head);
    let route = query.take("route", "the name of a route")?;
    query.finish()?;
    let sequence = call.parameter("sequence").parse::<NonZeroU64>().map_err(|_| {
        Problem::new(ProblemKind::NoSuchLetter, "a letter is named by its sequence, a number; a list has it")
    })?;
    Ok((route, sequence.get()))
}

impl Ordered {
    /// What is ordered by `by` at `now`.
    fn order(self, act: Act, by: String, now: SystemTime) -> Result<Order, Problem> {
        let bad = |detail: String| Problem::new(ProblemKind::BadValue, detail);
        let selection = self.selection(now).map_err(bad)?;
        if self.all != selection.is_all() {
            let detail = "say which letters are meant: by id, reason, failure, since, until, subject or sequences, or by \
                          \"all\": true alone";
            return Err(bad(detail.to_owned()));
        }
        if act == Act::Discard && self.to_route.is_some() {
            return Err(bad("to_route: what is discarded goes nowhere".to_owned()));
        }
        let most = self.limit.map_or(u64::MAX, |Whole(most)| most);
        if most == 0 {
            return Err(bad("limit: expected 1 or more".to_owned()));
        }
        let Self { route, to_route, dry_run, .. } = self;
        Ok(Order { act, route, to_route, selection, most, dry_run, by })
    }

    /// Which letters are meant at `now`; the error says what is wrong with that.
    fn selection(&self, now: SystemTime) -> Result<Selection, String> {
        let time = |name: &str, text: &Option<String>| {
            let read = |text: &String| time_or_age(text, now).map_err(|error| format!("{name}: {error}"));
            text.as_ref().map(read).transpose()
        };
        if let Some(reason) = &self.reason
            && !Reason::ALL.iter().any(|known| known.label() == reason)
        {
            let known = Reason::ALL.map(Reason::label).join(", ");
            return Err(format!("reason: expected one of {known}"));
        }
        let subject = self.subject.as_ref().map(|subject| subject.parse());
        let subject = subject.transpose().map_err(|error| format!("subject: {error}"))?;
        let are_some =
            |some: &BTreeSet<Whole>| (1..=MOST_SEQUENCES).contains(&some.len()) && !some.contains(&Whole(0));
        if !self.sequences.as_ref().is_none_or(are_some) {
            return Err(format!("sequences: expected 1 to {MOST_SEQUENCES} numbers from 1 on"));
        }
        Ok(Selection {
            id: self.id.clone(),
            reason: self.reason.clone(),
            failure: self.failure.clone(),
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
            subject,
            sequences: self.sequences.as_ref().map(|all| all.iter().map(|Whole(one)| *one).collect()),
        })
    }
}

/// Why something can't be done with letters.
fn problem(error: &LettersError) -> Problem {
    let kind = match error {
        LettersError::NoSuchRoute(_) => ProblemKind::NoSuchRoute,
        LettersError::NoLetters(_)
        | LettersError::Store(StoreError::NoStream(_) | StoreError::NoJetStream(_)) => ProblemKind::NoLetters,
        LettersError::WhichRoute(_) => ProblemKind::WhichRoute,
        LettersError::NoSuchLetter { .. } => ProblemKind::NoSuchLetter,
        LettersError::Held(_) => ProblemKind::Held,
        LettersError::UnderWay(_) | LettersError::Store(StoreError::Claimed(_)) => ProblemKind::UnderWay,
        LettersError::Stopping => ProblemKind::Stopping,
        LettersError::Away(_) | LettersError::Store(StoreError::Unanswered { .. }) => ProblemKind::Nats,
        LettersError::Store(
            StoreError::Kept { .. }
            | StoreError::Unclaimable(_)
            | StoreError::Forbidden { .. }
            | StoreError::Refused { .. },
        ) => ProblemKind::Stream,
    };
    Problem::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::input::json;

    fn ordered(body: &str, act: Act) -> Result<Order, String> {
        let ordered = json::<Ordered>(body.as_bytes());
        let order = ordered.and_then(|one| one.order(act, "ops".to_owned(), SystemTime::UNIX_EPOCH));
        order.map_err(|problem| problem.name().to_owned())
    }

    #[test]
    fn whoever_changes_something_says_which_letters_are_meant() {
        for body in [
            "{}",
            r#"{"all":false}"#,
            r#"{"limit":5}"#,
            r#"{"all":true,"id":"x"}"#,
            r#"{"sequences":[]}"#,
            r#"{"sequences":[0]}"#,
            r#"{"reason":"boredom"}"#,
            r#"{"since":"yesterday"}"#,
            r#"{"subject":"a..b"}"#,
            r#"{"all":true,"limit":0}"#,
            r#"{"failure":"422","id":null}"#,
            r#"{"failure":"422","route":null}"#,
            r#"{"all":true,"limit":null}"#,
        ] {
            for act in [Act::Replay, Act::Discard] {
                assert_eq!(ordered(body, act).err().as_deref(), Some("bad-value"), "{body}");
            }
        }
        for body in [r#"{"all":true}"#, r#"{"id":"x"}"#, r#"{"until":"2h","sequences":[1]}"#] {
            for act in [Act::Replay, Act::Discard] {
                assert!(ordered(body, act).is_ok(), "{body}");
            }
        }
        assert!(ordered(r#"{"all":true,"to_route":"x"}"#, Act::Replay).is_ok());
        assert!(ordered(r#"{"all":true,"to_route":"x"}"#, Act::Discard).is_err());
    }
}
