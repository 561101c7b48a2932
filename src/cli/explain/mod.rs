//! `portcullis explain`: what would happen to a request, and why.
//!
//! Offline: compiles the configuration as `run` does and walks the request through the functions
//! that serve requests ([`crate::gateway::steps`] and those behind a permit), telling what each
//! finds. Reads key files and static files but opens no connection. What only a running gateway can
//! know is named, never guessed.

mod action;
mod request;
mod sent;

use std::fmt::Display;
use std::path::Path;

use hyper::http::request::Parts;
use hyper::{Method, Response, Uri};

pub(super) use request::Arguments;

use super::{Failure, load, refused};
use crate::clock::{Clock, UnixTime};
use crate::config::Address;
use crate::gateway::steps::{self, Lead, Local};
use crate::gateway::{Reject, Seen};
use crate::http::authority::Authority;
use crate::http::forwarded::Told;
use crate::http::{head, path};
use crate::route::{Found, Split};
use crate::snapshot::plan::ListenerPlan;
use crate::snapshot::{Snapshot, Surroundings, compile};
use crate::tls::server::ServerTls;
use request::Asked;

pub(super) fn run(file: &Path, arguments: &Arguments) -> Result<(), Failure> {
    let loaded = load(file)?;
    let surroundings = Surroundings::offline().map_err(Failure::Running)?;
    let compiled = compile(&loaded, None, &surroundings).map_err(|errors| refused(&errors))?;
    // As the gateway would at its start: what was told and kept is read, too.
    let (list, now) = (compiled.snapshot.revocations(), surroundings.clock.wall());
    list.replace_file(&compiled.revoked.file, now)
        .and_then(|()| list.revoke(&compiled.revoked.told, now))
        .map_err(|full| Failure::Running(full.to_string()))?;
    let asked = Asked::of(arguments)?;
    let story = Story { snapshot: &compiled.snapshot, clock: &surroundings.clock };
    match story.tell(asked) {
        Ok(answer) => tell("answer", &answer),
        Err(End::NoConnection) => tell("answer", &"none: there is no connection"),
        Err(End::Refused { step, why, reject }) => {
            tell(step, &format!("refused: {} ({why})", reject.reason()));
            tell("answer", &format!("{} {}", reject.status().as_u16(), reject.reason()));
        }
    }
    Ok(())
}

/// One line: what it is about, and what is told.
fn tell(label: &str, text: &dyn Display) {
    println!("{label:<10} {text}");
}

/// A line that belongs to the one above.
fn note(text: &dyn Display) {
    println!("  {text}");
}

/// Why a request comes to no action.
enum End {
    NoConnection,
    Refused { step: &'static str, why: String, reject: Reject },
}

/// Makes an end of what a step refuses.
fn at(step: &'static str) -> impl Fn(Reject) -> End {
    move |reject| {
        let why = match &reject {
            Reject::Head(error) => error.to_string(),
            Reject::Path(error) => error.to_string(),
            Reject::Denied(denial) => denial.to_string(),
            Reject::Files(refusal) => refusal.to_string(),
            other => other.detail().unwrap_or("see docs/troubleshooting.md").to_owned(),
        };
        End::Refused { step, why, reject }
    }
}

fn because(step: &'static str, why: impl Into<String>) -> impl FnOnce(Reject) -> End {
    let why = why.into();
    move |reject| End::Refused { step, why, reject }
}

/// Routes that are named for one reason to lose.
const OTHERS: usize = 8;

/// What a request is walked through.
struct Story<'s> {
    snapshot: &'s Snapshot,
    clock: &'s Clock,
}

/// A request whose head has passed.
struct Arrived<'r> {
    /// With its canonical path, and without what only Portcullis may say.
    parts: Parts,
    /// As it was sent.
    sent: &'r Parts,
    seen: Seen<'r>,
    host: hyper::header::HeaderValue,
    token: Option<&'r str>,
}

