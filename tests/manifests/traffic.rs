//! Who reaches whom: the NetworkPolicies, evaluated as a network plugin does it.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::build;
use crate::object::{Pod, list, text};
use crate::overlay::{Findings, Overlay, broken, none};
use crate::selectors::{port_number, selects};

/// One end of a connection.
#[derive(Clone, Copy)]
enum Peer<'a> {
    /// The pods that this workload makes.
    Of(&'a str),
    /// Some pod of another namespace, by the name of that.
    Namespace(&'a str),
    /// Something that is no pod.
    Address(&'a str),
}

use Peer::{Address, Namespace, Of};

impl Peer<'_> {
    fn pod<'a>(&self, overlay: &'a Overlay) -> Option<Pod<'a>> {
        let Of(id) = self else { return None };
        overlay.find(id).and_then(crate::object::Object::pod)
    }

    fn name(&self) -> String {
        let (Of(name) | Namespace(name) | Address(name)) = self;
        (*name).to_owned()
    }

    /// Whether an entry of `from` or `to` means this peer.
    fn is_meant(&self, overlay: &Overlay, entry: &Value) -> bool {
        let block = &entry["ipBlock"];
        if !block.is_null() {
            let Address(address) = self else { return false };
            let except = list(&block["except"]);
            return within(address, text(&block["cidr"]))
                && !except.iter().any(|part| within(address, text(part)));
        }
        let nothing = json!({});
        let (namespace, labels) = match self {
            Address(_) => return false,
            Namespace(name) => (Some(*name), &nothing),
            Of(_) => {
                let labels = self.pod(overlay).map_or(&Value::Null, |pod| pod.labels());
                (overlay.of_kind("Namespace").map(|object| object.name()).next(), labels)
            }
        };
        let of_namespace = json!({ "kubernetes.io/metadata.name": namespace });
        let namespace_fits = match &entry["namespaceSelector"] {
            Value::Null => matches!(self, Of(_)),
            selector => selects(selector, &of_namespace),
        };
        let pod_fits = entry["podSelector"].is_null() || selects(&entry["podSelector"], labels);
        namespace_fits && pod_fits
    }
}

/// Whether an address is in a block of addresses.
fn within(address: &str, block: &str) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let (network, length) = block.split_once('/').expect("a block has a length");
    let length: u32 = length.parse().expect("a length is a number");
    let (address, size) = bits(address.parse().expect("it is an address"));
    let (network, network_size) = bits(network.parse().expect("a block begins with an address"));
    size == network_size && (length == 0 || (address ^ network) >> (128 - length) == 0)
}

/// Whether the policies that select this pod let something pass: `direction` is "Ingress" or "Egress", `other` the far end.
fn passes(
    overlay: &Overlay,
    pod: &Pod<'_>,
    direction: &str,
    other: Peer<'_>,
    to: Option<&Pod<'_>>,
    port: Port,
) -> bool {
    let (rules, peers) = if direction == "Ingress" { ("ingress", "from") } else { ("egress", "to") };
    let policies: Vec<_> = overlay
        .of_kind("NetworkPolicy")
        .filter(|policy| selects(policy.get("spec.podSelector"), pod.labels()))
        .filter(|policy| policy.list("spec.policyTypes").iter().any(|kind| kind == direction))
        .collect();
    let lets_pass = |rule: &Value| {
        let (peers, ports) = (list(&rule[peers]), list(&rule["ports"]));
        (peers.is_empty() || peers.iter().any(|peer| other.is_meant(overlay, peer)))
            && (ports.is_empty() || ports.iter().any(|known| port.is_meant(known, to)))
    };
    policies.is_empty()
        || policies.iter().any(|policy| policy.list(&format!("spec.{rules}")).iter().any(lets_pass))
}

