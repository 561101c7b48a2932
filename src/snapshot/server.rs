//! The settings of `[server]` and `[cache]`, and what all issuers and routes together ask for.

use std::sync::Arc;

use hyper::header::HeaderName;

use super::compile::Compiling;
use super::plan::Compression;
use super::{Snapshot, files, listeners};
use crate::auth::TokenCache;
use crate::config::{self, Diagnostic};
use crate::http::{Asserted, HeadLimits, Networks, UnderscorePolicy};
use crate::proxy::Spool;

impl Compiling<'_> {
    pub(super) fn head_limits(&self) -> Option<HeadLimits> {
        let limits = &self.config.server.max_headers;
        Some(HeadLimits {
            count: limits.count,
            size: usize::try_from(limits.size.bytes()).ok()?,
            line: usize::try_from(limits.line.bytes()).ok()?,
        })
    }

    pub(super) fn trusted_proxies(&self) -> Networks {
        listeners::networks(&self.config.server.trusted_proxies)
    }

    pub(super) fn asserted(&self) -> Asserted {
        let identity = self.config.issuers.iter().flat_map(|issuer| issuer.identity_headers.iter());
        let names = identity.filter_map(|(name, _)| HeaderName::try_from(name.value.as_str()).ok());
        let request_id = HeaderName::try_from(self.config.server.request_id.value.as_str()).ok();
        let assertion = self.config.server.assertion.as_ref();
        let assertion =
            assertion.and_then(|one| HeaderName::try_from(one.header.value.as_str()).ok());
        Asserted::new(names.chain(request_id).chain(assertion))
    }

    /// How responses are compressed, if they are.
    pub(super) fn compression(&self) -> Option<Compression> {
        let codings = &self.config.server.compress;
        (!codings.is_empty()).then(|| Compression {
            codings: codings.iter().map(|one| files::coding(*one)).collect(),
            busy: Arc::default(),
        })
    }

    /// The parameters of queries that hold tokens.
    pub(super) fn secret_parameters(&self) -> Vec<Box<str>> {
        let places = self.config.issuers.iter().flat_map(|issuer| &issuer.token_from);
        let mut names: Vec<Box<str>> = places
            .filter_map(|place| match &place.value {
                config::TokenPlace::Query(name) => Some(name.as_str().into()),
                config::TokenPlace::Cookie(_)
                | config::TokenPlace::Header(_)
                | config::TokenPlace::WebSocketProtocol => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(super) fn underscores(&mut self) -> (UnderscorePolicy, Vec<HeaderName>) {
        let server = &self.config.server;
        let policy = match server.underscore_headers {
            config::Underscores::Drop => UnderscorePolicy::Drop,
            config::Underscores::Reject => UnderscorePolicy::Reject,
        };
        let mut allowed = Vec::new();
        for name in &server.allow_headers {
            match HeaderName::try_from(name.value.as_str()) {
                Ok(header) => allowed.push(header),
                Err(_) => self.report(
                    Diagnostic::error(name.span.clone(), "not a header name")
                        .path("server.allow_headers"),
                ),
            }
        }
        (policy, allowed)
    }

    /// Bodies gathered under the old snapshot still count against its spool: adopted if unchanged.
    pub(super) fn spool(&self) -> Arc<Spool> {
        let spool = &self.config.server.spool;
        let same = |old: &&Snapshot| {
            let before = &old.config.server.spool;
            (before.memory, before.disk, &before.dir) == (spool.memory, spool.disk, &spool.dir)
        };
        match self.previous.filter(same) {
            Some(old) => Arc::clone(&old.spool),
            None => {
                let dir = spool.dir.path().map(std::path::Path::to_owned);
                Arc::new(Spool::new(spool.memory.bytes(), spool.disk.bytes(), dir))
            }
        }
    }

    pub(super) fn tokens(&self) -> Arc<TokenCache> {
        let cache = &self.config.cache;
        let same = |old: &&Snapshot| {
            let before = &old.config.cache;
            (before.tokens, before.token_bytes, before.max_age)
                == (cache.tokens, cache.token_bytes, cache.max_age)
        };
        match self.previous.filter(same) {
            Some(old) => Arc::clone(&old.tokens),
            None => {
                let bytes = cache.token_bytes.bytes();
                Arc::new(TokenCache::new(cache.tokens, bytes, cache.max_age))
            }
        }
    }
}