impl Story<'_> {
    /// The steps of a request, in their order, each with what it finds; what the answer is.
    fn tell(&self, asked: Asked) -> Result<String, End> {
        let snapshot = self.snapshot;
        let Some(slot) = self.listener(&asked) else {
            tell("listener", &"none listens for this scheme");
            return Err(End::NoConnection);
        };
        let plan = snapshot.listener(slot);
        tell("listener", &plan.name);
        certificate(plan, &asked, self.clock.wall())?;
        let peer = self.peer(slot, &asked);
        let head = head::check(&asked.parts, asked.scheme, snapshot.head_limits())
            .map_err(|error| at("head")(Reject::Head(error)))?;
        let host = head.authority.host();
        tell("host", &host);
        if let Some(tls) = &plan.tls
            && !tls.current().certificates.served_covers(asked.server_name.as_deref(), host)
        {
            let why = format!("{host} is in no certificate of this connection");
            return Err(because("host", why)(Reject::Misdirected));
        }
        let told = steps::hear(snapshot, peer, &asked.parts.headers).map_err(at("client"))?;
        client(peer, told.as_ref(), &asked);
        let mut parts = asked.parts.clone();
        steps::strip(snapshot, &mut parts.headers).map_err(at("headers"))?;
        self.stripped(&asked.parts, &parts);
        let (uri, doubtful) = steps::canonical(&parts.uri).map_err(at("path"))?;
        tell("path", &uri.path());
        let doubted = doubtful.then(|| asked.parts.uri.clone());
        parts.uri = uri;
        let seen =
            Seen { peer, told: told.as_ref(), scheme: asked.scheme, public_port: plan.public_port };
        let lead = self.lead(slot, &seen, &head.authority, &parts, doubted.as_ref())?;
        let token = asked.token.as_deref();
        let arrived = Arrived { parts, sent: &asked.parts, seen, host: head.host, token };
        self.follow(lead, slot, host, &arrived)
    }

    fn lead(
        &self,
        slot: usize,
        seen: &Seen<'_>,
        authority: &Authority,
        parts: &Parts,
        doubted: Option<&Uri>,
    ) -> Result<Lead, End> {
        let (host, path) = (authority.host(), parts.uri.path());
        steps::lead(self.snapshot, slot, seen, authority, parts, doubted).map_err(|reject| {
            match &reject {
                Reject::Path(path::PathError::Ambiguous) => {
                    self.ambiguous(slot, host, parts, doubted)
                }
                Reject::Misdirected => because(
                    "redirect",
                    format!("{host} is in no certificate of the listener it would be sent to"),
                )(reject),
                Reject::MethodNotAllowed(allow) => {
                    self.others(slot, host, parts);
                    let why = format!("no route for {}; allowed: {allow}", parts.method);
                    because("route", why)(reject)
                }
                _ => {
                    self.others(slot, host, parts);
                    because("route", format!("none for {path}"))(reject)
                }
            }
        })
    }

    fn follow(
        &self,
        lead: Lead,
        slot: usize,
        host: &str,
        arrived: &Arrived<'_>,
    ) -> Result<String, End> {
        let (index, preflight) = match lead {
            Lead::Answer(Local::AssertionKeys, response) => {
                tell("local", &"the public keys of signed assertions, for everybody");
                return Ok(answered(&response));
            }
            Lead::Answer(Local::Metadata, response) => {
                tell("local", &"how to get a token there (RFC 9728), for everybody");
                return Ok(answered(&response));
            }
            Lead::Answer(Local::Redirect, response) => {
                tell("redirect", &"to https, as the listener says");
                return Ok(answered(&response));
            }
            Lead::Preflight(index, asked) => (index, Some(asked)),
            Lead::Route(index) => (index, None),
        };
        let Some(route) = self.snapshot.route(index) else {
            return Err(at("route")(Reject::NoRoute));
        };
        tell("route", &route.name);
        self.others(slot, host, &arrived.parts);
        match preflight {
            Some(asked) => Ok(self.preflight(route, &asked, arrived)),
            None => {
                let (snapshot, parts) = (self.snapshot, &arrived.parts);
                let target = steps::forwarded_target(snapshot, index, slot, host, parts);
                self.serve(route, arrived, target)
            }
        }
    }

    /// The listener of the scheme whose public port is the URL's, else the first of the scheme.
    fn listener(&self, asked: &Asked) -> Option<usize> {
        let slots = || {
            (0..self.snapshot.config().listeners.len())
                .filter(|&slot| self.snapshot.listener(slot).scheme == asked.scheme)
        };
        let at_port = |slot: &usize| self.snapshot.listener(*slot).public_port == asked.port;
        slots().find(at_port).or_else(|| slots().next())
    }

    /// Who is at the other end of the connection; nobody has an address on a unix socket.
    fn peer(&self, slot: usize, asked: &Asked) -> Option<std::net::IpAddr> {
        let listener = self.snapshot.config().listeners.get(slot)?;
        match listener.address.value {
            Address::Unix(_) => None,
            Address::Tcp { .. } => Some(asked.from),
        }
    }

    /// The names that are gone, once each.
    fn stripped(&self, before: &Parts, after: &Parts) {
        for name in before.headers.keys().filter(|name| !after.headers.contains_key(*name)) {
            match self.snapshot.asserted().contains(name) {
                true => tell("deleted", &format!("{name}: only Portcullis may set it")),
                false => tell("deleted", &format!("{name}: applications read `_` as `-`")),
            }
        }
    }

    /// Why each other route lost, those that lost for one reason together.
    fn others(&self, slot: usize, host: &str, parts: &Parts) {
        let matchers = self.snapshot.matchers();
        let path = parts.uri.path();
        let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
        for (index, lost) in crate::route::explain(matchers, slot, host, path, &parts.method).lost {
            let Some(route) = self.snapshot.route(index) else { continue };
            let lost = lost.to_string();
            match reasons.iter_mut().find(|(known, _)| *known == lost) {
                Some((_, names)) => names.push(&route.name),
                None => reasons.push((lost, vec![&route.name])),
            }
        }
        for (lost, names) in reasons {
            let more = match names.len().saturating_sub(OTHERS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let names: Vec<_> = names.into_iter().take(OTHERS).collect();
            note(&format!("not {}{more}: {lost}", names.join(", ")));
        }
    }

    /// A path that is not everybody's path to one route.
    fn ambiguous(&self, slot: usize, host: &str, parts: &Parts, doubted: Option<&Uri>) -> End {
        let (found, preflight) = self.snapshot.find_for(slot, host, parts.uri.path(), parts);
        note(&format!("leads to {}", self.name(&found)));
        let method: &Method = preflight.as_ref().unwrap_or(&parts.method);
        let raw = doubted.map_or("", Uri::path);
        let split = self.snapshot.agree(slot, host, raw, method, &found).err();
        if let Some(Split::Elsewhere { found, .. }) = &split {
            note(&format!("but another reading to {}", self.name(found)));
        }
        let why = split.map_or_else(String::new, |split| split.to_string());
        because("path", why)(Reject::Path(path::PathError::Ambiguous))
    }

    fn name(&self, found: &Found<usize>) -> String {
        match found {
            Found::Route(index) => {
                let route = self.snapshot.route(*index);
                route.map_or("-".to_owned(), |route| format!("route {}", route.name))
            }
            Found::MethodNotAllowed(_) => "routes for other methods".to_owned(),
            Found::None => "no route".to_owned(),
        }
    }
}

