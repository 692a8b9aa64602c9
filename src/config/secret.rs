//! Texts that must not be seen: they don't print, and their memory is wiped when they go.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq as _;

use super::{MASK, files};

/// A text that only [`ExposeSecret::expose_secret`] shows: `Debug` masks it, and its memory is wiped when it goes.
///
/// Two are equal when they hold the same: so a reload sees that a secret was rotated.
#[derive(Clone)]
pub struct Secret(SecretString);

/// A file that holds a secret, and what it held when it was read last.
///
/// Two are equal when they are the same file: whoever uses what is in it reads it again, so that another secret in it is no
/// other setting.
#[derive(Debug, Clone)]
pub struct SecretFile {
    /// The path as it was written; not a secret.
    pub path: PathBuf,
    /// The secret that was read from it.
    pub contents: Secret,
}

/// A secret that stands in the settings, or in a file that they name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretText {
    /// In the settings.
    Inline(Secret),
    /// In a file.
    InFile(SecretFile),
}

impl SecretText {
    /// What stood in the settings, or in the file at this path.
    pub(super) fn of(text: String, file: Option<&Path>) -> Self {
        match file {
            None => Self::Inline(text.into()),
            Some(path) => Self::InFile(SecretFile { path: path.to_owned(), contents: text.into() }),
        }
    }

    /// The secret, as it was when the configuration was loaded or the file read again.
    pub const fn secret(&self) -> &Secret {
        match self {
            Self::Inline(secret) => secret,
            Self::InFile(file) => &file.contents,
        }
    }
}

impl SecretFile {
    /// What the file at `path` holds now, which has one line.
    ///
    /// # Errors
    /// Why it can't be read, or what is wrong with it.
    pub fn read(path: &Path) -> Result<Secret, String> {
        files::secret_file(path).map(Secret::from)
    }
}

impl PartialEq for SecretFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for SecretFile {}

impl Secret {
    /// Whether it is `text`, which a stranger has sent: in a time that says nothing of how much of it is right.
    pub fn is(&self, text: &str) -> bool {
        self.expose_secret().as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl ExposeSecret<str> for Secret {
    fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

// This comparison takes longer the more is equal. That tells nobody anything: both sides are the operator's own.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose_secret() == other.expose_secret()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({MASK})")
    }
}

/// Whether a text is the name of a file or a command rather than a secret, so that an error may show it: words, each of
/// letters of one case that a number may follow. A secret has its letters, digits and signs mixed, most of the time.
pub fn is_name(text: &str) -> bool {
    let is_word = |word: &str| {
        let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
        word.len() <= 24
            && (letters.bytes().all(|b| b.is_ascii_lowercase())
                || letters.bytes().all(|b| b.is_ascii_uppercase()))
    };
    text.len() <= 64 && text.split(['/', '.', '-', '_']).all(is_word)
}
