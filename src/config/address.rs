//! Addresses: where a listener binds, and where an upstream's endpoint is reached.

use std::path::PathBuf;

use serde_json::json;

use super::describe::Shape;
use super::node::Node;
use super::walk::{Value, Walk};

/// Where to bind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP port.
    Tcp {
        /// The host without brackets; without one, every address of the machine.
        host: Option<String>,
        /// The port.
        port: u16,
    },
    /// A unix socket; an absolute path.
    Unix(PathBuf),
}

/// Where an application server is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Plain HTTP over TCP.
    Http {
        /// A name, or an address without brackets.
        host: String,
        /// The port, 80 if none was written.
        port: u16,
    },
    /// HTTP/2 over TCP, without asking whether it is understood.
    H2c {
        /// A name, or an address without brackets.
        host: String,
        /// The port, 80 if none was written.
        port: u16,
    },
    /// HTTP over TLS.
    Https {
        /// A name, or an address without brackets.
        host: String,
        /// The port, 443 if none was written.
        port: u16,
    },
    /// Plain HTTP over TCP, at every address that a name has.
    Dns {
        /// The name.
        host: String,
        /// The port, 80 if none was written.
        port: u16,
    },
    /// Plain HTTP over a unix socket; an absolute path.
    Unix(PathBuf),
}

/// A route's `upstream`: a name, or an endpoint in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamRef {
    /// The name of an `[upstream.*]` table.
    Name(String),
    /// An upstream of this one endpoint, all else default.
    Url {
        /// As written: the upstream's name in logs and metrics.
        text: String,
        /// Parsed.
        endpoint: Endpoint,
    },
}

const ADDRESS_HINT: &str = "write \"host:port\", \":port\" or \"unix:/path/of.sock\"";
const ENDPOINT_HINT: &str = "write \"http://host:port\", \"https://host:port\", \"h2c://host:port\", \"dns://name:port\" or \"unix:/path/of.sock\"";

impl Value for Address {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let text = text_of(node, walk, "an address")?;
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(node, walk, path).map(Self::Unix);
        }
        let parsed = match text.strip_prefix(':') {
            Some(port) => port_of(port).map(|port| Self::Tcp { host: None, port }),
            None => host_and_port(text)
                .and_then(|(host, port)| Some(Self::Tcp { host: Some(host), port: port? })),
        };
        refuse(node, walk, parsed, "an address to bind", ADDRESS_HINT)
    }

    fn shape() -> Shape {
        let text = "address (`\":8080\"`, `\"127.0.0.1:8080\"`, `\"unix:/run/app.sock\"`)";
        Shape::new(text, json!({ "type": "string", "pattern": "^unix:.|:[0-9]+$|\\$\\{" }))
    }
}

impl Value for Endpoint {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let text = text_of(node, walk, "an endpoint")?;
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(node, walk, path).map(Self::Unix);
        }
        let endpoint = endpoint(text);
        if let Some(Self::Dns { host, .. }) = &endpoint
            && (host.parse::<std::net::IpAddr>().is_ok() || host.contains(':'))
        {
            let hint = format!("write \"http://{}\"", text.strip_prefix("dns://").unwrap_or(text));
            walk.wrong(&node.span, "`dns://` is for names: this is an address already", &hint);
            return None;
        }
        refuse(node, walk, endpoint, "an endpoint", ENDPOINT_HINT)
    }

    fn shape() -> Shape {
        let text = "endpoint (`\"http://127.0.0.1:8000\"`, `\"unix:/run/app.sock\"`)";
        Shape::new(
            text,
            json!({ "type": "string", "pattern": "^unix:.|^https?://.|^h2c://.|^dns://.|\\$\\{" }),
        )
    }
}

impl Value for UpstreamRef {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let text = text_of(node, walk, "the name of an upstream, or an endpoint")?;
        if text.contains("://") || text.starts_with("unix:") {
            let text = text.to_owned();
            return Endpoint::read(node, walk).map(|endpoint| Self::Url { text, endpoint });
        }
        Some(Self::Name(text.to_owned()))
    }

    fn shape() -> Shape {
        let text = "name of an upstream, or an endpoint";
        Shape::new(text, json!({ "type": "string", "minLength": 1 }))
    }
}

fn text_of<'n>(node: &'n Node, walk: &mut Walk<'_>, what: &str) -> Option<&'n str> {
    if node.text().is_none() {
        walk.expected(node, what);
    }
    node.text().map(|text| text.value.as_str())
}

fn refuse<T>(
    node: &Node,
    walk: &mut Walk<'_>,
    parsed: Option<T>,
    what: &str,
    hint: &str,
) -> Option<T> {
    if let (None, Some(text)) = (&parsed, node.text()) {
        walk.wrong(&node.span, format!("{} is not {what}", text.shown()), hint);
    }
    parsed
}

fn unix(node: &Node, walk: &mut Walk<'_>, path: &str) -> Option<PathBuf> {
    // The kernel's limit for a socket's path; longer ones fail at bind with a message that does
    // not say so.
    const SUN_PATH: usize = 107;
    if path.is_empty() {
        walk.wrong(&node.span, "`unix:` without a path", "write \"unix:/path/of.sock\"");
        return None;
    }
    let path = walk.resolve(path);
    if path.as_os_str().len() > SUN_PATH {
        walk.wrong(
            &node.span,
            "the path of a unix socket is too long",
            "at most 107 bytes, with its folder",
        );
        return None;
    }
    Some(path)
}

/// `host`, `host:port` or `[v6]:port`; names are lower-cased, brackets removed.
pub(super) fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']')?;
        let address: std::net::Ipv6Addr = inside.parse().ok()?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port_of(port)?),
            None if after.is_empty() => None,
            None => return None,
        };
        return Some((address.to_string(), port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port_of(port)?)),
        None => (text, None),
    };
    is_host(host).then(|| (host.to_ascii_lowercase(), port))
}

/// An endpoint that is reached over TCP.
fn endpoint(text: &str) -> Option<Endpoint> {
    let (scheme, rest) = text.split_once("://")?;
    let (host, port) = host_and_port(rest.strip_suffix('/').unwrap_or(rest))?;
    match scheme {
        "http" => Some(Endpoint::Http { host, port: port.unwrap_or(80) }),
        "h2c" => Some(Endpoint::H2c { host, port: port.unwrap_or(80) }),
        "dns" => Some(Endpoint::Dns { host, port: port.unwrap_or(80) }),
        "https" => Some(Endpoint::Https { host, port: port.unwrap_or(443) }),
        _ => None,
    }
}

fn port_of(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A name of letters, digits, `-`, `_` and single dots, or an IPv4 address.
fn is_host(host: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.chars().all(good);
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_taken_apart() {
        let host = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(host_and_port("127.0.0.1:80"), host("127.0.0.1", Some(80)));
        assert_eq!(host_and_port("[::1]:80"), host("::1", Some(80)));
        assert_eq!(host_and_port("Web_1.Example"), host("web_1.example", None));
        for text in [
            "", ":80", "a:b", "a:+1", "a:", "a:99999", "::1", "[::1", "[x]:1", "u@h:1", "a/b",
            "a b", "a..b",
        ] {
            assert_eq!(host_and_port(text), None, "{text}");
        }
    }
}
