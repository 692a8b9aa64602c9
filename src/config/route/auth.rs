//! `[routes.NAME.webhook.auth]`: what broadcaster logs in to a webhook with. It becomes the header `Authorization`.

mod aws;
mod oauth2;

use std::path::Path;

use data_encoding::BASE64;
use http::HeaderValue;
use secrecy::ExposeSecret as _;

pub use self::{
    aws::Aws,
    oauth2::{ClientAuth, Oauth2},
};
use crate::config::{
    Secret, SecretText, files, parse,
    reader::{Reported, Section},
};

/// `[routes.NAME.webhook.auth]`: what broadcaster logs in to a webhook with, in exactly one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookAuth {
    /// `[routes.NAME.webhook.auth.basic]`: user and password (RFC 7617).
    Basic(Basic),
    /// `[routes.NAME.webhook.auth.bearer]`: a token that stands in the settings or in a file (RFC 6750).
    Bearer(SecretText),
    /// `[routes.NAME.webhook.auth.oauth2]`: a token that is fetched (RFC 6749, section 4.4).
    Oauth2(Box<Oauth2>),
    /// `[routes.NAME.webhook.auth.aws]`: a signature of each request.
    Aws(Box<Aws>),
}

/// `[routes.NAME.webhook.auth.basic]`: user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basic {
    /// `user`: without a colon, which would end it. Required.
    pub user: String,
    /// `password` or `password_file`. Required. A secret.
    pub password: SecretText,
}

/// The sections, of which there is exactly one.
const WAYS: [&str; 4] = ["basic", "bearer", "oauth2", "aws"];

pub(super) fn read(at: &Section<'_>) -> Result<WebhookAuth, Reported> {
    let basic = at.optional_section("basic", |at| basic(at).map(WebhookAuth::Basic));
    let bearer = at.optional_section("bearer", |at| bearer(at).map(WebhookAuth::Bearer));
    let oauth2 =
        at.optional_section("oauth2", |at| oauth2::read(at).map(|it| WebhookAuth::Oauth2(it.into())));
    let aws = at.optional_section("aws", |at| aws::read(at).map(|it| WebhookAuth::Aws(it.into())));
    let set: Vec<_> = WAYS.into_iter().filter(|way| at.place(way).is_some()).collect();
    if let [first, second, ..] = set.as_slice() {
        return Err(at.report(second, format!("expected one way to log in, and {first} is set too")));
    }
    let found = [basic?, bearer?, oauth2?, aws?].into_iter().flatten().next();
    found.ok_or_else(|| at.report_table(&format!("expected one of the sections {}", WAYS.join(", "))))
}

fn basic(at: &Section<'_>) -> Result<Basic, Reported> {
    let user = at.required("user", |value| {
        parse::text(value).and_then(|user| {
            let ends = user.contains(':');
            if ends {
                Err("expected a user without a colon, which would end it".to_owned())
            } else {
                Ok(user)
            }
        })
    });
    let password =
        files::secret(at, "password", "password_file", |text, file| Ok(SecretText::of(text, file)))
            .and_then(|password| password.ok_or_else(|| at.missing("password")));
    Ok(Basic { user: user?, password: password? })
}

fn bearer(at: &Section<'_>) -> Result<SecretText, Reported> {
    files::secret(at, "token", "token_file", |text, file| {
        let problem = bearer_value(&text).err();
        let place = file.map_or_else(String::new, |file| format!(" in {}", files::named(file)));
        problem.map_or_else(|| Ok(SecretText::of(text, file)), |problem| Err(format!("{problem}{place}")))
    })
    .and_then(|token| token.ok_or_else(|| at.missing("token")))
}

impl Basic {
    /// The value of `Authorization` for this password (RFC 7617).
    pub fn header(&self, password: &str) -> HeaderValue {
        let login = BASE64.encode(format!("{}:{password}", self.user).as_bytes());
        sensitive(HeaderValue::try_from(format!("Basic {login}")).expect("Base64 is visible ASCII"))
    }

    /// The header with the password that `file` holds now.
    ///
    /// # Errors
    /// Why it can't be read, or what is wrong with it.
    pub fn header_of(&self, file: &Path) -> Result<HeaderValue, String> {
        files::secret_file(file).map(|password| self.header(&password))
    }
}

impl WebhookAuth {
    /// The headers that it sets, in lower case.
    pub(super) const fn headers(&self) -> &'static [&'static str] {
        match self {
            Self::Basic(_) | Self::Bearer(_) | Self::Oauth2(_) => &["authorization"],
            Self::Aws(_) => &["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"],
        }
    }

    /// The value of `Authorization` for `token` (RFC 6750).
    ///
    /// # Errors
    /// It can't stand in a header. The error does not show it.
    pub fn bearer(token: &Secret) -> Result<HeaderValue, String> {
        bearer_value(token.expose_secret())
    }

    /// The header with the token that `file` holds now.
    ///
    /// # Errors
    /// Why it can't be read, or what is wrong with it.
    pub fn bearer_of(file: &Path) -> Result<HeaderValue, String> {
        let wrong = |problem| format!("{problem} in {}", files::named(file));
        files::secret_file(file).and_then(|token| bearer_value(&token).map_err(wrong))
    }
}

/// What the letters of a token are is more than RFC 6750 has (section 2.1): all that can stand in a header and does not end
/// a word there.
fn bearer_value(token: &str) -> Result<HeaderValue, String> {
    if token.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer ")) {
        return Err("expected the token alone, without the word Bearer".to_owned());
    }
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("expected a token of visible ASCII letters, without blanks".to_owned());
    }
    HeaderValue::try_from(format!("Bearer {token}")).map(sensitive).map_err(|_| "expected a token".to_owned())
}

/// `Debug` masks it then.
fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}
