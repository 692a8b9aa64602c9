//! Three nats-servers that keep streams together.

use std::time::Instant;

use serde_json::Value;

use super::streams::Stream;
use super::{NatsServer, PATIENCE, Setup, listed_port, read_ports};

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// A server's place in a cluster.
pub(super) struct Place {
    name: &'static str,
    /// Where it listens for the others; a port of the system's choice before its first start.
    port: Option<u16>,
    /// The ports of the others.
    routes: Vec<u16>,
}

impl Place {
    pub(super) fn configuration(&self) -> String {
        let routes: Vec<_> = self.routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let port = self.port.map_or(-1, i32::from);
        format!(
            "server_name: {}\ncluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: {routes:?} }}",
            self.name
        )
    }
}

/// Three servers on this machine, each with a directory and ports of its own, which it keeps over a restart.
pub struct Cluster {
    nodes: Vec<NatsServer>,
}

impl Cluster {
    /// Starts the servers, one after the other, and waits until they have a leader.
    pub async fn start() -> Self {
        // A server has to know at its start how many they will be. Nobody listens on these ports, which stand for those
        // that are not there yet: they will say where they are.
        const NOWHERE: [u16; 2] = [1, 2];
        let mut nodes: Vec<NatsServer> = Vec::new();
        for name in NAMES {
            let known = nodes.iter().filter_map(|node| node.place().port);
            let routes = known.chain(NOWHERE).take(NOWHERE.len()).collect();
            let place = Place { name, port: None, routes };
            let mut node = Setup { cluster: Some(place), ..Setup::default() }.start().await;
            let ports =
                read_ports(node.directory.path(), &node.process).expect("a running server lists its ports");
            node.place_mut().port = Some(listed_port(&ports["cluster"]));
            nodes.push(node);
        }
        // From its next start on, each one finds the others by itself.
        let ports: Vec<_> = nodes.iter().filter_map(|node| node.place().port).collect();
        for node in &mut nodes {
            let place = node.place_mut();
            place.routes = ports.iter().copied().filter(|port| Some(*port) != place.port).collect();
        }
        let cluster = Self { nodes };
        cluster.wait_whole().await;
        cluster
    }

    /// The URLs for clients, comma-separated.
    pub fn url(&self) -> String {
        self.nodes.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }

    /// A client that goes to another server when it loses its own.
    pub async fn client(&self) -> async_nats::Client {
        let url = self.url();
        let servers: Vec<_> = url.split(',').collect();
        let client = async_nats::ConnectOptions::new().connect(servers).await;
        client.unwrap_or_else(|error| panic!("cannot connect to {url}: {error}"))
    }

    /// Makes a stream of these subjects that each server has a replica of.
    pub async fn stream(&self, name: &str, subjects: &[&str]) -> Stream {
        Stream::make(self.client().await, name, subjects, self.nodes.len()).await
    }

    /// The server with this name.
    pub fn node(&mut self, name: &str) -> &mut NatsServer {
        let node = self.nodes.iter_mut().find(|node| node.place().name == name);
        node.unwrap_or_else(|| panic!("the cluster has no server {name}"))
    }

    /// Kills the server with this name (SIGKILL), most likely one that leads.
    pub fn kill(&mut self, name: &str) {
        self.node(name).kill();
    }

    /// Starts the server with this name again, with the streams that it had, and waits until the cluster is whole.
    pub async fn restart(&mut self, name: &str) {
        self.node(name).restart().await;
        self.wait_whole().await;
    }

    /// Kills the server that leads this stream. Gives its name.
    pub async fn kill_leader(&mut self, stream: &Stream) -> String {
        let leader = stream.leader().await;
        self.kill(&leader);
        leader
    }

    /// Kills the server that leads this consumer. Gives its name.
    pub async fn kill_consumer_leader(&mut self, stream: &Stream, consumer: &str) -> String {
        let leader = stream.consumer_leader(consumer).await;
        self.kill(&leader);
        leader
    }

    /// Waits until one of the servers leads all others, and they keep up with it.
    pub async fn wait_whole(&self) {
        let end = Instant::now() + 2 * PATIENCE;
        loop {
            let mut states = Vec::new();
            for node in &self.nodes {
                states.push(node.monitor("/jsz").await["meta_cluster"].take());
            }
            if states.iter().any(|state| leads_all(state, self.nodes.len())) {
                return;
            }
            assert!(Instant::now() < end, "the cluster is not whole after {:?}: {states:?}", 2 * PATIENCE);
            tokio::time::sleep(super::super::LOOK_EVERY).await;
        }
    }
}

/// Whether a server that says this about the cluster is its leader, and followed by all others of `servers`.
fn leads_all(state: &Value, servers: usize) -> bool {
    let followers = state["replicas"].as_array().map_or(&[][..], Vec::as_slice);
    let follow = |follower: &Value| follower["current"] == true && follower["offline"] != true;
    followers.len() == servers - 1 && followers.iter().all(follow)
}

impl NatsServer {
    fn place(&self) -> &Place {
        self.setup.cluster.as_ref().expect("it is in a cluster")
    }

    fn place_mut(&mut self) -> &mut Place {
        self.setup.cluster.as_mut().expect("it is in a cluster")
    }
}
