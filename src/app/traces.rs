//! What spans say of a route.

use crate::{
    config::{Route, WebhookUrl},
    trace::span::About,
};

/// What stands for what is secret in an address, as OpenTelemetry has it.
const REDACTED: &str = "REDACTED";

/// What all spans of the route with these settings say.
pub(super) fn about(settings: &Route) -> About {
    let Route { name, subject, queue_group, jetstream, webhook, .. } = settings;
    let group = jetstream.as_ref().map_or_else(|| queue_group.as_str(), |stream| stream.consumer.as_str());
    About {
        route: name.as_str().into(),
        subject: subject.as_str().into(),
        has_wildcard: subject.has_wildcard(),
        group: group.into(),
        method: webhook.method.as_str(),
        url: public(&webhook.url).into(),
        host: webhook.url.host().to_string().into(),
        port: webhook.url.port(),
    }
}

/// `url` without its path and query: many services put a secret there.
fn public(url: &WebhookUrl) -> String {
    let scheme = if url.server_name().is_some() { "https" } else { "http" };
    let path = if url.path_and_query() == "/" { "" } else { REDACTED };
    format!("{scheme}://{}/{path}", url.authority())
}
