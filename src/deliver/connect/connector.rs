//! Opens a connection to a webhook: name, address, TLS, one after the other and in bounded time.

use std::{borrow::Cow, cell::Cell, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::rustls::pki_types::ServerName;
use tracing::debug;
use url::Host;

use super::{
    cause,
    network::{Place, Transport},
    proxy::{Destination, Proxy},
    shortage::Shortage,
    socket,
    stages::Stages,
    tls::Encryption,
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
    config::{Egress, WebhookUrl},
    deliver::fault::Fault,
    message::outcome::Failure,
};

/// Of so many addresses a cause says what became of them.
const TOLD: usize = 3;

/// Opens connections to one webhook.
pub(in crate::deliver) struct Connector {
    host: Host,
    port: u16,
    place: Place,
    proxy: Option<Arc<Proxy>>,
    guard: Option<Arc<Egress>>,
    tls: Option<(Encryption, ServerName<'static>)>,
    shortage: Arc<Shortage>,
    timeout: Duration,
    clock: Clock,
    /// Of the latest connection.
    stages: Cell<Stages>,
}

impl Connector {
    /// Connections to `url`'s host within `timeout` each.
    pub(in crate::deliver) fn new(
        url: &WebhookUrl,
        transport: Transport,
        timeout: Duration,
        clock: Clock,
    ) -> Self {
        let Transport { place, proxy, guard, tls, shortage } = transport;
        let (host, port) = (url.host().clone(), url.port());
        Self { host, port, place, proxy, guard, tls, shortage, timeout, clock, stages: Cell::default() }
    }

    /// A new connection. The failure is that of the stage at which it failed or the time ran out: `dns`, `connect` or
    /// `tls`; or `proxy`, or `local`.
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

    /// How long the stages of the latest connection took.
    pub(in crate::deliver) const fn latest_stages(&self) -> Stages {
        self.stages.get()
    }

    /// For `https`: how it is encrypted, and what the certificate must be for.
    pub(super) const fn tls(&self) -> Option<&(Encryption, ServerName<'static>)> {
        self.tls.as_ref()
    }

    async fn stages(&self) -> Result<Stream, Fault> {
        let (began, mut stages) = (Instant::now(), Stages::default());
        let deadline = began + self.timeout;
        let addresses = self.addresses(deadline).await?;
        let found = Instant::now();
        stages.name = matches!(self.place, Place::Named(_)).then(|| found - began);
        self.stages.set(stages);
        let (address, tcp) = self.first_to_answer(&addresses, deadline).await?;
        let connected = Instant::now();
        stages.connect = Some(connected - found);
        self.stages.set(stages);
        let secured = match self.tunnel(tcp, deadline).await {
            Ok(stream) => {
                let opened = Instant::now();
                stages.proxy = self.proxy.as_ref().map(|_| opened - connected);
                let secured = self.secure(stream, deadline).await;
                stages.tls = self.tls.as_ref().map(|_| opened.elapsed());
                self.stages.set(stages);
                secured
            }
            Err(fault) => Err(fault),
        };
        // What a proxy's webhook does says nothing about the proxy.
        if secured.as_ref().is_err_and(|fault| self.proxy.is_none() || fault.failure == Failure::Proxy) {
            // What takes connections and can't use them is as good as dead.
            self.shun(address);
        }
        secured
    }

    /// What leads to the webhook: `tcp` itself, or a tunnel of the proxy at its other end.
    pub(super) async fn tunnel(&self, tcp: TcpStream, deadline: Instant) -> Result<Stream, Fault> {
        let Some(proxy) = &self.proxy else { return Ok(Stream::Plain(tcp)) };
        let to = Destination { host: &self.host, port: self.port };
        let tunnel = timeout_at(deadline, proxy.tunnel(Stream::Plain(tcp), to)).await;
        tunnel.unwrap_or_else(|_elapsed| Err(proxy.fault(format_args!("no tunnel {}", self.within()))))
    }

    /// With TLS, where the webhook is https.
    pub(super) async fn secure(&self, stream: Stream, deadline: Instant) -> Result<Stream, Fault> {
        let Some((encryption, name)) = &self.tls else { return Ok(stream) };
        match timeout_at(deadline, stream.encrypt(&encryption.connector(), name.clone())).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(cause::of_handshake(&self.host.to_string(), &error)),
            Err(_elapsed) => {
                let words = format_args!("TLS with {}: no answer {}", self.host, self.within());
                Err(Fault::new(Failure::Tls, words))
            }
        }
    }

    /// Where the host is, or the proxy before it, in the order in which to try.
    pub(super) async fn addresses(&self, deadline: Instant) -> Result<Vec<SocketAddr>, Fault> {
        let name = match &self.place {
            Place::Address(address) => return Ok(vec![(*address, self.first_port()).into()]),
            Place::Named(name) => name,
        };
        let addresses = timeout_at(deadline, name.addresses(self.first_port(), self.clock)).await;
        let addresses = addresses.unwrap_or_else(|_elapsed| {
            let words = format_args!("looking up {}: no answer {}", self.first_name(), self.within());
            Err(Trouble::theirs(words))
        });
        addresses.map_err(|trouble| cause::of_trouble(trouble, self.or_proxy(Failure::Dns)))
    }

    /// A connection to the first of `addresses` that takes one, of those that may be connected to. They are looked at
    /// here, and not where names are looked up, so that what was looked at is what is connected to.
    pub(super) async fn first_to_answer(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<(SocketAddr, TcpStream), Fault> {
        let allowed = self.allowed(addresses).inspect_err(|_forbidden| self.doubt())?;
        let finish = race(&allowed, deadline, socket::connect).await;
        for address in finish.silent.iter().chain(finish.failed.iter().map(|(address, _)| address)) {
            self.shun(*address);
        }
        if let Some((address, tcp)) = finish.winner {
            if let Place::Named(name) = &self.place {
                name.forgive(address);
            }
            return Ok((address, tcp));
        }
        self.doubt();
        Err(cause::of_trouble(self.why(&finish), self.or_proxy(Failure::Connect)))
    }

    /// Those of `addresses` that may be connected to.
    fn allowed<'a>(&self, addresses: &'a [SocketAddr]) -> Result<Cow<'a, [SocketAddr]>, Fault> {
        let Some(guard) = &self.guard else { return Ok(addresses.into()) };
        let refusal = |address: &SocketAddr| guard.refuses(address.ip());
        let allowed: Vec<_> =
            addresses.iter().copied().filter(|address| refusal(address).is_none()).collect();
        if !allowed.is_empty() {
            return Ok(allowed.into());
        }
        let told =
            addresses.iter().filter_map(|address| Some(format!("{} is {}", address.ip(), refusal(address)?)));
        let told: Vec<_> = told.take(TOLD).collect();
        let words = format_args!(
            "not connecting to {}: {}, which webhook.egress.deny_private forbids; webhook.egress.allow names exceptions",
            self.host,
            told.join(", ")
        );
        Err(Fault::new(Failure::Connect, words))
    }

    /// The port that is dialed: the proxy's, where there is one.
    fn first_port(&self) -> u16 {
        self.proxy.as_ref().map_or(self.port, |proxy| proxy.port())
    }

    /// Who is dialed, in the words of a cause.
    fn first_name(&self) -> Cow<'_, str> {
        match &self.proxy {
            Some(proxy) => format!("the proxy {}", proxy.name()).into(),
            None => self.host.to_string().into(),
        }
    }

    /// The failure of a stage, which is the proxy's where it is the way to a proxy.
    fn or_proxy(&self, failure: Failure) -> Failure {
        if self.proxy.is_some() { Failure::Proxy } else { failure }
    }

    /// Has the name looked up again soon: the webhook may have moved since it was.
    fn doubt(&self) {
        if let Place::Named(name) = &self.place {
            name.doubt(self.clock.now());
        }
    }

    /// Has the other addresses tried first for a while.
    fn shun(&self, address: SocketAddr) {
        if let Place::Named(name) = &self.place {
            debug!(host = %self.first_name(), %address, "this address is tried last for a while");
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
        let words = format!("connecting to {}: {}", self.first_name(), told.join(", "));
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
