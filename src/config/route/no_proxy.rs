//! `NO_PROXY`: what is reached without a proxy although a variable names one.

use std::net::IpAddr;

use ipnet::IpNet;
use url::Host;

/// The hosts of a `NO_PROXY`, as curl, Go and Python read most of it: names with all that is below them, addresses,
/// networks, each with a port or without, and `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NoProxy(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    Network(IpNet),
    /// A name, in lower case, and whether it counts too or only what is below it.
    Name {
        name: String,
        itself: bool,
    },
}

impl NoProxy {
    /// Reads the value of the variable. What is none of that is a name that no host has.
    pub(super) fn new(text: &str) -> Self {
        let entries = text.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
        Self(entries.map(Entry::new).collect())
    }

    /// Whether `host` is reached without a proxy: one of those, or of this machine itself, as with Go.
    pub(super) fn covers(&self, host: &Host, port: u16) -> bool {
        is_here(host)
            || self
                .0
                .iter()
                .any(|entry| entry.port.is_none_or(|wanted| wanted == port) && entry.hosts.have(host))
    }
}

impl Entry {
    fn new(text: &str) -> Self {
        if let Some(hosts) = Hosts::address(text) {
            return Self { hosts, port: None };
        }
        let split = text.rsplit_once(':').and_then(|(host, port)| Some((host, Some(port.parse().ok()?))));
        let (host, port) = split.unwrap_or((text, None));
        Self { hosts: Hosts::address(host).unwrap_or_else(|| Hosts::name(host)), port }
    }
}

impl Hosts {
    fn address(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let network = bare.parse::<IpNet>().or_else(|_| bare.parse::<IpAddr>().map(IpNet::from));
        network.ok().map(Self::Network)
    }

    fn name(text: &str) -> Self {
        if text == "*" {
            return Self::All;
        }
        // Go's meaning of a dot in front; to curl it means nothing.
        let below = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
        let name = below.unwrap_or(text).trim_end_matches('.').to_ascii_lowercase();
        Self::Name { name, itself: below.is_none() }
    }

    fn have(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Network(network), Host::Ipv4(address)) => network.contains(&IpAddr::V4(*address)),
            (Self::Network(network), Host::Ipv6(address)) => network.contains(&IpAddr::V6(*address)),
            (Self::Name { name, itself }, Host::Domain(host)) => {
                match host.trim_end_matches('.').strip_suffix(name.as_str()) {
                    Some("") => *itself,
                    Some(below) => below.ends_with('.'),
                    None => false,
                }
            }
            _ => false,
        }
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_covered_as_curl_and_go_have_it() {
        for (list, host, port, covered) in [
            ("", "hook.example", 443, false),
            ("", "localhost", 443, true),
            ("", "127.9.9.9", 80, true),
            ("", "[::1]", 80, true),
            ("*", "hook.example", 443, true),
            ("example", "hook.example", 443, true),
            ("hook.example", "hook.example", 443, true),
            ("Hook.Example", "hook.example", 443, true),
            ("hook.example.", "hook.example", 443, true),
            ("k.example", "hook.example", 443, false),
            (".example", "hook.example", 443, true),
            (".hook.example", "hook.example", 443, false),
            ("*.hook.example", "a.hook.example", 443, true),
            ("other.example, hook.example", "hook.example", 443, true),
            ("other.example hook.example", "hook.example", 443, true),
            ("hook.example:8443", "hook.example", 443, false),
            ("hook.example:8443", "hook.example", 8443, true),
            ("10.0.0.0/8", "10.1.2.3", 443, true),
            ("10.0.0.0/8", "11.1.2.3", 443, false),
            ("10.1.2.3", "10.1.2.3", 443, true),
            ("10.1.2.3:80", "10.1.2.3", 443, false),
            ("10.1.2.3:443", "10.1.2.3", 443, true),
            ("2001:db8::/32", "[2001:db8::1]", 443, true),
            ("[2001:db8::1]:443", "[2001:db8::1]", 443, true),
            ("2001:db8::1", "[2001:db8::1]", 443, true),
            ("10.0.0.0/8", "hook.example", 443, false),
            (".svc,.cluster.local", "todos.default.svc", 80, true),
            (".svc,.cluster.local", "todos.default.svc.cluster.local.", 80, true),
        ] {
            let found = NoProxy::new(list).covers(&Host::parse(host).unwrap(), port);
            assert_eq!(found, covered, "{list:?}: {host}:{port}");
        }
    }
}
