//! What a policy or an issuer demands of the claims: `require = { scope = ["orders:read"] }`.
//!
//! Reads verified claims only. A claim of a shape that the clause cannot judge fails it, `none`
//! included: what is not understood is not allowed.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::claims::{ClaimPath, ClaimPathError, Claims, EXACT};

/// Alternatives, of which one must hold; each is a list of clauses that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Require {
    alternatives: Vec<Vec<Clause>>,
}

impl Require {
    /// Demands nothing.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// One of `alternatives`; none at all demands nothing.
    pub fn new(alternatives: Vec<Vec<Clause>>) -> Self {
        Self { alternatives }
    }

    /// Both: what a preset demands and what the operator adds to it.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self.is_nothing() {
            return other;
        }
        if other.is_nothing() {
            return self;
        }
        let mut alternatives = Vec::with_capacity(self.alternatives.len());
        for left in &self.alternatives {
            for right in &other.alternatives {
                alternatives.push(left.iter().chain(right).cloned().collect());
            }
        }
        Self { alternatives }
    }

    /// Whether every principal passes.
    pub fn is_nothing(&self) -> bool {
        self.alternatives.is_empty()
    }

    /// Every scope that it names as one to have, sorted: for metadata.
    pub fn scopes(&self) -> Vec<&str> {
        let clauses = self.alternatives.iter().flatten();
        let named = clauses.filter(|clause| clause.claim.as_str() == SCOPE);
        let values = named.flat_map(|clause| clause.all.iter().chain(&clause.any));
        let unique: BTreeSet<&str> = values.filter_map(Value::as_str).collect();
        unique.into_iter().collect()
    }

    /// # Errors
    /// Why no alternative holds.
    pub fn check(&self, claims: &Claims) -> Result<(), Unmet> {
        if self.is_nothing() {
            return Ok(());
        }
        let mut unmet = Unmet::Claim;
        for alternative in &self.alternatives {
            match check_all(alternative, claims) {
                Ok(()) => return Ok(()),
                // Of several ways in, the client is told the first that more scope would open.
                Err(scope @ Unmet::Scope(_)) if unmet == Unmet::Claim => unmet = scope,
                Err(Unmet::Claim | Unmet::Scope(_)) => {}
            }
        }
        Err(unmet)
    }
}

impl fmt::Display for Require {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, alternative) in self.alternatives.iter().enumerate() {
            if place > 0 {
                f.write_str(" or ")?;
            }
            for (place, clause) in alternative.iter().enumerate() {
                if place > 0 {
                    f.write_str(" and ")?;
                }
                clause.fmt(f)?;
            }
        }
        Ok(())
    }
}

/// Why claims do not satisfy a [`Require`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// A claim is missing or has the wrong value.
    Claim,
    /// Only scopes are missing: these would do (RFC 6750 section 3.1).
    Scope(String),
}

/// One claim and what its values must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Clause {
    claim: ClaimPath,
    any: Vec<Value>,
    all: Vec<Value>,
    none: Vec<Value>,
}

impl Clause {
    /// `claim` must have one of `any`, every one of `all`, and none of `none`; an empty list
    /// demands nothing.
    ///
    /// # Errors
    /// `claim` names none, a value is no scalar, or a scope could not stand in a challenge.
    pub fn new(
        claim: &str,
        any: Vec<Value>,
        all: Vec<Value>,
        none: Vec<Value>,
    ) -> Result<Self, ClauseError> {
        let claim: ClaimPath = claim.parse().map_err(ClauseError::Claim)?;
        for value in any.iter().chain(&all).chain(&none) {
            if value.is_array() || value.is_object() || value.is_null() {
                return Err(ClauseError::NotScalar);
            }
            if claim.as_str() == SCOPE && !value.as_str().is_some_and(is_scope) {
                return Err(ClauseError::NotScope);
            }
        }
        Ok(Self { claim, any, all, none })
    }

    /// `claim` must have this text.
    pub(in crate::auth) fn text(claim: ClaimPath, text: &str) -> Self {
        let any = vec![Value::String(text.to_owned())];
        Self { claim, any, all: Vec::new(), none: Vec::new() }
    }

    fn check(&self, claims: &Claims) -> Result<(), Unmet> {
        let values = self.values(claims).ok_or(Unmet::Claim)?;
        let has = |wanted: &Value| values.iter().any(|value| value.is(wanted));
        if self.none.iter().any(has) {
            return Err(Unmet::Claim);
        }
        let met = (self.any.is_empty() || self.any.iter().any(has)) && self.all.iter().all(has);
        if met {
            return Ok(());
        }
        match self.claim.as_str() {
            SCOPE => Err(Unmet::Scope(self.scopes())),
            _ => Err(Unmet::Claim),
        }
    }

