//! What a receiver says to do with a message, beside its status: in the header `webhook-delivery`, or in a body of JSON.
//!
//! ```text
//! webhook-delivery: retry
//! webhook-delivery: retry; after=30
//! webhook-delivery: drop
//!
//! {"verdict": "retry", "after": 30}
//! ```
//!
//! The name of the header, and `abort-message` for `drop`, are those of the proposal for Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/pull/291>).

use std::time::Duration;

use serde::Deserialize;

use super::answer;

/// What is to be done with the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try it again, after this time where one is given.
    Retry(Option<Duration>),
    /// It is done with: don't try it again, and don't keep it.
    Drop,
}

/// There is something in the place of a verdict that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoVerdict;

impl Verdict {
    /// That of a header.
    pub fn of_header(value: &[u8]) -> Result<Self, NoVerdict> {
        let text = str::from_utf8(value).map_err(|_| NoVerdict)?;
        let (word, parameters) = text.split_once(';').unwrap_or((text, ""));
        let after = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
        let mut after = after.filter(|(name, _)| name.trim().eq_ignore_ascii_case("after"));
        let after = after.next().map(|(_, value)| seconds(value.trim()).ok_or(NoVerdict)).transpose()?;
        Self::new(word.trim(), after)
    }

    /// That of a body, where there is one: JSON with a field `verdict`.
    pub fn of_body(body: &[u8]) -> Result<Option<Self>, NoVerdict> {
        #[derive(Deserialize)]
        struct Body {
            verdict: Option<serde_json::Value>,
            after: Option<serde_json::Value>,
        }
        // Most bodies are none, and are not even looked into.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Ok(None);
        }
        let Ok(Body { verdict: Some(word), after }) = serde_json::from_slice(body) else { return Ok(None) };
        let after = after.map(|after| match after {
            serde_json::Value::String(text) => seconds(&text).ok_or(NoVerdict),
            other => seconds(&other.to_string()).ok_or(NoVerdict),
        });
        Self::new(word.as_str().ok_or(NoVerdict)?, after.transpose()?).map(Some)
    }

    /// That of a word, and a time where one is given.
    pub(super) fn new(word: &str, after: Option<Duration>) -> Result<Self, NoVerdict> {
        let is = |other: &str| word.eq_ignore_ascii_case(other);
        if is("retry") {
            Ok(Self::Retry(after))
        } else if is("drop") || is("abort-message") {
            Ok(Self::Drop)
        } else {
            Err(NoVerdict)
        }
    }
}

/// A time to wait, in seconds as in `Retry-After`, or with a unit as in the configuration.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim_matches('"');
    let with_unit = || humantime::parse_duration(text).ok();
    answer::wait_in_seconds(text).or_else(with_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Result<Verdict, NoVerdict> = Ok(Verdict::Retry(None));

    const fn after(seconds: u64) -> Result<Verdict, NoVerdict> {
        Ok(Verdict::Retry(Some(Duration::from_secs(seconds))))
    }

    #[test]
    fn a_header_says_what_to_do() {
        for (value, verdict) in [
            ("retry", RETRY),
            (" Retry ", RETRY),
            ("retry; after=30", after(30)),
            ("retry;AFTER=\"30\"", after(30)),
            ("retry; after=2m", after(120)),
            ("retry; why=\"busy\"; after=1.5", after(2)),
            ("drop", Ok(Verdict::Drop)),
            ("abort-message", Ok(Verdict::Drop)),
            ("", Err(NoVerdict)),
            ("disable", Err(NoVerdict)),
            ("retry, drop", Err(NoVerdict)),
            ("retry; after=soon", Err(NoVerdict)),
            ("retry; after=-1", Err(NoVerdict)),
        ] {
            assert_eq!(Verdict::of_header(value.as_bytes()), verdict, "{value:?}");
        }
        assert_eq!(Verdict::of_header(b"retry\xff"), Err(NoVerdict));
    }

    #[test]
    fn a_body_says_what_to_do() {
        for (body, verdict) in [
            (r#"{"verdict": "retry"}"#, RETRY.map(Some)),
            (r#"{"verdict": "retry", "after": 30, "more": []}"#, after(30).map(Some)),
            (r#"{"verdict": "retry", "after": "90s"}"#, after(90).map(Some)),
            (r#" {"verdict": "drop"}"#, Ok(Some(Verdict::Drop))),
            (r#"{"verdict": "maybe"}"#, Err(NoVerdict)),
            (r#"{"verdict": 1}"#, Err(NoVerdict)),
            (r#"{"verdict": "retry", "after": "soon"}"#, Err(NoVerdict)),
            (r#"{"verdict": "retry", "after": -3}"#, Err(NoVerdict)),
            (r#"{"status": "ok"}"#, Ok(None)),
            (r#"{"verdict": null}"#, Ok(None)),
            (r#"["verdict"]"#, Ok(None)),
            ("{", Ok(None)),
            ("ok", Ok(None)),
            ("", Ok(None)),
        ] {
            assert_eq!(Verdict::of_body(body.as_bytes()), verdict, "{body}");
        }
    }
}
