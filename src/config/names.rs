//! Names: of routes, of NATS subjects, of queue groups. Cheap to clone, and valid by construction.

use std::{fmt, str::FromStr, sync::Arc};

/// What is wrong with a name, and what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not the name of a route.
    #[error("expected 1 to 64 of a-z, 0-9, _ and - (no double underscore)")]
    Route,
    /// Not the name of a token.
    #[error("expected a name of 1 to 64 of a-z, 0-9, _ and - (no double underscore)")]
    Token,
    /// Not a subject that can be subscribed to.
    #[error(
        "expected a NATS subject such as \"todos.events\" or \"todos.>\" (no empty token, no blank; a wildcard is a \
         whole token, > the last one)"
    )]
    Subject,
    /// Not a subject that can be published to.
    #[error("expected a NATS subject such as \"todos.dead\" (no empty token, no blank, no wildcard)")]
    PublishSubject,
    /// Not the name of a stream or a consumer.
    #[error(
        "expected a name such as \"TODOS\" (no blank, dot, slash, backslash or wildcard, at most 255 bytes)"
    )]
    Stream,
    /// Not the name of a key-value bucket.
    #[error("expected 1 to 200 letters, digits, _ and - as the name of a bucket")]
    Bucket,
    /// Not a queue group.
    #[error("expected a name without blanks such as \"broadcaster-workers\"")]
    QueueGroup,
}

/// The name of a route: 1 to 64 of `a-z`, `0-9`, `_` and `-`.
///
/// No double underscore, since it separates the parts of an environment variable's name; and no upper case, since those
/// names are read in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteName(Arc<str>);

/// The name of a token of the API, in the form of a [`RouteName`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenName(Arc<str>);

/// A subject to subscribe to, perhaps with the wildcards `*` (one token) and `>` (all that follow, one at least).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject(Arc<str>);

/// A subject to publish to: one without wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PublishSubject(Arc<str>);

/// The name of a JetStream stream or consumer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamName(Arc<str>);

/// A queue group: its members share the messages of a subject between them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueueGroup(Arc<str>);

// === impl Subject ===

impl Subject {
    /// Whether it stands for many subjects.
    pub fn has_wildcard(&self) -> bool {
        self.0.split('.').any(|token| token == "*" || token == ">")
    }

    /// Whether there is a subject that both match.
    pub fn overlaps(&self, other: &Self) -> bool {
        overlap(&self.0, &other.0)
    }

    /// Whether all that `other` matches is matched here too.
    pub fn covers(&self, other: &Self) -> bool {
        let (mut wide, mut narrow) = (self.0.split('.'), other.0.split('.'));
        loop {
            match (wide.next(), narrow.next()) {
                (None, None) | (Some(">"), Some(_)) => return true,
                (Some(_), Some(">")) => return false,
                (Some(wide), Some(narrow)) if wide == narrow || wide == "*" => {}
                _ => return false,
            }
        }
    }

    /// Whether a message published to `subject` arrives here.
    pub fn matches(&self, subject: &PublishSubject) -> bool {
        overlap(&self.0, &subject.0)
    }
}

fn overlap(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        // `>` has to stand for a token: `a.>` and `a` don't overlap.
        match (left.next(), right.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(l), Some(r)) if l == r || l == "*" || r == "*" => {}
            _ => return false,
        }
    }
}

/// Whether it can be the key of a table that operators name.
fn is_key(text: &str) -> bool {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(allowed) && !text.contains("__")
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn is_token(text: &str) -> bool {
    is_word(text) && !text.contains(['*', '>'])
}

// === parsing ===

impl FromStr for RouteName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_key(text) { Ok(Self(text.into())) } else { Err(NameError::Route) }
    }
}

impl FromStr for TokenName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_key(text) { Ok(Self(text.into())) } else { Err(NameError::Token) }
    }
}

impl FromStr for Subject {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let body = text.strip_suffix(".>").unwrap_or(text);
        let good = text == ">" || body.split('.').all(|token| token == "*" || is_token(token));
        if good { Ok(Self(text.into())) } else { Err(NameError::Subject) }
    }
}

impl FromStr for PublishSubject {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = text.split('.').all(is_token);
        if good { Ok(Self(text.into())) } else { Err(NameError::PublishSubject) }
    }
}

impl FromStr for StreamName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // nats-server's own rules: a name is a token of JetStream's subjects and the name of a directory, and 255 bytes
        // are its limit for one.
        let good = is_token(text) && text.len() <= 255 && !text.contains(['.', '/', '\\']);
        if good { Ok(Self(text.into())) } else { Err(NameError::Stream) }
    }
}

impl FromStr for QueueGroup {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_word(text) { Ok(Self(text.into())) } else { Err(NameError::QueueGroup) }
    }
}

// === as text ===

macro_rules! reads_as_str {
    ($($name:ident)*) => {$(
        impl $name {
            /// The name as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

reads_as_str!(RouteName TokenName Subject PublishSubject StreamName QueueGroup);
