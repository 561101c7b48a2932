//! Rules that span keys and tables.
//!
//! Each rule reports all it finds and none stops another. Where a table could not be read whole,
//! nothing in it is called missing: the real mistake has been told already.

use std::collections::BTreeMap;
use std::ops::Range;

use super::nearest::nearest;
use super::node::{Node, NodeKind};
use super::walk::Walk;
use super::{
    Address, ClientAuth, ClientAuthMode, Config, Diagnostic, Listener, PeerNetwork, Protocol,
    Server, Spanned,
};

mod issuer;
mod route;
mod sense;
mod shape;
mod static_files;
mod upstream;

pub(super) use sense::routes_written;

/// Checks what no single value shows.
pub(super) fn rules(config: &Config, document: &Node, walk: &mut Walk<'_>) {
    let names = Names::of(document);
    listeners(&config.listeners, &names, walk);
    for one in &config.issuers {
        issuer::rules(one, walk);
    }
    for one in &config.upstreams {
        upstream::rules(one, &config.issuers, walk);
    }
    route::rules(config, &names, walk);
    server(config, walk);
    addresses(config, walk);
    sense::rules(config, document, walk);
}

/// The names that tables have in the file, whether or not the tables could be read.
struct Names<'n> {
    issuers: Vec<&'n str>,
    listeners: Vec<&'n str>,
    upstreams: Vec<&'n str>,
}

impl<'n> Names<'n> {
    fn of(document: &'n Node) -> Self {
        Self {
            issuers: names(document, "issuer"),
            listeners: names(document, "listener"),
            upstreams: names(document, "upstream"),
        }
    }
}

fn names<'n>(document: &'n Node, key: &str) -> Vec<&'n str> {
    let NodeKind::Table(entries) = &document.kind else {
        return Vec::new();
    };
    let table = entries.iter().find(|entry| entry.key.value == key).map(|entry| &entry.node.kind);
    let Some(NodeKind::Table(named)) = table else {
        return Vec::new();
    };
    named.iter().map(|entry| entry.key.as_str()).collect()
}

/// Reports a name that no table has.
fn known(
    name: &Spanned<String>,
    kind: &str,
    names: &[&str],
    path: &str,
    walk: &mut Walk<'_>,
) -> bool {
    if names.contains(&name.as_str()) {
        return true;
    }
    let message = format!("there is no {kind} {}", walk.shown(name));
    let hint = match (nearest(name, names.iter().copied()), names) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => format!("add a table `[{kind}.NAME]`"),
        (None, names) => format!("there are: {}", names.join(", ")),
    };
    report(walk, &name.span, path, message, &hint);
    false
}

fn report(
    walk: &mut Walk<'_>,
    span: &Range<usize>,
    path: &str,
    message: impl Into<String>,
    hint: &str,
) {
    walk.report(Diagnostic::error(span.clone(), message).path(path).hint(hint));
}

fn listeners(listeners: &[Listener], names: &Names<'_>, walk: &mut Walk<'_>) {
    if names.listeners.is_empty() {
        let problem = Diagnostic::of_file("there is no `[listener.NAME]`");
        walk.report(problem.path("listener").hint("add one, with its `address`"));
    }
    for listener in listeners {
        let path = format!("listener.{}", listener.name.value);
        if let Some(target) = &listener.redirect_to
            && known(target, "listener", &names.listeners, &format!("{path}.redirect_to"), walk)
        {
            redirect(listener, target, listeners, walk);
        }
        if let Some(auth) = listener.tls.as_ref().and_then(|tls| tls.client_auth.as_ref()) {
            client_auth(auth, &format!("{path}.tls.client_auth"), walk);
        }
        peers(listener, &format!("{path}.proxy_protocol"), walk);
        let plain = listener.tls.is_none() && !walk.is_incomplete(&listener.span);
        if let Some(protocols) = &listener.protocols
            && plain
            && protocols.contains(&Protocol::H2)
        {
            let hint = "add `[listener.NAME.tls]`, or leave `protocols` out";
            report(walk, &protocols.span, &format!("{path}.protocols"), "h2 needs TLS", hint);
        }
    }
}

fn client_auth(auth: &ClientAuth, path: &str, walk: &mut Walk<'_>) {
    if walk.is_incomplete(&auth.span) {
        return;
    }
    match &auth.mode {
        None => {
            let message = "`client_auth` without `mode` asks nobody for a certificate";
            let hint = "write `mode = \"require\"`, \"request\" or \"off\"";
            report(walk, &auth.span, path, message, hint);
        }
        Some(mode) if mode.value != ClientAuthMode::Off && auth.ca.is_none() => {
            let message = "no `ca` says whose certificates are good";
            let hint = "name the PEM file of the authority that signs your clients";
            report(walk, &mode.span, path, message, hint);
        }
        Some(_) => {}
    }
}

/// A unix socket has no addresses, and a port no processes.
fn peers(listener: &Listener, path: &str, walk: &mut Walk<'_>) {
    let is_unix = matches!(listener.address.value, Address::Unix(_));
    for peer in &listener.proxy_protocol {
        match (peer.value, is_unix) {
            (PeerNetwork::Network(_), true) => {
                let message = "nobody has an address at the other end of a unix socket";
                report(walk, &peer.span, path, message, "write \"unix\"");
            }
            (PeerNetwork::Unix, false) => {
                let message = "the listener is no unix socket";
                report(walk, &peer.span, path, message, "name the networks of your proxies");
            }
            (PeerNetwork::Network(_), false) | (PeerNetwork::Unix, true) => {}
        }
    }
}

