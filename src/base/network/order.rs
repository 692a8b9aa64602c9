//! In which order the addresses of a host are tried: RFC 8305 section 4, and what earlier connections have shown.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::base::clock::Time;

/// How long an address that did not answer is tried last. After that one connection tries it first: it costs that one
/// a moment where the address still does not answer, and nobody else.
const SHUNNED: Duration = Duration::from_secs(60);
/// No more addresses are remembered. A name that leads to more than these has enough others.
const MOST: usize = 64;

/// The order for one host, which all routes and lanes share.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// How often it was asked for: which address comes first next.
    turn: usize,
    /// Addresses that did not answer, and until when they are tried last; those that were noted first come first.
    shunned: Vec<(SocketAddr, Time)>,
}

impl Order {
    /// `addresses` at `port`, each once. It begins with another one each time, so that connections spread over them.
    pub(super) fn next(&mut self, addresses: &[IpAddr], port: u16, now: Time) -> Vec<SocketAddr> {
        let is_known = |address: &SocketAddr| addresses.contains(&address.ip());
        let probe = self.shunned.iter().position(|(address, until)| *until <= now && is_known(address));
        let mut first = Vec::new();
        if let Some(index) = probe {
            let (address, _) = self.shunned.remove(index);
            // Until it has answered, the next connections don't try it.
            self.shunned.push((address, now + SHUNNED));
            first.push(address);
        }
        let all = addresses.iter().map(|address| SocketAddr::new(*address, port));
        let (last, good): (Vec<_>, Vec<_>) =
            all.filter(|address| !first.contains(address)).partition(|address| self.is_shunned(*address));
        first.extend(interleaved(&good, self.turn));
        first.extend(last);
        self.turn = self.turn.wrapping_add(1);
        first
    }

    fn is_shunned(&self, address: SocketAddr) -> bool {
        self.shunned.iter().any(|(shunned, _)| *shunned == address)
    }

    /// `address` did not answer, or not in time.
    pub(super) fn shun(&mut self, address: SocketAddr, now: Time) {
        self.forgive(address);
        if self.shunned.len() == MOST {
            self.shunned.remove(0);
        }
        self.shunned.push((address, now + SHUNNED));
    }

    /// `address` has answered.
    pub(super) fn forgive(&mut self, address: SocketAddr) {
        self.shunned.retain(|(shunned, _)| *shunned != address);
    }
}

/// The addresses in turns of IPv4 and IPv6, so that a network that has only one of the two costs one attempt. The
/// family that the system prefers, which comes first, begins; within a family, the address that is `turn` places on.
fn interleaved(addresses: &[SocketAddr], turn: usize) -> Vec<SocketAddr> {
    let Some(preferred) = addresses.first() else { return Vec::new() };
    let (mut one, mut other): (Vec<_>, Vec<_>) =
        addresses.iter().partition(|address| address.is_ipv4() == preferred.is_ipv4());
    for family in [&mut one, &mut other] {
        let places = turn % family.len().max(1);
        family.rotate_left(places);
    }
    let mut other = other.into_iter();
    let mut order: Vec<_> =
        one.into_iter().flat_map(|address| [Some(address), other.next()]).flatten().collect();
    order.extend(other);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 443;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn at(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), PORT)
    }

    fn order(order: &mut Order, addresses: &[IpAddr], second: u64) -> Vec<String> {
        let order = order.next(addresses, PORT, Time::from_start(Duration::from_secs(second)));
        order.into_iter().map(|address| address.ip().to_string()).collect()
    }

    #[test]
    fn families_take_turns_and_the_preferred_one_begins() {
        let mut memory = Order::default();
        let all = addresses(&["::1", "::2", "::3", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(order(&mut memory, &all, 0), ["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"]);
        assert_eq!(order(&mut memory, &all, 0), ["::2", "10.0.0.2", "::3", "10.0.0.1", "::1"]);
        let all = addresses(&["10.0.0.1", "::1", "::2"]);
        assert_eq!(order(&mut Order::default(), &all, 0), ["10.0.0.1", "::1", "::2"]);
    }

    #[test]
    fn connections_spread_over_all_addresses() {
        let mut memory = Order::default();
        let all = addresses(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        let firsts: Vec<_> = (0..4).map(|_| order(&mut memory, &all, 0).remove(0)).collect();
        assert_eq!(firsts, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"]);
    }

    #[test]
    fn what_did_not_answer_is_tried_last_until_one_connection_tries_it_again() {
        let mut memory = Order::default();
        let all = addresses(&["10.0.0.1", "10.0.0.2"]);
        memory.shun(at("10.0.0.1"), Time::START);
        for second in [0, 1, 59] {
            assert_eq!(order(&mut memory, &all, second), ["10.0.0.2", "10.0.0.1"], "at {second} s");
        }
        assert_eq!(order(&mut memory, &all, 60), ["10.0.0.1", "10.0.0.2"]);
        // It is not known yet what came of that one.
        for second in [60, 119] {
            assert_eq!(order(&mut memory, &all, second), ["10.0.0.2", "10.0.0.1"], "at {second} s");
        }
        memory.forgive(at("10.0.0.1"));
        let firsts: Vec<_> = (0..2).map(|_| order(&mut memory, &all, 61).remove(0)).collect();
        assert!(firsts.contains(&"10.0.0.1".to_owned()), "{firsts:?}");
    }

    #[test]
    fn where_none_answers_all_are_tried() {
        let mut memory = Order::default();
        let all = addresses(&["10.0.0.1", "10.0.0.2"]);
        memory.shun(at("10.0.0.2"), Time::START);
        memory.shun(at("10.0.0.1"), Time::START);
        assert_eq!(order(&mut memory, &all, 1).len(), 2);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut memory = Order::default();
        for port in 0..1_000 {
            memory.shun(SocketAddr::new("10.0.0.1".parse().unwrap(), port), Time::START);
        }
        assert_eq!(memory.shunned.len(), MOST);
    }
}
