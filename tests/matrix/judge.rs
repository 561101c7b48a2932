//! Holds what was seen by the client, the applications and the access log against what had to be.

use std::collections::HashMap;

use serde_json::Value;

use super::readings::readings;
use super::request::{HOSTILES, INTRUDER, Outcome, Request};
use super::site::{FILES, Found, Site, To, find};
use super::tokens::identity;
use crate::support::Response;
use crate::support::upstream::{Received, Upstream};

/// All that was seen.
pub(crate) struct Evidence {
    /// By the client's mark.
    shop: HashMap<usize, Vec<Received>>,
    vault: HashMap<usize, Vec<Received>>,
    /// By request id.
    log: HashMap<String, Value>,
    /// What the parser refused has no id.
    pub(crate) misfits: usize,
    pub(crate) lines: usize,
}

impl Evidence {
    /// Ends the gateway.
    pub(crate) fn gather(site: Site) -> Self {
        let records = site.gateway.drain();
        let lines = records.len();
        let (misfits, records): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| record["request_id"] == "-");
        assert!(misfits.iter().all(|r| r["reason"] == "bad_request" && r["route"] == "-"));
        let log = records.into_iter().map(|r| (r["request_id"].as_str().unwrap().to_owned(), r));
        Self {
            shop: by_mark(&site.shop),
            vault: by_mark(&site.vault),
            log: log.collect(),
            misfits: misfits.len(),
            lines,
        }
    }

    /// How many requests reached an application.
    pub(crate) fn arrived(&self) -> usize {
        self.shop.values().chain(self.vault.values()).map(Vec::len).sum()
    }
}

fn by_mark(upstream: &Upstream) -> HashMap<usize, Vec<Received>> {
    let mut marked: HashMap<usize, Vec<Received>> = HashMap::new();
    for request in upstream.received() {
        let mark = request.headers("x-mark")[0].parse().unwrap();
        marked.entry(mark).or_default().push(request);
    }
    marked
}

/// A request with everything that is known of it.
pub(crate) struct Case<'a> {
    pub(crate) mark: usize,
    pub(crate) request: &'a Request<'a>,
    pub(crate) outcome: Outcome,
    pub(crate) response: &'a Result<Response, String>,
    pub(crate) evidence: &'a Evidence,
}

/// Ends the judgement with a sentence unless the two are equal.
macro_rules! same {
    ($what:expr, $seen:expr, $expected:expr) => {
        let (seen, expected) = (&$seen, &$expected);
        if seen != expected {
            return Err(format!("{} {seen:?} instead of {expected:?}", $what));
        }
    };
}