    /// The claim's values; `None` if it has a shape without values.
    fn values<'c>(&self, claims: &'c Claims) -> Option<Vec<Found<'c>>> {
        let mut values = Vec::new();
        if self.claim.as_str() == SCOPE {
            collect(claims.member(SCOPE), Strings::Split, &mut values)?;
            collect(claims.member(SCP), Strings::Split, &mut values)?;
        } else {
            collect(claims.find(&self.claim), Strings::Whole, &mut values)?;
        }
        Some(values)
    }

    /// All of `all` and, of `any`, the first: a set that would satisfy the clause.
    fn scopes(&self) -> String {
        let wanted = self.all.iter().chain(self.any.first());
        let unique: BTreeSet<&str> = wanted.filter_map(Value::as_str).collect();
        unique.into_iter().collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (word, values) in [("any", &self.any), ("all", &self.all), ("none", &self.none)] {
            if values.is_empty() {
                continue;
            }
            if !first {
                f.write_str(" and ")?;
            }
            first = false;
            write!(f, "{} {word} of [", self.claim)?;
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    f.write_str(", ")?;
                }
                value.fmt(f)?;
            }
            f.write_str("]")?;
        }
        Ok(())
    }
}

/// Why a clause cannot be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClauseError {
    /// The claim's name.
    Claim(ClaimPathError),
    /// A value is neither text nor number nor boolean.
    NotScalar,
    /// A scope with characters that RFC 6749 section 3.3 does not allow.
    NotScope,
}

impl fmt::Display for ClauseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(error) => error.fmt(f),
            Self::NotScalar => f.write_str("a value must be text, a number or a boolean"),
            Self::NotScope => {
                f.write_str("a scope is text without spaces, quotes, backslashes and non-ASCII")
            }
        }
    }
}

impl std::error::Error for ClauseError {}

/// A value that a claim has: a JSON scalar, or a word of a scope text.
enum Found<'c> {
    Scalar(&'c Value),
    Word(&'c str),
}

impl Found<'_> {
    fn is(&self, wanted: &Value) -> bool {
        match self {
            Self::Scalar(value) => same(value, wanted),
            Self::Word(word) => wanted.as_str() == Some(word),
        }
    }
}

#[derive(Clone, Copy)]
enum Strings {
    Split,
    Whole,
}

/// Adds what `claim` holds to `values`: nothing if it is absent, `None` for an object or a list of
/// other than scalars.
fn collect<'c>(
    claim: Option<&'c Value>,
    strings: Strings,
    values: &mut Vec<Found<'c>>,
) -> Option<()> {
    match (claim, strings) {
        (None, _) => {}
        (Some(Value::String(text)), Strings::Split) => {
            values.extend(text.split(' ').filter(|word| !word.is_empty()).map(Found::Word));
        }
        (Some(Value::Array(items)), _) => {
            for item in items {
                values.push(Found::Scalar(scalar(item)?));
            }
        }
        (Some(value), _) => values.push(Found::Scalar(scalar(value)?)),
    }
    Some(())
}

