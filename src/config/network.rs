//! Networks: an address, or all addresses that begin alike.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde_json::json;

use super::describe::Shape;
use super::node::Node;
use super::walk::{Value, Walk};

/// Who stands at the other end of a connection: somebody of a network, or of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerNetwork {
    /// Whoever may open the unix socket.
    Unix,
    /// The addresses of this network.
    Network(IpNet),
}

impl Value for IpNet {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let text = String::read(node, walk)?;
        let shown = node.text().map(super::node::Text::shown).unwrap_or_default();
        let Some(network) = parse(&text) else {
            walk.wrong(
                &node.span,
                format!("{shown} is not a network"),
                "write an address or a network: \"192.0.2.7\", \"10.0.0.0/8\", \"2001:db8::/32\"",
            );
            return None;
        };
        if network.addr() != network.network() {
            let message = format!("{shown} is an address within a network, and not the network");
            let hint = format!("did you mean `{}`, or `{}`?", network.trunc(), network.addr());
            walk.wrong(&node.span, message, hint);
            return None;
        }
        Some(network)
    }

    fn shape() -> Shape {
        let text = "address or network (`\"192.0.2.7\"`, `\"10.0.0.0/8\"`)";
        Shape::new(text, json!({ "type": "string", "minLength": 2 }))
    }
}

impl Value for PeerNetwork {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.text() {
            Some(text) if text.value == "unix" => Some(Self::Unix),
            Some(_) | None => IpNet::read(node, walk).map(Self::Network),
        }
    }

    fn shape() -> Shape {
        let shape = IpNet::shape();
        Shape::new(format!("{}, or `\"unix\"`", shape.text), shape.schema)
    }
}

/// An address stands for itself; IPv4 written as IPv6 is IPv4.
fn parse(text: &str) -> Option<IpNet> {
    const MAPPED: u8 = 96;
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => text.parse::<IpNet>().ok()?,
    };
    let IpNet::V6(v6) = network else { return Some(network) };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED));
    match mapped {
        Some((address, length)) => Ipv4Net::new(address, length).ok().map(IpNet::V4),
        None => Some(network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_one_spelling() {
        for (text, network) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("::1", "::1/128"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), network, "{text}");
        }
        for text in ["", "10.0.0.0/33", "10/8", "10.0.0.0/", "localhost", "[::1]", "::1/129", "*"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
