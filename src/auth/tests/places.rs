//! Where a token stands: which places a route looks at, whose token that can be, and what the
//! application sees of it.

use hyper::header::COOKIE;
use proptest::prelude::*;

use super::*;
use crate::auth::{Cause, Guarded, Owed, Place, Policy, TokenUpstream};
use crate::telemetry::labels::Reason;

fn cookie(name: &str) -> Place {
    Place::Cookie(name.into())
}

fn query(name: &str) -> Place {
    Place::Query(name.into())
}

fn header_place(name: &'static str) -> Place {
    Place::Header(HeaderName::from_static(name))
}

fn from(places: Vec<Place>) -> IssuerSettings {
    IssuerSettings { token_from: places, ..strict_settings() }
}

fn set_of(settings: Vec<IssuerSettings>) -> Arc<IssuerSet> {
    let issuers = settings.into_iter().map(|settings| Issuer::new(settings, secret_keys()));
    IssuerSet::new(issuers.collect()).unwrap()
}

/// Every place that there is.
fn everywhere() -> Arc<IssuerSet> {
    set_of(vec![from(vec![
        Place::Header(AUTHORIZATION),
        header_place("x-token"),
        cookie("session"),
        query("t"),
        Place::WebSocketProtocol,
    ])])
}

fn head(method: &str, target: &str, lines: &[(&str, String)]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in lines {
        request = request.header(*name, value);
    }
    request.body(()).unwrap().into_parts().0
}

fn line(name: &'static str, value: impl Into<String>) -> (&'static str, String) {
    (name, value.into())
}

/// The lines of a handshake that offers these.
fn handshake(protocols: String) -> Vec<(&'static str, String)> {
    vec![line("upgrade", "websocket"), line("sec-websocket-protocol", protocols)]
}

fn asked(set: &IssuerSet, parts: &Parts) -> Result<Authenticated, Cause> {
    now_or_never(Gateway::new().ask_whole(set, parts)).map_err(|refusal| refusal.cause())
}

/// A request with this token in each place, all of them good.
fn carried(token: &str) -> Vec<Parts> {
    vec![
        head("GET", "/", &[line("authorization", format!("Bearer {token}"))]),
        head("GET", "/", &[line("x-token", token)]),
        head("GET", "/", &[line("x-token", format!("bearer {token}"))]),
        head("GET", "/", &[line("cookie", format!("a=1; session={token}"))]),
        head("GET", &format!("/x?a=1&t={token}"), &[]),
        head("GET", "/", &handshake(format!("app.v1, bearer, {token}"))),
    ]
}

#[test]
fn j27_a_token_is_found_in_each_place_that_is_named() {
    let set = everywhere();
    for parts in carried(&good()) {
        assert!(asked(&set, &parts).is_ok(), "{parts:?}");
    }
    for parts in carried("a.b.c") {
        assert_eq!(asked(&set, &parts).unwrap_err(), Cause::HeaderNotBase64, "{parts:?}");
    }
    assert_eq!(asked(&set, &head("GET", "/", &[])).unwrap_err(), Cause::NoCredentials);
}

#[test]
fn j27_a_place_that_is_not_named_is_not_looked_at() {
    let header_only = strict_set();
    for parts in carried(&good()).iter().skip(1) {
        assert_eq!(asked(&header_only, parts).unwrap_err(), Cause::NoCredentials, "{parts:?}");
    }
    let cookie_only = set_of(vec![from(vec![cookie("session")])]);
    let found: Vec<bool> =
        carried(&good()).iter().map(|parts| asked(&cookie_only, parts).is_ok()).collect();
    assert_eq!(found, [false, false, false, true, false, false]);
    // Beside it, whatever stands elsewhere is the application's affair.
    let both = head(
        "GET",
        "/",
        &[line("cookie", format!("session={}", good())), line("authorization", "Bearer another")],
    );
    assert!(asked(&cookie_only, &both).is_ok());
}

