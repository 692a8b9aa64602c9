//! What is between the daemon and the receiver: the loopback, or a pair of virtual network cards.
//!
//! Over the loopback a write runs the receiver's half of TCP, too, before it returns, and the sender pays for it. With a
//! network namespace of its own for the receiver, whose half runs on the receiver's processors, that is told apart.

use std::{fs::File, net::TcpListener, os::fd::AsFd as _, path::Path, process::Command, thread};

use rustix::thread::{CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_getaffinity};

/// Where a receiver listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Loopback,
    /// In a namespace of its own. Needs root.
    Veth,
}

/// A network namespace with one end of a pair of cards, which is there for as long as this is.
pub(crate) struct Namespace {
    name: String,
    /// The end of the pair that is not in it.
    near: String,
}

/// The addresses of the two ends: of a network that is kept for measurements (RFC 2544).
const OURS: &str = "198.18.231.1";
const THEIRS: &str = "198.18.231.2";

impl Link {
    /// A listener there, and the namespace where it has one of its own.
    pub(crate) fn listen(self) -> (TcpListener, Option<Namespace>) {
        match self {
            Self::Loopback => (listener("127.0.0.1"), None),
            Self::Veth => {
                let namespace = Namespace::new();
                (namespace.listen(), Some(namespace))
            }
        }
    }
}

fn listener(address: &str) -> TcpListener {
    TcpListener::bind((address, 0)).expect("the system has a free port")
}

impl Namespace {
    fn new() -> Self {
        let id = std::process::id();
        let namespace = Self { name: format!("broadcaster-{id}"), near: format!("bc{id}n") };
        let (Self { name, near }, far) = (&namespace, format!("bc{id}f"));
        ip(&format!("netns add {name}"));
        ip(&format!("link add {near} type veth peer name {far} netns {name}"));
        ip(&format!("address add {OURS}/30 dev {near}"));
        ip(&format!("link set {near} up"));
        ip(&format!("-n {name} address add {THEIRS}/30 dev {far}"));
        ip(&format!("-n {name} link set {far} up"));
        namespace.receive_on_our_processors(&far);
        namespace
    }

    /// What arrives at `card` is taken by the processors that this thread may use, and not by the one that sent it.
    fn receive_on_our_processors(&self, card: &str) {
        let set = sched_getaffinity(None).expect("the kernel tells the affinity");
        let mask = (0..CpuSet::MAX_CPU.min(32))
            .filter(|&cpu| set.is_set(cpu))
            .fold(0_u32, |mask, cpu| mask | 1 << cpu);
        let queue = format!("/sys/class/net/{card}/queues/rx-0/rps_cpus");
        let set = format!("echo {mask:x} > {queue}");
        let status = Command::new("ip").args(["netns", "exec", &self.name, "sh", "-c", &set]).status();
        assert!(status.is_ok_and(|status| status.success()), "the kernel takes the processors of {card}");
    }

    fn listen(&self) -> TcpListener {
        let file = File::open(Path::new("/run/netns").join(&self.name)).expect("the namespace is there");
        // A namespace is a thread's, and a socket stays in the one where it was made: so one thread moves, and ends.
        let listen = move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may move");
            listener(THEIRS)
        };
        thread::spawn(listen).join().expect("it listens")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The pair first: with the namespace it would go, too, but only some time later.
        ip(&format!("link delete {}", self.near));
        ip(&format!("netns delete {}", self.name));
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.is_ok_and(|status| status.success()), "ip {arguments}: needs iproute2, and root");
}
