//! Which routes are asked for: the query of `GET /api/v1/status`.

use thiserror::Error;
use url::form_urlencoded;

use super::model::Severity;
use crate::route::shared::Route;

/// How many routes an answer has where nothing else is asked for.
const LIMIT: usize = 50;
/// How many it has at the most.
const MOST: usize = 500;
/// A longer text than this stands in no name, subject or address.
const LONGEST: usize = 256;

/// Which routes are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// `search`: a part of the name, the subject, the stream, or the webhook's address; in lower case.
    search: Option<String>,
    /// `state`.
    state: Option<Wanted>,
    /// `limit`: how many at the most.
    pub(super) limit: usize,
    /// `after`: those that stand behind this place, which is a severity and a name. The place is still one when the route
    /// is gone, or is doing better.
    pub(super) after: Option<(Severity, String)>,
    /// `history=true`: with the last ten minutes of each.
    pub(super) history: bool,
}

/// The states that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Anything that needs somebody to look.
    Troubled,
    /// Just these.
    Only(Severity),
}

/// What is wrong with a query.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum QueryError {
    /// It has no such parameter.
    #[error("there is no parameter {0:?}: search, state, limit, after and history are known")]
    Unknown(String),
    /// A parameter has a value that makes no sense.
    #[error("{name} is {expected}")]
    Value {
        /// Which.
        name: &'static str,
        /// What would be right.
        expected: &'static str,
    },
}

impl Default for Query {
    fn default() -> Self {
        Self { search: None, state: None, limit: LIMIT, after: None, history: false }
    }
}

impl Query {
    /// The query behind the `?` of an address.
    ///
    /// # Errors
    /// What is not understood is refused: a mistyped filter that is passed over would show what was not asked for.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            match &*name {
                "search" => query.search = short("search", &value)?.map(|text| text.to_lowercase()),
                "state" => query.state = state(&value)?,
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                    let expected = "a number from 1 to 500";
                    query.limit = limit.ok_or(QueryError::Value { name: "limit", expected })?;
                }
                "after" => query.after = after(&value)?,
                "history" => {
                    let expected = "true or false";
                    let asked = value.parse().map_err(|_| QueryError::Value { name: "history", expected });
                    query.history = asked?;
                }
                _ => return Err(QueryError::Unknown(name.chars().take(LONGEST).collect())),
            }
        }
        Ok(query)
    }

    /// Whether `route`, which is so far from well, is asked for.
    pub(super) fn wants(&self, route: &Route, severity: Severity) -> bool {
        let state = match self.state {
            None => true,
            Some(Wanted::Troubled) => severity <= Severity::Warning,
            Some(Wanted::Only(only)) => severity == only,
        };
        state && self.search.as_deref().is_none_or(|text| is_about(route, text))
    }
}

fn short(name: &'static str, value: &str) -> Result<Option<String>, QueryError> {
    if value.chars().count() > LONGEST {
        return Err(QueryError::Value { name, expected: "a text of 256 characters at the most" });
    }
    Ok(Some(value.to_owned()).filter(|value| !value.is_empty()))
}

/// The words for severities in queries, which are those of the answers.
const SEVERITIES: [(&str, Severity); 5] = [
    ("error", Severity::Error),
    ("warning", Severity::Warning),
    ("held", Severity::Held),
    ("ok", Severity::Ok),
    ("idle", Severity::Idle),
];

fn severity(word: &str) -> Option<Severity> {
    SEVERITIES.iter().find(|(known, _)| *known == word).map(|(_, severity)| *severity)
}

fn state(value: &str) -> Result<Option<Wanted>, QueryError> {
    match value {
        "" | "all" => Ok(None),
        "troubled" => Ok(Some(Wanted::Troubled)),
        word => {
            let expected = "all, troubled, error, warning, held, ok or idle";
            let only = severity(word).ok_or(QueryError::Value { name: "state", expected })?;
            Ok(Some(Wanted::Only(only)))
        }
    }
}

/// A place in the list, as `next` of an answer has it.
pub(super) fn place(severity: Severity, name: &str) -> String {
    let word = SEVERITIES.iter().find(|(_, known)| *known == severity).map_or("", |(word, _)| word);
    format!("{word}:{name}")
}

fn after(value: &str) -> Result<Option<(Severity, String)>, QueryError> {
    let Some(value) = short("after", value)? else { return Ok(None) };
    let place = value.split_once(':').and_then(|(word, name)| Some((severity(word)?, name.to_owned())));
    let expected = "what \"next\" of the last answer says";
    place.map(Some).ok_or(QueryError::Value { name: "after", expected })
}

/// Whether the lower-case `text` stands in what an operator knows `route` by.
fn is_about(route: &Route, text: &str) -> bool {
    let settings = &route.settings;
    let has = |name: &str| name.to_lowercase().contains(text);
    has(settings.name.as_str())
        || has(&settings.subject.to_string())
        || has(&settings.webhook.url.to_string())
        || settings.jetstream.as_ref().is_some_and(|jetstream| has(jetstream.stream.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_understood_or_refused() {
        assert_eq!(Query::parse(""), Ok(Query::default()));
        let query = Query::parse("search=Orders+%3E&state=troubled&limit=7&after=ok:b&history=true").unwrap();
        let expected = Query {
            search: Some("orders >".to_owned()),
            state: Some(Wanted::Troubled),
            limit: 7,
            after: Some((Severity::Ok, "b".to_owned())),
            history: true,
        };
        assert_eq!(query, expected);
        assert_eq!(place(Severity::Ok, "b"), "ok:b");
        assert_eq!(Query::parse("search=&after="), Ok(Query::default()));
        for wrong in ["limit=0", "limit=501", "limit=x", "state=bad", "history=1", "sort=name", "after=b"] {
            assert!(Query::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Query::parse(&format!("search={}", "x".repeat(257))).is_err());
    }
}
