//! The demo's issuer over loopback.

use super::super::loopback::tests::{listener, send};
use super::*;
use crate::clock::UnixTime;
use crate::keys::jwks::parse_set;

const NOW: u64 = 1_700_000_000;

fn issuer(clock: &Clock) -> Issuer {
    let user = User { username: "ada".to_owned(), password: "lovelace".to_owned() };
    Issuer::start(listener(), &Handle::current(), user, clock.clone()).unwrap()
}

fn fixed() -> Clock {
    Clock::fixed(UnixTime::from_secs(NOW))
}

async fn get(issuer: &Issuer, path: &str) -> Value {
    let request = Request::get(path).body(Full::default()).unwrap();
    let response = send(issuer.server(), request).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    serde_json::from_slice(response.body()).unwrap()
}

async fn post(issuer: &Issuer, path: &str, body: impl ToString) -> (u16, Value) {
    let request = Request::post(path).body(Full::from(body.to_string())).unwrap();
    let response = send(issuer.server(), request).await;
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

async fn sign_in(issuer: &Issuer) -> (String, String) {
    let credentials = json!({ "username": "ada", "password": "lovelace" });
    let (status, pair) = post(issuer, TOKEN, credentials).await;
    assert_eq!(status, 200);
    let text = |name: &str| pair[name].as_str().unwrap().to_owned();
    (text("access"), text("refresh"))
}

/// Header and claims, if a published key has signed the token.
async fn open(issuer: &Issuer, token: &str) -> Option<(Map<String, Value>, Map<String, Value>)> {
    let set = parse_set(get(issuer, JWKS).await.to_string().as_bytes()).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    set.keys
        .iter()
        .any(|key| key.verify(Algorithm::ES256, message.as_bytes(), &signature))
        .then(|| (part(header).unwrap(), part(claims).unwrap()))
}

#[tokio::test]
async fn discovery_leads_to_the_keys() {
    let issuer = issuer(&fixed());
    let document = get(&issuer, DISCOVERY).await;
    assert_eq!(document["issuer"], issuer.url());
    assert_eq!(document["jwks_uri"], format!("{}{JWKS}", issuer.url()));
    assert_eq!(issuer.jwks_requests(), 0);
    assert_eq!(get(&issuer, JWKS).await["keys"].as_array().unwrap().len(), 1);
    assert_eq!(issuer.jwks_requests(), 1);
}

#[tokio::test]
async fn the_user_gets_an_access_and_a_refresh_token() {
    let issuer = issuer(&fixed());
    let (access, refresh) = sign_in(&issuer).await;
    let (header, claims) = open(&issuer, &access).await.unwrap();
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(header["alg"], "ES256");
    for (name, value) in [
        ("iss", json!(issuer.url())),
        ("aud", json!("portcullis-demo")),
        ("sub", json!("ada")),
        ("scope", json!("orders:read")),
        ("token_type", json!("access")),
        ("iat", json!(NOW)),
        ("exp", json!(NOW + 300)),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    let (header, other) = open(&issuer, &refresh).await.unwrap();
    assert_eq!(header["typ"], "refresh+jwt");
    assert_eq!(other["token_type"], "refresh");
    assert_eq!(other["exp"], NOW + 86_400);
    assert_ne!(other["aud"], claims["aud"]);
    assert_ne!(other["jti"], claims["jti"]);
    assert!(other.get("scope").is_none());
}

#[tokio::test]
async fn wrong_credentials_and_wrong_bodies_are_refused() {
    let issuer = issuer(&fixed());
    for (body, status, code) in [
        (r#"{"username": "ada", "password": "wrong"}"#.to_owned(), 401, "no_active_account"),
        (r#"{"username": "eve", "password": "lovelace"}"#.to_owned(), 401, "no_active_account"),
        (r#"{"username": "ada"}"#.to_owned(), 400, "parse_error"),
        ("username=ada&password=lovelace".to_owned(), 400, "parse_error"),
        (" ".repeat(MAX_BODY + 1), 413, "body"),
    ] {
        let (got, answer) = post(&issuer, TOKEN, body).await;
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)));
    }
}

#[tokio::test]
async fn a_refresh_token_gets_access_tokens_until_it_expires() {
    let clock = fixed();
    let issuer = issuer(&clock);
    let (access, refresh) = sign_in(&issuer).await;
    clock.set(UnixTime::from_secs(NOW + 86_399));
    let (status, answer) = post(&issuer, REFRESH, json!({ "refresh": refresh })).await;
    assert_eq!(status, 200);
    let (_, claims) = open(&issuer, answer["access"].as_str().unwrap()).await.unwrap();
    assert_eq!(claims["sub"], "ada");
    assert_eq!(claims["exp"], NOW + 86_399 + 300);
    clock.set(UnixTime::from_secs(NOW + 86_400));
    for bad in [refresh.as_str(), access.as_str(), "", "a.b.c", &refresh.replace('.', ".e30.")] {
        let (status, answer) = post(&issuer, REFRESH, json!({ "refresh": bad })).await;
        assert_eq!((status, answer["code"].as_str()), (401, Some("token_not_valid")));
    }
}

#[tokio::test]
async fn an_access_token_refreshes_nothing_and_a_tampered_one_neither() {
    let issuer = issuer(&fixed());
    let (access, refresh) = sign_in(&issuer).await;
    let (message, signature) = refresh.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let mut claims = part(payload).unwrap();
    claims.insert("sub".to_owned(), "root".into());
    let forged = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).unwrap());
    for bad in [access, format!("{header}.{forged}.{signature}")] {
        let (status, _) = post(&issuer, REFRESH, json!({ "refresh": bad })).await;
        assert_eq!(status, 401);
    }
}

#[tokio::test]
async fn a_key_survives_one_rotation_and_not_two() {
    let issuer = issuer(&fixed());
    let (first, refresh) = sign_in(&issuer).await;
    let (status, answer) = post(&issuer, ROTATE, "").await;
    assert_eq!(status, 200);
    let (second, _) = sign_in(&issuer).await;
    let (header, _) = open(&issuer, &second).await.unwrap();
    assert_eq!(header["kid"], answer["kid"]);
    assert!(open(&issuer, &first).await.is_some());
    assert_eq!(post(&issuer, REFRESH, json!({ "refresh": refresh })).await.0, 200);
    post(&issuer, ROTATE, "").await;
    assert!(open(&issuer, &first).await.is_none());
    assert!(open(&issuer, &second).await.is_some());
    assert_eq!(post(&issuer, REFRESH, json!({ "refresh": refresh })).await.0, 401);
}

#[tokio::test]
async fn other_methods_paths_and_web_pages_are_refused() {
    let issuer = issuer(&fixed());
    for (method, path, status, allow) in [
        ("GET", TOKEN, 405, Some("POST")),
        ("GET", ROTATE, 405, Some("POST")),
        ("POST", JWKS, 405, Some("GET, HEAD")),
        ("GET", "/", 404, None),
        ("POST", "/api/token", 404, None),
    ] {
        let request = Request::builder().method(method).uri(path).body(Full::default()).unwrap();
        let response = send(issuer.server(), request).await;
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        let got = response.headers().get(header::ALLOW).map(|value| value.to_str().unwrap());
        assert_eq!(got, allow);
    }
    let request = Request::post(ROTATE)
        .header(header::ORIGIN, "https://example.com")
        .body(Full::default())
        .unwrap();
    assert_eq!(send(issuer.server(), request).await.status(), StatusCode::FORBIDDEN);
}
