//! The way to a route's webhook: name, connection, TLS, protocol. What it finds is found by what the daemon connects with.

use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::pki_types::CertificateDer;

use super::{certificate::Certificate, report::Line};
use crate::{
    base::{clock::Clock, watched_file::WatchedFiles},
    config::{HttpVersion, Webhook},
    deliver::{
        connect::{
            network::Network,
            way::{Protocols, Session, Way},
        },
        fault::Fault,
    },
    message::outcome::Failure,
};

/// How long a webhook may take, where the configuration would give it longer: somebody waits for the report.
const PATIENCE: Duration = Duration::from_secs(5);
const PROXY: &str = "webhook proxy";

/// Goes to `webhook` and no further: nothing is sent to it but the handshakes of TLS.
pub(super) async fn check(webhook: &Webhook, network: &Network, clock: Clock) -> Vec<Line> {
    let limit = webhook.connect_timeout.min(PATIENCE);
    let way = Way::explore(webhook, network.transport(webhook, &WatchedFiles::default()), limit, clock).await;
    lines(webhook, &way, SystemTime::now())
}

fn lines(webhook: &Webhook, way: &Way, now: SystemTime) -> Vec<Line> {
    let mut lines = Vec::new();
    let proxy = webhook.egress.proxy(&webhook.url);
    if let Some(proxy) = proxy {
        let by = webhook.egress.proxy_variable(&webhook.url).unwrap_or("webhook.egress.proxy");
        lines.push(Line::fine(PROXY, format_args!("{proxy} is before it, by {by}")));
    }
    lines.extend(webhook.tls.client.as_ref().map(|client| shown(&client.pair.chain, now)));
    let (what, host) = match proxy {
        Some(proxy) => (PROXY, proxy.host()),
        None => ("webhook name", webhook.url.host()),
    };
    if let (url::Host::Domain(name), false) = (host, way.addresses.is_empty()) {
        let addresses: Vec<_> = way.addresses.iter().map(|address| address.ip().to_string()).collect();
        lines.push(Line::fine(what, format_args!("{name} is {}", addresses.join(", "))));
    }
    if let Some((peer, took)) = way.peer {
        let took = humantime::format_duration(Duration::from_millis(
            took.as_millis().try_into().unwrap_or(u64::MAX),
        ));
        let what = if proxy.is_some() { PROXY } else { "webhook connection" };
        lines.push(Line::fine(what, format_args!("{peer} answers within {took}")));
    }
    if let (Some(session), None) = (&way.session, &way.fault) {
        lines.extend([tls(session, now), protocol(webhook.http, session.protocols)]);
    }
    if let Some(fault) = &way.fault {
        lines.push(failed(webhook, way, fault));
    } else if way.session.is_none() {
        let words = match webhook.http {
            HttpVersion::Http2 => "HTTP/2 without being asked (prior knowledge), not encrypted",
            HttpVersion::Auto | HttpVersion::Http1 => "HTTP/1.1, not encrypted",
        };
        lines.push(Line::fine("webhook protocol", words));
    }
    lines
}

