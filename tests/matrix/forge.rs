//! Credentials of every kind, for each of the three kinds of issuer.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::token::{Signer, ec, rsa};

/// The wall clock of gateway and tokens: it stands, so that no test is early or late.
pub(crate) const NOW: i64 = 1_800_000_000;

/// Django's key.
pub(crate) const SECRET: &str = "kX9-matrix-7Qw2-secret-Lm4z-Tt81-vB6n-Yp0c";

/// Whose tokens a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// One issuer with a URL, RS256.
    Main,
    /// That one, a second with a URL (ES256, whose tokens are used), and Django's.
    Several,
    /// simplejwt: HS256, no `iss`, `aud` or `kid`.
    Django,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Main, Self::Several, Self::Django];
}

/// Makes credentials that are right for one kind, but for what a test changes.
pub(crate) struct Forge<'a> {
    pub(crate) kind: Kind,
    pub(crate) issuers: &'a Issuers,
}

/// The issuers' keys and names, and keys that are nobody's.
pub(crate) struct Issuers {
    pub(crate) main: String,
    pub(crate) second: String,
    pub(crate) django: Signer,
    /// Other keys under the same ids.
    pub(crate) thieves: [Signer; 3],
}

impl Issuers {
    pub(crate) fn new(main: String, second: String) -> Self {
        let thieves = [
            Signer::new_rsa("rsa-1"),
            Signer::new_ec("ec-1"),
            Signer::hmac(b"another secret of more than thirty-two bytes"),
        ];
        Self { main, second, django: Signer::hmac(SECRET.as_bytes()), thieves }
    }
}

/// Header lines, in order.
pub(crate) type Lines = Vec<(&'static str, String)>;

impl<'a> Forge<'a> {
    /// The key of this kind.
    pub(crate) fn signer(&self) -> &'a Signer {
        match self.kind {
            Kind::Main => rsa(),
            Kind::Several => ec(),
            Kind::Django => &self.issuers.django,
        }
    }

    /// A key that is not the issuer's, though it says so.
    pub(crate) fn thief(&self) -> &'a Signer {
        &self.issuers.thieves[self.kind as usize]
    }

    pub(crate) fn header(&self) -> Value {
        self.signer().header()
    }

    pub(crate) fn iss(&self) -> &str {
        match self.kind {
            Kind::Main | Kind::Django => &self.issuers.main,
            Kind::Several => &self.issuers.second,
        }
    }

    pub(crate) fn claims(&self) -> Value {
        let mut claims = json!({
            "iat": NOW - 60, "exp": NOW + 3600, "jti": "id-1", "sub": "ada",
            "scope": "orders:read profile", "realm": { "roles": ["staff", "admin"] },
        });
        let more = match self.kind {
            Kind::Django => json!({ "token_type": "access", "user_id": 7 }),
            Kind::Main | Kind::Several => {
                json!({ "iss": self.iss(), "aud": "api", "token_use": "access" })
            }
        };
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    pub(crate) fn good(&self) -> String {
        self.signer().sign(&self.claims())
    }

    /// Signed rightly over these claims with some changed; `null` takes one away.
    pub(crate) fn claiming(&self, changes: Value) -> String {
        self.signer().sign(&changed(self.claims(), changes))
    }

    /// Signed rightly under a header of which some is changed; `null` takes a member away.
    pub(crate) fn heading(&self, changes: Value) -> String {
        self.signer().sign_with(&changed(self.header(), changes), &self.claims())
    }

    /// Signed rightly, whatever the parts are.
    pub(crate) fn parts(&self, header: &[u8], claims: &[u8]) -> String {
        self.signer().sign_bytes(header, claims)
    }

    /// Header and claims as text.
    pub(crate) fn texts(&self) -> (String, String) {
        (self.header().to_string(), self.claims().to_string())
    }

    /// A good token with one of its three parts replaced.
    pub(crate) fn with_part(&self, index: usize, change: impl Fn(&str) -> String) -> String {
        let good = self.good();
        let mut parts: Vec<String> = good.split('.').map(str::to_owned).collect();
        parts[index] = change(&parts[index]);
        parts.join(".")
    }
}

/// One Authorization line.
pub(crate) fn bearer(token: impl Into<String>) -> Lines {
    authorization(format!("Bearer {}", token.into()))
}

pub(crate) fn authorization(value: impl Into<String>) -> Lines {
    vec![("authorization", value.into())]
}

pub(crate) fn encoded(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// The claims of a token, verified or not.
pub(crate) fn claims_of(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The text with its last letter the next of the alphabet: the same bytes in another spelling.
pub(crate) fn stray_bits(part: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = part.chars().last().unwrap();
    let next = ALPHABET.chars().skip_while(|&letter| letter != last).nth(1).unwrap();
    format!("{}{next}", &part[..part.len() - 1])
}

fn changed(mut object: Value, changes: Value) -> Value {
    let members = object.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(members.shift_remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    object
}
