//! `[tracing]`: where the spans of messages and attempts go.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, header::CONTENT_TYPE};

use super::{
    Egress, ProxyVariables, Proxying, WebhookTls, WebhookUrl, WebhookUrlError, history, parse,
    reader::{Reported, Section},
    route::{headers, webhook_tls},
};

/// `[tracing]`: where the spans of messages and attempts go, and of how many there are any. Without it there are none.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// `tracing.endpoint`: the collector. Required.
    pub endpoint: OtlpEndpoint,
    /// `tracing.sample`: of which part of the messages without a `traceparent` there are spans, from 0 to 1. Default 1.
    pub sample: f64,
    /// `tracing.timeout`: how long the collector may take for one request. Default 10 s.
    pub timeout: Duration,
    /// `tracing.service_name`: the attribute `service.name` of all spans. Default `broadcaster`.
    pub service_name: String,
    /// `[tracing.headers]`: what requests to the collector have beside their own. The values are secrets. Default: nothing.
    pub headers: HeaderMap,
    /// `[tracing.headers_file]`: the files that some of those stand in.
    pub header_files: Vec<(HeaderName, PathBuf)>,
    /// `[tracing.tls]`: whom to trust there.
    pub tls: WebhookTls,
    /// The proxy before it, where the environment has one.
    pub egress: Egress,
}

/// Where a collector takes OTLP over HTTP: the base of its addresses, as OpenTelemetry has it
/// (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    base: String,
    traces: WebhookUrl,
}

impl OtlpEndpoint {
    /// Where it takes traces.
    pub const fn traces(&self) -> &WebhookUrl {
        &self.traces
    }
}

impl FromStr for OtlpEndpoint {
    type Err = String;

    fn from_str(base: &str) -> Result<Self, String> {
        if base.contains(['?', '{']) {
            return Err(
                "expected no query and no placeholders in the URL: /v1/traces is put behind it".to_owned()
            );
        }
        let traces = format!("{}/v1/traces", base.trim_end_matches('/')).parse();
        let traces = traces.map_err(|error| match error {
            WebhookUrlError::NotHttp => "expected a URL such as \"http://collector:4318\"".to_owned(),
            WebhookUrlError::Login => {
                "expected no user or password in the URL: set tracing.headers.authorization".to_owned()
            }
            error => error.to_string(),
        })?;
        Ok(Self { base: base.to_owned(), traces })
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

pub(super) fn read(at: &Section<'_>, proxies: &Arc<ProxyVariables>) -> Result<Tracing, Reported> {
    let endpoint = at.required("endpoint", |value| parse::text(value)?.trim().parse());
    let sample = at.or("sample", 1.0, history::ratio);
    let timeout = at.or("timeout", Duration::from_secs(10), parse::duration);
    let service_name = at.or("service_name", "broadcaster".to_owned(), parse::text);
    let headers = headers::read_fixed(at);
    let tls = at.section("tls", webhook_tls::read);
    let (endpoint, headers): (OtlpEndpoint, _) = (endpoint?, headers?);
    if headers.values.contains_key(CONTENT_TYPE) {
        return Err(at.report("headers", "expected no content-type among them: spans are protobuf"));
    }
    let egress = Egress { proxy: Proxying::Variables(Arc::clone(proxies)), ..Egress::default() };
    if let Some(named) = proxies.proxy(endpoint.traces())
        && let Err(error) = &named.proxy
    {
        return Err(at.report("endpoint", format!("{error} in {}", named.variable)));
    }
    Ok(Tracing {
        endpoint,
        sample: sample?,
        timeout: timeout?,
        service_name: service_name?,
        headers: headers.values,
        header_files: headers.files,
        tls: tls?,
        egress,
    })
}
