//! `[routes.NAME.webhook]`: the address that messages are posted to, and how.

use std::{path::PathBuf, sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

use super::{
    Body, CloudEventMode, Compression, Concurrency, Egress, Forward, HeaderTemplate, HttpVersion, Method,
    ProxyVariables, Signing, WebhookAuth, WebhookTls, WebhookUrl, WebhookUrlError, auth, body, compression,
    concurrency, egress, forward,
    headers::{self, OperatorHeaders},
    signing, template_secrets, webhook_tls,
};
use crate::{
    config::{
        files, parse,
        reader::{Reported, Section},
    },
    template::Secrets,
};

/// `[routes.NAME.webhook]`: the address that messages are posted to, and how.
///
/// Durations are 1 ms to 24 h.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `url` or `url_file`: the address that messages are posted to. Required. A secret.
    pub url: WebhookUrl,
    /// `method`: with what it is called. Default `POST`.
    pub method: Method,
    /// `http`: which HTTP is spoken. Default `auto`.
    pub http: HttpVersion,
    /// `forward`: which headers of the publisher go with requests. Default `ce-*`, `traceparent` and `tracestate`.
    pub forward: Forward,
    /// `headers`, and `headers_file` for values that stand in files: sent with every request. The values are secrets, and
    /// marked sensitive. Default: none.
    pub headers: HeaderMap,
    /// The files of `headers_file`, which are read again when they change.
    pub header_files: Vec<(HeaderName, PathBuf)>,
    /// `header_templates`: headers whose values are made for each message. Default: none.
    pub header_templates: Vec<(HeaderName, HeaderTemplate)>,
    /// `format`, and what belongs to it: what the bodies of requests are. Default: the payload.
    pub body: Body,
    /// `[routes.NAME.webhook.compression]`: how bodies are compressed. Default: not at all.
    pub compression: Option<Compression>,
    /// `[routes.NAME.webhook.auth]`: what broadcaster logs in with. Default: nothing.
    pub auth: Option<WebhookAuth>,
    /// `secrets`, and `secrets_file` for those that stand in files: what the template may use and nobody may see. Default:
    /// none.
    pub secrets: Secrets,
    /// `timeout`: how long one attempt may take: DNS, connect, TLS, request and the whole response. Default `30s`.
    pub timeout: Duration,
    /// `connect_timeout`: how long DNS, connect and TLS may take of that. Default `5s`, or `timeout` if that is less.
    pub connect_timeout: Duration,
    /// `idle_timeout`: how long a connection may be unused before it is closed. Default `50s`: below the 60 s after
    /// which common load balancers drop it.
    pub idle_timeout: Duration,
    /// `max_connection_age`: after this a connection is replaced, so that changes of DNS are seen. Default `5m`.
    pub max_connection_age: Duration,
    /// `concurrency`, and what belongs to it: how many requests at the same time, over all threads of this process.
    pub concurrency: Concurrency,
    /// `[routes.NAME.webhook.egress]`: where requests may go, and by which way.
    pub egress: Egress,
    /// `[routes.NAME.webhook.tls]`: whom the webhook has to be, and whom it sees.
    pub tls: WebhookTls,
    /// `[routes.NAME.webhook.signing]`: how requests are signed. Default: not at all.
    pub signing: Option<Signing>,
}

impl Webhook {
    /// The names of all headers that the operator gives a value to, or has signed with: no publisher's goes beside them.
    pub fn sets_headers(&self) -> impl Iterator<Item = &str> {
        let made = self.header_templates.iter().map(|(name, _)| name);
        let given = self.headers.keys().chain(made).map(HeaderName::as_str);
        let login = self.auth.iter().flat_map(|auth| auth.headers().iter().copied());
        given.chain(login).chain(self.signing.iter().flat_map(Signing::header_names))
    }
}

