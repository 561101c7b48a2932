//! The gateway under test: fifteen kinds of route, and which of them a request belongs to, worked
//! out here from the contract alone.

use std::fs;

use portcullis::clock::{Clock, UnixTime};

use super::forge::{Issuers, Kind, NOW, SECRET};
use super::tokens::Lack;
use crate::support::certificate::Certificate;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::issuer::Issuer;
use crate::support::token::{ec, rsa};
use crate::support::upstream::Upstream;

/// A route as the test understands it.
pub(crate) struct Route {
    pub(crate) name: &'static str,
    /// `*.x`: a family.
    pub(crate) hosts: &'static [&'static str],
    /// `/a/*` or exact.
    pub(crate) path: &'static str,
    /// `None`: all but CONNECT and TRACE.
    pub(crate) methods: Option<&'static [&'static str]>,
    /// `None`: all.
    pub(crate) listener: Option<&'static str>,
    /// `None`: public.
    pub(crate) tokens: Option<Kind>,
    pub(crate) to: To,
}

/// What a route leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// An application with public and protected parts.
    Shop,
    /// An application that nobody may reach without a token.
    Vault,
    /// That one, as a WSGI server.
    Wsgi,
    /// A folder, by the path below which it is.
    Files,
}

const fn route(name: &'static str, path: &'static str, tokens: Option<Kind>, to: To) -> Route {
    Route {
        name,
        hosts: &["localhost", "other.test"],
        path,
        methods: None,
        listener: None,
        tokens,
        to,
    }
}

/// In no particular order: the more specific one wins.
pub(crate) const ROUTES: &[Route] = &[
    route("public", "/public/*", None, To::Shop),
    route("public-files", "/static/*", None, To::Files),
    route("prefix", "/vault/*", Some(Kind::Main), To::Vault),
    route("exact", "/me/account", Some(Kind::Main), To::Shop),
    route("scope", "/orders/*", Some(Kind::Main), To::Vault),
    route("role", "/roles/*", Some(Kind::Main), To::Vault),
    Route { hosts: &["internal.test"], ..route("host", "/desk/*", Some(Kind::Main), To::Shop) },
    Route { hosts: &["*.tenant.test"], ..route("family", "/*", Some(Kind::Several), To::Vault) },
    Route {
        methods: Some(&["GET", "POST"]),
        ..route("methods", "/reports/*", Some(Kind::Main), To::Vault)
    },
    Route { listener: Some("ops"), ..route("listener", "/ops/*", Some(Kind::Main), To::Vault) },
    route("wsgi", "/app/*", Some(Kind::Main), To::Wsgi),
    route("django", "/django/*", Some(Kind::Django), To::Shop),
    route("several", "/shared/*", Some(Kind::Several), To::Shop),
    route("files", "/files/*", Some(Kind::Main), To::Files),
    // A public part within a protected one, and a protected part within a public one.
    route("api", "/api/*", Some(Kind::Main), To::Shop),
    Route { methods: Some(&["POST"]), ..route("signing-in", "/api/token/*", None, To::Shop) },
    Route { hosts: &["open.test"], ..route("open", "/*", None, To::Shop) },
    Route { hosts: &["open.test"], ..route("open-admin", "/admin/*", Some(Kind::Main), To::Shop) },
];

/// Where requests are aimed at: a host and a path of two segments, before they are misspelled.
pub(crate) struct Target {
    pub(crate) route: &'static str,
    pub(crate) host: &'static str,
    pub(crate) path: &'static str,
}

const fn at(route: &'static str, host: &'static str, path: &'static str) -> Target {
    Target { route, host, path }
}

pub(crate) const TARGETS: &[Target] = &[
    at("prefix", "localhost", "/vault/item"),
    at("exact", "localhost", "/me/account"),
    at("scope", "localhost", "/orders/list"),
    at("role", "localhost", "/roles/list"),
    at("host", "internal.test", "/desk/plan"),
    at("family", "a.tenant.test", "/home/page"),
    at("methods", "localhost", "/reports/daily"),
    at("listener", "localhost", "/ops/restart"),
    at("wsgi", "localhost", "/app/view"),
    at("django", "localhost", "/django/view"),
    at("several", "localhost", "/shared/thing"),
    at("files", "localhost", "/files/secret.txt"),
    at("signing-in", "localhost", "/api/token"),
    at("open-admin", "open.test", "/admin/users"),
    at("public", "localhost", "/public/item"),
    at("public-files", "localhost", "/static/app.js"),
];

/// The folders' files, by path.
pub(crate) const FILES: &[(&str, &str)] =
    &[("/files/secret.txt", "the protected file"), ("/static/app.js", "the public file")];

/// Which route a request is for.
pub(crate) enum Found {
    Route(&'static Route),
    /// There are some, for other methods.
    OtherMethods,
    None,
}

/// The contract's "at least as specific in host and in path": the most specific of those that take
/// the method.
pub(crate) fn find(listener: &str, host: &str, path: &str, method: &str) -> Found {
    let here: Vec<&Route> = ROUTES
        .iter()
        .filter(|route| route.listener.is_none_or(|only| only == listener))
        .filter(|route| route.hosts.iter().any(|pattern| is_host(pattern, host)))
        .filter(|route| is_path(route.path, path))
        .collect();
    let takes = |route: &&&Route| match route.methods {
        None => true,
        Some(methods) => methods.contains(&method) || method == "HEAD" && methods.contains(&"GET"),
    };
    let specificity = |route: &&&Route| {
        (!route.hosts[0].starts_with('*'), !route.path.ends_with('*'), route.path.len())
    };
    match here.iter().filter(takes).max_by_key(specificity) {
        Some(route) => Found::Route(route),
        None if here.is_empty() => Found::None,
        None => Found::OtherMethods,
    }
}

fn is_host(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(family) => host.len() > family.len() && host.ends_with(family),
        None => host == pattern,
    }
}