fn redirect(
    from: &Listener,
    target: &Spanned<String>,
    listeners: &[Listener],
    walk: &mut Walk<'_>,
) {
    let path = format!("listener.{}.redirect_to", from.name.value);
    let onward = listeners.iter().find(|one| one.name.value == target.value);
    if target.value == from.name.value {
        report(
            walk,
            &target.span,
            &path,
            "a listener cannot redirect to itself",
            "name another one",
        );
    } else if onward.is_some_and(|one| one.redirect_to.is_some()) {
        let message = format!("listener {} redirects too", walk.shown(target));
        report(walk, &target.span, &path, message, "name the listener at the end");
    } else if let Some(Address::Unix(_)) =
        onward.filter(|one| one.public_port.is_none()).map(|one| &one.address.value)
    {
        let message = format!(
            "listener {} is a unix socket, to which no client can be sent",
            walk.shown(target)
        );
        report(walk, &target.span, &path, message, "give it a `public_port`");
    }
}

fn server(config: &Config, walk: &mut Walk<'_>) {
    let server: &Server = &config.server;
    let headers = &server.max_headers;
    if headers.line > headers.size {
        let message = "`line` is larger than `size`, the limit of all lines together";
        report(walk, &headers.span, "server.max_headers", message, "raise `size`, or lower `line`");
    }
    request_id(config, walk);
    assertion(config, walk);
    for name in &server.allow_headers {
        if header_name(name, "server.allow_headers", walk) && !name.contains('_') {
            let message = format!("{} has no `_`", walk.shown(name));
            let hint = "only names with `_` are dropped; others pass anyway";
            report(walk, &name.span, "server.allow_headers", message, hint);
        }
    }
}

/// Beside the identity headers, under a name of its own.
fn assertion(config: &Config, walk: &mut Walk<'_>) {
    let Some(assertion) = &config.server.assertion else { return };
    let (name, path) = (&assertion.header, "server.assertion.header");
    if !header_name(name, path, walk) {
        return;
    }
    let same = folded(name);
    let identity = config.issuers.iter().flat_map(|issuer| issuer.identity_headers.iter());
    let taken = same == folded(&config.server.request_id)
        || identity.into_iter().any(|(header, _)| folded(header) == same);
    // The gateway's own names begin so, and clients' copies of them are deleted.
    if taken || is_reserved(&same) && same != "x-portcullis-assertion" {
        let message = format!("{} cannot carry the assertion", walk.shown(name));
        let hint = "choose a name of its own: \"X-Portcullis-Assertion\"";
        report(walk, &name.span, path, message, hint);
    }
}

/// The id is set on requests and responses alike: in place of another header it would break both.
fn request_id(config: &Config, walk: &mut Walk<'_>) {
    let (name, path) = (&config.server.request_id, "server.request_id");
    if !header_name(name, path, walk) {
        return;
    }
    let same = folded(name);
    let identity = config.issuers.iter().flat_map(|issuer| issuer.identity_headers.iter());
    if is_reserved(&same) {
        let message = format!("{} cannot carry the request's id", walk.shown(name));
        report(walk, &name.span, path, message, "choose a name of your own: \"X-Request-Id\"");
    } else if identity.into_iter().any(|(header, _)| folded(header) == same) {
        let message = format!("{} carries a claim already", walk.shown(name));
        report(walk, &name.span, path, message, "one header for the id, others for claims");
    }
}

/// As applications read a header's name: `-` and `_`, small and capital letters are the same.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Whether a (folded) header frames the message, names its host, its way or its sender, or carries
/// its credentials: a value of our own there would be taken for what it is not.
fn is_reserved(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "authorization",
        "connection",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "location",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-real-ip",
    ];
    NAMES.contains(&name)
        || ["content-", "proxy-", "x-forwarded-"].iter().any(|family| name.starts_with(family))
}

/// Whether a header of a client's is deleted before anything looks at it: Portcullis sets it, or
/// applications could take it for one that Portcullis sets.
fn is_unseen(name: &str, config: &Config) -> bool {
    let server = &config.server;
    let same = folded(name);
    let identity = config.issuers.iter().flat_map(|issuer| issuer.identity_headers.iter());
    let assertion = server.assertion.iter().map(|assertion| &assertion.header);
    let own = identity.map(|(header, _)| header).chain(assertion).chain([&server.request_id]);
    let passes = |allowed: &Spanned<String>| allowed.eq_ignore_ascii_case(name);
    matches!(same.as_str(), "forwarded" | "x-forwarded" | "x-real-ip" | "x-request-id")
        || ["x-forwarded-", "x-portcullis-"].iter().any(|family| same.starts_with(family))
        || own.into_iter().any(|header| folded(header) == same)
        || name.contains('_') && !server.allow_headers.iter().any(passes)
}

/// Whether it is a header's name (RFC 9110 5.1, a token) of bearable length.
fn header_name(name: &Spanned<String>, path: &str, walk: &mut Walk<'_>) -> bool {
    let good = is_token(name) && name.len() <= 128;
    if !good {
        let message = format!("{} is not a header's name", walk.shown(name));
        report(walk, &name.span, path, message, "letters, digits and `-`, at most 128");
    }
    good
}

/// RFC 9110 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(good)
}

/// Two sockets cannot be bound to one address.
fn addresses(config: &Config, walk: &mut Walk<'_>) {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let listeners =
        config.listeners.iter().map(|one| (format!("listener.{}", one.name.value), &one.address));
    for (table, address) in listeners.chain([("admin".to_owned(), &config.admin.address)]) {
        if matches!(address.value, Address::Tcp { port: 0, .. }) {
            // The system chooses; two such addresses differ.
            continue;
        }
        let path = format!("{table}.address");
        if let Some(other) = seen.insert(format!("{:?}", address.value), table) {
            let message = format!("`[{other}]` has this address already");
            report(
                walk,
                &address.span,
                &path,
                message,
                "every listener needs an address of its own",
            );
        }
    }
}