/// The certificate that a client of this name gets.
fn certificate(plan: &ListenerPlan, asked: &Asked, now: UnixTime) -> Result<(), End> {
    let Some(tls) = plan.tls.as_ref().map(ServerTls::current) else { return Ok(()) };
    let name = asked.server_name.as_deref();
    let chosen = tls.certificates.chosen(name);
    if chosen.is_empty() {
        let name = name.unwrap_or("-");
        tell("tls", &format!("refused: no certificate covers {name} (alert unrecognized_name)"));
        return Err(End::NoConnection);
    }
    for one in chosen {
        let names: Vec<_> = one.names().collect();
        let days = one.not_after().since(now).as_secs() / 86_400;
        tell("tls", &format!("{} for {}, {days} days left", one.name(), names.join(", ")));
    }
    if let Some(policy) = &tls.client_auth {
        tell("tls", &policy.demand().as_str());
    }
    Ok(())
}

fn client(peer: Option<std::net::IpAddr>, told: Option<&Told>, asked: &Asked) {
    let peer_name = peer.map_or("a unix socket".to_owned(), |peer| peer.to_string());
    match (told, peer) {
        (Some(told), _) => {
            let client = told.client.map_or("unknown".to_owned(), |client| client.to_string());
            tell("client", &format!("{client}, as {peer_name} tells, which is a trusted proxy"));
        }
        (None, None) => tell("client", &"unknown: the listener is a unix socket"),
        (None, Some(peer)) if asked.from_is_given => tell("client", &peer),
        (None, Some(peer)) => {
            tell("client", &format!("{peer}, for example; `--from` names another"));
        }
    }
}

/// What the client gets, of a response that is made here; its header lines are told.
fn answered<B>(response: &Response<B>) -> String {
    for (name, value) in response.headers() {
        note(&format!("{name}: {}", value.to_str().unwrap_or("(not text)")));
    }
    response.status().as_u16().to_string()
}
