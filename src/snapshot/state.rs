//! The snapshot as operators see it: the route table, the issuers, the upstreams, the settings.
//!
//! Shows what is in force, not what was written; secrets appear nowhere, since nothing here can
//! reach one.

use serde_json::{Value, json};

use super::Snapshot;
use super::plan::{Action, RoutePlan};
use crate::route::Matcher;

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
    /// The upstream or the folder.
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
        let issuers = self.issuers.iter().map(|issuer| {
            let status = issuer.keys().status();
            let keys: Vec<_> = status
                .keys
                .iter()
                .map(|key| {
                    let algorithms: Vec<_> = key.algorithms().map(|one| one.as_str()).collect();
                    json!({
                        "kid": key.kid(),
                        "thumbprint": key.thumbprint(),
                        "algorithms": algorithms,
                    })
                })
                .collect();
            let remote = status.remote.map(|remote| {
                json!({
                    "last_success": remote.last_success.map(|at| at.as_secs()),
                    "next_refresh": remote.next_refresh.map(|at| at.as_secs()),
                    "last_error": remote.last_error.map(|error| error.to_string()),
                    "skipped": remote.skipped.iter().map(|one| json!({
                        "kid": one.kid,
                        "reason": one.reason.as_str(),
                    })).collect::<Vec<_>>(),
                })
            });
            json!({
                "name": &**issuer.name(),
                "usable": status.usable,
                "keys": keys,
                "remote": remote,
            })
        });
        Value::Array(issuers.collect())
    }

    /// Upstreams with their endpoints, for the admin address.
    pub fn upstreams_json(&self) -> Value {
        let upstreams = self.upstreams.iter().map(|upstream| {
            let endpoints: Vec<_> = upstream
                .endpoints()
                .iter()
                .map(|endpoint| json!({ "url": endpoint.label(), "in_flight": endpoint.in_flight() }))
                .collect();
            json!({
                "name": upstream.name(),
                "connections": upstream.open_connections(),
                "endpoints": endpoints,
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

fn row(matcher: &Matcher, plan: &RoutePlan) -> RouteRow {
    let hosts: Vec<_> = matcher.hosts.iter().map(ToString::to_string).collect();
    let policy = match &plan.action {
        Action::Files(guarded) => guarded.policy(),
        Action::Proxy(guarded) => guarded.policy(),
    };
    RouteRow {
        name: plan.name.to_string(),
        hosts: if hosts.is_empty() { "*".to_owned() } else { hosts.join(",") },
        path: matcher.path.to_string(),
        methods: matcher.methods.to_string(),
        who: policy.to_string(),
        to: plan.to.clone(),
    }
}