#[test]
fn j27_two_credentials_are_refused_wherever_they_stand() {
    let set = everywhere();
    let token = good();
    let gateway = Gateway::new();
    // Known and cached: that must not help.
    let single = head("GET", "/", &[line("authorization", format!("Bearer {token}"))]);
    assert!(now_or_never(gateway.ask_whole(&set, &single)).is_ok());
    let places: Vec<Vec<(&str, String)>> = vec![
        vec![line("authorization", format!("Bearer {token}"))],
        vec![line("authorization", "Basic eDp5")],
        vec![line("authorization", "Bearer")],
        vec![line("x-token", &*token)],
        vec![line("x.token", &*token)],
        vec![line("x-token", "")],
        vec![line("cookie", format!("session={token}"))],
        vec![line("cookie", "SESSION=x")],
        vec![line(":query", format!("t={token}"))],
        vec![line(":query", "%74=x")],
        handshake(format!("bearer, {token}")),
        handshake("Bearer, x".to_owned()),
        handshake("bearer".to_owned()),
    ];
    for (index, one) in places.iter().enumerate() {
        for (at, other) in places.iter().enumerate() {
            let lines = [one.as_slice(), other.as_slice()].concat();
            let (queries, lines): (Vec<_>, Vec<_>) =
                lines.into_iter().partition(|(name, _)| *name == ":query");
            let query = queries.into_iter().map(|(_, query)| query).collect::<Vec<_>>().join("&");
            // Both in `x-token`, one of them without a value: still two lines.
            let parts = head("GET", &format!("/?{query}"), &lines);
            let refusal = now_or_never(gateway.ask_whole(&set, &parts)).unwrap_err();
            assert_eq!(refusal.reason(), Reason::DuplicateCredentials, "{index} {at} {parts:?}");
        }
    }
}

#[test]
fn j27_a_token_in_another_issuer_s_place_is_not_that_issuer_s() {
    let by_header = IssuerSettings { name: "header".to_owned(), ..strict_settings() };
    let mut by_cookie = from(vec![cookie("session")]);
    by_cookie.name = "cookie".to_owned();
    by_cookie.iss = ExpectedIss::Url("https://other.example.com/".to_owned());
    let set = set_of(vec![by_header, by_cookie]);
    let other = sign(&header(), &with(claims(), "iss", json!("https://other.example.com/")));
    let gateway = Gateway::new();
    let in_header = |t: &str| head("GET", "/", &[line("authorization", format!("Bearer {t}"))]);
    let in_cookie = |t: &str| head("GET", "/", &[line("cookie", format!("session={t}"))]);
    let ask = |parts: &Parts| now_or_never(gateway.ask_whole(&set, parts));
    // Each in its own place first, so that both are cached when they come in the other's.
    assert_eq!(&**ask(&in_header(&good())).unwrap().principal.issuer_name(), "header");
    assert_eq!(&**ask(&in_cookie(&other)).unwrap().principal.issuer_name(), "cookie");
    assert_eq!(ask(&in_cookie(&good())).unwrap_err().cause(), Cause::IssUnknown);
    assert_eq!(ask(&in_header(&other)).unwrap_err().cause(), Cause::IssUnknown);
    assert!(ask(&in_header(&good())).unwrap().cached && ask(&in_cookie(&other)).unwrap().cached);
    // The door is the same for both.
    let door = Guarded::new(
        Policy::Token { issuers: Arc::clone(&set), require: Require::nothing() },
        "action",
    );
    assert!(door.authorize(Some(ask(&in_cookie(&other)).unwrap().principal), now()).is_ok());
}