/// The certificate that the webhook is shown, if it asks for one.
fn shown(chain: &[CertificateDer<'_>], now: SystemTime) -> Line {
    const WHAT: &str = "client certificate";
    let Some(certificate) = chain.first().and_then(Certificate::read) else {
        return Line::fine(WHAT, "one that belongs to its key");
    };
    let found = certificate.describe(now);
    if certificate.has_ended(now) {
        Line::failed(WHAT, format_args!("it has ended: {found}"), "put a new one into webhook.tls.cert_file")
    } else if certificate.ends_soon(now) {
        Line::warning(WHAT, found, "put a new one into webhook.tls.cert_file: it is read again at once")
    } else {
        Line::fine(WHAT, found)
    }
}

fn tls(session: &Session, now: SystemTime) -> Line {
    let version = session.version;
    match session.certificate.as_ref().and_then(Certificate::read) {
        Some(certificate) if certificate.ends_soon(now) => Line::warning(
            "webhook TLS",
            format_args!("{version}, {}", certificate.describe(now)),
            "renew the webhook's certificate: it is refused from that day on",
        ),
        Some(certificate) => {
            Line::fine("webhook TLS", format_args!("{version}, {}", certificate.describe(now)))
        }
        None => Line::fine("webhook TLS", format_args!("{version}, with a certificate that is trusted")),
    }
}

fn protocol(wanted: HttpVersion, protocols: Protocols) -> Line {
    const WHAT: &str = "webhook protocol";
    match (wanted, protocols) {
        (HttpVersion::Http2, Protocols::Http1 | Protocols::Unsaid) => Line::failed(
            WHAT,
            "it speaks HTTP/1.1, and webhook.http = \"2\" demands HTTP/2 (ALPN)",
            "have it speak HTTP/2, or leave it to the webhook: webhook.http = \"auto\"",
        ),
        (HttpVersion::Http1, Protocols::Http2) => Line::failed(
            WHAT,
            "it speaks HTTP/2 only, and webhook.http = \"1.1\" wants HTTP/1.1 (ALPN)",
            "leave it to the webhook: webhook.http = \"auto\"",
        ),
        (_, Protocols::Http1) => Line::fine(WHAT, "HTTP/1.1 (ALPN)"),
        (HttpVersion::Http1, Protocols::Both) => Line::fine(WHAT, "HTTP/1.1; HTTP/2 too (ALPN)"),
        (HttpVersion::Auto, Protocols::Both) => Line::fine(WHAT, "HTTP/2; HTTP/1.1 too (ALPN)"),
        (_, Protocols::Both | Protocols::Http2) => Line::fine(WHAT, "HTTP/2 (ALPN)"),
        (_, Protocols::Unsaid) => Line::fine(WHAT, "HTTP/1.1 (it leaves that open: no ALPN)"),
        (_, Protocols::Unclear) => Line::warning(
            WHAT,
            "it takes connections as broadcaster makes them, and none that ask for the protocol (ALPN)",
            "see whether it speaks the HTTP that the route wants",
        ),
    }
}

/// Whether the webhook is nowhere that may be connected to.
fn is_forbidden(webhook: &Webhook, way: &Way) -> bool {
    let is_direct = webhook.egress.proxy(&webhook.url).is_none();
    is_direct && way.addresses.iter().all(|address| webhook.egress.refuses(address.ip()).is_some())
}

fn failed(webhook: &Webhook, way: &Way, fault: &Fault) -> Line {
    let what = match fault.failure {
        Failure::Dns => "webhook name",
        Failure::Tls => "webhook TLS",
        Failure::Proxy => PROXY,
        Failure::Local if way.addresses.is_empty() => "webhook name",
        _ => "webhook connection",
    };
    let advice = match fault.failure {
        Failure::Dns => "correct the host in webhook.url, or the name servers of this machine",
        Failure::Connect if is_forbidden(webhook, way) => {
            "correct the host in webhook.url, or allow its network by webhook.egress.allow"
        }
        Failure::Connect => {
            "start the webhook, correct webhook.url, or let this machine through (firewall, network policy)"
        }
        Failure::Tls if webhook.tls.ca.is_none() => {
            "have it show a certificate for this name that a known authority has signed; webhook.tls.ca_file names others"
        }
        Failure::Tls => {
            "have it show a certificate for this name that is in webhook.tls.ca_file, or signed by one of those"
        }
        Failure::Reset => {
            "see why it hangs up: a proxy without anything behind it, a list of addresses that it lets in"
        }
        Failure::Protocol => "correct the port in webhook.url",
        Failure::Proxy => "correct webhook.egress.proxy or the variable, or see what the proxy's log says",
        Failure::Local => "raise the limits of this machine or process, and check again",
        Failure::Timeout
        | Failure::Unsendable
        | Failure::AskedAgain
        | Failure::Login
        | Failure::Status(_) => "see what the webhook's log says",
    };
    let words = fault.cause.as_deref().unwrap_or("it can't be reached");
    Line::failed(what, words, advice)
}
