//! Keys that say nothing where they stand: whoever wrote one expects something of it.
//!
//! A default that is written out is no mistake, wherever it stands.

use super::super::describe::Presence;
use super::super::node::{Entry, Node, NodeKind};
use super::super::walk::{Value, Walk};
use super::super::{
    Address, Config, Diagnostic, EndWithToken, Issuer, PeerNetwork, Route, Spanned,
};
use super::report;

/// Checks every table whose keys depend on each other.
pub(super) fn rules(config: &Config, document: &Node, walk: &mut Walk<'_>) {
    for (place, route) in config.routes.iter().enumerate() {
        let entries = list(document, "route").find(|node| node.span == route.span).map(entries);
        self::route(config, route, entries.unwrap_or_default(), &format!("route[{place}]"), walk);
    }
    for one in &config.issuers {
        let table = entries(document).iter().find(|entry| entry.key.value == "issuer");
        let named = table.map(|entry| entries(&entry.node)).unwrap_or_default();
        let own = named.iter().find(|entry| entry.key.value == one.name.value);
        issuer(one, own.map(|entry| entries(&entry.node)).unwrap_or_default(), walk);
    }
    server(config, walk);
}

/// How many routes the file has, whether or not they could be read.
pub(in crate::config) fn routes_written(document: &Node) -> usize {
    list(document, "route").count()
}

fn entries(node: &Node) -> &[Entry] {
    match &node.kind {
        NodeKind::Table(entries) => entries,
        _ => &[],
    }
}

/// The items of the list under this key.
fn list<'n>(document: &'n Node, key: &str) -> impl Iterator<Item = &'n Node> {
    let entry = entries(document).iter().find(|entry| entry.key.value == key);
    let items: &[Node] = match entry.map(|entry| &entry.node.kind) {
        Some(NodeKind::Array(items)) => items,
        _ => &[],
    };
    items.iter()
}

fn written<'e>(entries: &'e [Entry], key: &str) -> Option<&'e Spanned<String>> {
    entries.iter().map(|entry| &entry.key).find(|written| written.value == key)
}

/// The entries whose values are not the defaults of table `T`.
fn meant<'e, T: Value>(entries: &'e [Entry], walk: &Walk<'_>) -> Vec<&'e Entry> {
    let fields = T::table().map(|table| table.fields).unwrap_or_default();
    let default = |key: &str| {
        let field = fields.iter().find(|field| field.key == key)?;
        match field.presence {
            Presence::Default(text) => Some(text),
            Presence::Optional(_) | Presence::Required => None,
        }
    };
    let is_default = |entry: &&Entry| {
        default(&entry.key.value).is_some_and(|text| text == walk.written(&entry.node.span))
    };
    entries.iter().filter(|entry| !is_default(entry)).collect()
}

fn key<'e>(meant: &[&'e Entry], key: &str) -> Option<&'e Spanned<String>> {
    meant.iter().map(|entry| &entry.key).find(|written| written.value == key)
}

// === routes ===

/// What a route does, as far as keys depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Files,
    Proxy,
    Redirect,
    Verify,
}

use Action::{Files, Proxy, Redirect, Verify};

/// Keys that not every action has a use for, and whose they are.
const OF_ACTIONS: &[(&str, &[Action], &str)] = &[
    ("cache_control", &[Files], "`static` routes"),
    ("cors", &[Files, Proxy, Redirect], "routes that pages can ask"),
    ("end_with_token", &[Files, Proxy], "routes with an `upstream` or files"),
    ("grace", &[Files, Proxy], "routes with an `upstream` or files"),
    ("index", &[Files], "`static` routes"),
    ("max_body", &[Files, Proxy, Redirect], "routes that take a body"),
    ("revoke_on", &[Proxy], "routes with an `upstream`, which alone answers a logout"),
    ("websocket", &[Proxy], "routes with an `upstream`"),
];

fn route(config: &Config, route: &Route, entries: &[Entry], path: &str, walk: &mut Walk<'_>) {
    let verifies = route.verify.value;
    let action = match (&route.upstream, &route.static_root, &route.redirect, verifies) {
        (Some(_), None, None, false) => Proxy,
        (None, Some(_), None, false) => Files,
        (None, None, Some(_), false) => Redirect,
        (None, None, None, true) => Verify,
        // Told already: none, or several.
        (_, _, _, _) => return,
    };
    let meant = meant::<Route>(entries, walk);
    for (name, actions, whose) in OF_ACTIONS {
        if let Some(key) = key(&meant, name).filter(|_| !actions.contains(&action)) {
            let message = format!("`{}` is for {whose}", key.value);
            report(walk, &key.span, &format!("{path}.{}", key.value), message, "leave it out");
        }
    }
    ends(route, &meant, action, path, walk);
    methods(route, entries, action, path, walk);
    if route.anonymous {
        anonymous(config, route, path, walk);
    }
}

