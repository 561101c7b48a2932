//! What can be wrong with a credential, and the reason that the contract has for it.

use serde_json::{Value, json};

use super::forge::{
    Forge, Kind, Lines, NOW, authorization, bearer, claims_of, encoded, stray_bits,
};
use crate::support::token::{Signer, ec, ed, rsa, tampered};

/// What a credential comes to on a route that asks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It arrives.
    Good,
    /// It arrives, but where the route's policy asks for what it lacks.
    Lacks(Lack),
    /// The reason.
    Refused(&'static str),
    /// Refused before anybody asks who sent it, on every route: the line is too long.
    TooLong,
    /// The kind of issuer has no such thing.
    Unfit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    Role,
    Scope,
}

/// One kind of credential.
pub(crate) struct Defect {
    pub(crate) name: &'static str,
    make: fn(&Forge<'_>) -> Lines,
    verdicts: [Verdict; 3],
}

impl Defect {
    pub(crate) fn verdict(&self, kind: Kind) -> Verdict {
        self.verdicts[kind as usize]
    }

    pub(crate) fn lines(&self, forge: &Forge<'_>) -> Lines {
        match self.verdict(forge.kind) {
            Unfit => Vec::new(),
            _ => (self.make)(forge),
        }
    }
}

use Verdict::{Good, Lacks, Refused, TooLong, Unfit};

/// The same for every kind of issuer.
const fn any(name: &'static str, verdict: Verdict, make: fn(&Forge<'_>) -> Lines) -> Defect {
    Defect { name, make, verdicts: [verdict; 3] }
}

