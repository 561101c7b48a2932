//! Tokens while their issuer's keys come, change and go, over real sockets.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::auth::Cause;
use crate::keys::signing::{Signer, jwks};
use crate::keys::{Refresh, RefreshSettings, Source};
use crate::telemetry::metrics::Metrics;

/// An issuer's JWKS on loopback; `None` breaks every connection.
struct KeyServer {
    body: Arc<Mutex<Option<String>>>,
    url: String,
}

impl KeyServer {
    async fn start(body: Option<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let body = Arc::new(Mutex::new(body.map(|body| body.to_string())));
        let shared = Arc::clone(&body);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(body) = shared.lock().clone() else { continue };
                let mut request = [0; 4096];
                let _read = stream.read(&mut request).await;
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                     Content-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let _sent = stream.write_all(format!("{head}{body}").as_bytes()).await;
                let _closed = stream.shutdown().await;
            }
        });
        Self { body, url }
    }

    fn publish(&self, body: Option<Value>) {
        *self.body.lock() = body.map(|body| body.to_string());
    }

    /// An issuer that refreshes `every`, with no cool-down, and its keys.
    fn issuer(&self, every: Duration) -> (Arc<IssuerSet>, Arc<KeySet>) {
        self.issuer_at(every, clock())
    }

    fn issuer_at(&self, every: Duration, clock: Clock) -> (Arc<IssuerSet>, Arc<KeySet>) {
        let tls = crate::tls::client::config(None).unwrap();
        let mut refresh = RefreshSettings::new(tls);
        refresh.refresh = Refresh::Every(every);
        refresh.unknown_kid_cooldown = Duration::ZERO;
        refresh.retry_first = Duration::from_millis(20);
        refresh.retry_longest = Duration::from_millis(20);
        let source = Source::JwksUrl(self.url.clone());
        let keys = KeySet::remote(source, refresh, clock, Metrics::new(), "live").unwrap();
        let url = ExpectedIss::Url(URL.to_owned());
        let settings = IssuerSettings::new("live", url, Audience::Any);
        let issuer = Issuer::new(settings, Arc::clone(&keys));
        (IssuerSet::new(vec![issuer]).unwrap(), keys)
    }
}

fn token(signer: &Signer) -> String {
    let claims = json!({"iss": URL, "exp": NOW + 300});
    signer.sign(json!({}).as_object().unwrap(), claims.as_object().unwrap()).unwrap()
}

