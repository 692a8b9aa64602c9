//! What NATS users log in with: whether it is what it should be, before a server says no.

use nkeys::{KeyPair, KeyPairType};

/// Whether a text is a `.creds` file: a JWT and a user's seed, each between two lines of dashes, as the client finds them.
pub(super) fn is_credentials(text: &str) -> bool {
    let lines: Vec<_> = text.lines().collect();
    let between = |window: &&[&str]| is_rule(window[0]) && is_rule(window[2]) && is_word(window[1]);
    let mut found = lines.windows(3).filter(between).map(|window| window[1]);
    let (jwt, seed) = (found.next(), found.next());
    jwt.is_some_and(is_jwt) && seed.is_some_and(is_user_seed)
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
