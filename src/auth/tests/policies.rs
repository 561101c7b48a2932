//! Policies attacked: requirements against a second reading of the same words, and issuers that
//! share a route but nothing else.

use proptest::prelude::*;

use super::*;
use crate::auth::{ClaimPath, Denial, Guarded, Policy, Unmet};

/// One clause as an operator writes it.
type Written = (String, Vec<Value>, Vec<Value>, Vec<Value>);

/// The contract's words, read once more: every named claim; per claim one of `any`, all of `all`,
/// none of `none`; what is no scalar and no list of scalars can't be judged and fails.
fn holds(alternatives: &[Vec<Written>], claims: &Value) -> bool {
    alternatives.iter().any(|clauses| clauses.iter().all(|clause| holds_one(clause, claims)))
}

fn holds_one((name, any, all, none): &Written, claims: &Value) -> bool {
    let claimed = if name == "scope" {
        let (scope, scp) = (words(&claims["scope"]), words(&claims["scp"]));
        scope.zip(scp).map(|(scope, scp)| [scope, scp].concat())
    } else if name.starts_with('/') {
        listed(claims.pointer(name).unwrap_or(&Value::Null))
    } else {
        listed(&claims[name.as_str()])
    };
    let Some(claimed) = claimed else { return false };
    (any.is_empty() || any.iter().any(|wanted| claimed.contains(wanted)))
        && all.iter().all(|wanted| claimed.contains(wanted))
        && !none.iter().any(|refused| claimed.contains(refused))
}

fn listed(claim: &Value) -> Option<Vec<Value>> {
    let is_scalar = |value: &Value| !(value.is_null() || value.is_array() || value.is_object());
    match claim {
        Value::Null => Some(Vec::new()),
        Value::Array(items) => items.iter().all(is_scalar).then(|| items.clone()),
        value => is_scalar(value).then(|| vec![value.clone()]),
    }
}

fn words(claim: &Value) -> Option<Vec<Value>> {
    match claim {
        Value::String(text) => {
            Some(text.split(' ').filter(|word| !word.is_empty()).map(Value::from).collect())
        }
        other => listed(other),
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(vec!["a", "b", "A", "a b", "1"]).prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ]
}

/// What a claim can be: mostly scalars and lists, and whatever else an issuer might write.
fn claim() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => scalar(),
        4 => prop::collection::vec(scalar(), 0..3).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!({"a": true})),
        1 => Just(json!([["a"]])),
        1 => Just(json!(["a", null])),
    ]
}

fn any_claims() -> impl Strategy<Value = Value> {
    (claim(), claim(), claim(), claim()).prop_map(|(scope, scp, role, deep)| {
        json!({
            "scope": scope, "scp": scp, "role": &role,
            "x": { "y/z": [deep, "b"], "roles": role },
        })
    })
}

fn written() -> impl Strategy<Value = Written> {
    let names = vec!["scope", "role", "absent", "/x/roles", "/x/y~1z", "/x/y~1z/0", "/x/no", "x"];
    let lists = || prop::collection::vec(scalar(), 0..3);
    (prop::sample::select(names), lists(), lists(), lists()).prop_map(|(name, any, all, none)| {
        // A scope is one word.
        let fit = |values: Vec<Value>| -> Vec<Value> {
            let is_word = |value: &Value| value.as_str().is_some_and(|text| !text.contains(' '));
            values.into_iter().filter(|value| name != "scope" || is_word(value)).collect()
        };
        (name.to_owned(), fit(any), fit(all), fit(none))
    })
}

fn compile(alternatives: &[Vec<Written>]) -> Require {
    let clause = |(name, any, all, none): &Written| {
        Clause::new(name, any.clone(), all.clone(), none.clone()).unwrap()
    };
    Require::new(alternatives.iter().map(|one| one.iter().map(clause).collect()).collect())
}

fn checked(require: &Require, claims: &Value) -> Result<(), Unmet> {
    require.check(&crate::auth::Claims::new(claims.as_object().cloned().unwrap()))
}