/// A port, with its protocol.
#[derive(Clone, Copy)]
struct Port(&'static str, u64);

impl Port {
    fn is_meant(self, known: &Value, to: Option<&Pod<'_>>) -> bool {
        let protocol = known["protocol"].as_str().unwrap_or("TCP");
        let port = &known["port"];
        let number = port.as_u64().or_else(|| to.and_then(|pod| port_number(pod, port)));
        let last = known["endPort"].as_u64().or(number);
        let open = port.is_null() || (number <= Some(self.1) && Some(self.1) <= last && number.is_some());
        protocol == self.0 && open
    }
}

/// Whether a connection can be made.
fn reaches(overlay: &Overlay, from: Peer<'_>, to: Peer<'_>, port: Port) -> bool {
    let (sender, receiver) = (from.pod(overlay), to.pod(overlay));
    let leaves = sender.is_none_or(|pod| passes(overlay, &pod, "Egress", to, receiver.as_ref(), port));
    let enters =
        receiver.as_ref().is_none_or(|pod| passes(overlay, pod, "Ingress", from, receiver.as_ref(), port));
    leaves && enters
}

const BROADCASTER: Peer<'static> = Of("Deployment/broadcaster");
const NATS: Peer<'static> = Of("StatefulSet/nats");
const RECEIVER: Peer<'static> = Address("203.0.113.7");

const fn tcp(number: u64) -> Port {
    Port("TCP", number)
}

/// The connections that have to be possible, and those that must not be.
fn flows(overlay: &Overlay) -> Vec<(Peer<'static>, Peer<'static>, Port, bool)> {
    let prometheus = [Namespace("monitoring"), Namespace("kube-system")];
    let mut flows = vec![
        (BROADCASTER, NATS, tcp(4222), true),
        (BROADCASTER, NATS, tcp(6222), false),
        (BROADCASTER, Namespace("kube-system"), Port("UDP", 53), true),
        (BROADCASTER, Namespace("kube-system"), tcp(53), true),
        (BROADCASTER, Namespace("openshift-dns"), Port("UDP", 5353), true),
        (BROADCASTER, Namespace("openshift-dns"), tcp(5353), true),
        (BROADCASTER, Address("169.254.20.10"), Port("UDP", 53), true), // a cache on the node
        (BROADCASTER, RECEIVER, tcp(443), true),
        (BROADCASTER, RECEIVER, tcp(80), true),
        (BROADCASTER, Address("2001:db8::7"), tcp(443), true),
        (BROADCASTER, RECEIVER, tcp(22), false),
        (BROADCASTER, Address("169.254.169.254"), tcp(80), false), // credentials of the cloud
        (Namespace("ingress-nginx"), BROADCASTER, tcp(8002), true),
        (RECEIVER, BROADCASTER, tcp(8002), true), // load balancers of clouds
        (RECEIVER, BROADCASTER, tcp(7777), false),
        (NATS, NATS, tcp(6222), true),
        (NATS, RECEIVER, tcp(443), true),
        (RECEIVER, NATS, tcp(4222), false),
        (RECEIVER, NATS, tcp(8222), false),
        (Namespace("other"), NATS, tcp(4222), false),
        (Namespace("other"), NATS, tcp(6222), false),
    ];
    for from in prometheus {
        flows.extend([(from, BROADCASTER, tcp(7777), true), (from, NATS, tcp(7777), true)]);
    }
    match overlay.base() {
        "development" => {
            flows.push((BROADCASTER, Of("Deployment/echo"), tcp(8080), true));
            flows.push((Of("Deployment/todo-publisher"), NATS, tcp(4222), true));
        }
        "staging" | "production" => flows.push((Of("Job/nats-streams"), NATS, tcp(4222), true)),
        "production-durable" => flows.push((Namespace("keda"), NATS, tcp(8222), true)),
        _ => {}
    }
    flows
}

/// The flows, and every port that a pod has and nobody reaches.
pub(crate) fn check(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for (from, to, port, wanted) in flows(overlay) {
        if reaches(overlay, from, to, port) != wanted {
            let verb = if wanted { "does not reach" } else { "reaches" };
            let line = format!("{} {verb} {} on {}/{}", from.name(), to.name(), port.0, port.1);
            findings.push(format!("{}: NetworkPolicy: {line}", overlay.name));
        }
    }
    let strangers = [BROADCASTER, NATS, Namespace("monitoring"), Namespace("keda"), RECEIVER];
    for pod in overlay.pods() {
        let owner = pod.owner.id();
        for (path, container) in pod.containers() {
            for port in list(&container["ports"]) {
                let number = tcp(port["containerPort"].as_u64().unwrap_or_default());
                if !strangers.iter().any(|from| reaches(overlay, *from, Of(&owner), number)) {
                    let path = format!("{path}.ports[{}]", text(&port["name"]));
                    findings.push(overlay.finding(pod.owner, &path, "nobody reaches it"));
                }
            }
        }
    }
    findings
}

#[test]
fn everybody_reaches_whom_they_have_to_and_nobody_else() {
    let runs = build::overlays().iter().filter(|overlay| overlay.find("Deployment/broadcaster").is_some());
    none(&runs.flat_map(check).collect());
}

#[test]
fn a_way_that_is_closed_or_open_is_found() {
    let broadcaster = "NetworkPolicy/broadcaster";
    let cases = [
        (
            broadcaster,
            "spec.egress[1].ports[0].port",
            json!(4223),
            "Deployment/broadcaster does not reach StatefulSet/nats on TCP/4222",
        ),
        (
            broadcaster,
            "spec.egress[2].to[0].ipBlock.except",
            json!([]),
            "Deployment/broadcaster reaches 169.254.169.254 on TCP/80",
        ),
        (
            broadcaster,
            "spec.egress[0].ports[0].protocol",
            json!("SCTP"),
            "Deployment/broadcaster does not reach kube-system on UDP/53\n\
             Deployment/broadcaster does not reach 169.254.20.10 on UDP/53",
        ),
        (
            broadcaster,
            "spec.ingress[1].from",
            json!([]),
            "203.0.113.7 reaches Deployment/broadcaster on TCP/7777",
        ),
        (
            "NetworkPolicy/nats",
            "spec.ingress[1].ports[0].port",
            json!(6223),
            "StatefulSet/nats does not reach StatefulSet/nats on TCP/6222",
        ),
    ];
    for (id, path, wrong, what) in cases {
        let mut overlay = build::overlay("production").clone();
        none(&check(&overlay));
        overlay.object_mut(id).set(path, wrong);
        let findings = check(&overlay);
        for line in what.lines() {
            assert!(findings.contains(&format!("production: NetworkPolicy: {line}")), "{path}: {findings:?}");
        }
    }
    let damage = |overlay: &mut Overlay| overlay.objects.retain(|object| object.name() != "nats-keda");
    let expected = "NetworkPolicy: keda does not reach StatefulSet/nats on TCP/8222";
    broken(build::overlay("production-durable"), damage, check, expected);
}
