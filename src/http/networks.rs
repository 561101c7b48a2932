//! Sets of addresses: whose word counts, and who may come in.
//!
//! Owns one question, asked on the request path: is this peer one of them? An IPv4 address that a
//! dual-stack socket or a proxy spells as `::ffff:192.0.2.1` is the IPv4 address, on both sides of
//! the question: otherwise a rule about the one spelling could be stepped around with the other.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Networks, and whether unix sockets count as one of them. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Networks {
    /// Sorted and disjoint, so that at most one can hold an address.
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
    unix: bool,
}

impl Networks {
    /// These networks, and with `unix` the peers of unix sockets.
    pub fn new(networks: impl IntoIterator<Item = IpNet>, unix: bool) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match canonical(network) {
                IpNet::V4(network) => v4.push(network),
                IpNet::V6(network) => v6.push(network),
            }
        }
        let mut v4 = Ipv4Net::aggregate(&v4);
        let mut v6 = Ipv6Net::aggregate(&v6);
        v4.sort_unstable();
        v6.sort_unstable();
        Self { v4, v6, unix }
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty() && !self.unix
    }

    /// Whether the address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let at = self.v4.partition_point(|network| network.network() <= address);
                let below = at.checked_sub(1).and_then(|at| self.v4.get(at));
                below.is_some_and(|network| network.contains(&address))
            }
            IpAddr::V6(address) => {
                let at = self.v6.partition_point(|network| network.network() <= address);
                let below = at.checked_sub(1).and_then(|at| self.v6.get(at));
                below.is_some_and(|network| network.contains(&address))
            }
        }
    }

    /// As [`Self::contains`], for the other end of a connection: a unix socket has no address.
    pub fn contains_peer(&self, peer: Option<IpAddr>) -> bool {
        peer.map_or(self.unix, |address| self.contains(address))
    }
}

/// IPv4 networks written as IPv6 ones mean the addresses that they are written for.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= MAPPED => match v6.network().to_ipv4_mapped() {
            Some(address) => {
                Ipv4Net::new(address, v6.prefix_len() - MAPPED).map_or(network, IpNet::V4)
            }
            None => network,
        },
        IpNet::V4(_) | IpNet::V6(_) => network,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks::new(texts.iter().map(|text| text.parse::<IpNet>().unwrap()), false)
    }

    fn holds(networks: &Networks, address: &str) -> bool {
        networks.contains(address.parse().unwrap())
    }

    #[test]
    fn an_address_is_in_it_however_it_is_spelled() {
        let inside = networks(&["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "::1/128"]);
        for address in
            ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3", "192.0.2.7", "2001:db8::9", "::1"]
        {
            assert!(holds(&inside, address), "{address}");
        }
        for address in
            ["9.255.255.255", "11.0.0.0", "192.0.2.6", "::ffff:11.0.0.1", "2001:db9::", "::"]
        {
            assert!(!holds(&inside, address), "{address}");
        }
        let mapped = networks(&["::ffff:10.0.0.0/104"]);
        assert!(holds(&mapped, "10.9.9.9") && holds(&mapped, "::ffff:10.9.9.9"));
        assert!(!holds(&mapped, "11.0.0.1"));
        let everything = networks(&["0.0.0.0/0", "::/0"]);
        assert!(holds(&everything, "255.255.255.255") && holds(&everything, "fe80::1"));
    }

    #[test]
    fn a_unix_socket_is_in_it_only_if_it_says_so() {
        assert!(Networks::default().is_empty());
        assert!(!Networks::default().contains_peer(None));
        let unix = Networks::new([], true);
        assert!(unix.contains_peer(None) && !unix.is_empty());
        assert!(!unix.contains_peer(Some("127.0.0.1".parse().unwrap())));
        assert!(!networks(&["0.0.0.0/0"]).contains_peer(None));
    }

    proptest! {
        #[test]
        fn it_agrees_with_asking_every_network(
            list in prop::collection::vec((any::<u32>(), 0_u8..=32), 0..20),
            address in any::<u32>(),
        ) {
            let list: Vec<_> =
                list.iter().map(|(a, n)| Ipv4Net::new((*a).into(), *n).unwrap().trunc()).collect();
            let address = std::net::Ipv4Addr::from(address);
            let asked = list.iter().any(|network| network.contains(&address));
            let set = Networks::new(list.into_iter().map(IpNet::V4), false);
            prop_assert_eq!(set.contains(IpAddr::V4(address)), asked);
        }
    }
}