/// Asks until the answer is as wanted; the test's own limit ends it otherwise.
async fn until(
    gateway: &Gateway,
    set: &IssuerSet,
    token: &str,
    wanted: impl Fn(&Result<Authenticated, Refusal>) -> bool,
) {
    let asking = async {
        while !wanted(&gateway.ask(set, token).await) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("it never came to that");
}

fn refused(cause: Cause) -> impl Fn(&Result<Authenticated, Refusal>) -> bool {
    move |result| result.as_ref().is_err_and(|refusal| refusal.cause() == cause)
}

#[tokio::test]
async fn without_keys_the_answer_is_unavailable_and_never_yes() {
    let server = KeyServer::start(None).await;
    let (set, keys) = server.issuer(Duration::from_secs(600));
    let (gateway, signer) = (Gateway::new(), Signer::generate().unwrap());
    let token = token(&signer);
    assert!(refused(Cause::KeysUnavailable)(&gateway.ask(&set, &token).await), "not started");
    keys.start(&tokio::runtime::Handle::current());
    for _ in 0..5 {
        assert!(refused(Cause::KeysUnavailable)(&gateway.ask(&set, &token).await), "no answer");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.publish(Some(jwks([&signer])));
    until(&gateway, &set, &token, Result::is_ok).await;
}

#[tokio::test]
async fn a_new_key_is_fetched_by_the_first_token_that_names_it() {
    let (old, new) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let server = KeyServer::start(Some(jwks([&old]))).await;
    let (set, keys) = server.issuer(Duration::from_secs(600));
    keys.start(&tokio::runtime::Handle::current());
    let gateway = Gateway::new();
    until(&gateway, &set, &token(&old), Result::is_ok).await;
    until(&gateway, &set, &token(&new), refused(Cause::KidUnknown)).await;
    server.publish(Some(jwks([&old, &new])));
    until(&gateway, &set, &token(&new), Result::is_ok).await;
    assert!(gateway.ask(&set, &token(&old)).await.is_ok());
}

#[tokio::test]
async fn a_removed_key_takes_its_cached_tokens_along() {
    let (leaving, staying) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let server = KeyServer::start(Some(jwks([&leaving, &staying]))).await;
    let (set, keys) = server.issuer(Duration::from_millis(50));
    keys.start(&tokio::runtime::Handle::current());
    let gateway = Gateway::new();
    let (gone, kept) = (token(&leaving), token(&staying));
    until(&gateway, &set, &gone, |result| result.as_ref().is_ok_and(|a| a.cached)).await;
    until(&gateway, &set, &kept, |result| result.as_ref().is_ok_and(|a| a.cached)).await;
    server.publish(Some(jwks([&staying])));
    until(&gateway, &set, &gone, refused(Cause::KidUnknown)).await;
    assert!(gateway.ask(&set, &kept).await.unwrap().cached, "an unchanged key keeps its tokens");
}

#[tokio::test]
async fn j25_a_remembered_refusal_never_outlives_the_keys_that_made_it() {
    let (old, new) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let named = |signer: &Signer| {
        let mut jwk = signer.jwk().clone();
        jwk["kid"] = json!("one");
        json!({ "keys": [jwk] })
    };
    let server = KeyServer::start(Some(named(&old))).await;
    let (set, keys) = server.issuer(Duration::from_millis(50));
    keys.start(&tokio::runtime::Handle::current());
    let gateway = Gateway::new();
    let claims = json!({"iss": URL, "exp": NOW + 300});
    let header = json!({"kid": "one"});
    let token = new.sign(header.as_object().unwrap(), claims.as_object().unwrap()).unwrap();
    until(&gateway, &set, &token, refused(Cause::BadSignature)).await;
    // Another key under the same name: no unknown kid, no fetch on demand, and the clock stands
    // still, so that nothing but the change itself can end the refusal.
    server.publish(Some(named(&new)));
    until(&gateway, &set, &token, Result::is_ok).await;
}

#[tokio::test]
async fn an_issuer_that_fails_does_not_end_good_tokens() {
    let (known, unknown) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let server = KeyServer::start(Some(jwks([&known]))).await;
    let (set, keys) = server.issuer(Duration::from_millis(50));
    keys.start(&tokio::runtime::Handle::current());
    let gateway = Gateway::new();
    until(&gateway, &set, &token(&known), Result::is_ok).await;
    server.publish(None);
    // Not a word against the token: the issuer might have vouched for it.
    until(&gateway, &set, &token(&unknown), refused(Cause::KeysUnavailable)).await;
    assert!(gateway.ask(&set, &token(&known)).await.is_ok());
}

#[tokio::test]
async fn keys_too_old_to_trust_end_cached_tokens_too() {
    let signer = Signer::generate().unwrap();
    let server = KeyServer::start(Some(jwks([&signer]))).await;
    let age = clock();
    let (set, keys) = server.issuer_at(Duration::from_secs(600), age.clone());
    keys.start(&tokio::runtime::Handle::current());
    // One token: a second signature over the same claims would be another.
    let (gateway, token) = (Gateway::new(), token(&signer));
    until(&gateway, &set, &token, |result| result.as_ref().is_ok_and(|a| a.cached)).await;
    server.publish(None);
    age.set(UnixTime::from_secs(NOW + 25 * 60 * 60));
    until(&gateway, &set, &token, refused(Cause::KeysUnavailable)).await;
}