proptest! {
    #[test]
    fn a_requirement_is_what_its_words_say(
        alternatives in prop::collection::vec(prop::collection::vec(written(), 1..3), 1..4),
        claims in any_claims(),
    ) {
        let require = compile(&alternatives);
        prop_assert_eq!(
            checked(&require, &claims).is_ok(),
            holds(&alternatives, &claims),
            "{} {}", require, claims
        );
    }

    /// Whatever is told to a client who lacks scope: with it, and with nothing else, it may.
    #[test]
    fn the_scope_that_is_named_opens(
        alternatives in prop::collection::vec(prop::collection::vec(written(), 1..3), 1..4),
        claims in any_claims(),
    ) {
        let require = compile(&alternatives);
        if let Err(Unmet::Scope(wanted)) = checked(&require, &claims) {
            let mut richer = claims.clone();
            let held = words(&claims["scope"]).unwrap_or_default();
            let held = held.iter().filter_map(Value::as_str);
            let all: Vec<&str> = held.chain(wanted.split(' ')).collect();
            richer["scope"] = json!(all);
            let opened = checked(&require, &richer);
            // Unless a scope that one clause asks for is one that another refuses.
            let refused = alternatives.iter().flatten().any(|(name, _, _, none)| {
                name == "scope" && none.iter().any(|one| all.contains(&one.as_str().unwrap()))
            });
            prop_assert!(opened.is_ok() || refused, "{} {} + {}", require, claims, wanted);
        }
    }

    #[test]
    fn both_of_two_requirements_hold_or_neither_opens(
        left in prop::collection::vec(prop::collection::vec(written(), 1..3), 1..3),
        right in prop::collection::vec(prop::collection::vec(written(), 1..3), 1..3),
        claims in any_claims(),
    ) {
        let both = compile(&left).and(compile(&right));
        let expected = holds(&left, &claims) && holds(&right, &claims);
        prop_assert_eq!(checked(&both, &claims).is_ok(), expected);
    }
}

/// An issuer with an identity of its own: header, claim, secret.
fn issuer(name: &str, url: &str, header: &'static str, claim: &str, secret: &[u8]) -> Arc<Issuer> {
    let mut settings = strict_settings();
    settings.name = name.to_owned();
    settings.iss = ExpectedIss::Url(url.to_owned());
    let claim: ClaimPath = claim.parse().unwrap();
    settings.identity = IdentityHeaders::new([(HeaderName::from_static(header), claim)]);
    Issuer::new(settings, KeySet::fixed(vec![from_secret(secret).unwrap()]))
}

#[test]
fn issuers_of_one_route_bring_each_their_own_identity_and_no_other_s() {
    const OTHER: &str = "https://other.example.com/";
    let set = IssuerSet::new(vec![
        issuer("main", URL, "x-user", "sub", SECRET),
        issuer("other", OTHER, "x-roles", "/realm_access/roles", OTHER_SECRET),
    ])
    .unwrap();
    let signed = |iss: &str, secret: &[u8]| {
        let claims = with(claims(), "iss", json!(iss)).to_string();
        seal(&format!("{}.{}", base64(header().to_string()), base64(claims)), secret)
    };
    let gateway = Gateway::new();
    let identity = |token: &str| -> Vec<String> {
        let principal = now_or_never(gateway.ask(&set, token)).unwrap().principal;
        principal.identity().iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect()
    };
    for _ in 0..2 {
        assert_eq!(identity(&signed(URL, SECRET)), ["x-user: ada"]);
        assert_eq!(identity(&signed(OTHER, OTHER_SECRET)), ["x-roles: admin,staff"]);
    }
    // One's key under the other's name is nobody's.
    for (iss, secret) in [(URL, OTHER_SECRET), (OTHER, SECRET)] {
        let refusal = now_or_never(gateway.ask(&set, &signed(iss, secret))).unwrap_err();
        assert_eq!(refusal.detail(), "bad_signature");
    }
    // The route's requirement holds for both, whoever signed.
    let nobody = Clause::new("sub", vec![json!("eve")], vec![], vec![]).unwrap();
    let policy =
        Policy::Token { issuers: Arc::clone(&set), require: Require::new(vec![vec![nobody]]) };
    let door = Guarded::new(policy, "action");
    for token in [signed(URL, SECRET), signed(OTHER, OTHER_SECRET)] {
        let principal = now_or_never(gateway.ask(&set, &token)).unwrap().principal;
        assert_eq!(door.authorize(Some(principal), now()).unwrap_err(), Denial::Forbidden);
    }
}