fn scalar(value: &Value) -> Option<&Value> {
    match value {
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(value),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// JSON equality, but numbers by value: an issuer may write `1.0` where the operator wrote `1`.
/// A float that stands for several whole numbers stands for none.
fn same(claim: &Value, wanted: &Value) -> bool {
    match (claim, wanted) {
        (Value::Number(claim), Value::Number(wanted)) => {
            let is_exact = claim.as_f64().is_some_and(|number| number.abs() < EXACT);
            claim == wanted
                || (claim.is_f64() != wanted.is_f64()
                    && is_exact
                    && claim.as_f64() == wanted.as_f64())
        }
        _ => claim == wanted,
    }
}

fn check_all(clauses: &[Clause], claims: &Claims) -> Result<(), Unmet> {
    let mut scopes = Vec::new();
    for clause in clauses {
        match clause.check(claims) {
            Ok(()) => {}
            // Another claim fails too: more scope would not open this alternative.
            Err(Unmet::Claim) => return Err(Unmet::Claim),
            Err(Unmet::Scope(scope)) => scopes.push(scope),
        }
    }
    if scopes.is_empty() { Ok(()) } else { Err(Unmet::Scope(scopes.join(" "))) }
}

/// RFC 6749 section 3.3 `scope-token`; anything else could break out of the challenge's quotes.
fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// The claim whose text splits at spaces (RFC 8693 section 4.2).
const SCOPE: &str = "scope";
/// Where Okta and Azure put the same.
const SCP: &str = "scp";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn clause(claim: &str, any: Value, all: Value, none: Value) -> Clause {
        let list = |value: Value| value.as_array().cloned().unwrap();
        Clause::new(claim, list(any), list(all), list(none)).unwrap()
    }

    fn any(claim: &str, values: Value) -> Clause {
        clause(claim, values, json!([]), json!([]))
    }

    fn check(require: Vec<Vec<Clause>>, claims: Value) -> Result<(), Unmet> {
        Require::new(require).check(&Claims::new(claims.as_object().cloned().unwrap()))
    }

    #[test]
    fn nothing_is_met_by_everything() {
        assert_eq!(check(vec![], json!({})), Ok(()));
        assert_eq!(check(vec![vec![]], json!({})), Ok(()));
    }

    #[test]
    fn alternatives_are_written_as_they_are_read() {
        let two = Require::new(vec![
            vec![any("a", json!([1])), any("b", json!(["x"]))],
            vec![any("scope", json!(["s"]))],
        ]);
        let text = two.to_string();
        let parts: Vec<_> = text.split(" or ").map(|one| one.split(" and ").count()).collect();
        assert_eq!(parts, [2, 1], "{text}");
        for (error, words) in [
            (ClauseError::Claim(ClaimPathError::Empty), "is empty"),
            (ClauseError::NotScalar, "text, a number or a boolean"),
            (ClauseError::NotScope, "without spaces"),
        ] {
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn the_scopes_that_it_names_are_told_once_and_sorted() {
        let scopes = Require::new(vec![
            vec![any("scope", json!(["b", "a"])), any("role", json!(["r"]))],
            vec![clause("scope", json!([]), json!(["c", "a"]), json!(["never"]))],
        ]);
        assert_eq!(scopes.scopes(), ["a", "b", "c"]);
        assert!(Require::nothing().scopes().is_empty());
    }

    #[test]
    fn of_several_ways_in_the_first_that_scope_would_open_is_told() {
        let scope = |name: &str| vec![any("scope", json!([name]))];
        let role = vec![any("role", json!(["r"]))];
        for (ways, told) in [
            (vec![role.clone(), scope("a"), scope("b")], Unmet::Scope("a".to_owned())),
            (vec![scope("b"), role.clone(), scope("a")], Unmet::Scope("b".to_owned())),
            (vec![role.clone(), role], Unmet::Claim),
        ] {
            assert_eq!(check(ways, json!({"scope": "z", "role": "z"})), Err(told));
        }
    }

    #[test]
    fn any_all_and_none_look_at_every_value() {
        let roles = |any, all, none| vec![vec![clause("/realm/roles", any, all, none)]];
        let held = json!({"realm": {"roles": ["a", "b"]}});
        for (require, met) in [
            (roles(json!(["b", "z"]), json!([]), json!([])), true),
            (roles(json!(["y", "z"]), json!([]), json!([])), false),
            (roles(json!([]), json!(["a", "b"]), json!([])), true),
            (roles(json!([]), json!(["a", "z"]), json!([])), false),
            (roles(json!([]), json!([]), json!(["z"])), true),
            (roles(json!(["a"]), json!([]), json!(["b"])), false),
        ] {
            let text = Require::new(require.clone()).to_string();
            assert_eq!(check(require, held.clone()).is_ok(), met, "{text}");
        }
        assert_eq!(check(roles(json!(["a"]), json!([]), json!([])), json!({})), Err(Unmet::Claim));
        assert_eq!(check(roles(json!([]), json!([]), json!(["a"])), json!({})), Ok(()));
    }

    #[test]
    fn a_claim_of_a_shape_without_values_fails_even_none() {
        let banned = vec![vec![clause("status", json!([]), json!([]), json!(["banned"]))]];
        assert_eq!(check(banned.clone(), json!({"status": "ok"})), Ok(()));
        for status in [json!({"banned": true}), json!([["banned"]]), json!([null])] {
            let claims = json!({ "status": status });
            assert_eq!(check(banned.clone(), claims.clone()), Err(Unmet::Claim), "{claims}");
        }
    }

    #[test]
    fn values_have_types() {
        for (wanted, held, met) in [
            (json!(1), json!(1), true),
            (json!(1), json!(1.0), true),
            (json!(1), json!("1"), false),
            (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992.0), false),
            (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_993_u64), true),
            (json!(-1), json!(-1.0), true),
            (json!("1"), json!(1), false),
            (json!(true), json!(true), true),
            (json!(true), json!("true"), false),
            (json!("a"), json!("A"), false),
            (json!("a b"), json!("a b"), true),
            (json!("a"), json!("a b"), false),
        ] {
            let result = check(vec![vec![any("claim", json!([wanted]))]], json!({"claim": held}));
            assert_eq!(result.is_ok(), met, "{wanted} {held}");
        }
    }

    #[test]
    fn scope_splits_and_reads_scp_too() {
        let read = vec![vec![any("scope", json!(["orders:read"]))]];
        for claims in [
            json!({"scope": "openid orders:read"}),
            json!({"scope": ["orders:read"]}),
            json!({"scp": "orders:read x"}),
            json!({"scp": ["x", "orders:read"]}),
            json!({"scope": "openid", "scp": ["orders:read"]}),
        ] {
            assert_eq!(check(read.clone(), claims.clone()), Ok(()), "{claims}");
        }
        for claims in [
            json!({}),
            json!({"scope": "orders:read:all xorders:read orders:readx"}),
            json!({"scope": ""}),
            json!({"scope": "ORDERS:READ"}),
        ] {
            let unmet = Err(Unmet::Scope("orders:read".to_owned()));
            assert_eq!(check(read.clone(), claims.clone()), unmet, "{claims}");
        }
        assert_eq!(check(read, json!({"scope": {"orders:read": true}})), Err(Unmet::Claim));
    }

    #[test]
    fn only_missing_scope_is_named_to_the_client() {
        let scope = || clause("scope", json!(["x", "y"]), json!(["b", "a"]), json!([]));
        let role = || any("role", json!(["admin"]));
        let wanted = Err(Unmet::Scope("a b x".to_owned()));
        assert_eq!(check(vec![vec![scope(), role()]], json!({"role": "admin"})), wanted);
        assert_eq!(check(vec![vec![scope(), role()]], json!({})), Err(Unmet::Claim));
        assert_eq!(check(vec![vec![role()], vec![scope()]], json!({})), wanted);
        let refused = vec![vec![clause("scope", json!([]), json!([]), json!(["x"]))]];
        assert_eq!(check(refused, json!({"scope": "x"})), Err(Unmet::Claim));
    }

    #[test]
    fn one_alternative_is_enough() {
        let either = vec![vec![any("a", json!([1]))], vec![any("b", json!([2]))]];
        assert_eq!(check(either.clone(), json!({"b": 2})), Ok(()));
        assert_eq!(check(either, json!({"a": 2, "b": 1})), Err(Unmet::Claim));
    }

    #[test]
    fn two_requirements_hold_together() {
        let left = || Require::new(vec![vec![any("a", json!([1]))], vec![any("b", json!([1]))]]);
        let right = || Require::new(vec![vec![any("c", json!([1]))]]);
        let both = left().and(right());
        let claims = |value: Value| Claims::new(value.as_object().cloned().unwrap());
        assert_eq!(both.check(&claims(json!({"b": 1, "c": 1}))), Ok(()));
        assert_eq!(both.check(&claims(json!({"b": 1}))), Err(Unmet::Claim));
        assert_eq!(both.check(&claims(json!({"c": 1}))), Err(Unmet::Claim));
        assert_eq!(left().and(Require::nothing()), left());
        assert_eq!(Require::nothing().and(right()), right());
    }

    #[test]
    fn a_clause_that_could_break_the_challenge_is_refused() {
        let scope = |text: &str| Clause::new("scope", vec![json!(text)], vec![], vec![]);
        assert!(scope("https://e/orders.read").is_ok());
        for text in ["", "a b", "a\"", "a\\", "\u{e4}", "a\r\n"] {
            assert_eq!(scope(text), Err(ClauseError::NotScope), "{text:?}");
        }
        let list = Clause::new("a", vec![json!([1])], vec![], vec![]);
        assert_eq!(list, Err(ClauseError::NotScalar));
        let unnamed = Clause::new("", vec![], vec![], vec![]);
        assert_eq!(unnamed, Err(ClauseError::Claim(ClaimPathError::Empty)));
    }

    #[test]
    fn a_requirement_reads_as_a_sentence() {
        let require = Require::new(vec![
            vec![clause("scope", json!(["a"]), json!(["b"]), json!([]))],
            vec![any("/x/y", json!([1, "z"]))],
        ]);
        let text = r#"scope any of ["a"] and scope all of ["b"] or /x/y any of [1, "z"]"#;
        assert_eq!(require.to_string(), text);
    }
}
