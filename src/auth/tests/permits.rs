//! The door: who gets a permit, and that nobody gets one otherwise.

use super::*;
use crate::auth::{Denial, Guarded, Policy};
use crate::telemetry::labels::Reason;

fn guarded(set: &Arc<IssuerSet>, require: Require) -> Guarded<&'static str> {
    Guarded::new(Policy::Token { issuers: Arc::clone(set), require }, "action")
}

fn principal(set: &IssuerSet, claims: &Value) -> Arc<Principal> {
    explained(set, &sign(&header(), claims)).1.unwrap()
}

fn scope(any: &str) -> Require {
    Require::new(vec![vec![Clause::new("scope", vec![json!(any)], vec![], vec![]).unwrap()]])
}

#[test]
fn a_public_action_is_open_and_knows_nobody() {
    let door = Guarded::new(Policy::Public, "action");
    let ada = principal(&strict_set(), &claims());
    for who in [None, Some(ada)] {
        let permit = door.authorize(who, now()).unwrap();
        assert_eq!(*permit.action(), "action");
        assert!(permit.principal().is_none());
        assert!(permit.valid_until().is_none());
    }
    assert_eq!(door.policy().to_string(), "public");
}

#[test]
fn a_valid_principal_gets_a_permit_until_its_token_ends() {
    let set = strict_set();
    let door = guarded(&set, scope("orders:read"));
    let ada = principal(&set, &with(claims(), "scope", json!("orders:read")));
    let permit = door.authorize(Some(Arc::clone(&ada)), now()).unwrap();
    assert!(Arc::ptr_eq(permit.principal().unwrap(), &ada));
    assert_eq!(permit.valid_until(), Some(UnixTime::from_secs(NOW + 330)));
    assert_eq!(door.policy().to_string(), r#"main: scope any of ["orders:read"]"#);
}

#[test]
fn a_part_of_an_action_is_for_whom_the_whole_is_and_as_long() {
    let set = strict_set();
    let policy = Policy::Token { issuers: Arc::clone(&set), require: Require::nothing() };
    let door = Guarded::new(policy, ("left", "right"));
    let ada = principal(&set, &claims());
    let whole = door.authorize(Some(Arc::clone(&ada)), now()).unwrap();
    let right = whole.narrow(|both| Some(&both.1)).unwrap();
    assert!(whole.narrow(|_| None::<&&str>).is_none());
    let left = whole.into_part(|both| &both.0);
    for (part, action) in [(left, "left"), (right, "right")] {
        assert_eq!(*part.action(), action);
        assert!(Arc::ptr_eq(part.principal().unwrap(), &ada));
        assert_eq!(part.valid_until(), Some(UnixTime::from_secs(NOW + 330)));
    }
}

#[test]
fn where_anonymous_may_pass_nobody_and_the_issuer_s_own_do() {
    let set = strict_set();
    let door = Guarded::new(Policy::Anonymous { issuers: Arc::clone(&set) }, "action");
    let nobody = door.authorize(None, now()).unwrap();
    assert!(nobody.principal().is_none() && nobody.valid_until().is_none());
    let ada = principal(&set, &claims());
    let permit = door.authorize(Some(Arc::clone(&ada)), now()).unwrap();
    assert!(Arc::ptr_eq(permit.principal().unwrap(), &ada));
    assert_eq!(permit.valid_until(), Some(UnixTime::from_secs(NOW + 330)));
    // A principal that may not be here is refused, never let in as nobody.
    let end = UnixTime::from_secs(NOW + 330);
    assert_eq!(door.authorize(Some(Arc::clone(&ada)), end).unwrap_err(), Denial::Expired);
    let other = Guarded::new(Policy::Anonymous { issuers: simplejwt_set() }, "action");
    assert_eq!(other.authorize(Some(ada), now()).unwrap_err(), Denial::ForeignIssuer);
    assert_eq!(door.policy().to_string(), "main, or anonymous");
}

#[test]
fn nobody_else_gets_one() {
    let set = strict_set();
    let ada = principal(&set, &claims());
    let open = || guarded(&set, Require::nothing());
    assert!(open().authorize(Some(Arc::clone(&ada)), now()).is_ok(), "the control");

    let denied = |door: &Guarded<&'static str>, who, at| door.authorize(who, at).unwrap_err();
    assert_eq!(denied(&open(), None, now()), Denial::Unauthenticated);
    let end = UnixTime::from_secs(NOW + 330);
    assert_eq!(denied(&open(), Some(Arc::clone(&ada)), end), Denial::Expired);
    let django = guarded(&simplejwt_set(), Require::nothing());
    assert_eq!(denied(&django, Some(Arc::clone(&ada)), now()), Denial::ForeignIssuer);
    let unscoped = denied(&guarded(&set, scope("x")), Some(Arc::clone(&ada)), now());
    assert_eq!(unscoped, Denial::InsufficientScope { scope: "x".to_owned() });
    let admin = Clause::new("/realm_access/roles", vec![], vec![json!("root")], vec![]).unwrap();
    let admins = guarded(&set, Require::new(vec![vec![admin]]));
    assert_eq!(denied(&admins, Some(ada), now()), Denial::Forbidden);
}

#[test]
fn a_changed_issuer_refuses_principals_of_the_old_one() {
    let ada = principal(&strict_set(), &claims());
    let mut settings = strict_settings();
    settings.require = Require::nothing();
    let changed = IssuerSet::new(vec![Issuer::new(settings, secret_keys())]).unwrap();
    let door = guarded(&changed, Require::nothing());
    assert_eq!(door.authorize(Some(ada), now()).unwrap_err(), Denial::ForeignIssuer);
}

#[test]
fn each_denial_has_its_reason() {
    for (denial, reason) in [
        (Denial::Expired, Reason::TokenExpired),
        (Denial::Forbidden, Reason::Forbidden),
        (Denial::ForeignIssuer, Reason::UnknownIssuer),
        (Denial::InsufficientScope { scope: "a".to_owned() }, Reason::InsufficientScope),
        (Denial::Unauthenticated, Reason::TokenMissing),
    ] {
        assert_eq!(denial.reason(), reason);
    }
}
