//! The snapshot as operators see it: the route table, the issuers, the upstreams, the settings.
//!
//! Shows what is in force, not what was written; secrets appear nowhere, since nothing here can
//! reach one.

use serde_json::{Map, Value, json};

use super::Snapshot;
use super::plan::RoutePlan;
use crate::config;
use crate::keys::jwks::Skipped;
use crate::keys::{Freshness, Key};
use crate::route::Matcher;
use crate::upstream::Endpoint;

/// One row of the route table.
#[derive(Debug)]
pub struct RouteRow {
    /// The route's name.
    pub name: String,
    /// The hosts, `*` for any.
    pub hosts: String,
    /// The path pattern.
    pub path: String,
    /// The methods, `*` for every one but CONNECT and TRACE.
    pub methods: String,
    /// Who may: `public`, or the issuers and what they require.
    pub who: String,
    /// The upstream or the folder, and what the path becomes on its way there.
    pub to: String,
}

impl Snapshot {
    /// The route table, in the order of the file.
    pub fn route_rows(&self) -> Vec<RouteRow> {
        self.matchers.iter().zip(&self.routes).map(|(matcher, plan)| row(matcher, plan)).collect()
    }

    /// The route table for the admin address.
    pub fn routes_json(&self) -> Value {
        let rows = self.route_rows().into_iter().map(|row| {
            json!({
                "name": row.name,
                "hosts": row.hosts,
                "path": row.path,
                "methods": row.methods,
                "who": row.who,
                "to": row.to,
            })
        });
        Value::Array(rows.collect())
    }

    /// Issuers with their keys, for the admin address.
    pub fn issuers_json(&self) -> Value {
        // A snapshot has one issuer for each that is written, in the same order.
        let issuers = self.issuers.iter().zip(&self.config.issuers).map(|(issuer, written)| {
            let status = issuer.keys().status();
            let keys: Vec<_> = status.keys.iter().map(|key| key_json(key)).collect();
            let mut shown = json!({
                "name": &**issuer.name(),
                "source": self.key_source(written),
                "usable": status.freshness != Freshness::Unavailable,
                "state": status.freshness.as_str(),
                "keys": keys,
                "skipped": skipped_json(&status.unused),
            });
            if let (Some(remote), Some(shown)) = (status.remote, shown.as_object_mut()) {
                shown.insert("skipped".to_owned(), skipped_json(&remote.skipped));
                shown.insert(
                    "fetch".to_owned(),
                    json!({
                        "age": remote.age.map(|age| age.as_secs()),
                        "last_success": remote.last_success.map(|at| at.as_secs()),
                        "next_refresh": remote.next_refresh.map(|at| at.as_secs()),
                        "last_error": remote.last_error.map(|error| error.to_string()),
                    }),
                );
            }
            shown
        });
        Value::Array(issuers.collect())
    }

    /// Where an issuer's keys come from, as it is written: variables not expanded, no secret.
    fn key_source(&self, issuer: &config::Issuer) -> Value {
        let written = |span: &std::ops::Range<usize>| {
            let text = self.source.text().get(span.clone()).unwrap_or_default();
            text.trim_matches(['"', '\'']).to_owned()
        };
        if issuer.secret.is_some() {
            json!({ "kind": "secret" })
        } else if issuer.jwks.is_some() {
            json!({ "kind": "jwks" })
        } else if let Some(files) = &issuer.public_key {
            let files: Vec<_> = files.iter().map(|file| written(&file.span)).collect();
            json!({ "kind": "public_key", "at": files })
        } else if let Some(file) = &issuer.jwks_file {
            json!({ "kind": "jwks_file", "at": written(&file.span) })
        } else if let Some(url) = &issuer.jwks_url {
            json!({ "kind": "jwks_url", "at": written(&url.span) })
        } else {
            json!({ "kind": "discovery", "at": issuer.url.as_ref().map(|url| written(&url.span)) })
        }
    }

    /// Upstreams with their endpoints, for the admin address.
    pub fn upstreams_json(&self) -> Value {
        let upstreams = self.upstreams.iter().map(|upstream| {
            let all = upstream.endpoints().iter();
            let endpoints: Vec<_> =
                all.filter(|one| !one.is_vacant()).map(|one| endpoint_json(one)).collect();
            let names: Vec<_> = upstream
                .names()
                .map(|(name, addresses, failing)| {
                    json!({ "name": name, "addresses": addresses, "failing": failing })
                })
                .collect();
            json!({
                "name": upstream.name(),
                "connections": upstream.open_connections(),
                "waiting": upstream.waiting(),
                "endpoints": endpoints,
                "names": names,
            })
        });
        Value::Array(upstreams.collect())
    }

    /// The first issuer whose keys are not known (or too old), if there is one.
    pub fn issuer_without_keys(&self) -> Option<&str> {
        let missing = self.issuers.iter().find(|issuer| !issuer.keys().usable());
        missing.map(|issuer| &**issuer.name())
    }
}

fn endpoint_json(endpoint: &Endpoint) -> Value {
    let mut shown = Map::new();
    let mut show = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    show("url", endpoint.label().into());
    if let Some(address) = endpoint.resolved() {
        show("address", address.to_string().into());
    }
    show("up", endpoint.health().is_up().into());
    show("ejected", endpoint.health().is_ejected().into());
    show("in_flight", endpoint.in_flight().into());
    show("tunnels", endpoint.tunnels().into());
    if let Some(limit) = endpoint.idle_limit() {
        show("idle_limit", limit.as_secs_f64().into());
    }
    Value::Object(shown)
}

fn key_json(key: &Key) -> Value {
    let algorithms: Vec<_> = key.algorithms().map(|one| one.as_str()).collect();
    json!({ "kid": key.kid(), "thumbprint": key.thumbprint(), "algorithms": algorithms })
}

fn skipped_json(skipped: &[Skipped]) -> Value {
    let one = |one: &Skipped| json!({ "index": one.index, "kid": one.kid, "reason": one.reason.as_str() });
    Value::Array(skipped.iter().map(one).collect())
}

fn row(matcher: &Matcher, plan: &RoutePlan) -> RouteRow {
    let hosts: Vec<_> = matcher.hosts.iter().map(ToString::to_string).collect();
    RouteRow {
        name: plan.name.to_string(),
        hosts: if hosts.is_empty() { "*".to_owned() } else { hosts.join(",") },
        path: matcher.path.to_string(),
        methods: matcher.methods.to_string(),
        who: plan.action.policy().map_or("applications".to_owned(), ToString::to_string),
        to: match plan.path_shown() {
            Some(path) => format!("{} ({path})", plan.to),
            None => plan.to.clone(),
        },
    }
}
