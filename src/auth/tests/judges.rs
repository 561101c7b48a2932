//! Tokens that several issuers of a route may judge: whose refusal is told.

use std::time::Duration;

use super::*;
use crate::auth::Cause;
use crate::keys::{RefreshSettings, Source};
use crate::telemetry::metrics::Metrics;

/// Keys that nobody has fetched yet.
fn no_keys_yet() -> Arc<KeySet> {
    let settings = RefreshSettings::new(crate::tls::client::config(None).unwrap());
    let source = Source::JwksUrl("http://127.0.0.1:9/jwks".to_owned());
    KeySet::remote(source, settings, clock(), Metrics::new(), "late").unwrap()
}

fn named(name: &str, change: impl FnOnce(&mut IssuerSettings)) -> IssuerSettings {
    let mut settings = IssuerSettings { name: name.to_owned(), ..strict_settings() };
    change(&mut settings);
    settings
}

/// The cause and the issuer of the refusal, in both orders of the issuers' names.
fn refused(
    first: (IssuerSettings, Arc<KeySet>),
    second: (IssuerSettings, Arc<KeySet>),
    token: &str,
) -> [(Cause, Option<String>); 2] {
    [["a", "b"], ["b", "a"]].map(|names| {
        let twins = [first.clone(), second.clone()].into_iter().zip(names);
        let issuers = twins.map(|((settings, keys), prefix)| {
            let name = format!("{prefix}-{}", settings.name);
            Issuer::new(IssuerSettings { name, ..settings }, keys)
        });
        let set = IssuerSet::new(issuers.collect()).unwrap();
        let refusal = explained(&set, token).1.unwrap_err();
        (refusal.cause(), refusal.issuer().map(|name| name.chars().skip(2).collect()))
    })
}

#[test]
fn the_issuer_that_came_further_is_told() {
    let typed = named("typed", |s| s.types = vec!["at+jwt".to_owned()]);
    let other = named("other", |s| s.audience = Audience::OneOf(vec!["shop".to_owned()]));
    let both = refused((typed, secret_keys()), (other, secret_keys()), &good());
    assert_eq!(both, [(); 2].map(|()| (Cause::AudNotAllowed, Some("other".to_owned()))));
}

#[test]
fn of_two_that_came_as_far_the_first_is_told() {
    let typed = |name: &str| named(name, |s| s.types = vec!["at+jwt".to_owned()]);
    let both = refused((typed("x"), secret_keys()), (typed("y"), secret_keys()), &good());
    let told = both.map(|(_, issuer)| issuer.unwrap());
    assert_eq!(told, ["x", "y"], "a-x before b-y, and a-y before b-x");
}

#[test]
fn keys_that_are_missing_outweigh_what_could_have_gone_otherwise_with_them() {
    let late = || (named("late", |_| {}), no_keys_yet());
    let unavailable = (Cause::KeysUnavailable, Some("late".to_owned()));
    let strange = KeySet::fixed(vec![from_secret(OTHER_SECRET).unwrap()]);
    let known = |keys| (named("known", |_| {}), keys);
    let typed = named("typed", |s| s.types = vec!["at+jwt".to_owned()]);
    for other in [known(KeySet::fixed(Vec::new())), known(strange), (typed, secret_keys())] {
        let both = refused(late(), other, &good());
        assert_eq!(both, [unavailable.clone(), unavailable.clone()]);
    }
    // Whose signature it is, is not in doubt.
    let expired = sign(&header(), &with(claims(), "exp", json!(NOW - 1000)));
    let both = refused(late(), known(secret_keys()), &expired);
    assert_eq!(both, [(); 2].map(|()| (Cause::Expired, Some("known".to_owned()))));
}

#[test]
fn j15_each_issuer_has_its_own_size() {
    let size = good().len();
    let set = |least: usize, most: usize| {
        let issuers = [("small", least), ("large", most)].map(|(name, max)| {
            let settings = named(name, |s| {
                s.max_token_size = max;
                if name == "large" {
                    s.iss = ExpectedIss::Url("https://other.example/".to_owned());
                }
            });
            Issuer::new(settings, secret_keys())
        });
        IssuerSet::new(issuers.to_vec()).unwrap()
    };
    assert!(explained(&set(size, 2 * size), &good()).1.is_ok(), "the longest that it takes");
    let (findings, refused) = explained(&set(size - 1, 2 * size), &good());
    let refused = refused.unwrap_err();
    assert_eq!((refused.cause(), refused.issuer()), (Cause::TooLarge, Some("small")));
    assert_eq!(findings.last().unwrap().outcome, Err(Cause::TooLarge));
    // Of all of them, before anything is decoded.
    assert!(explained(&set(1, size), "a".repeat(size).as_str()).0.len() == 2);
    assert_eq!(explained(&set(1, size), "a".repeat(size + 1).as_str()).0.len(), 1);
}

#[test]
fn a_lifetime_ends_where_it_says() {
    let set = |max: u64| {
        let settings = named("main", |s| s.max_lifetime = Some(Duration::from_secs(max)));
        IssuerSet::new(vec![Issuer::new(settings, secret_keys())]).unwrap()
    };
    assert!(explained(&set(300), &good()).1.is_ok());
    assert_eq!(explained(&set(299), &good()).1.unwrap_err().cause(), Cause::LifetimeTooLong);
}
