//! `forward` of `[routes.NAME.webhook]`: which headers of the publisher go with requests.

use crate::{
    config::{
        parse,
        reader::{Reported, Section},
        tree::Value,
    },
    message::header_names::http as names,
};

/// Which headers of the publisher go with requests: an allow-list of names, in which `*` stands for any letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward(Vec<Pattern>);

/// Names of headers, by what stands between the `*`, in lower case. A single part is a name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(Vec<Box<str>>);

/// What makes an event in binary mode (CloudEvents), and a trace (W3C Trace Context).
const DEFAULT: [&str; 3] = ["ce-*", "traceparent", "tracestate"];

pub(super) fn read(at: &Section<'_>) -> Result<Forward, Reported> {
    at.optional("forward", patterns).map(|forward| forward.unwrap_or_else(Forward::usual))
}

fn patterns(value: &Value) -> Result<Forward, String> {
    let patterns = parse::list(value)?;
    // A variable that is set to `[]`.
    let is_none = matches!(patterns.as_slice(), [only] if only.is_empty());
    let patterns = if is_none { &[] } else { patterns.as_slice() };
    patterns.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>().map(Forward)
}

impl Forward {
    fn usual() -> Self {
        let parts = |text: &str| Pattern(text.split('*').map(Into::into).collect());
        Self(DEFAULT.into_iter().map(parts).collect())
    }

    /// Whether it is what goes where the operator sets nothing.
    pub(super) fn is_usual(&self) -> bool {
        *self == Self::usual()
    }

    /// Whether a header of this name goes with them, in whatever case it is written. What NATS commands goes only where it
    /// is meant: a pattern has to begin with `Nats-`.
    pub fn allows(&self, name: &str) -> bool {
        let is_command = names::is_command(name);
        self.0.iter().any(|pattern| pattern.matches(name) && (!is_command || pattern.means_commands()))
    }

    /// The patterns as they can be written.
    pub fn patterns(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|pattern| pattern.0.join("*"))
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let pattern = text.trim().to_ascii_lowercase();
        let is_pattern = |letter: char| letter == '*' || names::is_token(letter.encode_utf8(&mut [0; 4]));
        if pattern.is_empty() || pattern.len() > LONGEST || !pattern.chars().all(is_pattern) {
            // It may hold a whole header with its secret, so it is not shown.
            return Err("expected names of headers such as \"x-tenant\" or \"x-shop-*\"".to_owned());
        }
        let pattern = Self(pattern.split('*').map(Into::into).collect());
        match pattern.refused() {
            Some(why) => Err(format!("expected headers that can be passed on, not \"{text}\": {why}")),
            None => Ok(pattern),
        }
    }

    /// Why nothing that it stands for is ever passed on, if so.
    fn refused(&self) -> Option<&'static str> {
        let first = self.0.first()?;
        let is_name = self.0.len() == 1;
        if names::OUR_PREFIXES.iter().any(|ours| first.starts_with(ours)) {
            return Some("broadcaster sets all of that name itself");
        }
        if is_name && &**first == "content-type" {
            return Some("it always is");
        }
        (is_name && names::is_never_forwarded(first)).then_some("a request has one of its own")
    }

    fn means_commands(&self) -> bool {
        self.0.first().is_some_and(|first| names::is_command(first))
    }

    fn matches(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let (Some((first, rest)), is_name) = (self.0.split_first(), self.0.len() == 1) else { return false };
        let Some(mut name) = without_start(name, first) else { return false };
        let Some((last, between)) = rest.split_last() else { return is_name && name.is_empty() };
        for part in between {
            let places = 0..=name.len();
            let found = places.filter_map(|start| without_start(name.get(start..)?, part)).next();
            let Some(behind) = found else { return false };
            name = behind;
        }
        name.len().checked_sub(last.len()).and_then(|start| without_start(name.get(start..)?, last)).is_some()
    }
}

/// No pattern is longer, in bytes, nor is a name that is passed on.
const LONGEST: usize = 256;

/// What is behind `start`, which is in lower case.
fn without_start<'n>(name: &'n [u8], start: &str) -> Option<&'n [u8]> {
    let (candidate, rest) = name.split_at_checked(start.len())?;
    candidate.eq_ignore_ascii_case(start.as_bytes()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(patterns: &[&str]) -> Result<Forward, String> {
        patterns.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>().map(Forward)
    }

    #[test]
    fn patterns_stand_for_names_in_any_case() {
        for (pattern, matching, others) in [
            ("x-tenant", &["x-tenant", "X-TENANT"][..], &["x-tenants", "x-tenan", "", "ax-tenant"][..]),
            ("Ce-*", &["ce-type", "CE-ID", "ce-"], &["ce", "xce-id", "ce_id"]),
            ("*", &["a", "x-y"], &["nats-msg-id", "Nats-Expected-Stream"]),
            ("*-id", &["a-id", "-ID"], &["id", "a-id-b", "nats-msg-id"]),
            ("nats-*", &["Nats-Msg-Id"], &["nat-s"]),
            ("x-*-a*z", &["x--az", "x-a-a-a-z", "x-1-abcz"], &["x-az", "x--a", "x--za"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("a**b", &["ab", "a*b"], &["a", "b"]),
        ] {
            let forward = forward(&[pattern]).unwrap();
            assert!(matching.iter().all(|name| forward.allows(name)), "{pattern}: {matching:?}");
            assert!(!others.iter().any(|name| forward.allows(name)), "{pattern}: {others:?}");
        }
    }

    #[test]
    fn what_is_never_passed_on_is_refused() {
        for pattern in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "te",
            "user-agent",
            "webhook-id",
            "Webhook-*",
            "webhook-s*",
            "broadcaster-x",
            "content-type",
            "content_length",
            "Proxy-Authorization",
        ] {
            let error = forward(&[pattern]).unwrap_err();
            assert!(error.contains(pattern), "{pattern}: {error}");
        }
        for pattern in ["", "a b", "a:b", "é", "a\u{0}", &"x".repeat(257)] {
            let error = forward(&[pattern]).unwrap_err();
            assert!(error.starts_with("expected names of headers"), "{pattern:?}: {error}");
        }
        assert!(forward(&["content-encoding", "nats-msg-id", "*", "authorization"]).is_ok());
    }

    #[test]
    fn a_name_takes_no_longer_to_compare_than_it_is_long() {
        let pattern = forward(&["*a*a*a*a*a*a*a*a*b"]).unwrap();
        let began = std::time::Instant::now();
        assert!(!pattern.allows(&"a".repeat(60_000)));
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    }
}