/// What ends with a token needs one.
fn ends(route: &Route, meant: &[&Entry], action: Action, path: &str, walk: &mut Walk<'_>) {
    if matches!(action, Redirect | Verify) {
        return;
    }
    for name in ["end_with_token", "grace"] {
        if let Some(key) = key(meant, name).filter(|_| route.public) {
            let message = format!("`{}` on a public route, which reads no token", key.value);
            report(walk, &key.span, &format!("{path}.{}", key.value), message, "leave it out");
        }
    }
    if let Some(grace) = key(meant, "grace")
        && route.end_with_token == EndWithToken::Off
    {
        let message = "`grace` has nothing to prolong: `end_with_token` is \"off\"";
        report(walk, &grace.span, &format!("{path}.grace"), message, "leave one of them out");
    }
}

/// Methods that the action answers, whatever the route says.
fn methods(route: &Route, entries: &[Entry], action: Action, path: &str, walk: &mut Walk<'_>) {
    let Some(methods) = &route.methods else { return };
    let takes = |name: &str| methods.iter().any(|one| one.value.eq_ignore_ascii_case(name));
    let span = written(entries, "methods").map_or(&route.span, |key| &key.span);
    if action == Files && !["GET", "HEAD", "OPTIONS"].into_iter().any(takes) {
        let message = "files are only read: none of these methods is ever answered";
        let hint = "add `GET`, or leave `methods` out";
        report(walk, span, &format!("{path}.methods"), message, hint);
    }
}

/// Claims that say what kind of token it is: one of the wrong kind is a bad token, not a weak one.
const KINDS: &[&str] = &["token_type", "token_use", "typ", "/token_type", "/token_use", "/typ"];

/// Who has no token passes, who has one that lacks something does not.
fn anonymous(config: &Config, route: &Route, path: &str, walk: &mut Walk<'_>) {
    use super::super::Issuers;
    let takes = |issuer: &Issuer| match route.issuers.as_ref().map(|issuers| &issuers.value) {
        Some(Issuers::Named(names)) => names.iter().any(|name| name.value == issuer.name.value),
        Some(Issuers::All) | None => true,
    };
    for issuer in config.issuers.iter().filter(|issuer| takes(issuer)) {
        let asks = |name: &str| !KINDS.contains(&name);
        let rules = issuer.require.iter().flat_map(|table| &table.claims);
        if !rules.into_iter().any(|rule| asks(&rule.name.value)) {
            continue;
        }
        let message = format!(
            "a request without a token passes here, one whose token lacks what issuer {} requires \
             does not",
            walk.shown(&issuer.name)
        );
        let warning = Diagnostic::warning(route.span.clone(), message).path(path);
        walk.report(warning.hint("require it on the routes that need it"));
    }
}

// === issuers ===

/// Keys about how keys are fetched.
const OF_FETCHING: &[&str] =
    &["allow_http", "ca", "connect_to", "refresh", "stale_for", "unknown_kid_cooldown"];

fn issuer(issuer: &Issuer, entries: &[Entry], walk: &mut Walk<'_>) {
    let path = format!("issuer.{}", issuer.name.value);
    let source = ["secret", "public_key", "jwks", "jwks_file"]
        .into_iter()
        .find(|key| written(entries, key).is_some());
    if let Some(source) = source
        && issuer.jwks_url.is_none()
    {
        let meant = meant::<Issuer>(entries, walk);
        for key in OF_FETCHING.iter().filter_map(|name| key(&meant, name)) {
            let message =
                format!("`{}` is for keys that are fetched; here they are `{source}`", key.value);
            report(walk, &key.span, &format!("{path}.{}", key.value), message, "leave it out");
        }
    }
    if let Some(key) = key(&meant::<Issuer>(entries, walk), "secret_encoding")
        && issuer.secret.is_none()
        && !walk.is_incomplete(&issuer.span)
    {
        let message = "`secret_encoding` without a `secret`";
        report(walk, &key.span, &format!("{path}.secret_encoding"), message, "leave it out");
    }
}

// === server ===

fn server(config: &Config, walk: &mut Walk<'_>) {
    let server = &config.server;
    if server.max_connections_per_ip > server.max_connections {
        let message = "`max_connections_per_ip` is more than `max_connections`, which is never \
                       exceeded";
        let hint = "lower it, or raise `max_connections`";
        report(walk, &server.span, "server.max_connections_per_ip", message, hint);
    }
    let is_unix = |address: &Address| matches!(address, Address::Unix(_));
    if let Some(unix) = server.trusted_proxies.iter().find(|one| one.value == PeerNetwork::Unix)
        && !config.listeners.iter().any(|one| is_unix(&one.address.value))
    {
        let message = "no listener is a unix socket: nobody comes from there";
        let warning = Diagnostic::warning(unix.span.clone(), message);
        walk.report(warning.path("server.trusted_proxies").hint("leave `\"unix\"` out"));
    }
    let signs = |route: &Route| route.upstream.is_some() && !route.public;
    if let Some(assertion) = &server.assertion
        && !config.routes.iter().any(signs)
    {
        let message = "no route forwards requests with a token: nothing is ever asserted";
        let warning = Diagnostic::warning(assertion.span.clone(), message);
        walk.report(warning.path("server.assertion"));
    }
}
