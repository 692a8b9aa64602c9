//! `[routes.NAME.webhook]`: the address that messages are posted to, and how.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use http::HeaderMap;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::{WebhookAuth, WebhookUrl, WebhookUrlError, auth, headers};
use crate::config::{
    files, parse,
    reader::{Reported, Section},
};

const CONCURRENCY: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not 0");

/// `[routes.NAME.webhook]`: the address that messages are posted to, and how.
///
/// Durations are 1 ms to 24 h.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `url` or `url_file`: the address that messages are posted to. Required. A secret.
    pub url: WebhookUrl,
    /// `headers`, and `headers_file` for values that stand in files: sent with every request. The values are secrets, and
    /// marked sensitive. Default: none.
    pub headers: HeaderMap,
    /// `[routes.NAME.webhook.auth]`: what broadcaster logs in with. Default: nothing.
    pub auth: Option<WebhookAuth>,
    /// `timeout`: how long one attempt may take: DNS, connect, TLS, request and the whole response. Default `30s`.
    pub timeout: Duration,
    /// `connect_timeout`: how long DNS, connect and TLS may take of that. Default `5s`, or `timeout` if that is less.
    pub connect_timeout: Duration,
    /// `idle_timeout`: how long a connection may be unused before it is closed. Default `50s`: below the 60 s after
    /// which common load balancers drop it.
    pub idle_timeout: Duration,
    /// `max_connection_age`: after this a connection is replaced, so that changes of DNS are seen. Default `5m`.
    pub max_connection_age: Duration,
    /// `concurrency`: how many requests at the same time, 1 to 10,000, over all threads of this process. Default 64.
    pub concurrency: NonZeroUsize,
    /// `[routes.NAME.webhook.tls]`: the authorities that are trusted.
    pub tls: WebhookTls,
}

/// `[routes.NAME.webhook.tls]`: which authorities may vouch for the webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookTls {
    /// `ca_file`: the PEM file that [`Self::ca`] was read from. Default: none.
    pub ca_file: Option<PathBuf>,
    /// The certificates in `ca_file`; empty when no file is set.
    pub ca: Vec<CertificateDer<'static>>,
    /// `system_roots`: whether the system's authorities are trusted beside those. Default true.
    pub system_roots: bool,
}

pub(super) fn read(at: &Section<'_>) -> Result<Webhook, Reported> {
    let url = files::secret(at, "url", "url_file", |text, _file| {
        text.parse().map_err(|error: WebhookUrlError| error.to_string())
    })
    .and_then(|url| url.ok_or_else(|| at.missing("url")));
    let headers = headers::read(at);
    let auth = at.optional_section("auth", auth::read);
    if let (Ok(Some(auth)), Ok(headers)) = (&auth, &headers)
        && let Some(name) = auth.headers().iter().find(|name| headers.contains_key(**name))
    {
        at.report("auth", format!("expected no header {name} in webhook.headers beside it: both log in"));
    }
    let timeout = at.or("timeout", Duration::from_secs(30), parse::duration);
    // Whoever lowers only `timeout` gets a `connect_timeout` that fits. A `timeout` that is wrong is reported once.
    let limit = timeout.unwrap_or(Duration::MAX);
    let connect_timeout = at.or("connect_timeout", Duration::from_secs(5).min(limit), parse::duration);
    if connect_timeout.is_ok_and(|connect| connect > limit) {
        at.report("connect_timeout", "expected no more than timeout, which it is a part of");
    }
    let idle_timeout = at.or("idle_timeout", Duration::from_secs(50), parse::duration);
    let max_connection_age = at.or("max_connection_age", Duration::from_secs(5 * 60), parse::duration);
    let concurrency = at.or("concurrency", CONCURRENCY, parse::count(10_000));
    let tls = at.section("tls", tls);
    Ok(Webhook {
        url: url?,
        headers: headers?,
        auth: auth?,
        timeout: timeout?,
        connect_timeout: connect_timeout?,
        idle_timeout: idle_timeout?,
        max_connection_age: max_connection_age?,
        concurrency: concurrency?,
        tls: tls?,
    })
}

pub(super) fn tls(at: &Section<'_>) -> Result<WebhookTls, Reported> {
    let file = at.optional("ca_file", |value| files::named_by(value, files::authorities));
    let system_roots = at.or("system_roots", true, parse::switch);
    if let (Ok(None), Ok(false)) = (&file, system_roots) {
        return Err(
            at.report("system_roots", "expected a ca_file, where the system's authorities are not trusted")
        );
    }
    let (ca_file, ca) = file?.map_or((None, Vec::new()), |(path, ca)| (Some(path), ca));
    Ok(WebhookTls { ca_file, ca, system_roots: system_roots? })
}
