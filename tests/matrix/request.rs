//! One cell of the matrix: what is sent, in either protocol, and what the contract says to it.

use super::forge::{Kind, Lines};
use super::readings::{has_dots, plain, readings};
use super::site::{FILES, Found, ROUTES, Route, TARGETS, Target, To, find};
use super::spellings::{Carried, Reading, SPELLINGS, Spelling, write};
use super::tokens::{Defect, Lack, Verdict};
use crate::support::h2::Pieces;

/// The dimensions, the two longest first.
pub(crate) const SPELLING: usize = 0;
pub(crate) const TOKEN: usize = 1;
pub(crate) const TARGET: usize = 2;
pub(crate) const HOSTILE: usize = 3;
pub(crate) const METHOD: usize = 4;
pub(crate) const HOST: usize = 5;
pub(crate) const CARRIER: usize = 6;
pub(crate) const DIMENSIONS: usize = 7;

/// The first is GET.
pub(crate) const METHODS: &[&str] =
    &["GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "TRACE", "CONNECT"];

/// A listener and the protocol spoken to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Carrier {
    pub(crate) listener: &'static str,
    pub(crate) http2: bool,
}

pub(crate) const CARRIERS: &[Carrier] = &[
    Carrier { listener: "main", http2: false },
    Carrier { listener: "main", http2: true },
    Carrier { listener: "ops", http2: false },
    Carrier { listener: "ops", http2: true },
    Carrier { listener: "plain", http2: false },
];

/// Spellings of the host, the plain one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Plain,
    UpperCase,
    FinalDot,
    DefaultPort,
    AnotherPort,
    Another,
    Uncovered,
    WithUser,
    Twice,
    Missing,
}

pub(crate) const HOSTS: &[Host] = &[
    Host::Plain,
    Host::UpperCase,
    Host::FinalDot,
    Host::DefaultPort,
    Host::AnotherPort,
    Host::Another,
    Host::Uncovered,
    Host::WithUser,
    Host::Twice,
    Host::Missing,
];

/// What only HTTP/1.1 can say: each of them is refused.
fn is_malformed(host: Host) -> bool {
    matches!(host, Host::WithUser | Host::Twice | Host::Missing)
}

/// Headers by which a client would be somebody else. Whatever arrives of them would hold this word.
pub(crate) const INTRUDER: &str = "intruder";

/// The first list is empty, the last two are HTTP/1.1's alone.
pub(crate) const HOSTILES: &[&[(&str, &str)]] = &[
    &[],
    &[("X-User", "intruder")],
    &[("x_user", "intruder")],
    &[("X-USER", "intruder"), ("X-ROLES", "intruder")],
    &[("X.User", "intruder"), ("x.roles", "intruder")],
    &[("X-User", ""), ("x-user", "intruder"), ("X_User", "intruder")],
    &[("x-roles", "intruder"), ("x_roles", "intruder"), ("X_ROLES", "intruder,admin")],
    &[
        ("X-Forwarded-For", "intruder"),
        ("X-Forwarded-Host", "intruder"),
        ("Forwarded", "for=intruder"),
    ],
    &[("X_Forwarded_For", "intruder"), ("x-forwarded-user", "intruder"), ("X-Real-IP", "intruder")],
    &[("REMOTE_USER", "intruder"), ("Remote-User", "intruder"), ("SCRIPT_NAME", "/intruder")],
    &[("X-Original-URL", "/intruder"), ("X-Rewrite-URL", "/intruder"), ("PATH_INFO", "/intruder")],
    &[("X-Request-Id", "intruder"), ("X-Client-Cert-CN", "intruder"), ("Proxy", "intruder")],
    &[("X-Portcullis-User", "intruder"), ("X-Accel-Redirect", "/intruder")],
    &[("Connection", "x-user"), ("X-User", "intruder")],
    &[
        ("Connection", "close, X-Roles, x_user, X-Forwarded-For, x-request-id"),
        ("x_user", "intruder"),
    ],
];

/// One cell.
pub(crate) struct Request<'a> {
    pub(crate) row: [usize; DIMENSIONS],
    pub(crate) spelling: &'static Spelling,
    pub(crate) defect: &'a Defect,
    pub(crate) target: &'static Target,
    pub(crate) method: &'static str,
    pub(crate) carrier: Carrier,
    host: Host,
    /// Its credential.
    pub(crate) credential: &'a Lines,
}

