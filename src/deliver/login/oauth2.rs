//! Tokens for a client (RFC 6749, section 4.4): one request, and what its answer says.
//!
//! Written here: of the protocol it is one form and one JSON object, and the library for it takes an hour that is written
//! as a text (`"expires_in": "3600"`) for no token at all, and reads answers without a bound.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::{
    HeaderValue, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::secret::KeptSecret;
use crate::{
    base::{clock::Clock, watched_file::WatchedFiles},
    config::{ClientAuth, Oauth2, Secret, WebhookAuth},
    deliver::{connect::network::Transport, fault::Fault, post::Poster},
    message::outcome::Failure,
};

/// A server that gives out tokens, and the client that it gives them to.
pub struct TokenServer {
    settings: Oauth2,
    secret: Option<KeptSecret>,
    poster: Poster,
}

/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An access token (RFC 6749, section 5.1).
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    /// The value of `Authorization` that it is sent as.
    pub header: HeaderValue,
    /// How long it lives from when it was asked for, where the server says so.
    pub life: Option<Duration>,
}

/// The answer of a token server (RFC 6749, sections 5.1 and 5.2).
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<Value>,
    error: Option<String>,
    error_description: Option<String>,
}

impl TokenServer {
    pub(super) fn new(settings: Oauth2, files: &WatchedFiles, transport: Transport, clock: Clock) -> Self {
        let secret = settings.client_secret.as_ref().map(|secret| KeptSecret::new(secret, files));
        let poster = Poster::new(&settings.token_url, transport, PATIENCE, clock);
        Self { settings, secret, poster }
    }

    /// Asks for a token. The failure is [`Failure::Login`], whatever it comes from: none of it is the webhook's.
    pub async fn fetch(&self) -> Result<Token, Fault> {
        let (url, secret) = (&self.settings.token_url, self.secret.as_ref().map(KeptSecret::current));
        let request = request(&self.settings, secret.as_deref())?;
        let fault = |cause: &str| Fault::new(Failure::Login, cause);
        let answered = self.poster.post(request).await;
        let answer = answered.map_err(|failed| {
            // The words are those for webhooks, whose settings stand elsewhere.
            let cause = failed.cause.as_deref().unwrap_or("the server does not answer");
            fault(&cause.replace("webhook.tls.", "webhook.auth.oauth2.tls."))
        })?;
        let status = answer.status();
        read(status, answer.body()).map_err(|problem| {
            let shows_secret = secret.is_some_and(|secret| problem.contains(secret.expose_secret()));
            let problem = if shows_secret { "with an error that shows the secret" } else { &problem };
            fault(&format!("{} answers {} {problem}", url.host(), status.as_u16()))
        })
    }
}

fn request(settings: &Oauth2, secret: Option<&Secret>) -> Result<Request<Bytes>, Fault> {
    let mut request = Request::post(settings.token_url.path_and_query())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    match secret {
        Some(secret) if settings.client_auth == ClientAuth::Basic => {
            // Each of both is encoded as in a form first (RFC 6749, section 2.3.1): there may be a colon in them.
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let login = format!("{}:{}", encoded(&settings.client_id), encoded(secret.expose_secret()));
            request = request.header(AUTHORIZATION, format!("Basic {}", BASE64.encode(login.as_bytes())));
        }
        _ => {
            form.append_pair("client_id", &settings.client_id);
            if let Some(secret) = secret {
                form.append_pair("client_secret", secret.expose_secret());
            }
        }
    }
    for (name, value) in [("scope", &settings.scope), ("audience", &settings.audience)] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    for (name, value) in &settings.parameters {
        form.append_pair(name, value.expose_secret());
    }
    request.body(form.finish().into()).map_err(|error| Fault::new(Failure::Login, error))
}

/// What an answer says. The problem follows "answers" and the status.
fn read(status: StatusCode, body: &[u8]) -> Result<Token, String> {
    if status.is_redirection() {
        return Err("(a redirect, which is not followed)".to_owned());
    }
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    let Some(answer) = answer else {
        return Err(
            if status.is_success() { "and no JSON with a token" } else { "and no error in JSON" }.to_owned()
        );
    };
    if !status.is_success() || answer.error.is_some() {
        let error = answer.error.unwrap_or_else(|| "(no error is named)".to_owned());
        let more = answer.error_description.map_or_else(String::new, |more| format!(": {more}"));
        return Err(format!("{error}{more}"));
    }
    // One that has no type is taken for the one that nearly all have.
    if !answer.token_type.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err("and a token of another type than bearer".to_owned());
    }
    let token = answer.access_token.ok_or_else(|| "and no access_token".to_owned())?;
    let header = WebhookAuth::bearer(&token.into())
        .map_err(|_| "and a token that can't stand in a header".to_owned())?;
    let life = answer
        .expires_in
        .map(|life| seconds(&life).ok_or_else(|| "and a token that lives for no time".to_owned()));
    Ok(Token { header, life: life.transpose()? })
}

/// A number of seconds above 0; some servers write it as a text.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // No more than what can be reckoned with: such a token lives for ever.
    const MOST: f64 = 1e9;
    (seconds > 0.0).then(|| Duration::from_secs_f64(seconds.min(MOST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<Token, String> {
        read(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn a_token_is_read_from_what_servers_answer() {
        let life = |body: &str| answer(200, body).unwrap().life.map(|life| life.as_secs());
        assert_eq!(
            life(r#"{"access_token":"t","token_type":"Bearer","expires_in":3600,"scope":"a"}"#),
            Some(3600)
        );
        assert_eq!(life(r#"{"access_token":"t","token_type":"bearer","expires_in":"3599"}"#), Some(3599));
        assert_eq!(life(r#"{"access_token":"t","token_type":"BEARER"}"#), None);
        assert_eq!(life(r#"{"access_token":"t","expires_in":1e300}"#), Some(1_000_000_000));
        let token = answer(200, r#"{"access_token":"a.b-c","token_type":"Bearer"}"#).unwrap();
        assert_eq!(token.header, "Bearer a.b-c");
        assert!(token.header.is_sensitive());
    }

    #[test]
    fn what_is_no_token_is_a_problem_in_words() {
        for (status, body, expected) in [
            (200, "", "no JSON"),
            (200, "<html>", "no JSON"),
            (200, "[]", "no JSON"),
            (200, r#"{"access_token":7}"#, "no JSON"),
            (200, r#"{"token_type":"Bearer"}"#, "no access_token"),
            (200, r#"{"access_token":"","token_type":"Bearer"}"#, "can't stand in a header"),
            (200, r#"{"access_token":"a\r\nX: b","token_type":"Bearer"}"#, "can't stand in a header"),
            (200, r#"{"access_token":"ä","token_type":"Bearer"}"#, "can't stand in a header"),
            (200, r#"{"access_token":"t","token_type":"mac"}"#, "another type"),
            (200, r#"{"access_token":"t","expires_in":0}"#, "no time"),
            (200, r#"{"access_token":"t","expires_in":-1}"#, "no time"),
            (200, r#"{"access_token":"t","expires_in":"soon"}"#, "no time"),
            (200, r#"{"access_token":"t","expires_in":"NaN"}"#, "no time"),
            (200, r#"{"error":"invalid_scope"}"#, "invalid_scope"),
            (302, "", "redirect"),
            (401, r#"{"error":"invalid_client","error_description":"who?"}"#, "invalid_client: who?"),
            (401, "{}", "no error is named"),
            (503, "busy", "no error in JSON"),
        ] {
            let problem = answer(status, body).unwrap_err();
            assert!(problem.contains(expected), "{status} {body}: {problem}");
        }
    }
}
