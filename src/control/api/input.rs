//! What a request says: parameters of its query, and a body of JSON.

use std::{borrow::Cow, str::FromStr};

use http::header::CONTENT_TYPE;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use url::form_urlencoded;

use crate::control::server::{Head, Problem, ProblemKind};

/// The parameters of a query. Each that is asked for is known; what is left at the end is a mistake.
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Those of the request with this head.
    pub(super) fn of(head: &'a Head) -> Self {
        Self(form_urlencoded::parse(head.query().as_bytes()).collect())
    }

    /// The parameter of this name, where there is one.
    pub(super) fn take<T: FromStr>(&mut self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        let Some(place) = self.0.iter().position(|(known, _)| known == name) else { return Ok(None) };
        let (_, value) = self.0.swap_remove(place);
        let wrong = |_| Problem::new(ProblemKind::BadQuery, format!("{name}: expected {expected}"));
        value.parse().map(Some).map_err(wrong)
    }

    /// To be called when all are taken.
    pub(super) fn finish(self) -> Result<(), Problem> {
        self.0.first().map_or(Ok(()), |(name, _)| Err(not_here(name)))
    }
}

/// Whether the query of the request with this head has no parameters but these.
pub(super) fn expects_parameters(head: &Head, known: &[&str]) -> Result<(), Problem> {
    let mut names = form_urlencoded::parse(head.query().as_bytes()).map(|(name, _)| name);
    names.find(|name| !known.contains(&&**name)).map_or(Ok(()), |name| Err(not_here(&name)))
}

fn not_here(name: &str) -> Problem {
    let name: String = name.chars().take(64).collect();
    let detail = format!("{name:?} is no parameter here, or there twice: docs/api.md has them all");
    Problem::new(ProblemKind::BadQuery, detail)
}

/// Whether the body of the request with this head may be read as JSON: it says that it is, or nothing.
pub(super) fn expects_json(head: &Head) -> Result<(), Problem> {
    let Some(kind) = head.headers().get(CONTENT_TYPE) else { return Ok(()) };
    let essence = kind.to_str().ok().and_then(|kind| kind.split(';').next()).unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = "send application/json";
    Err(Problem::new(ProblemKind::UnsupportedMediaType, detail))
}

/// A body of JSON. Without one, all of it is left out.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.is_empty() { b"{}" } else { body.trim_ascii_start() };
    // A list would be taken for the values of an object without their names.
    if [b'[', b'"'].iter().any(|first| body.first() == Some(first)) {
        return Err(Problem::new(ProblemKind::BadValue, "expected an object"));
    }
    // What is wrong is told with its line and its column, and may name what was sent: that goes back to who has sent it.
    serde_json::from_slice(body).map_err(|error| {
        let kind = if error.is_data() { ProblemKind::BadValue } else { ProblemKind::NotJson };
        Problem::new(kind, error.to_string())
    })
}

/// A member of a body that may be left out, and is no `null`: a variable of a script that is not set would otherwise be
/// taken for nothing to say, and what is done then goes further than what was meant.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A whole number. JSON may write it with a point, too: `5.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Whole(pub(super) u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(from)?;
        // Written without its point it is digits, or nothing that fits.
        let pointed = || number.as_f64().filter(|number| number.fract() == 0.0)?.to_string().parse().ok();
        let whole = number.as_u64().or_else(pointed);
        whole.map(Self).ok_or_else(|| D::Error::custom(format_args!("expected a whole number, not {number}")))
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(uri: &str, kind: Option<&str>) -> Head {
        let request = kind.into_iter().fold(Request::get(uri), |r, kind| r.header(CONTENT_TYPE, kind));
        Head::new(request.body(()).unwrap().into_parts().0, "127.0.0.1:1".parse().unwrap())
    }

    #[test]
    fn a_query_is_taken_apart() {
        let head = head("/x?limit=5&route=a%20b+c", None);
        let mut query = Query::of(&head);
        assert_eq!(query.take("limit", "a number").unwrap(), Some(5));
        assert_eq!(query.take("route", "a name").unwrap(), Some("a b c".to_owned()));
        assert_eq!(query.take::<u8>("limit", "a number").unwrap(), None);
        assert!(query.finish().is_ok());
        for (uri, wanted) in
            [("/x?limit=-1", "bad-query"), ("/x?limit=1&limit=2", "bad-query"), ("/x?x", "bad-query")]
        {
            let head = self::head(uri, None);
            let mut query = Query::of(&head);
            let taken = query.take::<u8>("limit", "a number").and_then(|_| query.finish());
            assert_eq!(taken.map_err(|problem| problem.name()), Err(wanted), "{uri}");
        }
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Pause {
        why: String,
    }

    #[test]
    fn a_whole_number_may_have_a_point() {
        let read = |text: &str| serde_json::from_str(text).ok().map(|Whole(number)| number);
        for (text, number) in
            [("5", 5), ("5.0", 5), ("5e2", 500), ("9007199254740991.0", 9_007_199_254_740_991)]
        {
            assert_eq!(read(text), Some(number), "{text}");
        }
        for text in ["5.5", "-1", "-1.0", "1e30", "\"5\"", "null"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_body_is_json_and_says_so() {
        for (kind, fine) in [
            (None, true),
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("text/plain"), false),
            (Some(""), false),
        ] {
            assert_eq!(expects_json(&head("/x", kind)).is_ok(), fine, "{kind:?}");
        }
        assert_eq!(json::<Pause>(b"").unwrap(), Pause::default());
        assert_eq!(json::<Pause>(br#"{"why":"x"}"#).unwrap().why, "x");
        for (body, name) in [
            ("{", "not-json"),
            ("", ""),
            ("{\"y\":1}", "bad-value"),
            ("[1]", "bad-value"),
            (" [\"x\"]", "bad-value"),
            ("1", "bad-value"),
            ("\u{0}", "not-json"),
        ] {
            let read = json::<Pause>(body.as_bytes()).map_err(|problem| problem.name());
            assert_eq!(read.err().unwrap_or_default(), name, "{body:?}");
        }
    }
}
