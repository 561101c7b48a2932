//! The closed lists behind every label value that is not a name from the configuration.

use hyper::Method;

macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in logs, metrics, bodies and command output.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

labels! {
    /// Why Portcullis refused a request or could not answer it: the one word for it everywhere.
    Reason {
        /// The client's address is none of those that may come in.
        AddressNotAllowed => "address_not_allowed",
        /// The token's signature algorithm is not one that its issuer's keys allow.
        AlgorithmNotAllowed => "algorithm_not_allowed",
        /// Two parts of the stack could read the path differently.
        AmbiguousPath => "ambiguous_path",
        /// No audience of the token is one that the issuer's settings name.
        AudienceMismatch => "audience_mismatch",
        /// The host is missing, repeated, malformed or contradicts the target.
        BadHost => "bad_host",
        /// The request's head or framing is malformed.
        BadRequest => "bad_request",
        /// The signature does not verify.
        BadSignature => "bad_signature",
        /// The body is longer than the route allows.
        BodyTooLarge => "body_too_large",
        /// A required claim is missing or has a refused value.
        ClaimRefused => "claim_refused",
        /// The client went away before its response was complete (log and metric only).
        ClientGone => "client_gone",
        /// More than one credential in one request.
        DuplicateCredentials => "duplicate_credentials",
        /// An `Expect` other than `100-continue`.
        ExpectationFailed => "expectation_failed",
        /// The route's policy refuses this principal.
        Forbidden => "forbidden",
        /// Too many header fields, or too long.
        HeadersTooLarge => "headers_too_large",
        /// The token lacks a scope that the route requires.
        InsufficientScope => "insufficient_scope",
        /// A fault of Portcullis itself.
        Internal => "internal",
        /// No keys of the issuer are known, or they are too old to trust.
        KeysUnavailable => "keys_unavailable",
        /// The request has passed through this gateway before.
        Loop => "loop",
        /// A route exists for the path, none for the method.
        MethodNotAllowed => "method_not_allowed",
        /// The connection's certificate does not cover the requested host.
        Misdirected => "misdirected",
        /// Every endpoint of the upstream is ejected, its checks fail, or its name has no address.
        NoHealthyEndpoint => "no_healthy_endpoint",
        /// No route matches.
        NoRoute => "no_route",
        /// The route's folder has no such file.
        NotFound => "not_found",
        /// As many requests or tunnels at every endpoint as may be, and no room or time to wait.
        QueueFull => "queue_full",
        /// The client asks too often, or has sent too many bad tokens.
        RateLimited => "rate_limited",
        /// The head or the body did not arrive in time.
        RequestTimeout => "request_timeout",
        /// No room is left for buffered bodies.
        SpoolFull => "spool_full",
        /// The request target is too long.
        TargetTooLong => "target_too_long",
        /// The token is past its `exp`.
        TokenExpired => "token_expired",
        /// The token is not three parts of well-formed base64url and JSON.
        TokenMalformed => "token_malformed",
        /// No bearer token.
        TokenMissing => "token_missing",
        /// `nbf` or `iat` lies in the future.
        TokenNotYetValid => "token_not_yet_valid",
        /// The token was revoked.
        TokenRevoked => "token_revoked",
        /// The token is longer than its issuer's settings allow.
        TokenTooLarge => "token_too_large",
        /// A JWE, or a header extension that is not understood.
        TokenUnsupported => "token_unsupported",
        /// The token's `typ` is not an access token's.
        TypeNotAllowed => "type_not_allowed",
        /// The token's issuer is none of the route's.
        UnknownIssuer => "unknown_issuer",
        /// No key of the issuer fits the token.
        UnknownKey => "unknown_key",
        /// The upstream's response is not well-formed HTTP.
        UpstreamBadResponse => "upstream_bad_response",
        /// The upstream's connection broke before a response.
        UpstreamFailed => "upstream_failed",
        /// No connection to the upstream could be made.
        UpstreamRefused => "upstream_refused",
        /// The upstream did not answer in time.
        UpstreamTimeout => "upstream_timeout",
    }
}

labels! {
    /// How authentication ended, beside the reject reasons.
    AuthOutcome {
        /// There was no token, and the route lets such requests pass.
        Anonymous => "anonymous",
        /// A token was verified.
        Ok => "ok",
        /// The route is public: the token was not looked at.
        Skipped => "skipped",
    }
}

