//! Every program with every configuration that it is measured with.

use super::growth;
use super::programs::Program;
use super::proxy::Setup;
use super::tokens::SECRET;

type Values = Vec<(&'static str, String)>;

/// A program that looks at no token, over plain HTTP.
const PLAIN: Setup = Setup {
    program: Program::Nginx,
    config: "nginx.conf",
    more: &[],
    values: |_, _| Ok(Vec::new()),
    is_guarded: false,
    has_tls: false,
};

pub(super) static NGINX: Setup = PLAIN;
/// Before an application that asks for a token itself.
pub(super) static NGINX_DJANGO: Setup =
    Setup { config: "nginx-django.conf", is_guarded: true, ..PLAIN };
pub(super) static NGINX_TLS: Setup = Setup { config: "nginx-tls.conf", has_tls: true, ..PLAIN };
pub(super) static NGINX_SENDFILE: Setup = Setup {
    config: "nginx-static.conf",
    values: |_, _| Ok(vec![("sendfile", "on".to_owned())]),
    ..PLAIN
};
pub(super) static NGINX_COPYING: Setup = Setup {
    config: "nginx-static.conf",
    values: |_, _| Ok(vec![("sendfile", "off".to_owned())]),
    ..PLAIN
};
pub(super) static NGINX_AUTH_JWT: Setup = Setup {
    program: Program::NginxWheel,
    config: "nginx-auth-jwt.conf",
    is_guarded: true,
    ..PLAIN
};

pub(super) static HAPROXY: Setup =
    Setup { program: Program::Haproxy, config: "haproxy.cfg", ..PLAIN };
pub(super) static HAPROXY_TLS: Setup =
    Setup { program: Program::Haproxy, config: "haproxy-tls.cfg", has_tls: true, ..PLAIN };
pub(super) static HAPROXY_JWT: Setup =
    Setup { program: Program::Haproxy, config: "haproxy-jwt.cfg", is_guarded: true, ..PLAIN };

const ENVOY_GUARDED: Setup = Setup {
    program: Program::Envoy,
    config: "envoy-jwt.yaml",
    values: |_, _| Ok(envoy("", "")),
    is_guarded: true,
    ..PLAIN
};
pub(super) static ENVOY: Setup = Setup { config: "envoy.yaml", is_guarded: false, ..ENVOY_GUARDED };
pub(super) static ENVOY_JWT: Setup = ENVOY_GUARDED;
pub(super) static ENVOY_JWT_CACHE: Setup =
    Setup { values: |_, _| Ok(envoy(ENVOY_CACHE, "")), ..ENVOY_GUARDED };
/// HTTP/2 with its cache, since all requests have one token.
pub(super) static ENVOY_JWT_TLS: Setup =
    Setup { values: |_, _| Ok(envoy(ENVOY_CACHE, ENVOY_TLS)), has_tls: true, ..ENVOY_GUARDED };

pub(super) static CADDY: Setup = Setup { program: Program::Caddy, config: "Caddyfile", ..PLAIN };
pub(super) static TRAEFIK: Setup = Setup {
    program: Program::Traefik,
    config: "traefik.yaml",
    more: &["traefik-routes.yaml"],
    ..PLAIN
};

/// Portcullis on a route that asks for a token.
const GUARDED: Setup =
    Setup { program: Program::Portcullis, config: "portcullis.toml", is_guarded: true, ..PLAIN };

pub(super) static PORTCULLIS: Setup = GUARDED;
/// On a route that does not.
pub(super) static PORTCULLIS_PUBLIC: Setup = Setup { is_guarded: false, ..GUARDED };
pub(super) static PORTCULLIS_STATIC: Setup =
    Setup { config: "portcullis-static.toml", is_guarded: false, ..GUARDED };
/// With room for 10,000 connections of one client.
pub(super) static PORTCULLIS_IDLE: Setup = Setup {
    config: "portcullis-idle.toml",
    values: |_, _| Ok(vec![("tls", String::new())]),
    is_guarded: false,
    ..GUARDED
};
pub(super) static PORTCULLIS_IDLE_TLS: Setup = Setup {
    config: "portcullis-idle.toml",
    values: |_, _| Ok(vec![("tls", IDLE_TLS.to_owned())]),
    is_guarded: false,
    has_tls: true,
    ..GUARDED
};
const IDLE_TLS: &str =
    "tls = { certificates = [{ cert = \"@cert@\", key = \"@key@\" }], unknown_name = \"first\" }";
pub(super) static PORTCULLIS_TLS: Setup =
    Setup { config: "portcullis-tls.toml", has_tls: true, ..GUARDED };
pub(super) static PORTCULLIS_TLS_PUBLIC: Setup =
    Setup { config: "portcullis-tls.toml", has_tls: true, is_guarded: false, ..GUARDED };
pub(super) static PORTCULLIS_DJANGO: Setup = Setup {
    config: "portcullis-django.toml",
    values: |_, _| Ok(vec![("secret", SECRET.to_owned())]),
    ..GUARDED
};

const GROWTH: Setup =
    Setup { config: "portcullis-growth.toml", values: |_, _| Ok(growth::nothing()), ..GUARDED };
pub(super) static SMALL: Setup = GROWTH;
pub(super) static ROUTES_10: Setup = Setup { values: |_, _| Ok(growth::routes(10)), ..GROWTH };
pub(super) static ROUTES_1000: Setup = Setup { values: |_, _| Ok(growth::routes(1000)), ..GROWTH };
pub(super) static ROUTES_10000: Setup =
    Setup { values: |_, _| Ok(growth::routes(10_000)), ..GROWTH };
pub(super) static ISSUERS_100: Setup = Setup { values: |_, _| Ok(growth::issuers(100)), ..GROWTH };
pub(super) static KEYS_64: Setup = Setup { values: growth::keys_64, ..GROWTH };

const ENVOY_CACHE: &str = "jwt_cache_config: { jwt_cache_size: 10000 }";
const ENVOY_TLS: &str = r#"transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - certificate_chain: { filename: "@cert@" }
              private_key: { filename: "@key@" }"#;

fn envoy(cache: &str, tls: &str) -> Values {
    vec![("cache", cache.to_owned()), ("tls", tls.to_owned())]
}