fn is_path(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix("/*") {
        Some(base) => {
            path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        None => path == pattern,
    }
}

/// Everything that runs.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) certificate: Certificate,
    pub(crate) shop: Upstream,
    pub(crate) vault: Upstream,
    pub(crate) issuers: Issuers,
    _main: Issuer,
    _second: Issuer,
}

impl Route {
    /// What its policy asks of a token beyond its being one.
    pub(crate) fn asks_for(&self) -> Option<Lack> {
        match self.name {
            "scope" => Some(Lack::Scope),
            "role" => Some(Lack::Role),
            _ => None,
        }
    }
}

impl Site {
    pub(crate) fn start() -> Self {
        let (main, second) = (Issuer::start(&[rsa()]), Issuer::start(&[ec()]));
        let (shop, vault) = (application(), application());
        let clock = Clock::fixed(UnixTime::from_secs(u64::try_from(NOW).unwrap()));
        let setup = Setup::new().clock(&clock).variable("DJANGO_SECRET", SECRET);
        let names = ["localhost", "other.test", "internal.test", "*.tenant.test", "open.test"];
        let certificate = Certificate::for_names(setup.folder(), "server", &names);
        for (path, text) in FILES {
            let file = setup.folder().join(path.trim_start_matches('/'));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let issuers = Issuers::new(main.url(), second.url());
        let gateway = setup.start(&configuration(&issuers, &shop.url(), &vault.url()));
        eventually("keys", || (gateway.admin("/readyz").status == 200).then_some(()));
        Self { gateway, certificate, shop, vault, issuers, _main: main, _second: second }
    }
}

fn application() -> Upstream {
    use std::io::Write;

    use crate::support::upstream::Then;

    Upstream::start(|request, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
        let body = if request.head.starts_with("HEAD ") { "" } else { "arrived" };
        write!(stream, "{head}{body}")?;
        Ok(Then::Keep)
    })
}

fn configuration(issuers: &Issuers, shop: &str, vault: &str) -> String {
    let Issuers { main, second, .. } = issuers;
    let mut text = format!(
        r#"
        listener.main = {{ address = "127.0.0.1:0", tls = {TLS} }}
        listener.ops = {{ address = "0.0.0.0:0", tls = {TLS} }}
        listener.plain = {{ address = ":0" }}
        issuer.main = {{ url = "{main}", {URL_ISSUER} }}
        issuer.second = {{ url = "{second}", {URL_ISSUER} }}
        upstream.shop = {{ endpoints = ["{shop}"] }}
        upstream.vault = {{ endpoints = ["{vault}"] }}
        upstream.wsgi = {{ endpoints = ["{vault}"], kind = "wsgi" }}
        # One client sends every bad token that there is.
        server.bad_tokens = "off"
        [issuer.django]
        preset = "simplejwt"
        secret = "${{DJANGO_SECRET}}"
        identity_headers = {{ "X-User" = "user_id" }}
        "#
    );
    for route in ROUTES {
        text.push_str(&written(route));
    }
    text
}

const TLS: &str = r#"{ certificates = [{ cert = "server.crt", key = "server.key" }] }"#;
const URL_ISSUER: &str = r#"audience = ["api"], require = { token_use = ["access"] },
    identity_headers = { "X-User" = "sub", "X-Roles" = "/realm/roles" }"#;

fn written(route: &Route) -> String {
    let Route { name, path, .. } = route;
    let mut text = format!("[[route]]\nname = \"{name}\"\npath = \"{path}\"\n");
    let mut say = |line: String| text.push_str(&(line + "\n"));
    say(format!("hosts = {:?}", route.hosts));
    if let Some(methods) = route.methods {
        say(format!("methods = {methods:?}"));
    }
    if let Some(listener) = route.listener {
        say(format!("listeners = [\"{listener}\"]"));
    }
    say(match route.tokens {
        None => "public = true".to_owned(),
        Some(Kind::Main) => "issuers = [\"main\"]".to_owned(),
        Some(Kind::Django) => "issuers = [\"django\"]".to_owned(),
        Some(Kind::Several) => "issuers = [\"main\", \"second\", \"django\"]".to_owned(),
    });
    say(match route.to {
        To::Shop => "upstream = \"shop\"".to_owned(),
        To::Vault => "upstream = \"vault\"".to_owned(),
        To::Wsgi => "upstream = \"wsgi\"".to_owned(),
        To::Files => format!("static = \"{}\"", path.trim_matches(['/', '*'])),
    });
    match route.asks_for() {
        Some(Lack::Scope) => say("require = { scope = [\"orders:read\"] }".to_owned()),
        Some(Lack::Role) => say("require = { \"/realm/roles\" = [\"admin\"] }".to_owned()),
        None => {}
    }
    text
}
