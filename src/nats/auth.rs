//! How a connection logs in, and which certificates it trusts and shows.

use async_nats::ConnectOptions;
use secrecy::ExposeSecret as _;

use super::SetUpError;
use crate::config::{Nats, NatsAuth};

pub(super) fn authenticated(config: &Nats) -> Result<ConnectOptions, SetUpError> {
    let options = ConnectOptions::new();
    let options = match config.login() {
        NatsAuth::Anonymous => options,
        NatsAuth::Credentials(file) => {
            options.credentials(file.contents.expose_secret()).map_err(|error| SetUpError(Box::new(error)))?
        }
        NatsAuth::NkeySeed(file) => options.nkey(file.contents.expose_secret().to_owned()),
        NatsAuth::Password { user, password } => {
            options.user_and_password(user, password.secret().expose_secret().to_owned())
        }
        NatsAuth::Token(token) => options.token(token.secret().expose_secret().to_owned()),
    };
    let options = options.custom_inbox_prefix(config.inbox_prefix.to_string());
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
