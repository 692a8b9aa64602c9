//! Which addresses are not those of a host on the public internet: the special-purpose registries of IANA
//! (<https://www.iana.org/assignments/iana-ipv4-special-registry>, `iana-ipv6-special-registry`), multicast, what is
//! not assigned, and where clouds keep what is nobody's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(first: [u16; 4], length: u8) -> Ipv6Net {
    let [a, b, c, d] = first;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), length)
}

/// Of two that have an address, the first says what it is.
const OF_IPV4: [(Ipv4Net, &str); 19] = [
    (v4(169, 254, 169, 254, 32), "the metadata service of a cloud"),
    (v4(100, 100, 100, 200, 32), "the metadata service of a cloud"),
    (v4(168, 63, 129, 16, 32), "the platform of a cloud"),
    (v4(0, 0, 0, 0, 8), "of this host (RFC 791)"),
    (v4(10, 0, 0, 0, 8), "private (RFC 1918)"),
    (v4(100, 64, 0, 0, 10), "shared behind a provider's NAT (RFC 6598)"),
    (v4(127, 0, 0, 0, 8), "loopback (RFC 1122)"),
    (v4(169, 254, 0, 0, 16), "link-local (RFC 3927)"),
    (v4(172, 16, 0, 0, 12), "private (RFC 1918)"),
    (v4(192, 0, 0, 0, 24), "for protocols (RFC 6890)"),
    (v4(192, 0, 2, 0, 24), "for documentation (RFC 5737)"),
    (v4(192, 88, 99, 0, 24), "a relay of 6to4 (RFC 7526)"),
    (v4(192, 168, 0, 0, 16), "private (RFC 1918)"),
    (v4(198, 18, 0, 0, 15), "for benchmarks (RFC 2544)"),
    (v4(198, 51, 100, 0, 24), "for documentation (RFC 5737)"),
    (v4(203, 0, 113, 0, 24), "for documentation (RFC 5737)"),
    (v4(224, 0, 0, 0, 4), "multicast (RFC 5771)"),
    (v4(255, 255, 255, 255, 32), "broadcast (RFC 919)"),
    (v4(240, 0, 0, 0, 4), "reserved (RFC 1112)"),
];

/// As [`OF_IPV4`]. What is not among `2000::/3` is not assigned to hosts, but for the prefix of NAT64.
const OF_IPV6: [(Ipv6Net, &str); 18] = [
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "unspecified (RFC 4291)"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "loopback (RFC 4291)"),
    (v6([0, 0, 0, 0], 96), "compatible with IPv4 (RFC 4291)"),
    (v6([0x64, 0xff9b, 1, 0], 48), "of a local NAT64 (RFC 8215)"),
    (v6([0x100, 0, 0, 0], 64), "discarded (RFC 6666)"),
    (v6([0x2001, 0, 0, 0], 32), "of Teredo (RFC 4380)"),
    (v6([0x2001, 2, 0, 0], 48), "for benchmarks (RFC 5180)"),
    (v6([0x2001, 0, 0, 0], 23), "for protocols (RFC 2928)"),
    (v6([0x2001, 0xdb8, 0, 0], 32), "for documentation (RFC 3849)"),
    (v6([0x2002, 0, 0, 0], 16), "of 6to4 (RFC 3056)"),
    (v6([0x3fff, 0, 0, 0], 20), "for documentation (RFC 9637)"),
    (v6([0x5f00, 0, 0, 0], 16), "of segment routing (RFC 9602)"),
    (v6([0xfd00, 0xec2, 0, 0], 32), "the metadata service of a cloud"),
    (v6([0xfd20, 0xce, 0, 0], 32), "the metadata service of a cloud"),
    (v6([0xfc00, 0, 0, 0], 7), "unique local (RFC 4193)"),
    (v6([0xfe80, 0, 0, 0], 10), "link-local (RFC 4291)"),
    (v6([0xfec0, 0, 0, 0], 10), "site-local (RFC 3879)"),
    (v6([0xff00, 0, 0, 0], 8), "multicast (RFC 4291)"),
];

