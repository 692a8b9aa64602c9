//! The servers of a cluster: those that are configured and those that they tell of, and in which order they are tried.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use crate::{
    base::clock::Time,
    config::{Nats, NatsUrl},
};

/// How long a server with which something failed is tried after the others.
const SHUNNED: Duration = Duration::from_secs(5 * 60);
/// No more servers that others tell of are known.
const MOST: usize = 64;

/// A server, and how it is to be reached. Two are equal when they are at the same place.
#[derive(Clone, Debug)]
pub(super) struct Server {
    host: Arc<str>,
    port: u16,
    is_tls: bool,
    /// The host of the server that told of this one, where that has a name and this one has none.
    told_by: Option<Arc<str>>,
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Server {
    fn of(url: &NatsUrl) -> Self {
        Self { host: url.host().into(), port: url.port(), is_tls: url.is_tls(), told_by: None }
    }

    /// The server at an address, `host:port`, that `by` has told of; `None` where that is no address. A connection to it is
    /// no less safe.
    fn told(address: &str, by: &Self) -> Option<Self> {
        let url: NatsUrl = format!("nats://{address}").parse().ok()?;
        if url.has_login() {
            return None;
        }
        let name = if is_address(&by.host) { by.told_by.clone() } else { Some(Arc::clone(&by.host)) };
        let told_by = name.filter(|_| is_address(url.host()));
        Some(Self { is_tls: by.is_tls, told_by, ..Self::of(&url) })
    }

    /// Its name or address.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether the connection is to be encrypted whatever the server says.
    pub(super) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// What its certificate has to be for. Certificates are rarely for addresses, and the servers of a cluster have the
    /// same one, or similar ones: as other clients do, the name stands for all of them.
    pub(super) fn certified_name(&self) -> &str {
        self.told_by.as_deref().unwrap_or(&self.host)
    }
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// The servers that are known to one connection.
#[derive(Clone, Debug)]
pub(super) struct Servers {
    configured: Vec<Server>,
    told: Vec<Server>,
    ignores_told: bool,
    /// The one that the connection was made to last, which is lost when there is to be another one.
    last: Option<Server>,
    /// Those with which something failed, and until when they are tried after the others.
    shunned: Vec<(Server, Time)>,
}

impl Servers {
    /// The servers as configured, and those that a `predecessor` was told of. Where only one is configured, that may be
    /// the one to get away from.
    pub(super) fn new(config: &Nats, predecessor: Option<&Self>) -> Self {
        let mut configured: Vec<Server> = Vec::new();
        for server in config.servers.iter().map(Server::of) {
            if !configured.contains(&server) {
                configured.push(server);
            }
        }
        let mut servers = Self {
            configured,
            told: Vec::new(),
            ignores_told: config.ignore_discovered_servers,
            last: None,
            shunned: Vec::new(),
        };
        if let Some(predecessor) = predecessor {
            servers.last.clone_from(&predecessor.last);
            servers.shunned.clone_from(&predecessor.shunned);
            servers.replace_told(predecessor.told.clone());
        }
        servers
    }

    /// The server of the present connection has told which ones there are. What it leaves out is gone; where it names
    /// none, it just does not tell.
    pub(super) fn tell(&mut self, addresses: &[String]) {
        let Some(by) = &self.last else { return };
        let told: Vec<_> = addresses.iter().filter_map(|address| Server::told(address, by)).collect();
        if !told.is_empty() {
            self.replace_told(told);
        }
    }

    fn replace_told(&mut self, told: Vec<Server>) {
        self.told.clear();
        for server in told {
            let is_new = !self.configured.contains(&server) && !self.told.contains(&server);
            if is_new && !self.ignores_told && self.told.len() < MOST {
                self.told.push(server);
            }
        }
        let Self { configured, told, shunned, .. } = self;
        shunned.retain(|(server, _)| configured.contains(server) || told.contains(server));
    }

    /// There is a connection to this one, encrypted or not.
    pub(super) fn connected(&mut self, server: &Server, over_tls: bool) {
        self.shunned.retain(|(shunned, _)| shunned != server);
        self.last = Some(Server { is_tls: server.is_tls || over_tls, ..server.clone() });
    }

    /// This one did not let us in.
    pub(super) fn failed(&mut self, server: &Server, now: Time) {
        self.shunned.retain(|(shunned, _)| shunned != server);
        self.shunned.push((server.clone(), now + SHUNNED));
    }

    /// All servers, in the order in which to try them: by chance, so that replicas spread over them, but those that are
    /// configured first, those that have failed lately later, and the one that the last connection was to at the end.
    pub(super) fn round(&self, now: Time, mut random: impl FnMut() -> u64) -> Vec<Server> {
        let is_shunned =
            |server: &Server| self.shunned.iter().any(|(shunned, until)| shunned == server && *until > now);
        let mut all = self.all();
        all.sort_by_cached_key(|server| {
            let is_last = self.last.as_ref() == Some(server);
            (is_last, is_shunned(server), self.told.contains(server), random())
        });
        all
    }

    /// All servers in an order that stays: as configured, then as they were told of.
    pub(super) fn all(&self) -> Vec<Server> {
        self.configured.iter().chain(&self.told).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources, load};

    fn config(settings: &[(&str, &str)]) -> Config {
        let url = ("routes.a.webhook.url", "http://a/");
        let flags = settings.iter().chain([&url]);
        let flags = flags.map(|(key, value)| ((*key).to_owned(), (*value).to_owned(), "--set".to_owned()));
        load(Sources { flags: flags.collect(), ..Sources::default() }).unwrap()
    }

    fn servers(url: &str) -> Servers {
        Servers::new(&config(&[("nats.url", url)]).nats, None)
    }

    fn owned(addresses: &[&str]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    /// The addresses of a round at a second, where chance leaves the order as it is.
    fn round(servers: &Servers, second: u64) -> Vec<String> {
        let mut number = 0;
        let random = || {
            number += 1;
            number
        };
        let round = servers.round(Time::from_start(Duration::from_secs(second)), random);
        round.iter().map(ToString::to_string).collect()
    }

    fn find(servers: &Servers, address: &str) -> Server {
        servers.all().into_iter().find(|server| server.to_string() == address).unwrap()
    }

    #[test]
    fn addresses_have_a_port_and_are_tried_once() {
        let servers = servers("nats://a,tls://[::1]:4333,nats://a:4222,nats://u:p@10.0.0.1");
        assert_eq!(round(&servers, 0), ["a:4222", "[::1]:4333", "10.0.0.1:4222"]);
        let v6 = find(&servers, "[::1]:4333");
        assert_eq!((v6.host(), v6.port(), v6.is_tls(), v6.certified_name()), ("::1", 4333, true, "::1"));
    }

    #[test]
    fn the_order_is_up_to_chance() {
        let servers = servers("nats://a,nats://b,nats://c");
        let mut down = 10;
        let round = servers.round(Time::START, || {
            down -= 1;
            down
        });
        let round: Vec<_> = round.iter().map(Server::host).collect();
        assert_eq!(round, ["c", "b", "a"]);
    }

    #[test]
    fn the_one_that_is_lost_comes_last_and_those_that_failed_before_it() {
        let mut servers = servers("nats://a,nats://b,nats://c");
        let [a, b] = ["a:4222", "b:4222"].map(|address| find(&servers, address));
        servers.connected(&a, false);
        servers.failed(&b, Time::START);
        servers.tell(&owned(&["d:4222"]));
        assert_eq!(round(&servers, 299), ["c:4222", "d:4222", "b:4222", "a:4222"]);
        assert_eq!(round(&servers, 300), ["b:4222", "c:4222", "d:4222", "a:4222"]);
        servers.failed(&a, Time::START);
        servers.connected(&b, false);
        assert_eq!(round(&servers, 299), ["c:4222", "d:4222", "a:4222", "b:4222"]);
    }

    #[test]
    fn what_is_told_of_replaces_what_was_told_of_before() {
        let mut servers = servers("nats://a:1");
        servers.connected(&find(&servers, "a:1"), false);
        let odd = ["a:1", "b:2", "b:2", "", "u:p@c:3", "c:3/x", "c:x", "c:0", ":5", "http://d", "[::1]:7"];
        servers.tell(&owned(&odd));
        assert_eq!(round(&servers, 0), ["b:2", "[::1]:7", "a:1"]);
        servers.failed(&find(&servers, "b:2"), Time::START);
        servers.tell(&[]);
        assert_eq!(round(&servers, 0), ["[::1]:7", "b:2", "a:1"]);
        servers.tell(&owned(&["e:5"]));
        assert_eq!(round(&servers, 0), ["e:5", "a:1"]);
        assert!(servers.shunned.is_empty());
    }

    #[test]
    fn so_many_are_told_of_at_most() {
        let mut servers = servers("nats://a");
        let many: Vec<_> = (1..=1_000).map(|port| format!("b:{port}")).collect();
        servers.connected(&find(&servers, "a:4222"), false);
        servers.tell(&many);
        assert_eq!(servers.all().len(), 1 + MOST);
    }

    #[test]
    fn none_are_told_of_where_that_is_not_wanted() {
        let config = config(&[("nats.url", "nats://a"), ("nats.ignore_discovered_servers", "true")]);
        let mut before = servers("nats://a");
        before.connected(&find(&before, "a:4222"), false);
        before.tell(&owned(&["b:1"]));
        let mut servers = Servers::new(&config.nats, Some(&before));
        servers.connected(&find(&servers, "a:4222"), false);
        servers.tell(&owned(&["b:1"]));
        assert_eq!(round(&servers, 0), ["a:4222"]);
    }

    #[test]
    fn a_successor_knows_what_its_predecessor_knew() {
        let mut before = servers("nats://a");
        let a = find(&before, "a:4222");
        before.connected(&a, false);
        before.tell(&owned(&["b:1", "c:1"]));
        before.failed(&find(&before, "b:1"), Time::START);
        let servers = Servers::new(&config(&[("nats.url", "nats://a")]).nats, Some(&before));
        assert_eq!(round(&servers, 0), ["c:1", "b:1", "a:4222"]);
    }

    #[test]
    fn addresses_are_certified_by_the_name_that_led_to_them_and_as_safe_as_that() {
        let mut servers = servers("tls://hub.example,nats://10.0.0.9");
        let hub = find(&servers, "hub.example:4222");
        servers.connected(&hub, false);
        servers.tell(&owned(&["10.0.0.1:4222", "other.example:4222"]));
        let address = find(&servers, "10.0.0.1:4222");
        assert!(address.is_tls());
        assert_eq!(address.certified_name(), "hub.example");
        assert_eq!(find(&servers, "other.example:4222").certified_name(), "other.example");
        // It tells of another one, and has its name from the hub.
        servers.connected(&address, false);
        servers.tell(&owned(&["10.0.0.2:4222"]));
        assert_eq!(find(&servers, "10.0.0.2:4222").certified_name(), "hub.example");
        for over_tls in [false, true] {
            servers.connected(&find(&servers, "10.0.0.9:4222"), over_tls);
            servers.tell(&owned(&["10.0.0.3:4222"]));
            let told = find(&servers, "10.0.0.3:4222");
            assert_eq!((told.is_tls(), told.certified_name()), (over_tls, "10.0.0.3"));
        }
    }
}
