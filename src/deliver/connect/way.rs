//! The way to a webhook as it is now, stage by stage, for whoever checks it: over the same stages as for a request, and
//! without one.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    time::{Instant, timeout},
};
use tokio_rustls::rustls::{
    self, AlertDescription, ClientConfig, ProtocolVersion, pki_types::CertificateDer,
};

use super::{cause, connector::Connector, network::Transport, socket};
use crate::{
    base::{clock::Clock, network::stream::Stream},
    config::{HttpVersion, Webhook},
    deliver::fault::Fault,
    message::outcome::Failure,
};

/// How long a webhook gets to say, after a handshake, that it does not want this client: with TLS 1.3 it says so only
/// then. That takes as long as connecting did, and a moment.
const SECOND_THOUGHTS: Duration = Duration::from_millis(100);

const HTTP_1: &[u8] = b"http/1.1";
const HTTP_2: &[u8] = b"h2";

/// How far one gets, and what was found until there.
#[derive(Debug, Default)]
pub struct Way {
    /// Where the host is, or the proxy before it, in the order in which its addresses are tried; empty where that could not be found out.
    pub addresses: Vec<SocketAddr>,
    /// The address that was connected first, and how long that took.
    pub peer: Option<(SocketAddr, Duration)>,
    /// What was agreed on by TLS, where the webhook is https.
    pub session: Option<Session>,
    /// Why the stage after those that are told of failed; none where all went well.
    pub fault: Option<Fault>,
}

/// What a TLS handshake with the webhook has agreed on.
#[derive(Debug)]
pub struct Session {
    /// The version of the protocol, such as `TLS 1.3`.
    pub version: &'static str,
    /// The webhook's own certificate, which has been found to be good.
    pub certificate: Option<CertificateDer<'static>>,
    /// Which version of HTTP is spoken behind it.
    pub protocols: Protocols,
}

/// What a webhook chooses where it is offered HTTP/2 and HTTP/1.1 in the handshake (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// It has no opinion, and so speaks HTTP/1.1.
    Unsaid,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, and HTTP/1.1 where it is offered nothing else.
    Both,
    /// HTTP/2, and nothing else.
    Http2,
    /// It takes handshakes without an offer only, or is gone by now.
    Unclear,
}

impl Way {
    /// Goes the way to `webhook`, which `transport` leads to: within `limit` up to an open connection, and within as long
    /// once more for the handshakes that show the protocols. Needs a runtime that takes local tasks.
    pub async fn explore(webhook: &Webhook, transport: Transport, limit: Duration, clock: Clock) -> Self {
        let connector = Connector::new(&webhook.url, transport, limit, clock);
        let mut way = Self::default();
        way.fault = way.follow(&connector, webhook.http, limit).await.err();
        if let (None, Some((peer, _)), Some(session)) = (&way.fault, way.peer, &mut way.session) {
            let choices = timeout(limit, protocols(&connector, peer, Instant::now() + limit)).await;
            session.protocols = choices.unwrap_or(Protocols::Unclear);
        }
        way
    }

    async fn follow(
        &mut self,
        connector: &Connector,
        http: HttpVersion,
        limit: Duration,
    ) -> Result<(), Fault> {
        let deadline = Instant::now() + limit;
        self.addresses = connector.addresses(deadline).await?;
        let began = Instant::now();
        let (peer, tcp) = connector.first_to_answer(&self.addresses, deadline).await?;
        let took = began.elapsed();
        self.peer = Some((peer, took));
        let stream = connector.tunnel(tcp, deadline).await?;
        let stream = connector.secure(stream, deadline).await?;
        self.session = Session::of(&stream);
        let speaks_first = stream.speaks_http2() || stream.session().is_none() && http == HttpVersion::Http2;
        reconsidered(stream, took + SECOND_THOUGHTS, speaks_first).await
    }
}

/// Waits for a webhook that hangs up at once. Before a request it has nothing to say, but for its settings in HTTP/2.
async fn reconsidered(mut stream: Stream, patience: Duration, speaks_first: bool) -> Result<(), Fault> {
    match timeout(patience, stream.read(&mut [0; 16])).await {
        Err(_quiet) => Ok(()),
        Ok(Ok(0)) => Err(Fault::new(Failure::Reset, "the connection is closed as soon as it is open")),
        Ok(Ok(_)) if speaks_first => Ok(()),
        Ok(Ok(_)) => {
            Err(Fault::new(Failure::Protocol, "what listens there speaks first, as no HTTP server does"))
        }
        Ok(Err(error)) => Err(cause::of_stream(&error)),
    }
}

impl Session {
    fn of(stream: &Stream) -> Option<Self> {
        let session = stream.session()?;
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        Some(Self {
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
                _ => "TLS 1.3",
            },
            certificate: certificate.cloned().map(CertificateDer::into_owned),
            protocols: Protocols::Unclear,
        })
    }
}

async fn protocols(connector: &Connector, peer: SocketAddr, deadline: Instant) -> Protocols {
    match choice(connector, peer, deadline, &[HTTP_2, HTTP_1]).await {
        Choice::Nothing => Protocols::Unsaid,
        Choice::One(chosen) if chosen == HTTP_1 => Protocols::Http1,
        Choice::One(chosen) if chosen == HTTP_2 => match choice(connector, peer, deadline, &[HTTP_1]).await {
            // A server that ignores what it does not know goes on without an agreement.
            Choice::Nothing => Protocols::Unclear,
            Choice::One(_) => Protocols::Both,
            Choice::Refused => Protocols::Http2,
            Choice::Failed => Protocols::Unclear,
        },
        Choice::One(_) | Choice::Refused | Choice::Failed => Protocols::Unclear,
    }
}

/// Which of the protocols that were offered a server chooses (ALPN, RFC 7301).
enum Choice {
    One(Vec<u8>),
    Nothing,
    Refused,
    Failed,
}

/// What the server at `peer`, or behind the proxy there, chooses of `offered`, in a handshake of its own.
async fn choice(connector: &Connector, peer: SocketAddr, deadline: Instant, offered: &[&[u8]]) -> Choice {
    let Some((encryption, name)) = connector.tls() else { return Choice::Nothing };
    let mut config = ClientConfig::clone(&encryption.config());
    config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    let Ok(tcp) = socket::connect(peer).await else { return Choice::Failed };
    let Ok(tunnel) = connector.tunnel(tcp, deadline).await else { return Choice::Failed };
    match tunnel.encrypt(&Arc::new(config).into(), name.clone()).await {
        Ok(stream) => {
            let chosen = stream.session().and_then(|session| session.alpn_protocol());
            chosen.map_or(Choice::Nothing, |chosen| Choice::One(chosen.to_vec()))
        }
        Err(error) if is_refusal(&error) => Choice::Refused,
        Err(_) => Choice::Failed,
    }
}

fn is_refusal(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(error, Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)))
}
