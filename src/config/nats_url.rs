//! The address of a NATS server, whose login does not print.

use std::{fmt, str::FromStr};

use percent_encoding::percent_decode_str;
use url::Url;

use super::{MASK, NatsAuth, SecretText};

/// The address of one NATS server: `nats://` or `tls://`, perhaps with `user:password@` or `token@`.
///
/// That part is a secret: `Debug` and `Display` mask it.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsUrl(Url);

/// What is wrong with the address of a NATS server. It never holds the address, which may carry a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NatsUrlError {
    /// Not a URL with a host, or with another scheme.
    #[error("expected nats://HOST[:PORT] or tls://HOST[:PORT], several separated by commas")]
    NotNats,
    /// A path, a query or a fragment behind the host and the port.
    #[error("expected nothing behind the host and port of a NATS server: no path, ? or #")]
    Rest,
    /// A login that is no login, but what stands for one.
    #[error("expected the login itself, not the {MASK} that stands for it in what is printed")]
    Masked,
    /// Port 0.
    #[error("expected a port from 1 to 65535")]
    Port,
}

impl NatsUrl {
    /// The address without its login, which the client would log.
    pub fn address(&self) -> String {
        self.with_login("")
    }

    /// The host: a name or an address, an IPv6 one without its brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, which is 4222 where the address has none.
    pub fn port(&self) -> u16 {
        self.0.port().unwrap_or(4222)
    }

    /// Whether the connection is to be encrypted whatever the server says.
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "tls"
    }

    /// The login that the address carries: a user with a password, or a token.
    pub fn login(&self) -> Option<NatsAuth> {
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let user = decoded(self.0.username());
        self.has_login().then(|| match self.0.password() {
            Some(password) => {
                NatsAuth::Password { user, password: SecretText::Inline(decoded(password).into()) }
            }
            None => NatsAuth::Token(SecretText::Inline(user.into())),
        })
    }

    fn with_login(&self, login: &str) -> String {
        let host = self.0.host_str().unwrap_or_default();
        let port = self.0.port().map_or_else(String::new, |port| format!(":{port}"));
        format!("{}://{login}{host}{port}", self.0.scheme())
    }

    /// Whether both addresses carry the same login.
    pub(super) fn has_login_of(&self, other: &Self) -> bool {
        (self.0.username(), self.0.password()) == (other.0.username(), other.0.password())
    }

    /// Whether the address carries a user, a password or a token.
    pub fn has_login(&self) -> bool {
        !self.0.username().is_empty() || self.0.password().is_some()
    }
}

impl FromStr for NatsUrl {
    type Err = NatsUrlError;

    fn from_str(text: &str) -> Result<Self, NatsUrlError> {
        // The parser leaves line breaks and tabs out, and so could make another address of two lines.
        if text.contains(char::is_control) {
            return Err(NatsUrlError::NotNats);
        }
        let url = Url::parse(text).map_err(|_| NatsUrlError::NotNats)?;
        if !matches!(url.scheme(), "nats" | "tls") || url.host_str().is_none_or(str::is_empty) {
            return Err(NatsUrlError::NotNats);
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(NatsUrlError::Rest);
        }
        if url.username() == MASK || url.password() == Some(MASK) {
            return Err(NatsUrlError::Masked);
        }
        if url.port() == Some(0) {
            return Err(NatsUrlError::Port);
        }
        Ok(Self(url))
    }
}

impl fmt::Display for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masked = if self.has_login() { format!("{MASK}@") } else { String::new() };
        f.write_str(&self.with_login(&masked))
    }
}

impl fmt::Debug for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NatsUrl({self})")
    }
}