/// The addresses of hosts (RFC 4291, section 2.4).
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0], 3);
/// By which a network without IPv4 reaches what has nothing else (RFC 6052). What counts is where that leads.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0], 96);

/// What `address` is kept for; none where it is that of a host on the public internet.
pub fn purpose(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => match within(address) {
            Some(within) => of_v4(within),
            None => of_v6(address),
        },
    }
}

/// The IPv4 address that `address` leads to, where it is a way to write one (`::ffff:10.0.0.1`) or that of a NAT64 before
/// it. Of other ways to wrap one (6to4, Teredo) every address is special.
pub fn within(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = address.octets();
    address.to_ipv4_mapped().or_else(|| NAT64.contains(&address).then(|| Ipv4Addr::new(a, b, c, d)))
}

fn of_v4(address: Ipv4Addr) -> Option<&'static str> {
    OF_IPV4.iter().find(|(network, _)| network.contains(&address)).map(|(_, what)| *what)
}

fn of_v6(address: Ipv6Addr) -> Option<&'static str> {
    let known = OF_IPV6.iter().find(|(network, _)| network.contains(&address)).map(|(_, what)| *what);
    known.or_else(|| (!GLOBAL_UNICAST.contains(&address)).then_some("not assigned to hosts (RFC 4291)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn special(text: &str) -> Option<&'static str> {
        purpose(text.parse().unwrap())
    }

    /// The registries as of today: first and last address of each entry that is not globally reachable.
    #[test]
    fn the_registries_are_known_to_the_last_address() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "239.255.255.255"),
            ("240.0.0.0", "255.255.255.255"),
            ("::", "::1"),
            ("::10.0.0.1", "::ffff:ffff"),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
            ("100::", "100::ffff:ffff:ffff:ffff"),
            ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff"),
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert!(special(first).is_some() && special(last).is_some(), "{first} to {last}");
        }
    }

    #[test]
    fn what_is_beside_their_entries_is_public() {
        for public in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.31.196.1",
            "192.52.193.1",
            "192.167.255.255",
            "192.175.48.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700:4700::1111",
            "2620:4f:8000::1",
            "64:ff9b::8.8.8.8",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(special(public), None, "{public}");
        }
    }

    #[test]
    fn clouds_are_known_by_what_they_keep_there() {
        for text in
            ["169.254.169.254", "::ffff:169.254.169.254", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254"]
        {
            assert_eq!(special(text), Some("the metadata service of a cloud"), "{text}");
        }
        assert_eq!(special("168.63.129.16"), Some("the platform of a cloud"));
    }

    /// A sequence of numbers without a pattern (Marsaglia's xorshift).
    fn numbers() -> impl Iterator<Item = u32> {
        std::iter::successors(Some(0x2545_f491_u32), |last| {
            let mut next = last ^ (last << 13);
            next ^= next >> 17;
            Some(next ^ (next << 5))
        })
    }

    #[test]
    fn whatever_wraps_a_special_address_is_special() {
        let hosts = numbers().take(100_000).map(Ipv4Addr::from);
        let edges = OF_IPV4.iter().flat_map(|(network, _)| [network.network(), network.broadcast()]);
        let mut refused = 0;
        for v4 in hosts.chain(edges) {
            let [a, b] = [
                u16::from_be_bytes([v4.octets()[0], v4.octets()[1]]),
                u16::from_be_bytes([v4.octets()[2], v4.octets()[3]]),
            ];
            let wraps = [
                v4.to_ipv6_mapped(),
                v4.to_ipv6_compatible(),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, a, b),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, a, b),
                Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, a, b, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0x4136, 0xe378, 0x8000, 0xffff, !a, !b),
                Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x5efe, a, b),
            ];
            let is_special = of_v4(v4).is_some();
            refused += u32::from(is_special);
            for wrap in wraps {
                assert!(!is_special || purpose(wrap.into()).is_some(), "{wrap} leads to {v4}");
            }
            assert_eq!(purpose(v4.to_ipv6_mapped().into()), of_v4(v4), "{v4}");
        }
        assert!(refused > 10_000, "{refused}");
    }
}
