//! `[routes.NAME.webhook.signing.keys.NAME]`: what is signed with.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Convention, Scheme, SigningSecret};
use crate::config::{
    RouteName, files,
    reader::{Reported, Section},
    tree::Value,
};

/// A key to sign with. With several, each signs, so that a receiver can change to the next in its own time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The name of its table; the receiver never sees it.
    pub name: String,
    /// `secret` or `secret_file`: the secret.
    pub secret: SigningSecret,
    /// `secret_file`: the file that it stands in, which is read again when it changes.
    pub file: Option<PathBuf>,
    /// `until`: when it is not used any more. Default: never.
    pub until: Option<SystemTime>,
}

impl SigningKey {
    /// Whether `until` has not passed at `now`.
    pub fn is_used(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// All keys, sorted by name. `scheme` says how a secret is written; where that is not known, it is read as it is.
pub(super) fn read_all(
    at: &Section<'_>,
    scheme: Option<Scheme>,
    now: SystemTime,
) -> Result<Vec<SigningKey>, Reported> {
    if at.entries().is_empty() {
        return Err(at.report_table(
            "expected a key, such as [….webhook.signing.keys.current] with secret_file; broadcaster keys new makes one",
        ));
    }
    let keys = at.entries().iter().map(|(name, entry)| at.below(name, entry, |at| read(at, name, scheme)));
    // All of them first, so that all mistakes are found.
    let keys: Vec<_> = keys.collect();
    let keys = keys.into_iter().collect::<Result<Vec<_>, _>>()?;
    if !keys.iter().any(|key| key.is_used(now)) {
        return Err(at.report_table("expected a key that has not ended: nothing is sent unsigned"));
    }
    Ok(keys)
}

/// Says so where a request has room for one signature, and it is open which key that is of.
pub(super) fn compare(
    at: &Section<'_>,
    convention: Option<&Convention>,
    keys: Vec<SigningKey>,
) -> Result<Vec<SigningKey>, Reported> {
    let has_room = convention.is_none_or(|convention| convention.separator.is_some());
    let mut ends: Vec<_> = keys.iter().map(|key| key.until).collect();
    ends.sort_unstable();
    if !has_room && ends.windows(2).any(|pair| pair[0] == pair[1]) {
        let problem = "expected until, another one at each key but one: there is room for one signature, and the key that \
                       ends next makes it";
        return Err(at.report("keys", problem));
    }
    Ok(keys)
}

fn read(at: &Section<'_>, name: &str, scheme: Option<Scheme>) -> Result<SigningKey, Reported> {
    let parse = |text: String, file: Option<&Path>| {
        let secret = scheme.map_or_else(|| Ok(SigningSecret::plain(&text)), |scheme| scheme.secret(&text));
        Ok::<_, String>((secret?, file.map(Path::to_owned)))
    };
    let secret = files::secret(at, "secret", "secret_file", parse);
    let secret = secret.and_then(|secret| secret.ok_or_else(|| at.missing("secret_file")));
    let until = at.optional("until", time);
    // As a route's: it is part of the names of variables.
    if name.parse::<RouteName>().is_err() {
        return Err(at.report_table(
            "expected 1 to 64 of a-z, 0-9, _ and - (no double underscore) as the name of a key",
        ));
    }
    let (secret, file) = secret?;
    Ok(SigningKey { name: name.to_owned(), secret, file, until: until? })
}

fn time(value: &Value) -> Result<SystemTime, String> {
    let wrong = || value.unexpected("a time in UTC such as \"2027-01-31T00:00:00Z\"");
    let Value::Text(text) = value else { return Err(wrong()) };
    humantime::parse_rfc3339(text.trim()).map_err(|_| wrong())
}