/// Reads the section. `proxies` are those that the environment names.
pub(super) fn read(at: &Section<'_>, proxies: &Arc<ProxyVariables>) -> Result<Webhook, Reported> {
    let url = files::secret(at, "url", "url_file", |text, _file| {
        text.parse().map_err(|error: WebhookUrlError| error.to_string())
    })
    .and_then(|url| url.ok_or_else(|| at.missing("url")));
    let method = at.or("method", Method::Post, parse::choice);
    let http = at.or("http", HttpVersion::Auto, parse::choice);
    let forward = forward::read(at);
    let headers = headers::read(at);
    let secrets = template_secrets::read(at);
    let body = body::read(at, secrets.as_ref().ok());
    let compression = at.optional_section("compression", compression::read);
    let auth = at.optional_section("auth", auth::read);
    if let Ok(headers) = &headers {
        let auth = auth.as_ref().ok().and_then(Option::as_ref);
        headers_beside(at, headers, body.as_ref().ok(), matches!(compression, Ok(Some(_))), auth);
    }
    let (timeout, connect_timeout) = timeouts(at);
    let idle_timeout = at.or("idle_timeout", Duration::from_secs(50), parse::duration);
    let max_connection_age = at.or("max_connection_age", Duration::from_secs(5 * 60), parse::duration);
    let concurrency = concurrency::read(at);
    let egress = at.section("egress", |at| egress::read(at, url.as_ref().ok(), proxies));
    if let (Ok(Some(WebhookAuth::Oauth2(oauth2))), Ok(egress)) = (&auth, &egress) {
        egress::check(at, egress, "auth.oauth2.token_url", &oauth2.token_url);
    }
    let tls = at.section("tls", webhook_tls::read);
    let signing = at.optional_section("signing", signing::read);
    if let (Ok(headers), Ok(Some(signing))) = (&headers, &signing) {
        headers_that_sign(at, headers, signing);
    }
    if let (Ok(Some(auth)), Ok(Some(signing))) = (&auth, &signing) {
        let is_its = |name: &&&str| signing.header_names().any(|other| name.eq_ignore_ascii_case(other));
        if let Some(name) = auth.headers().iter().find(is_its) {
            at.report("auth", format!("expected no signature in the header {name} beside it: both set that"));
        }
    }
    let OperatorHeaders { values, files, templates } = headers?;
    Ok(Webhook {
        url: url?,
        method: method?,
        http: http?,
        forward: forward?,
        headers: values,
        header_files: files,
        header_templates: templates,
        body: body?,
        compression: compression?,
        auth: auth?,
        secrets: secrets?,
        timeout: timeout?,
        connect_timeout: connect_timeout?,
        idle_timeout: idle_timeout?,
        max_connection_age: max_connection_age?,
        concurrency: concurrency?,
        egress: egress?,
        tls: tls?,
        signing: signing?,
    })
}

/// How long an attempt may take, and the connection as a part of that. Whoever lowers only `timeout` gets a
/// `connect_timeout` that fits; a `timeout` that is wrong is reported once.
fn timeouts(at: &Section<'_>) -> (Result<Duration, Reported>, Result<Duration, Reported>) {
    let timeout = at.or("timeout", Duration::from_secs(30), parse::duration);
    let limit = timeout.unwrap_or(Duration::MAX);
    let connect_timeout = at.or("connect_timeout", Duration::from_secs(5).min(limit), parse::duration);
    if connect_timeout.is_ok_and(|connect| connect > limit) {
        at.report("connect_timeout", "expected no more than timeout, which it is a part of");
    }
    (timeout, connect_timeout)
}

/// Says so where the operator sets a header that the body, what compresses it or the login sets too.
fn headers_beside(
    at: &Section<'_>,
    headers: &OperatorHeaders,
    body: Option<&Body>,
    is_compressed: bool,
    auth: Option<&WebhookAuth>,
) {
    let sets = |wanted: &str| headers.names().any(|name| *name == *wanted);
    match body {
        Some(Body::Template(_)) if at.place("content_type").is_some() && sets(CONTENT_TYPE.as_str()) => {
            at.report("content_type", "expected only one of content_type and headers.content-type");
        }
        Some(Body::CloudEvents(events))
            if events.mode == CloudEventMode::Structured && sets(CONTENT_TYPE.as_str()) =>
        {
            at.report(
                "headers.content-type",
                "expected none with cloudevents.mode = \"structured\", which has its own",
            );
        }
        _ => {}
    }
    if is_compressed && sets(CONTENT_ENCODING.as_str()) {
        at.report("compression", "expected no header content-encoding beside it, which it sets");
    }
    if let Some(name) = auth.and_then(|auth| auth.headers().iter().find(|name| sets(name))) {
        at.report("auth", format!("expected no header {name} in webhook.headers beside it: both log in"));
    }
}

/// Says so where a header that the signature sets is set by the operator too.
fn headers_that_sign(at: &Section<'_>, headers: &OperatorHeaders, signing: &Signing) {
    for name in signing.header_names() {
        let is_it = |other: &HeaderName| other.as_str().eq_ignore_ascii_case(name);
        let table = if headers.templates.iter().any(|(other, _)| is_it(other)) {
            "header_templates"
        } else if headers.files.iter().any(|(other, _)| is_it(other)) {
            "headers_file"
        } else if headers.values.contains_key(name) {
            "headers"
        } else {
            continue;
        };
        let key = format!("{table}.{}", name.to_ascii_lowercase());
        at.report(&key, "expected another header: webhook.signing sets this one");
    }
}
