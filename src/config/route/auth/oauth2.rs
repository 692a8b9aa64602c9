//! `[routes.NAME.webhook.auth.oauth2]`: tokens that are fetched from a server, as its client (RFC 6749, section 4.4).

use std::collections::BTreeMap;

use super::super::{WebhookTls, WebhookUrl, WebhookUrlError, webhook_tls};
use crate::config::{
    Secret, SecretText, files, parse,
    parse::Choice,
    reader::{Reported, Section},
};

/// `[routes.NAME.webhook.auth.oauth2]`: where tokens come from, and who asks for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oauth2 {
    /// `token_url`: the token endpoint. Required.
    pub token_url: WebhookUrl,
    /// `client_id`. Required.
    pub client_id: String,
    /// `client_secret` or `client_secret_file`. A secret. Default: none, for a server that knows the client otherwise.
    pub client_secret: Option<SecretText>,
    /// `client_auth`: where id and secret stand. Default `basic`.
    pub client_auth: ClientAuth,
    /// `scope`: what the token is to be good for, with blanks between. Default: what the server makes of nothing.
    pub scope: Option<String>,
    /// `audience`: whom it is to be good for; some servers want that. Default: none.
    pub audience: Option<String>,
    /// `[routes.NAME.webhook.auth.oauth2.parameters]`: what else a server wants to know. The values are secrets.
    pub parameters: BTreeMap<String, Secret>,
    /// `[routes.NAME.webhook.auth.oauth2.tls]`: whom to trust there.
    pub tls: WebhookTls,
}

/// Where id and secret of the client stand in a request (RFC 6749, section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// In the header `Authorization`.
    Basic,
    /// In the body, for servers that know no other way.
    Body,
}

impl Choice for ClientAuth {
    const ALL: &'static [(&'static str, Self)] = &[("basic", Self::Basic), ("body", Self::Body)];
}

/// Parameters that have keys of their own, or none to choose.
const OURS: [&str; 5] = ["audience", "client_id", "client_secret", "grant_type", "scope"];

pub(super) fn read(at: &Section<'_>) -> Result<Oauth2, Reported> {
    let token_url = at.required("token_url", |value| {
        parse::text(value)?.parse().map_err(|error| match error {
            WebhookUrlError::Login => {
                "expected no user or password in the URL: set client_id and client_secret".to_owned()
            }
            error => error.to_string(),
        })
    });
    let client_id = at.required("client_id", parse::text);
    let client_secret =
        files::secret(at, "client_secret", "client_secret_file", |text, file| Ok(SecretText::of(text, file)));
    let client_auth = at.or("client_auth", ClientAuth::Basic, parse::choice);
    let scope = at.optional("scope", parse::text);
    let audience = at.optional("audience", parse::text);
    let parameters = at.section("parameters", parameters);
    let tls = at.section("tls", webhook_tls::read);
    Ok(Oauth2 {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        client_auth: client_auth?,
        scope: scope?,
        audience: audience?,
        parameters: parameters?,
        tls: tls?,
    })
}

fn parameters(at: &Section<'_>) -> Result<BTreeMap<String, Secret>, Reported> {
    let mut parameters = Ok(BTreeMap::new());
    for (name, entry) in at.entries() {
        let value = if OURS.contains(&name.as_str()) {
            Err("expected another parameter: this one has its own key, or is always the same".to_owned())
        } else {
            parse::text(&entry.value)
        };
        match value {
            Ok(value) => drop(parameters.as_mut().map(|all| all.insert(name.clone(), value.into()))),
            Err(problem) => parameters = Err(at.report(name, problem)),
        }
    }
    parameters
}