labels! {
    /// The closed list of `method` label values.
    MethodLabel {
        /// DELETE
        Delete => "DELETE",
        /// GET
        Get => "GET",
        /// HEAD
        Head => "HEAD",
        /// OPTIONS
        Options => "OPTIONS",
        /// Every other method.
        Other => "OTHER",
        /// PATCH
        Patch => "PATCH",
        /// POST
        Post => "POST",
        /// PUT
        Put => "PUT",
    }
}

impl MethodLabel {
    /// The label of a method; an unknown one is a client's invention and gets no series.
    pub fn of(method: &Method) -> Self {
        match *method {
            Method::DELETE => Self::Delete,
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::OPTIONS => Self::Options,
            Method::PATCH => Self::Patch,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            _ => Self::Other,
        }
    }
}

labels! {
    /// What the token cache knew.
    CacheLookup {
        /// The token was verified before.
        Hit => "hit",
        /// It was not, or no longer counts.
        Miss => "miss",
    }
}

impl CacheLookup {
    /// Whether the token was verified before.
    pub const fn is_hit(self) -> bool {
        matches!(self, Self::Hit)
    }
}

labels! {
    /// How a fetch of a key set ended.
    FetchResult {
        /// No answer, or one that is no key set.
        Failed => "failed",
        /// The source said that nothing changed.
        NotModified => "not_modified",
        /// A key set.
        Ok => "ok",
    }
}

labels! {
    /// How a TLS handshake ended.
    HandshakeResult {
        /// Refused by one of the two sides.
        Failed => "failed",
        /// Done.
        Ok => "ok",
        /// Not done in time.
        TimedOut => "timed_out",
    }
}

labels! {
    /// What came of a PROXY protocol header.
    ProxyHeaderResult {
        /// The balancer speaks for itself.
        Local => "local",
        /// Missing, malformed or cut short.
        Malformed => "malformed",
        /// It names the client.
        Ok => "ok",
        /// Not there in time.
        TimedOut => "timed_out",
    }
}

labels! {
    /// What a downstream connection does.
    ConnectionState {
        /// An exchange is going on.
        Active => "active",
        /// The TLS handshake is not over.
        Handshake => "handshake",
        /// Between two exchanges, parked or not.
        Idle => "idle",
    }
}

labels! {
    /// What an upstream connection does.
    PooledState {
        /// An exchange is going on.
        Active => "active",
        /// Waiting in a worker's pool.
        Idle => "idle",
        /// Switched to another protocol.
        Tunnel => "tunnel",
    }
}

labels! {
    /// What a route's rate limits said of a request.
    RateLimitResult {
        /// None of those that were asked refused it.
        Allowed => "allowed",
        /// One of them did.
        Limited => "limited",
    }
}

labels! {
    /// How a reload ended.
    ReloadResult {
        /// Refused; the snapshot before it goes on.
        Failed => "failed",
        /// Installed.
        Ok => "ok",
    }
}

labels! {
    /// Why an attempt at an endpoint failed: the words of [`Reason`] that speak of upstreams.
    UpstreamFault {
        /// Its response is not well-formed HTTP.
        BadResponse => "upstream_bad_response",
        /// The connection broke before the response was whole.
        Failed => "upstream_failed",
        /// No connection could be made.
        Refused => "upstream_refused",
        /// It did not answer in time.
        Timeout => "upstream_timeout",
    }
}

labels! {
    /// Why a request header field was deleted before anything read it.
    DroppedHeader {
        /// Only Portcullis may set it.
        Asserted => "asserted",
        /// Its name has an underscore, which applications read as a hyphen.
        Underscore => "underscore",
    }
}

labels! {
    /// What a revocation names.
    RevocationKind {
        /// One token.
        Jti => "jti",
        /// Every token of a key.
        Kid => "kid",
        /// A subject's tokens up to a time.
        Sub => "sub",
    }
}

labels! {
    /// Who revoked.
    RevocationSource {
        /// The admin address.
        Admin => "admin",
        /// The watched file.
        File => "file",
        /// A logout that was seen on its way (`revoke_on`).
        Logout => "logout",
    }
}

labels! {
    /// What came of a revocation.
    RevocationResult {
        /// There was no room.
        Full => "full",
        /// In force.
        Ok => "ok",
        /// It could not be read or verified.
        Unreadable => "unreadable",
    }
}