/// For issuers with a URL, and for Django's.
const fn two(
    name: &'static str,
    url: Verdict,
    django: Verdict,
    make: fn(&Forge<'_>) -> Lines,
) -> Defect {
    Defect { name, make, verdicts: [url, url, django] }
}

const fn three(
    name: &'static str,
    verdicts: [Verdict; 3],
    make: fn(&Forge<'_>) -> Lines,
) -> Defect {
    Defect { name, make, verdicts }
}

const MISSING: Verdict = Refused("token_missing");
const DUPLICATE: Verdict = Refused("duplicate_credentials");
const MALFORMED: Verdict = Refused("token_malformed");
const UNSUPPORTED: Verdict = Refused("token_unsupported");
const ALGORITHM: Verdict = Refused("algorithm_not_allowed");
const SIGNATURE: Verdict = Refused("bad_signature");
const ISSUER: Verdict = Refused("unknown_issuer");
const KEY: Verdict = Refused("unknown_key");
const TYPE: Verdict = Refused("type_not_allowed");
const EXPIRED: Verdict = Refused("token_expired");
const EARLY: Verdict = Refused("token_not_yet_valid");
const AUDIENCE: Verdict = Refused("audience_mismatch");
const CLAIM: Verdict = Refused("claim_refused");

/// Every kind; the first is the good one.
pub(crate) fn defects() -> Vec<Defect> {
    let tables = [GOOD, CREDENTIALS, FORMS, HEADERS, SIGNATURES, ISSUERS, TIMES, CLAIMS];
    tables.into_iter().flat_map(|table| table()).collect()
}

type Table = fn() -> Vec<Defect>;

const GOOD: Table = || {
    vec![
        any("good", Good, |f| bearer(f.good())),
        any("scheme in lower case", Good, |f| authorization(format!("bearer {}", f.good()))),
        any("scheme in upper case", Good, |f| authorization(format!("BEARER {}", f.good()))),
        any("three spaces", Good, |f| authorization(format!("Bearer   {}", f.good()))),
        any("typ at+jwt", Good, |f| bearer(f.heading(json!({ "typ": "at+jwt" })))),
        any("typ in full", Good, |f| bearer(f.heading(json!({ "typ": "application/AT+JWT" })))),
        any("no typ", Good, |f| bearer(f.heading(json!({ "typ": null })))),
        any("no kid", Good, |f| bearer(f.heading(json!({ "kid": null })))),
        any("aud in a list", Good, |f| bearer(f.claiming(json!({ "aud": ["x", "api"] })))),
        any("exp with a fraction", Good, |f| bearer(f.claiming(json!({ "exp": 1_800_000_009.5 })))),
        any("scp list", Good, |f| {
            bearer(f.claiming(json!({ "scope": null, "scp": ["orders:read"] })))
        }),
        any("no iat", Good, |f| bearer(f.claiming(json!({ "iat": null })))),
        any("unknown header member", Good, |f| bearer(f.heading(json!({ "x": [1] })))),
    ]
};

const CREDENTIALS: Table = || {
    vec![
        any("none", MISSING, |_| Vec::new()),
        any("empty line", MISSING, |_| authorization("")),
        any("no token", MISSING, |_| authorization("Bearer")),
        any("Basic", MISSING, |_| authorization("Basic YWRhOnNlY3JldA==")),
        any("scheme JWT", MISSING, |f| authorization(format!("JWT {}", f.good()))),
        // A lenient reader would take these two for bearer tokens.
        any("scheme Bearers", MALFORMED, |f| authorization(format!("Bearers {}", f.good()))),
        any("no space", MALFORMED, |f| authorization(format!("Bearer{}", f.good()))),
        any("no scheme", MISSING, |f| authorization(f.good())),
        any("in a cookie", MISSING, |f| vec![("cookie", format!("access_token={}", f.good()))]),
        any("another header", MISSING, |f| {
            vec![("x-authorization", format!("Bearer {}", f.good()))]
        }),
        any("underscored header", MISSING, |f| {
            vec![("http_authorization", format!("Bearer {}", f.good()))]
        }),
        any("proxy's header", MISSING, |f| {
            vec![("proxy-authorization", format!("Bearer {}", f.good()))]
        }),
        any("two good lines", DUPLICATE, |f| [bearer(f.good()), bearer(f.good())].concat()),
        any("good, then bad", DUPLICATE, |f| [bearer(f.good()), bearer("x")].concat()),
        any("bad, then good", DUPLICATE, |f| [bearer("x"), bearer(f.good())].concat()),
        any("Basic, then Bearer", DUPLICATE, |f| {
            [authorization("Basic YTph"), bearer(f.good())].concat()
        }),
        any("two in a line", DUPLICATE, |f| bearer(format!("{}, Bearer {}", f.good(), f.good()))),
        any("two with a comma", DUPLICATE, |f| bearer(format!("{},{}", f.good(), f.good()))),
        any("a comma after", DUPLICATE, |f| bearer(format!("{},", f.good()))),
        any("Bearer twice", MALFORMED, |f| bearer(format!("Bearer {}", f.good()))),
        any("a tab", MALFORMED, |f| authorization(format!("Bearer \t{}", f.good()))),
        any("quotes", MALFORMED, |f| bearer(format!("\"{}\"", f.good()))),
        any("a word after", MALFORMED, |f| bearer(format!("{} x", f.good()))),
        any("token=", MALFORMED, |f| bearer(format!("token={}", f.good()))),
        any("a semicolon", MALFORMED, |f| bearer(format!("{};", f.good()))),
    ]
};

const FORMS: Table = || {
    vec![
        any("one part", MALFORMED, |f| bearer(f.good().replace('.', ""))),
        any("two parts", MALFORMED, |f| bearer(f.good().rsplit_once('.').unwrap().0)),
        any("four parts", MALFORMED, |f| bearer(format!("{}.x", f.good()))),
        any("a dot after", MALFORMED, |f| bearer(format!("{}.", f.good()))),
        any("five parts", UNSUPPORTED, |f| bearer(format!("{}.x.y", f.good()))),
        any("dots alone", MALFORMED, |_| bearer("..")),
        any("padding", MALFORMED, |f| bearer(format!("{}=", f.good()))),
        any("other alphabet", MALFORMED, |f| {
            bearer(f.with_part(2, |part| format!("+{}", &part[1..])))
        }),
        any("stray bits", MALFORMED, |f| bearer(f.with_part(2, stray_bits))),
        any("a letter too few", MALFORMED, |f| bearer(f.with_part(0, |_| "eyJhb".to_owned()))),
        any("header no JSON", MALFORMED, |f| {
            let (header, claims) = f.texts();
            bearer(f.parts(header.trim_end_matches('}').as_bytes(), claims.as_bytes()))
        }),
        any("header a list", MALFORMED, |f| bearer(f.parts(b"[]", f.texts().1.as_bytes()))),
        any("header with a mark", MALFORMED, |f| {
            let (header, claims) = f.texts();
            bearer(f.parts(format!("\u{feff}{header}").as_bytes(), claims.as_bytes()))
        }),
        any("alg twice", MALFORMED, |f| {
            let (header, claims) = f.texts();
            let header = header.replacen('{', "{\"alg\":\"none\",", 1);
            bearer(f.parts(header.as_bytes(), claims.as_bytes()))
        }),
        any("sub twice", MALFORMED, |f| {
            let (header, claims) = f.texts();
            let claims = claims.replacen('{', "{\"sub\":\"admin\",", 1);
            bearer(f.parts(header.as_bytes(), claims.as_bytes()))
        }),
        any("roles twice, escaped", MALFORMED, |f| {
            let (header, claims) = f.texts();
            let claims = claims.replacen("\"roles\":", "\"r\\u006fles\":[],\"roles\":", 1);
            bearer(f.parts(header.as_bytes(), claims.as_bytes()))
        }),
        any("claims no JSON", MALFORMED, |f| bearer(f.parts(f.texts().0.as_bytes(), b"{"))),
        any("claims a text", MALFORMED, |f| bearer(f.parts(f.texts().0.as_bytes(), b"\"ada\""))),
        any("claims no text", MALFORMED, |f| {
            bearer(f.parts(f.texts().0.as_bytes(), b"{\"sub\":\"\xff\"}"))
        }),
        any("claims and more", MALFORMED, |f| {
            let (header, claims) = f.texts();
            bearer(f.parts(header.as_bytes(), format!("{claims}{{}}").as_bytes()))
        }),
        any("exp without end", MALFORMED, |f| {
            let (header, claims) = f.texts();
            let claims = claims.replacen("1800003600", "1e400", 1);
            bearer(f.parts(header.as_bytes(), claims.as_bytes()))
        }),
        any("too large", Refused("token_too_large"), |f| {
            bearer(f.claiming(json!({ "filling": "f".repeat(5300) })))
        }),
        any("longer than a line", TooLong, |f| {
            bearer(f.claiming(json!({ "filling": "f".repeat(6200) })))
        }),
    ]
};

const HEADERS: Table = || {
    vec![
        any("alg none", ALGORITHM, |f| bearer(unsigned(f, "none"))),
        any("alg nOnE", ALGORITHM, |f| bearer(unsigned(f, "nOnE"))),
        any("alg none, signed", ALGORITHM, |f| bearer(f.heading(json!({ "alg": "none" })))),
        any("no alg", MALFORMED, |f| bearer(f.heading(json!({ "alg": null })))),
        any("alg a number", MALFORMED, |f| bearer(f.heading(json!({ "alg": 256 })))),
        any("alg a list", MALFORMED, |f| bearer(f.heading(json!({ "alg": [f.header()["alg"]] })))),
        any("alg empty", ALGORITHM, |f| bearer(f.heading(json!({ "alg": "" })))),
        any("alg unknown", ALGORITHM, |f| bearer(f.heading(json!({ "alg": "XS256" })))),
        any("alg in lower case", ALGORITHM, |f| {
            let alg = f.header()["alg"].as_str().unwrap().to_lowercase();
            bearer(f.heading(json!({ "alg": alg })))
        }),
        any("alg RS512", ALGORITHM, |f| bearer(f.heading(json!({ "alg": "RS512" })))),
        any("alg PS256", ALGORITHM, |f| bearer(f.heading(json!({ "alg": "PS256" })))),
        any("alg HS384", ALGORITHM, |f| bearer(f.heading(json!({ "alg": "HS384" })))),
        any("alg of another key", ALGORITHM, |f| {
            let other = if f.kind == Kind::Main { "ES256" } else { "RS256" };
            bearer(f.heading(json!({ "alg": other })))
        }),
        // Signed with what everybody can fetch.
        two("public key as secret", ALGORITHM, Unfit, |f| {
            let jwk = f.signer().jwk();
            let public = jwk["n"].as_str().or(jwk["x"].as_str()).unwrap().to_owned();
            let thief = Signer::hmac(format!("{public:0>64}").as_bytes());
            let mut header = f.header();
            header["alg"] = json!("HS256");
            bearer(thief.sign_with(&header, &f.claims()))
        }),
        two("kid unknown", KEY, Unfit, |f| bearer(f.heading(json!({ "kid": "elsewhere" })))),
        two("kid a path", KEY, Unfit, |f| bearer(f.heading(json!({ "kid": "../../dev/null" })))),
        two("kid empty", KEY, Unfit, |f| bearer(f.heading(json!({ "kid": "" })))),
        any("kid a number", MALFORMED, |f| bearer(f.heading(json!({ "kid": 1 })))),
        any("kid too long", MALFORMED, |f| bearer(f.heading(json!({ "kid": "k".repeat(300) })))),
        any("crit", UNSUPPORTED, |f| bearer(f.heading(json!({ "crit": ["exp"] })))),
        any("crit empty", UNSUPPORTED, |f| bearer(f.heading(json!({ "crit": [] })))),
        any("b64 false", UNSUPPORTED, |f| bearer(f.heading(json!({ "b64": false })))),
        any("b64 true", UNSUPPORTED, |f| bearer(f.heading(json!({ "b64": true })))),
        any("zip", UNSUPPORTED, |f| bearer(f.heading(json!({ "zip": "DEF" })))),
        any("enc", UNSUPPORTED, |f| bearer(f.heading(json!({ "enc": "A128GCM" })))),
        two("jwk", UNSUPPORTED, Unfit, |f| {
            let mut header = f.header();
            header["jwk"] = f.thief().jwk();
            bearer(f.thief().sign_with(&header, &f.claims()))
        }),
        any("jku", UNSUPPORTED, |f| bearer(f.heading(json!({ "jku": "http://127.0.0.1:1/" })))),
        any("x5u", UNSUPPORTED, |f| bearer(f.heading(json!({ "x5u": "http://127.0.0.1:1/" })))),
        any("x5c", UNSUPPORTED, |f| bearer(f.heading(json!({ "x5c": ["MIIB"] })))),
        any("cty JWT", UNSUPPORTED, |f| bearer(f.heading(json!({ "cty": "JWT" })))),
        any("cty a number", MALFORMED, |f| bearer(f.heading(json!({ "cty": 1 })))),
        any("typ of a logout", TYPE, |f| bearer(f.heading(json!({ "typ": "logout+jwt" })))),
        any("typ of a proof", TYPE, |f| bearer(f.heading(json!({ "typ": "dpop+jwt" })))),
        any("typ empty", TYPE, |f| bearer(f.heading(json!({ "typ": "" })))),
        any("typ a list", MALFORMED, |f| bearer(f.heading(json!({ "typ": ["JWT"] })))),
    ]
};

const SIGNATURES: Table = || {
    vec![
        any("tampered", SIGNATURE, |f| bearer(tampered(&f.good()))),
        any("another subject", SIGNATURE, |f| {
            let claims = f.texts().1.replace("\"ada\"", "\"admin\"");
            bearer(f.with_part(1, |_| encoded(&claims)))
        }),
        any("signature of another", SIGNATURE, |f| {
            let other = f.claiming(json!({ "jti": "id-2" }));
            bearer(f.with_part(2, |_| other.rsplit_once('.').unwrap().1.to_owned()))
        }),
        any("no signature", SIGNATURE, |f| bearer(f.with_part(2, |_| String::new()))),
        any("signature cut", SIGNATURE, |f| {
            bearer(f.with_part(2, |part| part[..part.len() / 8 * 4].to_owned()))
        }),
        any("signature of zeros", SIGNATURE, |f| {
            bearer(f.with_part(2, |part| "A".repeat(part.len())))
        }),
        any("signature too long", SIGNATURE, |f| {
            bearer(f.with_part(2, |part| encoded(&format!("{part:0<600}"))))
        }),
        any("a thief's key", SIGNATURE, |f| bearer(f.thief().sign(&f.claims()))),
        // Another issuer's key, and its name for it.
        three("another issuer's key", [KEY, KEY, ALGORITHM], |f| {
            let other = if f.kind == Kind::Several { rsa() } else { ec() };
            bearer(other.sign(&f.claims()))
        }),
        three("another issuer's key, this kid", [ALGORITHM; 3], |f| {
            let other = if f.kind == Kind::Main { ec() } else { rsa() };
            let mut header = other.header();
            header["kid"] = f.header()["kid"].clone();
            let header = header.as_object_mut().unwrap();
            header.retain(|_, value| !value.is_null());
            bearer(other.sign_with(&Value::Object(header.clone()), &f.claims()))
        }),
        two("nobody's key", KEY, ALGORITHM, |f| bearer(ed().sign(&f.claims()))),
    ]
};

const ISSUERS: Table = || {
    vec![
        // Without `iss` it can only be Django's, whose algorithm it has not.
        three("no iss", [ISSUER, ALGORITHM, Good], |f| bearer(f.claiming(json!({ "iss": null })))),
        any("iss unknown", ISSUER, |f| bearer(f.claiming(json!({ "iss": "https://evil.test" })))),
        any("iss in a list", ISSUER, |f| bearer(f.claiming(json!({ "iss": [f.iss()] })))),
        any("iss a number", ISSUER, |f| bearer(f.claiming(json!({ "iss": 1 })))),
        any("iss empty", ISSUER, |f| bearer(f.claiming(json!({ "iss": "" })))),
        any("iss with a slash", ISSUER, |f| {
            bearer(f.claiming(json!({ "iss": format!("{}/", f.iss()) })))
        }),
        any("iss in upper case", ISSUER, |f| {
            bearer(f.claiming(json!({ "iss": f.iss().to_uppercase() })))
        }),
        any("iss cut", ISSUER, |f| {
            bearer(f.claiming(json!({ "iss": f.iss()[..f.iss().len() - 1] })))
        }),
        any("iss null", ISSUER, |f| {
            let mut claims = f.claims();
            claims["iss"] = Value::Null;
            bearer(f.signer().sign(&claims))
        }),
        // Good elsewhere.
        three("Django's token", [ISSUER, Good, Good], |f| {
            bearer(Forge { kind: Kind::Django, issuers: f.issuers }.good())
        }),
        three("the second issuer's token", [ISSUER, Good, ISSUER], |f| {
            bearer(Forge { kind: Kind::Several, issuers: f.issuers }.good())
        }),
        three("the main issuer's token", [Good, Good, ISSUER], |f| {
            bearer(Forge { kind: Kind::Main, issuers: f.issuers }.good())
        }),
        three("Django's claims, the main key", [ISSUER, ALGORITHM, ALGORITHM], |f| {
            let django = Forge { kind: Kind::Django, issuers: f.issuers };
            bearer(rsa().sign(&django.claims()))
        }),
        three("main claims, Django's key", [ALGORITHM, ALGORITHM, ISSUER], |f| {
            let main = Forge { kind: Kind::Main, issuers: f.issuers };
            bearer(f.issuers.django.sign(&main.claims()))
        }),
    ]
};

const TIMES: Table = || {
    vec![
        two("expired within the leeway", Good, EXPIRED, |f| at(f, "exp", NOW - 29)),
        two("begun within the leeway", Good, EARLY, |f| at(f, "nbf", NOW + 30)),
        two("issued within the leeway", Good, EARLY, |f| at(f, "iat", NOW + 30)),
        any("expired at the leeway's end", EXPIRED, |f| at(f, "exp", NOW - 30)),
        any("expired", EXPIRED, |f| at(f, "exp", NOW - 3600)),
        any("exp 0", EXPIRED, |f| at(f, "exp", 0)),
        any("exp below 0", EXPIRED, |f| at(f, "exp", -1)),
        any("no exp", CLAIM, |f| bearer(f.claiming(json!({ "exp": null })))),
        any("exp a text", CLAIM, |f| bearer(f.claiming(json!({ "exp": "1800003600" })))),
        any("exp a list", CLAIM, |f| bearer(f.claiming(json!({ "exp": [1_800_003_600] })))),
        any("exp true", CLAIM, |f| bearer(f.claiming(json!({ "exp": true })))),
        any("exp null", CLAIM, |f| {
            let mut claims = f.claims();
            claims["exp"] = Value::Null;
            bearer(f.signer().sign(&claims))
        }),
        any("begins later", EARLY, |f| at(f, "nbf", NOW + 31)),
        any("nbf a text", CLAIM, |f| bearer(f.claiming(json!({ "nbf": "0" })))),
        any("issued later", EARLY, |f| at(f, "iat", NOW + 31)),
        any("iat a text", CLAIM, |f| bearer(f.claiming(json!({ "iat": "0" })))),
    ]
};

const CLAIMS: Table = || {
    vec![
        two("no aud", AUDIENCE, Good, |f| bearer(f.claiming(json!({ "aud": null })))),
        two("aud of another", AUDIENCE, Good, |f| bearer(f.claiming(json!({ "aud": "web" })))),
        two("aud longer", AUDIENCE, Good, |f| bearer(f.claiming(json!({ "aud": "api2" })))),
        two("aud in upper case", AUDIENCE, Good, |f| bearer(f.claiming(json!({ "aud": "API" })))),
        two("aud several in a text", AUDIENCE, Good, |f| {
            bearer(f.claiming(json!({ "aud": "web api" })))
        }),
        two("aud a number", AUDIENCE, Good, |f| bearer(f.claiming(json!({ "aud": 1 })))),
        two("aud an object", AUDIENCE, Good, |f| {
            bearer(f.claiming(json!({ "aud": { "api": "api" } })))
        }),
        two("aud of nobody", AUDIENCE, Good, |f| bearer(f.claiming(json!({ "aud": [] })))),
        two("aud with a number", AUDIENCE, Good, |f| {
            bearer(f.claiming(json!({ "aud": ["api", 1] })))
        }),
        any("a refresh token", CLAIM, |f| {
            bearer(f.claiming(json!({ "token_type": "refresh", "token_use": "refresh" })))
        }),
        any("of no use", CLAIM, |f| {
            bearer(f.claiming(json!({ "token_type": null, "token_use": null })))
        }),
        any("of a use in upper case", CLAIM, |f| {
            bearer(f.claiming(json!({ "token_type": "ACCESS", "token_use": "ACCESS" })))
        }),
        two("no jti", Good, CLAIM, |f| bearer(f.claiming(json!({ "jti": null })))),
        two("no user_id", Unfit, CLAIM, |f| bearer(f.claiming(json!({ "user_id": null })))),
        any("jti an object", CLAIM, |f| bearer(f.claiming(json!({ "jti": { "a": 1 } })))),
        any("subject an object", CLAIM, |f| {
            bearer(f.claiming(json!({ "sub": { "a": 1 }, "user_id": { "a": 1 } })))
        }),
        any("subject too long", CLAIM, |f| {
            let claim = if f.kind == Kind::Django { "user_id" } else { "sub" };
            bearer(f.claiming(json!({ claim: "s".repeat(4097) })))
        }),
        two("roles an object", CLAIM, Good, |f| {
            bearer(f.claiming(json!({ "realm": { "roles": { "admin": true } } })))
        }),
        any("no scope", Lacks(Lack::Scope), |f| bearer(f.claiming(json!({ "scope": null })))),
        any("another scope", Lacks(Lack::Scope), |f| scope(f, "orders:write profile")),
        any("a longer scope", Lacks(Lack::Scope), |f| scope(f, "orders:reads")),
        any("a shorter scope", Lacks(Lack::Scope), |f| scope(f, "orders")),
        any("a scope in upper case", Lacks(Lack::Scope), |f| scope(f, "ORDERS:READ")),
        any("scopes with commas", Lacks(Lack::Scope), |f| scope(f, "profile,orders:read")),
        any("no realm", Lacks(Lack::Role), |f| bearer(f.claiming(json!({ "realm": null })))),
        any("another role", Lacks(Lack::Role), |f| roles(f, json!(["staff"]))),
        any("a longer role", Lacks(Lack::Role), |f| roles(f, json!(["administrator"]))),
        any("roles in a text", Lacks(Lack::Role), |f| roles(f, json!("staff admin"))),
        any("roles by the pointer's text", Lacks(Lack::Role), |f| {
            bearer(f.claiming(json!({ "realm": null, "/realm/roles": ["admin"] })))
        }),
    ]
};

fn at(forge: &Forge<'_>, claim: &str, seconds: i64) -> Lines {
    bearer(forge.claiming(json!({ claim: seconds })))
}

fn scope(forge: &Forge<'_>, scope: &str) -> Lines {
    bearer(forge.claiming(json!({ "scope": scope })))
}

fn roles(forge: &Forge<'_>, roles: Value) -> Lines {
    bearer(forge.claiming(json!({ "realm": { "roles": roles } })))
}

fn unsigned(forge: &Forge<'_>, alg: &str) -> String {
    let mut header = forge.header();
    header["alg"] = json!(alg);
    format!("{}.{}.", encoded(&header.to_string()), encoded(&forge.texts().1))
}

/// Who a good token speaks for: what the application must be told, `X-User` and `X-Roles`.
pub(crate) fn identity(token: &str) -> (String, Option<String>) {
    let claims = claims_of(token);
    if claims.get("user_id").is_some() {
        return (claims["user_id"].to_string(), None);
    }
    let roles = match &claims["realm"]["roles"] {
        Value::Array(roles) => {
            Some(roles.iter().map(|role| role.as_str().unwrap()).collect::<Vec<_>>().join(","))
        }
        Value::String(role) => Some(role.clone()),
        _ => None,
    };
    (claims["sub"].as_str().unwrap().to_owned(), roles)
}
