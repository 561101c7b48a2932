//! Why a request was not authenticated: one closed list of causes, each with its public reason.
//!
//! Owns the finer words that logs and `explain` show. Nothing here reaches a client except the
//! reason's status: whether a key or only a claim was wrong is an oracle (attack J32).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::labels::Reason;

/// A request without a principal, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    cause: Cause,
    issuer: Option<Arc<str>>,
    retry_after: Option<Duration>,
}

impl Refusal {
    pub(in crate::auth) fn new(cause: Cause, issuer: Option<Arc<str>>) -> Self {
        Self { cause, issuer, retry_after: None }
    }

    /// The token was not looked at.
    pub(in crate::auth) fn too_many_bad_tokens(retry_after: Duration) -> Self {
        Self { cause: Cause::TooManyBadTokens, issuer: None, retry_after: Some(retry_after) }
    }

    /// How long the client has to wait, if waiting helps.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The finer, closed cause.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// The word for bodies, logs and metrics.
    pub fn reason(&self) -> Reason {
        self.cause.reason()
    }

    /// The finer word for logs and `explain`, from a closed list.
    pub fn detail(&self) -> &'static str {
        self.cause.as_str()
    }

    /// The configured name of the issuer that refused, once one was chosen.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Whether the request has no token at all, good or bad: what a route with `anonymous` lets pass.
    /// An `Authorization` of another scheme is the application's own affair; `Bearer` without
    /// a token is a broken credential.
    pub fn is_absence(&self) -> bool {
        matches!(self.cause, Cause::NoCredentials | Cause::OtherScheme)
    }

    /// Whether the client sent a token at all: decides `error="invalid_token"` in the challenge
    /// (RFC 6750 section 3).
    pub fn token_sent(&self) -> bool {
        self.reason() != Reason::TokenMissing
    }
}