/// What must become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An application gets it, with this target.
    Arrives { route: &'static str, to: To, target: String, protected: bool },
    /// A file is the answer.
    File { route: &'static str, text: &'static str },
    /// Answered without an application, by 204.
    Empty { route: &'static str },
    /// 400 by the parser.
    Misfit,
    /// Refused with this reason, by this route.
    Refused { route: &'static str, reason: &'static str, by_token: bool },
}

/// Which values can't stand together.
pub(crate) fn allowed(defects: &[Defect], one: (usize, usize), other: (usize, usize)) -> bool {
    match (one, other) {
        ((SPELLING, spelling), (CARRIER, carrier)) => {
            SPELLINGS[spelling].carried == Carried::ByBoth || !CARRIERS[carrier].http2
        }
        ((TOKEN, token), (TARGET, target)) => {
            defects[token].verdict(kind_at(&TARGETS[target])) != Verdict::Unfit
        }
        ((HOSTILE, hostile), (CARRIER, carrier)) => {
            hostile < HOSTILES.len() - 2 || !CARRIERS[carrier].http2
        }
        // Over HTTP/2 it has no path.
        ((METHOD, method), (CARRIER, carrier)) => {
            METHODS[method] != "CONNECT" || !CARRIERS[carrier].http2
        }
        ((HOST, host), (CARRIER, carrier)) => {
            !is_malformed(HOSTS[host]) || !CARRIERS[carrier].http2
        }
        _ => true,
    }
}

/// Whose tokens the route aimed at takes; public ones are sent those of the main issuer.
pub(crate) fn kind_at(target: &Target) -> Kind {
    let route = ROUTES.iter().find(|route| route.name == target.route).unwrap();
    route.tokens.unwrap_or(Kind::Main)
}

impl<'a> Request<'a> {
    pub(crate) fn new(row: [usize; DIMENSIONS], defect: &'a Defect, credential: &'a Lines) -> Self {
        Self {
            row,
            spelling: &SPELLINGS[row[SPELLING]],
            defect,
            target: &TARGETS[row[TARGET]],
            method: METHODS[row[METHOD]],
            carrier: CARRIERS[row[CARRIER]],
            host: HOSTS[row[HOST]],
            credential,
        }
    }

    /// The host as it is written, with its port.
    pub(crate) fn host(&self) -> String {
        let plain = self.target.host;
        let default_port = if self.carrier.listener == "plain" { 80 } else { 443 };
        match self.host {
            Host::Plain | Host::Twice | Host::Missing => plain.to_owned(),
            Host::UpperCase => plain.to_uppercase(),
            Host::FinalDot => format!("{plain}."),
            Host::DefaultPort => format!("{plain}:{default_port}"),
            Host::AnotherPort => format!("{plain}:8443"),
            Host::Another if plain == "localhost" => "other.test".to_owned(),
            Host::Another => "localhost".to_owned(),
            Host::Uncovered => "evil.example".to_owned(),
            Host::WithUser => format!("localhost@{plain}"),
        }
    }

    /// The request target as it is written.
    pub(crate) fn raw(&self) -> String {
        write(self.spelling.raw, self.target.path, &self.host())
    }

    fn body(&self) -> Option<&'static str> {
        matches!(self.method, "POST" | "PUT" | "PATCH").then_some("hello")
    }

    fn headers(&self, mark: usize) -> Vec<(String, String)> {
        let credential = self.credential.iter().map(|(name, value)| (*name, value.as_str()));
        let hostile = HOSTILES[self.row[HOSTILE]].iter().copied();
        let lines = credential.chain(hostile).map(|(n, v)| (n.to_owned(), v.to_owned()));
        lines.chain([("x-mark".to_owned(), mark.to_string())]).collect()
    }

    /// Its bytes in HTTP/1.1.
    pub(crate) fn http1(&self, mark: usize) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.raw());
        let hosts = match self.host {
            Host::Missing => 0,
            Host::Twice => 2,
            _ => 1,
        };
        for _ in 0..hosts {
            head.push_str(&format!("Host: {}\r\n", self.host()));
        }
        for (name, value) in self.headers(mark) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match self.body() {
            Some(body) => head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len())),
            None => head.push_str("\r\n"),
        }
        head.into_bytes()
    }

    /// The same for HTTP/2.
    pub(crate) fn http2(&self, mark: usize) -> hyper::Request<Pieces> {
        let uri = format!("https://{}{}", self.host(), self.raw());
        let mut request = hyper::Request::builder().method(self.method).uri(uri);
        for (name, value) in self.headers(mark) {
            request = request.header(name, value);
        }
        let body = self.body().unwrap_or_default();
        if !body.is_empty() {
            request = request.header("content-length", body.len());
        }
        request.body(Pieces::whole(body)).unwrap()
    }

    /// What the contract says: the head first, then path, route, token and policy, and the action
    /// last.
    pub(crate) fn outcome(&self) -> Outcome {
        let refused = |reason| Outcome::Refused { route: "-", reason, by_token: false };
        let reading = self.spelling.reading;
        if reading == Reading::Misfit {
            return Outcome::Misfit;
        }
        if let Some(reason) = self.head(reading) {
            return refused(reason);
        }
        let (path, query) = match reading {
            Reading::Asterisk => return Outcome::Empty { route: "-" },
            Reading::Path(template) => {
                let written = write(template, self.target.path, &self.host());
                match written.split_once('?') {
                    Some((path, query)) => (path.to_owned(), format!("?{query}")),
                    None => (written, String::new()),
                }
            }
            Reading::Misfit | Reading::Refused(_) => unreachable!("refused above"),
        };
        let found = self.find(&path);
        if self.has_another_view(&found) {
            return refused("ambiguous_path");
        }
        match found {
            Found::None => refused("no_route"),
            Found::OtherMethods => refused("method_not_allowed"),
            Found::Route(route) => self.served(route, path, &query),
        }
    }

    fn find(&self, path: &str) -> Found {
        find(self.carrier.listener, &self.canonical_host(), path, self.method)
    }

    /// Whether somebody could read the path as sent, or as it would be forwarded, as another
    /// route's: or as none's, unless he does so since he leaves dots alone.
    fn has_another_view(&self, found: &Found) -> bool {
        let raw = self.raw();
        let path = match raw.split_once("://") {
            Some((_, rest)) => format!("/{}", rest.split_once('/').map_or("", |(_, path)| path)),
            None => raw,
        };
        let path = path.split(['?', '#']).next().unwrap();
        readings(path).iter().any(|reading| match (found, self.find(&plain(reading))) {
            (Found::Route(ours), Found::Route(theirs)) => ours.name != theirs.name,
            (_, Found::Route(_)) => true,
            (Found::None, Found::None) | (Found::OtherMethods, Found::OtherMethods) => false,
            _ => !has_dots(reading),
        })
    }

    /// Why the head is refused, in the order in which it is looked at.
    fn head(&self, reading: Reading) -> Option<&'static str> {
        if matches!(self.method, "TRACE" | "CONNECT") {
            return Some("method_not_allowed");
        }
        if reading == Reading::Refused("target_too_long") {
            return Some("target_too_long");
        }
        if self.defect.verdict(kind_at(self.target)) == Verdict::TooLong {
            return Some("headers_too_large");
        }
        // Forms that are no path are refused before the host is looked at.
        let is_form = matches!(self.spelling.raw, "ftp://{host}/{a}/{b}" | "{host}");
        if is_form || reading == Reading::Asterisk && self.method != "OPTIONS" {
            return Some("bad_request");
        }
        if is_malformed(self.host) || reading == Reading::Refused("bad_host") {
            return Some("bad_host");
        }
        if self.host == Host::Uncovered && self.carrier.listener != "plain" {
            return Some("misdirected");
        }
        match reading {
            Reading::Refused(reason) => Some(reason),
            Reading::Asterisk | Reading::Misfit | Reading::Path(_) => None,
        }
    }

    pub(crate) fn canonical_host(&self) -> String {
        let host = self.host().to_lowercase();
        let host = host.split(':').next().unwrap();
        host.strip_suffix('.').unwrap_or(host).to_owned()
    }

    /// What a challenge says about the way to a token: where Django's issuer is, nobody knows.
    pub(crate) fn pointer(&self) -> String {
        let Reading::Path(template) = self.spelling.reading else { return String::new() };
        let written = write(template, self.target.path, &self.host());
        let path = written.split('?').next().unwrap();
        // RFC 9728 section 3.1.
        let path = if path == "/" { "" } else { path };
        if kind_at(self.target) == Kind::Django || path.len() > 1024 {
            return String::new();
        }
        let (scheme, default) =
            if self.carrier.listener == "plain" { ("http", ":80") } else { ("https", ":443") };
        let port = self.host().split_once(':').map(|(_, port)| format!(":{port}"));
        let port = port.filter(|port| port != default).unwrap_or_default();
        let host = self.canonical_host();
        let location = "/.well-known/oauth-protected-resource";
        format!(", resource_metadata=\"{scheme}://{host}{port}{location}{path}\"")
    }

    fn served(&self, route: &'static Route, path: String, query: &str) -> Outcome {
        let refused = |reason, by_token| Outcome::Refused { route: route.name, reason, by_token };
        if let Some(reason) = route.tokens.and_then(|kind| self.token_refused(route, kind)) {
            return refused(reason, true);
        }
        if route.to != To::Files {
            let (to, protected) = (route.to, route.tokens.is_some());
            return Outcome::Arrives { route: route.name, to, target: path + query, protected };
        }
        match self.method {
            "OPTIONS" => Outcome::Empty { route: route.name },
            "GET" | "HEAD" => match FILES.iter().find(|(file, _)| *file == path) {
                Some((_, text)) => Outcome::File { route: route.name, text },
                None => refused("not_found", false),
            },
            _ => refused("method_not_allowed", false),
        }
    }

    fn token_refused(&self, route: &Route, kind: Kind) -> Option<&'static str> {
        assert_eq!(kind, kind_at(self.target), "no spelling leads to another issuer's route");
        match self.defect.verdict(kind) {
            Verdict::Good => None,
            Verdict::Lacks(lack) if route.asks_for() == Some(lack) => match lack {
                Lack::Role => Some("forbidden"),
                Lack::Scope => Some("insufficient_scope"),
            },
            Verdict::Lacks(_) => None,
            Verdict::Refused(reason) => Some(reason),
            Verdict::TooLong | Verdict::Unfit => unreachable!("settled before"),
        }
    }
}
