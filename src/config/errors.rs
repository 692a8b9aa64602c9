//! What is wrong with a configuration, in words for the operator. Nothing here holds the value of a secret.

use std::{fmt, path::PathBuf};

/// Every mistake in a configuration, in the order in which they were found. As text: one a line.
#[derive(Debug)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

/// One mistake. It never holds the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The key path, such as `routes.todos.webhook.url`; empty when it is about no key in particular.
    pub key: String,
    /// Where the mistake was made.
    pub place: Place,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Where a setting was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it is missing, or the problem itself says where.
    Unset,
    /// In the TOML file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, from 1, when it is known.
        line: Option<usize>,
    },
    /// In this environment variable.
    Variable(String),
    /// By this flag, as it was typed.
    Flag(String),
    /// In a value of a key-value bucket of NATS.
    Bucket {
        /// The bucket.
        bucket: String,
        /// The key of the value.
        key: String,
        /// Which of its values; 0 for one that is not in the bucket yet.
        revision: u64,
    },
}

/// The layers of settings: a later one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    Defaults,
    File,
    Environment,
    Flags,
}

/// What is no mistake, but hardly what an operator wants. It never holds the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigWarning(pub(super) ConfigError);

impl ConfigErrors {
    /// The mistakes, one by one; there is one at least.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl std::error::Error for ConfigErrors {}

impl ConfigWarning {
    /// Whether it is about an option of this command, and not about the daemon's settings.
    pub fn is_about_an_option(&self) -> bool {
        matches!(self.0.place, Place::Flag(_))
    }
}

impl Place {
    pub(super) const fn layer(&self) -> Layer {
        match self {
            Self::Unset => Layer::Defaults,
            Self::File { .. } | Self::Bucket { .. } => Layer::File,
            Self::Variable(_) => Layer::Environment,
            Self::Flag(_) => Layer::Flags,
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(f, "1 mistake in the configuration:")?,
            n => write!(f, "{n} mistakes in the configuration:")?,
        }
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, place, problem } = self;
        match (key.as_str(), place) {
            ("", Place::Unset) => f.write_str(problem),
            ("", place) => write!(f, "{problem} (in {place})"),
            (key, Place::Unset) => write!(f, "{key} {problem}"),
            (key, place) => write!(f, "{key}: {problem} (in {place})"),
        }
    }
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("the built-in defaults"),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Bucket { bucket, key, revision: 0 } => write!(f, "{key} for bucket {bucket}"),
            Self::Bucket { bucket, key, revision } => write!(f, "{key}@{revision} of bucket {bucket}"),
        }
    }
}