impl From<Cause> for Refusal {
    fn from(cause: Cause) -> Self {
        Self::new(cause, None)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for Refusal {}

macro_rules! causes {
    ($($(#[$meta:meta])* $variant:ident => $reason:ident, $word:literal;)+) => {
        /// Everything that can be wrong with a credential, a token or its issuer's keys.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Cause { $($(#[$meta])* $variant,)+ }

        impl Cause {
            /// Every cause.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in logs and `explain`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The contract's reason that this cause is a case of.
            pub const fn reason(self) -> Reason {
                match self { $(Self::$variant => Reason::$reason,)+ }
            }
        }
    };
}

causes! {
    /// The header has no `alg`.
    AlgMissing => TokenMalformed, "alg_missing";
    /// `alg` is `none`, in any case: an unsigned token.
    AlgNone => AlgorithmNotAllowed, "alg_none";
    /// `alg` is a known algorithm that the issuer's settings do not allow.
    AlgNotAllowed => AlgorithmNotAllowed, "alg_not_allowed";
    /// `alg` is no string.
    AlgNotString => TokenMalformed, "alg_not_string";
    /// `alg` is no algorithm that Portcullis verifies.
    AlgUnknown => AlgorithmNotAllowed, "alg_unknown";
    /// The issuer's settings name audiences, the token names none.
    AudMissing => AudienceMismatch, "aud_missing";
    /// None of the token's audiences is one of the issuer's settings.
    AudNotAllowed => AudienceMismatch, "aud_not_allowed";
    /// `aud` is neither a string nor a list of strings.
    AudWrongType => AudienceMismatch, "aud_wrong_type";
    /// The header has `b64` (RFC 7797): the signed bytes would not be the ones read.
    B64InHeader => TokenUnsupported, "b64_in_header";
    /// No key of the issuer verifies the signature.
    BadSignature => BadSignature, "bad_signature";
    /// A claim that the issuer's settings require is absent.
    ClaimMissing => ClaimRefused, "claim_missing";
    /// A claim has a value that the issuer's settings refuse.
    ClaimNotAllowed => ClaimRefused, "claim_not_allowed";
    /// A name stands twice in one object of the claims.
    ClaimsDuplicateName => TokenMalformed, "claims_duplicate_name";
    /// The claims are not canonical base64url.
    ClaimsNotBase64 => TokenMalformed, "claims_not_base64";
    /// The claims are not JSON.
    ClaimsNotJson => TokenMalformed, "claims_not_json";
    /// The claims are JSON, but no object.
    ClaimsNotObject => TokenMalformed, "claims_not_object";
    /// The header has `crit`: an extension that must be understood, and none is (RFC 7515 4.1.11).
    CritInHeader => TokenUnsupported, "crit_in_header";
    /// A cookie's token in a request that changes something, or opens a tunnel, and that no page of
    /// the same origin sent.
    CrossOriginCookie => Forbidden, "cross_origin_cookie";
    /// `cty` is no string.
    CtyNotString => TokenMalformed, "cty_not_string";
    /// Two credentials: two lines of one header, two in one line, or one each in two places.
    DuplicateCredentials => DuplicateCredentials, "duplicate_credentials";
    /// The header has `enc`: an encrypted token.
    EncInHeader => TokenUnsupported, "enc_in_header";
    /// The token has no `exp`.
    ExpMissing => ClaimRefused, "exp_missing";
    /// `exp` is no number.
    ExpNotNumber => ClaimRefused, "exp_not_number";
    /// `exp` plus the leeway has passed.
    Expired => TokenExpired, "expired";
    /// A name stands twice in the header.
    HeaderDuplicateName => TokenMalformed, "header_duplicate_name";
    /// The header is not canonical base64url.
    HeaderNotBase64 => TokenMalformed, "header_not_base64";
    /// The header is not JSON.
    HeaderNotJson => TokenMalformed, "header_not_json";
    /// The header is JSON, but no object.
    HeaderNotObject => TokenMalformed, "header_not_object";
    /// `iat` lies in the future.
    IatInFuture => TokenNotYetValid, "iat_in_future";
    /// The issuer's settings limit how long tokens live, and the token does not say since when it
    /// does.
    IatMissing => ClaimRefused, "iat_missing";
    /// `iat` is no number.
    IatNotNumber => ClaimRefused, "iat_not_number";
    /// A claim to be sent on as a header is an object, a list of other than scalars, or a number
    /// too large to be exact.
    IdentityNotScalar => ClaimRefused, "identity_not_scalar";
    /// A claim to be sent on as a header is longer than 4 KiB.
    IdentityTooLong => ClaimRefused, "identity_too_long";
    /// The token has no `iss` and every issuer of the route expects one.
    IssMissing => UnknownIssuer, "iss_missing";
    /// `iss` is no string.
    IssNotString => UnknownIssuer, "iss_not_string";
    /// `iss` names none of the route's issuers.
    IssUnknown => UnknownIssuer, "iss_unknown";
    /// Five parts: an encrypted token (RFC 7516).
    Jwe => TokenUnsupported, "jwe";
    /// `jti` is neither a string nor a number that is exact.
    JtiNotScalar => ClaimRefused, "jti_not_scalar";
    /// The header brings its own key or certificate, or says where to fetch one.
    KeyInHeader => TokenUnsupported, "key_in_header";
    /// The token's id is revoked.
    JtiRevoked => TokenRevoked, "jti_revoked";
    /// The issuer's keys are not known, or too old to trust.
    KeysUnavailable => KeysUnavailable, "keys_unavailable";
    /// `kid` is no string.
    KidNotString => TokenMalformed, "kid_not_string";
    /// The key that the token is signed with is revoked.
    KidRevoked => TokenRevoked, "kid_revoked";
    /// `kid` is longer than 256 bytes.
    KidTooLong => TokenMalformed, "kid_too_long";
    /// The issuer has no key of that `kid`.
    KidUnknown => UnknownKey, "kid_unknown";
    /// From `iat` to `exp` it is longer than the issuer's settings allow.
    LifetimeTooLong => ClaimRefused, "lifetime_too_long";
    /// A cookie, header or parameter that only lenient applications would take for the one that
    /// holds the token: escaped, in another case, behind another separator.
    NameRespelled => TokenMalformed, "name_respelled";
    /// `nbf` lies in the future.
    NbfInFuture => TokenNotYetValid, "nbf_in_future";
    /// `nbf` is no number.
    NbfNotNumber => ClaimRefused, "nbf_not_number";
    /// `cty` says that the payload is another token.
    NestedToken => TokenUnsupported, "nested_token";
    /// None of the route's places holds anything.
    NoCredentials => TokenMissing, "no_credentials";
    /// No `kid`, and no key of the issuer fits the algorithm.
    NoKeyFits => UnknownKey, "no_key_fits";
    /// `Bearer`, or its like in another place, without a token.
    NoToken => TokenMissing, "no_token";
    /// Not three parts with two dots between them.
    NotThreeParts => TokenMalformed, "not_three_parts";
    /// What stands in a token's place is not one token of RFC 9110's `token68` characters.
    NotToken68 => TokenMalformed, "not_token68";
    /// An Authorization of another scheme.
    OtherScheme => TokenMissing, "other_scheme";
    /// The signature is not canonical base64url.
    SignatureNotBase64 => TokenMalformed, "signature_not_base64";
    /// The subject's claim is neither a string nor a number that is exact.
    SubjectNotScalar => ClaimRefused, "subject_not_scalar";
    /// The subject's tokens of that age are revoked.
    SubjectRevoked => TokenRevoked, "subject_revoked";
    /// The token is longer than its issuer's settings allow.
    TooLarge => TokenTooLarge, "too_large";
    /// The client has sent too many tokens that did not verify; this one was not looked at.
    TooManyBadTokens => RateLimited, "too_many_bad_tokens";
    /// `typ` is none of the issuer's types.
    TypNotAllowed => TypeNotAllowed, "typ_not_allowed";
    /// `typ` is no string.
    TypNotString => TokenMalformed, "typ_not_string";
    /// The header has `zip`: a compressed payload.
    ZipInHeader => TokenUnsupported, "zip_in_header";
}

impl Cause {
    /// Whether a token refused for this, after its signature was looked at, stays refused until
    /// keys or settings change: no passing of time and no fetch can turn the verdict. What is left
    /// out here is asked again each time.
    pub(in crate::auth) const fn is_lasting(self) -> bool {
        matches!(
            self,
            Self::AudMissing
                | Self::AudNotAllowed
                | Self::AudWrongType
                | Self::BadSignature
                | Self::ClaimMissing
                | Self::ClaimNotAllowed
                | Self::ExpMissing
                | Self::ExpNotNumber
                | Self::IatNotNumber
                | Self::IdentityNotScalar
                | Self::IdentityTooLong
                | Self::JtiNotScalar
                | Self::NbfNotNumber
                | Self::SubjectNotScalar
        )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
