//! Opens a connection to a webhook: name, address, TLS, one after the other and in bounded time.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tracing::debug;

use super::{
    resolver::Resolver,
    stream::Stream,
    tls::{Kind, Transport},
};
use crate::{base::clock::Clock, config::WebhookUrl, deliver::fault::Fault, message::outcome::Failure};

/// Opens connections to one webhook.
pub(in crate::deliver) struct Connector {
    resolver: Resolver,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

impl Connector {
    /// Connections to `url`'s host within `timeout` each.
    pub(in crate::deliver) fn new(
        url: &WebhookUrl,
        transport: Transport,
        timeout: Duration,
        clock: Clock,
    ) -> Self {
        let tls = match transport.0 {
            Kind::Plain => None,
            Kind::Tls { config, name } => Some((TlsConnector::from(config), name)),
        };
        Self { resolver: Resolver::new(url.host().clone(), url.port(), clock), tls, timeout }
    }

    /// A new connection. The failure is that of the stage at which it failed or the time ran out: `dns`, `connect` or
    /// `tls`.
    pub(in crate::deliver) async fn connect(&self) -> Result<Stream, Fault> {
        let deadline = Instant::now() + self.timeout;
        let addresses = timeout_at(deadline, self.resolver.addresses()).await.ok().flatten();
        let addresses = addresses.ok_or(Failure::Dns)?;
        let Some(tcp) = first_to_answer(&addresses, deadline).await else {
            // The webhook may have moved since its name was looked up.
            self.resolver.doubt().await;
            return Err(Failure::Connect.into());
        };
        let Some((connector, name)) = &self.tls else {
            return Ok(Stream::Plain(tcp));
        };
        match timeout_at(deadline, connector.connect(name.clone(), tcp)).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => {
                debug!(%error, "TLS handshake failed");
                Err(Failure::Tls.into())
            }
            Err(_elapsed) => Err(Failure::Tls.into()),
        }
    }
}

/// Tries one address after the other, each with its share of the time that is left: one that does not answer must not
/// use up the time of the others.
async fn first_to_answer(addresses: &[SocketAddr], deadline: Instant) -> Option<TcpStream> {
    let mut untried = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let share = deadline.saturating_duration_since(Instant::now()) / untried.max(1);
        untried -= 1;
        match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                // A request goes out in one piece; waiting for more to send would only delay it.
                if let Err(error) = tcp.set_nodelay(true) {
                    debug!(%error, "cannot turn Nagle's algorithm off");
                }
                return Some(tcp);
            }
            Ok(Err(error)) => debug!(%address, %error, "connecting failed"),
            Err(_elapsed) => debug!(%address, "connecting took too long"),
        }
    }
    None
}