#[test]
fn j27_a_cookie_speaks_for_its_owner_only_on_the_same_origin() {
    let set = everywhere();
    let session = || line("cookie", format!("session={}", good()));
    let send = |method: &str, lines: &[(&'static str, String)]| {
        asked(&set, &head(method, "/", &[&[session()], lines].concat())).map(|_| ())
    };
    let own = || line("origin", "https://a.test");
    let refused = Err(Cause::CrossOriginCookie);
    for method in ["GET", "HEAD", "OPTIONS"] {
        for lines in [&[][..], &[line("origin", "https://evil.test")]] {
            assert_eq!(send(method, lines), Ok(()), "{method} {lines:?}");
        }
        assert_eq!(send(method, &[line("upgrade", "websocket")]), refused, "{method}");
        assert_eq!(send(method, &[line("upgrade", "websocket"), own()]), Ok(()), "{method}");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "get", "CONNECT"] {
        let site = |word| line("sec-fetch-site", word);
        assert_eq!(send(method, &[own()]), Ok(()), "{method}");
        assert_eq!(send(method, &[site("same-origin")]), Ok(()), "{method}");
        for lines in [
            &[][..],
            &[line("origin", "https://evil.test")],
            &[line("origin", "http://a.test")],
            &[line("origin", "https://a.test:8443")],
            &[line("origin", "null")],
            &[own(), own()],
            &[own(), site("cross-site")],
            &[own(), site("same-site")],
            &[site("none")],
            &[line("referer", "https://a.test/")],
        ] {
            assert_eq!(send(method, lines), refused, "{method} {lines:?}");
        }
    }
    let key = || line("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(send("GET", &[key()]), refused);
    assert_eq!(send("GET", &[key(), own()]), Ok(()));
    assert_eq!(Cause::CrossOriginCookie.reason(), Reason::Forbidden);
    // No other place is sent along by a browser by itself.
    for parts in carried(&good()) {
        let mut parts = parts;
        parts.method = hyper::Method::POST;
        let is_cookie = parts.headers.contains_key(COOKIE);
        let is_handshake = parts.headers.contains_key("upgrade");
        assert_eq!(asked(&set, &parts).is_ok(), !is_cookie && !is_handshake, "{parts:?}");
    }
}

#[test]
fn j27_a_proxy_s_question_says_nothing_of_the_method_that_a_cookie_came_with() {
    let set = everywhere();
    let ask = |lines: &[(&'static str, String)]| {
        let session = line("cookie", format!("session={}", good()));
        let parts = head("GET", "/", &[&[session], lines].concat());
        let asked = now_or_never(Gateway::new().ask_carried(&set, &parts, true));
        asked.map(|_| ()).map_err(|refusal| refusal.cause())
    };
    assert_eq!(ask(&[]), Err(Cause::CrossOriginCookie));
    assert_eq!(ask(&[line("sec-fetch-site", "cross-site")]), Err(Cause::CrossOriginCookie));
    assert_eq!(ask(&[line("sec-fetch-site", "same-origin")]), Ok(()));
    let bearer = head("GET", "/", &[line("authorization", format!("Bearer {}", good()))]);
    assert!(now_or_never(Gateway::new().ask_carried(&set, &bearer, true)).is_ok());
}

#[test]
fn j27_lenient_spellings_are_no_tokens() {
    let set = everywhere();
    let token = good();
    for (target, lines, cause) in [
        ("/".to_owned(), vec![line("cookie", format!("Session={token}"))], Cause::NameRespelled),
        (
            "/".to_owned(),
            vec![line("cookie", format!("a=1, session={token}"))],
            Cause::NameRespelled,
        ),
        ("/".to_owned(), vec![line("cookie", format!("session=\"{token}\""))], Cause::NotToken68),
        ("/".to_owned(), vec![line("x.token", &*token)], Cause::NameRespelled),
        ("/".to_owned(), vec![line("x-token", format!("Token {token}"))], Cause::NotToken68),
        ("/".to_owned(), vec![line("x-token", format!("\"{token}\""))], Cause::NotToken68),
        ("/".to_owned(), vec![line("x-token", "")], Cause::NoToken),
        (format!("/?T={token}"), vec![], Cause::NameRespelled),
        (format!("/?%74={token}"), vec![], Cause::NameRespelled),
        (format!("/?t={}", token.replace('.', "%2E")), vec![], Cause::NotToken68),
        (format!("/?t={token};a=1"), vec![], Cause::NameRespelled),
        (format!("/?t={token}+"), vec![], Cause::SignatureNotBase64),
        ("/".to_owned(), handshake(format!("Bearer, {token}")), Cause::NameRespelled),
        ("/".to_owned(), handshake(format!("bearer, \"{token}\"")), Cause::NotToken68),
        ("/".to_owned(), handshake("app.v1, bearer".to_owned()), Cause::NoToken),
        // Cleared.
        ("/?t=".to_owned(), vec![line("cookie", "session=")], Cause::NoCredentials),
        // Not in a handshake.
        (
            "/".to_owned(),
            vec![line("sec-websocket-protocol", format!("bearer, {token}"))],
            Cause::NoCredentials,
        ),
    ] {
        let parts = head("GET", &target, &lines);
        assert_eq!(asked(&set, &parts).unwrap_err(), cause, "{target} {lines:?}");
    }
}

/// What the application sees of a good token in each place: target, cookies, `x-token`,
/// `authorization`, subprotocols.
fn seen(upstream: TokenUpstream, parts: Parts) -> (Parts, Owed) {
    let mut settings = from(vec![
        Place::Header(AUTHORIZATION),
        header_place("x-token"),
        cookie("session"),
        query("t"),
        Place::WebSocketProtocol,
    ]);
    settings.token_upstream = upstream;
    let set = set_of(vec![settings]);
    let mut parts = parts;
    let principal = asked(&set, &parts).unwrap().principal;
    let owed = set.hand_over(Some(&principal), &mut parts);
    (parts, owed)
}

#[test]
fn j27_what_goes_on_is_what_token_upstream_says() {
    let token = good();
    for upstream in [TokenUpstream::Keep, TokenUpstream::Drop, TokenUpstream::Bearer] {
        for parts in carried(&token) {
            let before = format!("{parts:?}");
            let was_header = before.contains("authorization") || before.contains("x-token");
            let (parts, owed) = seen(upstream, parts);
            let after = format!("{parts:?} {:?}", parts.headers.get(AUTHORIZATION));
            let line = parts.headers.get(AUTHORIZATION).map(|line| line.to_str().unwrap());
            let kept = upstream == TokenUpstream::Keep && was_header;
            let whole = format!("Bearer {token}");
            match upstream {
                TokenUpstream::Bearer => assert_eq!(line, Some(&*whole), "{before}"),
                TokenUpstream::Keep if before.contains("authorization") => {
                    assert_eq!(line, Some(&*whole), "{before}");
                }
                TokenUpstream::Keep | TokenUpstream::Drop => assert_eq!(line, None, "{before}"),
            }
            assert_eq!(parts.headers.contains_key("x-token"), kept && before.contains("x-token"));
            assert!(!parts.uri.to_string().contains(&token), "{after}");
            assert!(parts.headers.get(COOKIE).is_none_or(|line| line == "a=1"), "{after}");
            let protocols = parts.headers.get("sec-websocket-protocol");
            assert!(protocols.is_none_or(|line| line == "app.v1"), "{after}");
            assert_eq!(owed == Owed::Subprotocol, before.contains("upgrade"), "{before}");
        }
    }
}

#[test]
fn j27_a_client_s_own_authorization_gives_way_to_the_verified_one() {
    let mut settings = from(vec![cookie("session")]);
    settings.token_upstream = TokenUpstream::Bearer;
    let set = set_of(vec![settings]);
    let lines = [
        line("cookie", format!("session={}", good())),
        line("authorization", "Bearer somebody.else.s"),
    ];
    let mut parts = head("GET", "/", &lines);
    let principal = asked(&set, &parts).unwrap().principal;
    set.hand_over(Some(&principal), &mut parts);
    let sent: Vec<_> = parts.headers.get_all(AUTHORIZATION).iter().collect();
    assert_eq!(sent, [&format!("Bearer {}", good())]);
    assert!(sent[0].is_sensitive() && !parts.headers.contains_key(COOKIE));
}

#[test]
fn j27_a_header_s_token_can_be_withheld_where_it_is_the_only_place() {
    let settings = IssuerSettings { token_upstream: TokenUpstream::Drop, ..strict_settings() };
    let set = set_of(vec![settings]);
    let mut parts = head("GET", "/", &[line("authorization", format!("bearer {}", good()))]);
    let principal = asked(&set, &parts).unwrap().principal;
    assert_eq!(set.hand_over(Some(&principal), &mut parts), Owed::Nothing);
    assert!(!parts.headers.contains_key(AUTHORIZATION));
    // As it came, but in the spelling that applications compare.
    let keeps = strict_set();
    let mut parts = head("GET", "/", &[line("authorization", format!("bearer {}", good()))]);
    let principal = asked(&keeps, &parts).unwrap().principal;
    keeps.hand_over(Some(&principal), &mut parts);
    assert_eq!(parts.headers[AUTHORIZATION], format!("Bearer {}", good()));
}

#[test]
fn j28_nobody_but_us_writes_the_authorization_that_applications_are_promised() {
    let forged = || line("authorization", "Bearer somebody.else.s");
    let mut bearer = from(vec![cookie("session")]);
    bearer.token_upstream = TokenUpstream::Bearer;
    let set = set_of(vec![bearer.clone()]);
    // Where a route lets requests without a token pass: it holds none that anybody looked at.
    let mut parts = head("GET", "/", &[forged()]);
    assert_eq!(asked(&set, &parts).unwrap_err(), Cause::NoCredentials, "the control");
    set.hand_over(None, &mut parts);
    assert_eq!(parts.headers.get(AUTHORIZATION), None);
    // Another issuer's principal, whose own token is withheld.
    let mut withheld = from(vec![header_place("x-token")]);
    withheld.name = "other".to_owned();
    withheld.iss = ExpectedIss::Url("https://other.example/".to_owned());
    withheld.token_upstream = TokenUpstream::Drop;
    let set = set_of(vec![bearer, withheld]);
    let token = sign(&header(), &with(claims(), "iss", json!("https://other.example/")));
    let mut parts = head("GET", "/", &[forged(), line("x-token", token)]);
    let principal = asked(&set, &parts).unwrap().principal;
    set.hand_over(Some(&principal), &mut parts);
    assert_eq!(parts.headers.get(AUTHORIZATION), None);
}

#[test]
fn an_authorization_that_is_none_of_our_places_is_the_application_s_own() {
    // What each says of a client's `Authorization: Basic` beside the cookie, with a token and without.
    let kept = |places: &[Place], upstream, cookie: String| {
        let mut settings = from(places.to_vec());
        settings.token_upstream = upstream;
        let set = set_of(vec![settings]);
        let lines = [line("cookie", cookie), line("authorization", "Basic eDp5")];
        let mut parts = head("GET", "/", &lines);
        let principal = asked(&set, &parts).ok().map(|found| found.principal);
        set.hand_over(principal.as_deref(), &mut parts);
        parts.headers.get(AUTHORIZATION).map(|line| line.to_str().unwrap().to_owned())
    };
    let (basic, session) = (Some("Basic eDp5".to_owned()), format!("session={}", good()));
    for upstream in [TokenUpstream::Keep, TokenUpstream::Drop] {
        for cookie_line in [&*session, "a=1"] {
            assert_eq!(kept(&[cookie("session")], upstream, cookie_line.to_owned()), basic);
        }
    }
    // It is ours where a token is written there, and an anonymous one's where it was looked at.
    let (one, both) = ([cookie("session")], [cookie("session"), Place::Header(AUTHORIZATION)]);
    assert_eq!(kept(&one, TokenUpstream::Bearer, "a=1".to_owned()), None);
    assert_eq!(kept(&both, TokenUpstream::Bearer, "a=1".to_owned()), basic);
}

#[test]
fn j27_whoever_is_anonymous_sends_on_what_is_no_token() {
    let set = everywhere();
    let door = Guarded::new(Policy::Anonymous { issuers: Arc::clone(&set) }, "action");
    let forgiven = |parts: &Parts| {
        let refusal = now_or_never(Gateway::new().ask_whole(&set, parts)).unwrap_err();
        door.policy().forgives(&refusal)
    };
    assert!(forgiven(&head("GET", "/", &[])));
    assert!(forgiven(&head("GET", "/?t=", &[line("cookie", "session=; a=1")])));
    assert!(forgiven(&head("GET", "/", &[line("authorization", "Basic eDp5")])));
    for (target, lines) in [
        ("/", vec![line("authorization", "Bearer")]),
        ("/", vec![line("authorization", "Bearer a.b.c")]),
        ("/", vec![line("authorization", "Bearer a"), line("authorization", "Bearer a")]),
        ("/", vec![line("cookie", "session=x")]),
        ("/", vec![line("cookie", "SESSION=x")]),
        ("/?t=x", vec![]),
        ("/", vec![line("x-token", "")]),
        ("/", handshake("bearer".to_owned())),
    ] {
        assert!(!forgiven(&head("GET", target, &lines)), "{target} {lines:?}");
    }
    let refused = now_or_never(Gateway::new().ask_whole(&set, &head("GET", "/", &[])));
    let token_only = Policy::Token { issuers: Arc::clone(&set), require: Require::nothing() };
    assert!(
        !token_only.forgives(&refused.unwrap_err())
            && !Policy::Public.forgives(&Cause::NoCredentials.into())
    );

    let mut parts = head(
        "GET",
        "/?t=&b=1",
        &[line("cookie", "session=; a=1"), line("authorization", "Basic eDp5")],
    );
    assert_eq!(set.hand_over(None, &mut parts), Owed::Nothing);
    assert_eq!(
        (parts.uri.to_string(), &parts.headers[COOKIE]),
        ("/?b=1".to_owned(), &HeaderValue::from_static("a=1"))
    );
    assert_eq!(parts.headers[AUTHORIZATION], "Basic eDp5");
}

proptest! {
    /// Whatever surrounds a token, at most one credential passes, and nothing of it goes on.
    #[test]
    fn j27_no_arrangement_passes_two_tokens_or_sends_one_on(
        query in "(t|T|%74|a)=(GOOD|x)?(&(t|a|t\\[\\])=(GOOD|y))?",
        cookies in prop::collection::vec("(session|Session|a)=(GOOD|x)?([;,] ?(session|b)=(GOOD|y))?", 0..3),
        bearer in prop::option::of("(Bearer|Basic) (GOOD|x)"),
    ) {
        let token = good();
        let fill = |text: &str| text.replace("GOOD", &token);
        let mut lines: Vec<_> = cookies.iter().map(|text| line("cookie", fill(text))).collect();
        lines.extend(bearer.iter().map(|text| line("authorization", fill(text))));
        let mut parts = head("GET", &format!("/?{}", fill(&query)), &lines);
        let set = everywhere();
        if let Ok(authenticated) = asked(&set, &parts) {
            set.hand_over(Some(&authenticated.principal), &mut parts);
            let found = set.find_token(Carrier { parts: &parts, scheme: Scheme::Https, host: None, cors: None, is_question: false });
            prop_assert_eq!(found.is_ok(), parts.headers.contains_key(AUTHORIZATION));
        }
    }
}
