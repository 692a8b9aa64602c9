//! A connection by the client library, for the commands that read streams: requests to JetStream are all that goes over it.
//!
//! The daemon has none of these: the library ends the process over some headers that a stranger may publish.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, RequestErrorKind};
use bytes::Bytes;
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::jetstream::{Heard, Hearing, JetStream, Unanswered};
use crate::{
    base::error_chain::ErrorChain,
    config::{Nats, NatsAuth, NatsUrl},
};

/// How long to wait before servers that are away are tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Connects to one of the servers of `config`.
///
/// # Errors
/// None has let us in within `patience`: the last reason, in the library's words.
pub async fn connect(config: &Nats, patience: Duration) -> Result<Client, String> {
    let end = Instant::now() + patience;
    let servers: Vec<_> = config.servers.iter().map(NatsUrl::address).collect();
    loop {
        let connecting = options(config)?.name(&config.name).connect(servers.clone());
        let reason = match timeout_at(end, connecting).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => ErrorChain(&error).to_string(),
            Err(_elapsed) => return Err("no answer".to_owned()),
        };
        if Instant::now() + AGAIN >= end {
            return Err(reason);
        }
        sleep(AGAIN).await;
    }
}

/// How to log in, and which certificates to trust and show.
fn options(config: &Nats) -> Result<ConnectOptions, String> {
    // Whoever asks says how long the answer may take.
    let options =
        ConnectOptions::new().custom_inbox_prefix(config.inbox_prefix.to_string()).request_timeout(None);
    let options = match config.login() {
        NatsAuth::Anonymous => options,
        NatsAuth::Credentials(file) => {
            let read = options.credentials(file.contents.expose_secret());
            read.map_err(|error| ErrorChain(&error).to_string())?
        }
        NatsAuth::NkeySeed(file) => options.nkey(file.contents.expose_secret().to_owned()),
        NatsAuth::Password { user, password } => {
            options.user_and_password(user, password.secret().expose_secret().to_owned())
        }
        NatsAuth::Token(token) => options.token(token.secret().expose_secret().to_owned()),
    };
    let options =
        if config.ignore_discovered_servers { options.ignore_discovered_servers() } else { options };
    let tls = &config.tls;
    let options = if tls.handshake_first { options.tls_first() } else { options };
    let options = match &tls.ca_file {
        Some(ca) => options.add_root_certificates(ca.clone()).require_tls(true),
        None => options,
    };
    Ok(match &tls.client {
        Some(client) => options
            .add_client_certificate(client.cert_file.clone(), client.key_file.clone())
            .require_tls(true),
        None => options,
    })
}

impl JetStream for Client {
    fn ask<'a>(&'a self, request: &'a str, question: &'a [u8], patience: Duration) -> Hearing<'a> {
        Box::pin(async move {
            let asking = self.request(format!("$JS.API.{request}"), Bytes::copy_from_slice(question));
            match timeout(patience, asking).await {
                Ok(Ok(answer)) => Ok(Heard::Answer(answer.payload)),
                Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => Ok(Heard::NoResponders),
                Ok(Err(_)) | Err(_) => Err(Unanswered::Silence),
            }
        })
    }
}
