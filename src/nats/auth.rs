//! How a connection logs in, and which certificates it trusts and shows.

use async_nats::ConnectOptions;
use secrecy::ExposeSecret as _;

use super::SetUpError;
use crate::config::{Nats, NatsAuth, NatsUrl};

pub(super) fn authenticated(config: &Nats) -> Result<ConnectOptions, SetUpError> {
    let options = ConnectOptions::new();
    // The client ignores a login in a URL. It has one for all servers, which the configuration has made sure of.
    let in_url = config.servers.iter().find_map(NatsUrl::login);
    let options = match in_url.as_ref().unwrap_or(&config.auth) {
        NatsAuth::Anonymous => options,
        NatsAuth::Credentials(file) => {
            options.credentials(file.contents.expose_secret()).map_err(|error| SetUpError(Box::new(error)))?
        }
        NatsAuth::NkeySeed(file) => options.nkey(file.contents.expose_secret().to_owned()),
        NatsAuth::Password { user, password } => {
            options.user_and_password(user.clone(), password.expose_secret().to_owned())
        }
        NatsAuth::Token(token) => options.token(token.expose_secret().to_owned()),
    };
    let tls = &config.tls;
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
