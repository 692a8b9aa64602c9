//! Opens a connection to a webhook: name, address, TLS, one after the other and in bounded time.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tracing::debug;

use super::{
    cause,
    network::{Place, Transport},
    shortage::Shortage,
    socket,
};
use crate::{
    base::{
        clock::Clock,
        network::{
            cause::{Trouble, of_connect},
            racing::{Finish, race},
            stream::Stream,
        },
    },
    config::WebhookUrl,
    deliver::fault::Fault,
    message::outcome::Failure,
};

/// Of so many addresses a cause says what became of them.
const TOLD: usize = 3;

/// Opens connections to one webhook.
pub(in crate::deliver) struct Connector {
    host: String,
    port: u16,
    place: Place,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    shortage: Arc<Shortage>,
    timeout: Duration,
    clock: Clock,
}

impl Connector {
    /// Connections to `url`'s host within `timeout` each.
    pub(in crate::deliver) fn new(
        url: &WebhookUrl,
        transport: Transport,
        timeout: Duration,
        clock: Clock,
    ) -> Self {
        let Transport { place, tls, shortage } = transport;
        let tls = tls.map(|(config, name)| (TlsConnector::from(config), name));
        Self { host: url.host().to_string(), port: url.port(), place, tls, shortage, timeout, clock }
    }

    /// A new connection. The failure is that of the stage at which it failed or the time ran out: `dns`, `connect` or
    /// `tls`; or `local`.
    pub(in crate::deliver) async fn connect(&self) -> Result<Stream, Fault> {
        let connected = self.stages().await;
        if connected.as_ref().is_err_and(|fault| fault.failure == Failure::Local) {
            self.shortage.note(self.clock.now());
        }
        connected
    }

    /// Whether the process is short of something for connections: then none should be kept that is not in use.
    pub(in crate::deliver) fn is_short(&self) -> bool {
        self.shortage.lasts(|| self.clock.now())
    }

    async fn stages(&self) -> Result<Stream, Fault> {
        let deadline = Instant::now() + self.timeout;
        let addresses = self.addresses(deadline).await?;
        let (address, tcp) = self.first_to_answer(&addresses, deadline).await?;
        let secured = self.secure(tcp, deadline).await;
        if secured.is_err() {
            // What takes connections and can't use them is as good as dead.
            self.shun(address);
        }
        secured
    }

    /// With TLS, where the webhook is https.
    pub(super) async fn secure(&self, tcp: TcpStream, deadline: Instant) -> Result<Stream, Fault> {
        let Some((connector, name)) = &self.tls else {
            return Ok(Stream::Plain(tcp));
        };
        match timeout_at(deadline, connector.connect(name.clone(), tcp)).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(cause::of_handshake(&self.host, &error)),
            Err(_elapsed) => {
                let words = format_args!("TLS with {}: no answer {}", self.host, self.within());
                Err(Fault::new(Failure::Tls, words))
            }
        }
    }

    /// Where the host is, in the order in which to try.
    pub(super) async fn addresses(&self, deadline: Instant) -> Result<Vec<SocketAddr>, Fault> {
        let name = match &self.place {
            Place::Address(address) => return Ok(vec![(*address, self.port).into()]),
            Place::Named(name) => name,
        };
        let addresses = timeout_at(deadline, name.addresses(self.port, self.clock)).await;
        let addresses = addresses.unwrap_or_else(|_elapsed| {
            let words = format_args!("looking up {}: no answer {}", self.host, self.within());
            Err(Trouble::theirs(words))
        });
        addresses.map_err(|trouble| cause::of_trouble(trouble, Failure::Dns))
    }

    /// A connection to the first of `addresses` that takes one.
    pub(super) async fn first_to_answer(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<(SocketAddr, TcpStream), Fault> {
        let finish = race(addresses, deadline, socket::connect).await;
        for address in finish.silent.iter().chain(finish.failed.iter().map(|(address, _)| address)) {
            self.shun(*address);
        }
        if let Some((address, tcp)) = finish.winner {
            if let Place::Named(name) = &self.place {
                name.forgive(address);
            }
            return Ok((address, tcp));
        }
        if let Place::Named(name) = &self.place {
            // The webhook may have moved since its name was looked up.
            name.doubt(self.clock.now());
        }
        Err(cause::of_trouble(self.why(&finish), Failure::Connect))
    }

    /// Has the other addresses tried first for a while.
    fn shun(&self, address: SocketAddr) {
        if let Place::Named(name) = &self.place {
            debug!(host = self.host, %address, "this address is tried last for a while");
            name.shun(address, self.clock.now());
        }
    }

    /// What became of each address: of those that did not answer, all were tried. Where we were short of something, it is
    /// our trouble, whatever the other addresses said: they may not be the ones that work.
    fn why<T>(&self, finish: &Finish<SocketAddr, T, io::Error>) -> Trouble {
        let failed = finish.failed.iter().map(|(address, error)| (*address, of_connect(error)));
        let silence = format!("no answer {}", self.within());
        let silent = finish.silent.iter().map(|address| (*address, (false, silence.clone())));
        let all: Vec<_> = failed.chain(silent).collect();
        let told = all.iter().take(TOLD).map(|(address, (_, said))| format!("{said} ({address})"));
        let mut told: Vec<_> = told.collect();
        if all.len() > TOLD {
            told.push(format!("and {} more", all.len() - TOLD));
        }
        let words = format!("connecting to {}: {}", self.host, told.join(", "));
        if all.iter().any(|(_, (is_ours, _))| *is_ours) {
            Trouble::ours(words)
        } else {
            Trouble::theirs(words)
        }
    }

    fn within(&self) -> String {
        format!("within {}", humantime::format_duration(self.timeout))
    }
}
