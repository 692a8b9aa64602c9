//! `[server.tokens]`: who may ask the API for more than everybody may, and for what.

use std::path::Path;

use crate::config::{
    NameError, Secret, SecretText, TokenName, files,
    parse::{self, Choice},
    reader::{Reported, Section},
};

/// How many characters a token has at least: with so many nobody guesses one.
const SHORTEST: usize = 16;

/// `[server.tokens.NAME]`: a token of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Its name, which stands in the log beside what is done by it.
    pub name: TokenName,
    /// `token`, `token_file`: what clients send as `Authorization: Bearer …`, 16 characters at least. Required.
    pub token: SecretText,
    /// `role`: what may be done by it. Default `read`.
    pub role: Role,
}

/// What may be done by a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looking.
    Read,
    /// Looking and changing.
    Act,
}

impl Role {
    /// The word that settings have for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Act => "act",
        }
    }
}

impl Choice for Role {
    const ALL: &'static [(&'static str, Self)] = &[("read", Self::Read), ("act", Self::Act)];
}

impl ApiToken {
    /// The token in the file at `path`, as the file is now.
    ///
    /// # Errors
    /// What is wrong with the file, in words without the token.
    pub fn read(path: &Path) -> Result<Secret, String> {
        let token = files::secret_file(path)?;
        usable(&token).map_err(|problem| format!("{problem} in {}", path.display()))?;
        Ok(token.into())
    }
}

pub(super) fn read_all(at: &Section<'_>) -> Result<Vec<ApiToken>, Reported> {
    let mut tokens: Vec<ApiToken> = Vec::new();
    let mut result = Ok(());
    for (name, entry) in at.entries() {
        match at.below(name, entry, |at| read(at, name)) {
            Ok(new) => {
                let secret = new.token.secret();
                if let Some(same) = tokens.iter().find(|old| old.token.secret() == secret) {
                    let problem = format!("expected another token than that of {}", same.name);
                    result = Err(at.report(name, problem));
                }
                tokens.push(new);
            }
            Err(reported) => result = Err(reported),
        }
    }
    result.map(|()| tokens)
}

fn read(at: &Section<'_>, name: &str) -> Result<ApiToken, Reported> {
    let token = files::secret(at, "token", "token_file", |text, file| {
        let file_of = |path: &Path| format!(" in {}", path.display());
        usable(&text).map_err(|problem| problem.to_owned() + &file.map_or_else(String::new, file_of))?;
        Ok(SecretText::of(text, file))
    });
    let role = at.or("role", Role::Read, parse::choice);
    let name = name.parse().map_err(|error: NameError| at.report_table(&error.to_string()));
    let token = token?.ok_or_else(|| at.missing("token_file"));
    Ok(ApiToken { name: name?, token: token?, role: role? })
}

/// Whether `text` can stand behind `Bearer` in a header (RFC 6750), and can't be guessed.
fn usable(text: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if !text.bytes().all(fits) {
        return Err("expected a token of letters, digits and -._~+/=");
    }
    if text.len() < SHORTEST {
        return Err("expected a token of 16 characters at least, such as `openssl rand -hex 32` makes");
    }
    Ok(())
}
