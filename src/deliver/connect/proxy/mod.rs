//! A proxy between us and a webhook: it is asked for a tunnel, through which it sees nothing but where that leads.
//!
//! What goes wrong with it says nothing about the webhook, and is [`Failure::Proxy`].

mod socks;
mod tunnel;

use secrecy::ExposeSecret as _;
use tokio_rustls::rustls::pki_types::ServerName;
use url::Host;

use super::tls::Encryption;
use crate::{
    base::network::{cause, stream::Stream},
    config::{ProxyLogin, ProxyScheme, ProxyUrl},
    deliver::fault::Fault,
    message::outcome::Failure,
};

/// The authorities that a proxy's certificate may be of.
const CA_SETTING: &str = "webhook.tls.ca_file";

/// A proxy, and what it takes to be let through.
#[derive(Debug)]
pub(super) struct Proxy {
    /// Its host and port, as causes name it.
    name: String,
    port: u16,
    protocol: Protocol,
    /// For `https`: whom to trust, and what its certificate must be for.
    tls: Option<(Encryption, ServerName<'static>)>,
}

#[derive(Debug)]
enum Protocol {
    /// HTTP's CONNECT (RFC 9110, section 9.3.6).
    Connect(Option<ProxyLogin>),
    /// SOCKS 5 (RFC 1928), with a login by RFC 1929.
    Socks5(Option<ProxyLogin>),
}

#[derive(Clone, Copy)]
pub(super) struct Destination<'a> {
    pub(super) host: &'a Host,
    pub(super) port: u16,
}

impl Proxy {
    /// The proxy with this address, with TLS where it is https.
    pub(super) fn new(url: &ProxyUrl, tls: Option<(Encryption, ServerName<'static>)>) -> Self {
        let login = url.login().cloned();
        let protocol = match url.scheme() {
            ProxyScheme::Http | ProxyScheme::Https => Protocol::Connect(login),
            ProxyScheme::Socks5 => Protocol::Socks5(login),
        };
        Self { name: format!("{}:{}", url.host(), url.port()), port: url.port(), protocol, tls }
    }

    /// Its host and port, as causes name it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Makes a tunnel to `to` of a connection to the proxy. Not bounded in time.
    pub(super) async fn tunnel(&self, stream: Stream, to: Destination<'_>) -> Result<Stream, Fault> {
        let mut stream = match &self.tls {
            None => stream,
            Some((encryption, name)) => {
                let encrypted = stream.encrypt(&encryption.connector(), name.clone()).await;
                encrypted.map_err(|error| self.fault(cause::of_handshake(&error, CA_SETTING)))?
            }
        };
        let asked = match &self.protocol {
            Protocol::Connect(login) => tunnel::ask(&mut stream, to, login.as_ref()).await,
            Protocol::Socks5(login) => socks::ask(&mut stream, to, login.as_ref()).await,
        };
        match asked {
            Ok(()) => Ok(stream),
            Err(Refusal::OfProxy(words)) => Err(self.fault(words)),
            Err(Refusal::OfDestination(words)) => Err(Fault::new(
                Failure::Connect,
                format_args!("connecting to {to} by the proxy {}: {words}", self.name),
            )),
        }
    }

    /// A failure that is the proxy's, and so neither the webhook's nor the message's.
    pub(super) fn fault(&self, words: impl std::fmt::Display) -> Fault {
        Fault::new(Failure::Proxy, format_args!("the proxy {}: {words}", self.name))
    }
}

enum Refusal {
    /// The proxy is in trouble, or does not want us.
    OfProxy(String),
    /// The proxy says that the destination does not take connections.
    OfDestination(String),
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::OfProxy(match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "it hangs up when it is asked for a tunnel".to_owned(),
            _ => format!("the connection broke when it was asked for a tunnel: {error}"),
        })
    }
}

impl std::fmt::Display for Destination<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn exposed(login: &ProxyLogin) -> (&str, &str) {
    (login.user.expose_secret(), login.password.expose_secret())
}
