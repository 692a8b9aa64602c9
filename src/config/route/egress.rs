//! `[routes.NAME.webhook.egress]`: where requests may go, and by which way.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use url::Host;

use super::{ProxyUrl, ProxyUrlError, ProxyVariables, WebhookUrl};
use crate::{
    base::network::special,
    config::{
        files, parse,
        reader::{Reported, Section},
        tree::Value,
    },
};

/// `[routes.NAME.webhook.egress]`: where requests may go, and by which way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Egress {
    /// `deny_private`: whether only hosts of the public internet are connected to. Default false.
    pub deny_private: bool,
    /// `allow`: networks that are connected to in spite of that. Default: none.
    pub allow: Vec<IpNet>,
    /// `https_only`: whether an address without TLS is a mistake. Default false.
    pub https_only: bool,
    /// `ports`: the only ports that an address may have; empty for all. Default: all.
    pub ports: Vec<u16>,
    /// `proxy`, `proxy_file`, or the variables.
    pub proxy: Proxying,
}

/// Whether there is a proxy before a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxying {
    /// `proxy = "none"`: the webhook is connected to, whatever the variables say.
    Direct,
    /// `proxy` names it. A secret where it has a login.
    By(ProxyUrl),
    /// What the variables say, each of another address.
    Variables(Arc<ProxyVariables>),
}

impl Default for Proxying {
    fn default() -> Self {
        Self::Variables(Arc::default())
    }
}

impl Egress {
    /// What is against connecting to `address`: what it is kept for; none where it may be connected to.
    pub fn refuses(&self, address: IpAddr) -> Option<&'static str> {
        if !self.deny_private {
            return None;
        }
        let within = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => special::within(address).map(IpAddr::V4),
        };
        let is_allowed = |address: IpAddr| self.allow.iter().any(|network| network.contains(&address));
        special::purpose(address).filter(|_| !is_allowed(address) && !within.is_some_and(is_allowed))
    }

    /// The address in `url`, where it has one that must not be connected to, and what that is kept for.
    fn refused_literal(&self, url: &WebhookUrl) -> Option<(IpAddr, &'static str)> {
        let address = match url.host() {
            Host::Ipv4(address) => IpAddr::V4(*address),
            Host::Ipv6(address) => IpAddr::V6(*address),
            Host::Domain(_) => return None,
        };
        Some((address, self.refuses(address)?))
    }

    /// What is wrong with the variable that names the proxy by which `url` would be reached.
    fn proxy_mistake(&self, url: &WebhookUrl) -> Option<String> {
        let Proxying::Variables(variables) = &self.proxy else { return None };
        let named = variables.proxy(url)?;
        named.proxy.as_ref().err().map(|error| format!("{error} in {}", named.variable))
    }

    /// The proxy by which `url` is reached; none where it is connected to.
    pub fn proxy(&self, url: &WebhookUrl) -> Option<&ProxyUrl> {
        match &self.proxy {
            Proxying::Direct => None,
            Proxying::By(proxy) => Some(proxy),
            Proxying::Variables(variables) => variables.proxy(url)?.proxy.as_ref().ok(),
        }
    }

    /// The variable that has named the proxy by which `url` is reached, where it was one.
    pub fn proxy_variable(&self, url: &WebhookUrl) -> Option<&'static str> {
        match &self.proxy {
            Proxying::Variables(variables) => variables.proxy(url).map(|named| named.variable),
            Proxying::Direct | Proxying::By(_) => None,
        }
    }
}

/// Reads the section. `url` is the webhook's, where that is right; `variables` are those of the environment.
pub(super) fn read(
    at: &Section<'_>,
    url: Option<&WebhookUrl>,
    variables: &Arc<ProxyVariables>,
) -> Result<Egress, Reported> {
    let deny_private = at.or("deny_private", false, parse::switch);
    let allow = at.or("allow", Vec::new(), networks);
    let https_only = at.or("https_only", false, parse::switch);
    let ports = at.or("ports", Vec::new(), ports);
    let proxy = files::secret(at, "proxy", "proxy_file", |text, _file| proxying(&text));
    if let (Ok(false), Ok([_, ..])) = (deny_private, allow.as_deref()) {
        at.report(
            "allow",
            "expected deny_private = true beside it: allow makes exceptions of that, and denies nothing",
        );
    }
    let proxy = proxy?.unwrap_or_else(|| Proxying::Variables(Arc::clone(variables)));
    let egress =
        Egress { deny_private: deny_private?, allow: allow?, https_only: https_only?, ports: ports?, proxy };
    url.map_or(Ok(()), |url| fits(at, &egress, url))?;
    Ok(egress)
}

/// Says so where `url` breaks the rules of `egress`. It stands in `key` of the table `at`; those of the webhook itself are
/// checked where the rules are read.
pub(super) fn check(at: &Section<'_>, egress: &Egress, key: &str, url: &WebhookUrl) {
    if egress.https_only && url.server_name().is_none() {
        at.report(key, "expected an address that begins with https, as egress.https_only says");
    }
    if !egress.ports.is_empty() && !egress.ports.contains(&url.port()) {
        at.report(key, format!("expected one of the ports in egress.ports, not {}", url.port()));
    }
    if let Some((address, what)) = egress.refused_literal(url) {
        let problem = format!(
            "expected an address of the public internet, or its network in egress.allow: {address} is {what}"
        );
        at.report(key, problem);
    }
    if let Some(problem) = egress.proxy_mistake(url) {
        at.report(key, problem);
    }
}

/// What can be known of `url` before it is connected to.
fn fits(at: &Section<'_>, egress: &Egress, url: &WebhookUrl) -> Result<(), Reported> {
    if egress.https_only && url.server_name().is_none() {
        at.report("https_only", "expected a webhook.url that begins with https");
    }
    if !egress.ports.is_empty() && !egress.ports.contains(&url.port()) {
        at.report("ports", format!("expected the port of webhook.url, {}, among them", url.port()));
    }
    if let Some((address, what)) = egress.refused_literal(url) {
        let problem = format!(
            "expected a webhook.url of the public internet, or its network in allow: {address} is {what}"
        );
        at.report("deny_private", problem);
    }
    egress
        .proxy_mistake(url)
        .map_or(Ok(()), |problem| Err(at.report("proxy", format!("{problem}, or \"none\" here"))))
}

fn proxying(text: &str) -> Result<Proxying, String> {
    match text {
        "none" => Ok(Proxying::Direct),
        text => text.parse().map(Proxying::By).map_err(|error: ProxyUrlError| error.to_string()),
    }
}

fn networks(value: &Value) -> Result<Vec<IpNet>, String> {
    let network = |text: &String| {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        // One with bits behind its length is hardly meant.
        network.ok().filter(|network: &IpNet| network.trunc() == *network)
    };
    let found = parse::list(value)?.iter().map(network).collect::<Option<Vec<_>>>();
    found.ok_or_else(|| value.unexpected("networks such as \"10.1.0.0/16\""))
}

fn ports(value: &Value) -> Result<Vec<u16>, String> {
    let port = |text: &String| text.parse().ok().filter(|port| *port != 0);
    let found = parse::list(value)?.iter().map(port).collect::<Option<Vec<_>>>();
    found.ok_or_else(|| value.unexpected("ports from 1 to 65535"))
}