impl Case<'_> {
    /// What is wrong, in a line.
    pub(crate) fn judge(&self) -> Result<(), String> {
        self.judged().map_err(|wrong| format!("{self}: {wrong}"))
    }

    fn judged(&self) -> Result<(), String> {
        let reached = |at: &HashMap<usize, Vec<Received>>| at.get(&self.mark).map_or(0, Vec::len);
        let counts = (reached(&self.evidence.shop), reached(&self.evidence.vault));
        // First, whatever the client was told.
        let expected = match &self.outcome {
            Outcome::Arrives { to: To::Shop, .. } => (1, 0),
            Outcome::Arrives { .. } => (0, 1),
            _ => (0, 0),
        };
        same!("(shop, vault) reached", counts, expected);
        let response = self.response.as_ref().map_err(Clone::clone)?;
        let leaked = FILES.iter().find(|(_, text)| response.body == text.as_bytes());
        match &self.outcome {
            Outcome::Arrives { route, to, target, protected } => {
                self.logged(response, route, None)?;
                same!("status", response.status, 200);
                let at = if *to == To::Shop { &self.evidence.shop } else { &self.evidence.vault };
                self.arrived(response, &at[&self.mark][0], target, *protected)
            }
            Outcome::File { route, text } => {
                self.logged(response, route, None)?;
                same!("status", response.status, 200);
                let expected = if self.request.method == "HEAD" { "" } else { text };
                same!("file", response.text(), expected);
                Ok(())
            }
            Outcome::Empty { route } => {
                self.logged(response, route, None)?;
                same!("status", response.status, 204);
                Ok(())
            }
            Outcome::Misfit => {
                same!("status", response.status, 400);
                same!("body", response.body, b"");
                Ok(())
            }
            Outcome::Refused { route, reason, .. } => {
                self.logged(response, route, Some(reason))?;
                same!("leaked", leaked, None);
                self.refused(response, reason)
            }
        }
    }

    /// The access log's line.
    fn logged(&self, response: &Response, route: &str, reason: Option<&str>) -> Result<(), String> {
        let id = response.header("x-request-id").ok_or("no request id")?;
        let record = self.evidence.log.get(id).ok_or_else(|| format!("no record of {id}"))?;
        same!("logged reason", record["reason"].as_str(), reason);
        same!("logged route", record["route"].as_str(), Some(route));
        same!("logged status", record["status"].as_u64(), Some(u64::from(response.status)));
        Ok(())
    }

    fn refused(&self, response: &Response, reason: &str) -> Result<(), String> {
        same!("status", response.status, status(reason));
        same!("cache-control", response.header("cache-control"), Some("no-store"));
        let challenge = response.header("www-authenticate").unwrap_or_default();
        let expected = match (response.status, reason) {
            (401, "token_missing") => "Bearer realm=\"HOST\"",
            (401, _) => "Bearer realm=\"HOST\", error=\"invalid_token\"",
            (_, "insufficient_scope") => {
                "Bearer realm=\"HOST\", error=\"insufficient_scope\", scope=\"orders:read\""
            }
            _ => "",
        };
        let mut expected = expected.replace("HOST", &self.request.host());
        if !expected.is_empty() {
            expected.push_str(&self.request.pointer());
        }
        same!("challenge", challenge, expected);
        if self.request.method == "HEAD" {
            return Ok(());
        }
        let body = response.json();
        let code = match (self.request.target.route, response.status, reason) {
            // Django REST framework's own words.
            ("django", 401, "token_missing") => None,
            ("django", 401, _) => Some("token_not_valid"),
            _ => Some(reason),
        };
        same!("code", body["code"].as_str(), code);
        Ok(())
    }

    /// What the application was told.
    fn arrived(
        &self,
        response: &Response,
        received: &Received,
        target: &str,
        protected: bool,
    ) -> Result<(), String> {
        same!("target", received.target(), target);
        if let Some(header) =
            received.head.lines().find(|line| line.to_ascii_lowercase().contains(INTRUDER))
        {
            return Err(format!("the client's own {header:?} arrived"));
        }
        let sent: Vec<&str> = self
            .request
            .credential
            .iter()
            .filter(|(name, _)| *name == "authorization")
            .map(|(_, value)| value.trim())
            .collect();
        if protected {
            let token = sent[0].rsplit(' ').next().unwrap();
            let (user, roles) = identity(token);
            same!("user", received.headers("x-user"), [user.as_str()]);
            same!("roles", received.headers("x-roles"), Vec::from_iter(roles.as_deref()));
            // Applications compare the scheme's name letter by letter.
            let credential = format!("Bearer{}", &sent[0]["bearer".len()..]);
            same!("credential", received.headers("authorization"), [credential]);
        } else {
            same!("user", received.headers("x-user"), [""; 0]);
            same!("roles", received.headers("x-roles"), [""; 0]);
            same!("credential", received.headers("authorization"), sent);
            self.is_public(target)?;
        }
        let host = self.request.host();
        same!("host", received.headers("host"), [host.as_str()]);
        same!("forwarded host", received.headers("x-forwarded-host"), [host.as_str()]);
        same!("forwarded for", received.headers("x-forwarded-for"), ["127.0.0.1"]);
        let id = response.header("x-request-id").unwrap();
        same!("request id", received.headers("x-request-id"), [id]);
        Ok(())
    }

    /// However the application reads the path, it is none that asks for a token.
    fn is_public(&self, target: &str) -> Result<(), String> {
        let path = target.split('?').next().unwrap();
        let host = self.request.canonical_host();
        for reading in readings(path) {
            let found = find(self.request.carrier.listener, &host, &reading, self.request.method);
            if let Found::Route(route) = found
                && route.tokens.is_some()
            {
                return Err(format!("{path} can be read as {reading}, which is {}", route.name));
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let request = self.request;
        let protocol = if request.carrier.http2 { "h2" } else { "h1" };
        let mut raw = request.raw();
        if raw.len() > 100 {
            raw.replace_range(60..raw.len() - 20, "...");
        }
        write!(
            f,
            "{} {raw:?} to {} ({}, {protocol}), token {:?}, with {:?}",
            request.method,
            request.host(),
            request.carrier.listener,
            request.defect.name,
            HOSTILES[request.row[super::request::HOSTILE]],
        )
    }
}

/// The contract's table of statuses.
fn status(reason: &str) -> u16 {
    match reason {
        "bad_request" | "ambiguous_path" | "duplicate_credentials" | "bad_host" => 400,
        "token_missing"
        | "token_malformed"
        | "token_too_large"
        | "token_unsupported"
        | "unknown_issuer"
        | "unknown_key"
        | "algorithm_not_allowed"
        | "bad_signature"
        | "type_not_allowed"
        | "token_expired"
        | "token_not_yet_valid"
        | "audience_mismatch"
        | "claim_refused" => 401,
        "insufficient_scope" | "forbidden" => 403,
        "no_route" | "not_found" => 404,
        "method_not_allowed" => 405,
        "target_too_long" => 414,
        "misdirected" => 421,
        "headers_too_large" => 431,
        other => panic!("{other} is none of the matrix's reasons"),
    }
}
