//! What a route logs in to its webhook with. Whether the webhook takes it shows with the first message only.

use http::header::AUTHORIZATION;

use super::report::Line;
use crate::{
    base::{clock::Clock, watched_file::WatchedFiles},
    config::{Egress, Oauth2, Webhook, WebhookAuth},
    deliver::{
        connect::network::Network,
        login::{oauth2::Token, token_server},
    },
};

const WHAT: &str = "webhook login";

/// Says how `webhook` is logged in to. Where that takes a token, one is fetched.
pub(super) async fn check(webhook: &Webhook, network: &Network, clock: Clock) -> Option<Line> {
    let Some(auth) = &webhook.auth else {
        let has_header = webhook.headers.contains_key(AUTHORIZATION);
        return has_header.then(|| Line::fine(WHAT, "by the header authorization"));
    };
    Some(match auth {
        WebhookAuth::Basic(basic) => {
            Line::fine(WHAT, format_args!("as user {}, with a password", basic.user))
        }
        WebhookAuth::Bearer(_) => Line::fine(WHAT, "by a token from the configuration"),
        WebhookAuth::Aws(aws) => {
            Line::fine(WHAT, format_args!("by a signature for {} in {} (AWS)", aws.service, aws.region))
        }
        WebhookAuth::Oauth2(settings) => token(settings, &webhook.egress, network, clock).await,
    })
}

async fn token(settings: &Oauth2, egress: &Egress, network: &Network, clock: Clock) -> Line {
    let host = settings.token_url.host();
    match token_server(settings, egress, &WatchedFiles::default(), network, clock).fetch().await {
        Ok(Token { life: Some(life), .. }) => {
            let life = humantime::format_duration(life);
            Line::fine(WHAT, format_args!("a token from {host}, good for {life}"))
        }
        Ok(Token { life: None, .. }) => Line::warning(
            WHAT,
            format_args!("a token from {host}, which does not say for how long it is good (expires_in)"),
            "have it say so: else it is known only when the webhook refuses it",
        ),
        Err(fault) => Line::failed(
            WHAT,
            fault.cause.as_deref().unwrap_or("there is no token"),
            "correct webhook.auth.oauth2 (token_url, client_id, client_secret, scope), or see what the log there says",
        ),
    }
}
