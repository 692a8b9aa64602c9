//! What NATS users log in with: whether it is what it should be, before a server says no.

use nkeys::{KeyPair, KeyPairType};

/// The JWT and the user's seed in the text of a `.creds` file, where it is one: each stands between two lines of dashes.
pub fn jwt_and_seed(text: &str) -> Option<(&str, &str)> {
    let lines: Vec<_> = text.lines().collect();
    let between = |window: &&[&str]| is_rule(window[0]) && is_rule(window[2]) && is_word(window[1]);
    let mut found = lines.windows(3).filter(between).map(|window| window[1]);
    let (jwt, seed) = (found.next()?, found.next()?);
    (is_jwt(jwt) && is_user_seed(seed)).then_some((jwt, seed))
}

/// Whether a text is the seed of a user's nkey, `SU…`, without a letter too many or wrong.
pub(super) fn is_user_seed(text: &str) -> bool {
    KeyPair::from_seed(text).is_ok_and(|pair| pair.key_pair_type() == KeyPairType::User)
}

fn is_jwt(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty())
}

/// Such as `-----BEGIN NATS USER JWT-----`.
fn is_rule(line: &str) -> bool {
    line.len() >= 6 && line.starts_with("---") && line.ends_with("---")
}

fn is_word(line: &str) -> bool {
    !line.is_empty()
        && line.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'='))
}
