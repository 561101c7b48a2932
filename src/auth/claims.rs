//! The one JSON pass over a token's header and claims, and how a claim is named.
//!
//! Trusts nothing: the bytes come from clients. Refuses whatever is not one object, and a name that
//! stands twice at any depth: two readers that pick different twins are two different tokens
//! (attack J13, RFC 8725 section 2.5). What is parsed here is what every later step looks at;
//! nothing is parsed a second time.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why bytes are not one JSON object with unique names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) enum ObjectError {
    DuplicateName,
    NotJson,
    NotObject,
}

/// Parses one JSON object with unique names at every depth (at most 128, serde_json's limit).
pub(in crate::auth) fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, ObjectError> {
    match serde_json::from_slice::<Unique>(bytes) {
        Ok(Unique(Value::Object(map))) => Ok(map),
        Ok(Unique(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
        )) => Err(ObjectError::NotObject),
        // `Unique` takes every type, so the only complaint about data is its own.
        Err(error) if error.is_data() => Err(ObjectError::DuplicateName),
        Err(_) => Err(ObjectError::NotJson),
    }
}

/// A token's claims, verified or about to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    pub(in crate::auth) fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// The claim of that literal name; JSON `null` counts as absent.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// The member as it stands, `null` included: registered claims of a wrong type are refused,
    /// and `null` is one.
    pub(in crate::auth) fn raw(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The claim that `path` names; JSON `null` counts as absent.
    pub fn find(&self, path: &ClaimPath) -> Option<&Value> {
        let mut steps = path.steps.iter();
        let mut value = self.0.get(steps.next()?)?;
        for step in steps {
            value = match value {
                Value::Object(members) => members.get(step)?,
                Value::Array(items) => items.get(array_index(step)?)?,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
            };
        }
        Some(value).filter(|value| !value.is_null())
    }

    /// The memory that they take, about.
    pub(in crate::auth) fn bytes(&self) -> usize {
        members_bytes(&self.0)
    }

    /// The members in the order in which the token has them.
    pub fn members(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// As deep as JSON is, which the parser bounds.
fn members_bytes(members: &Map<String, Value>) -> usize {
    /// A hash and a place in the index beside name and value.
    const SLOT: usize = size_of::<(String, Value)>() + 24;
    members.iter().map(|(name, value)| SLOT + name.len() + value_bytes(value)).sum()
}

/// What a value takes beside itself.
fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => {
            items.iter().map(|item| size_of::<Value>() + value_bytes(item)).sum()
        }
        Value::Object(members) => members_bytes(members),
    }
}

/// Where a claim stands: a literal member name, or a JSON Pointer (RFC 6901) if it begins with `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimPath {
    written: String,
    steps: Vec<String>,
}

impl ClaimPath {
    /// The member of that name, whatever it begins with.
    pub(in crate::auth) fn literal(name: &str) -> Self {
        Self { written: name.to_owned(), steps: vec![name.to_owned()] }
    }

    /// As the operator wrote it.
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

impl FromStr for ClaimPath {
    type Err = ClaimPathError;

    fn from_str(text: &str) -> Result<Self, ClaimPathError> {
        let steps = match text.strip_prefix('/') {
            None if text.is_empty() => return Err(ClaimPathError::Empty),
            None => vec![text.to_owned()],
            Some(pointer) => pointer.split('/').map(unescape).collect::<Result<_, _>>()?,
        };
        Ok(Self { written: text.to_owned(), steps })
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// Why a text names no claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimPathError {
    /// `~` is followed by neither `0` nor `1`.
    BadEscape,
    /// Nothing is named.
    Empty,
}

impl fmt::Display for ClaimPathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadEscape => "`~` in a JSON Pointer must be written `~0`, and `/` as `~1`",
            Self::Empty => "the name of the claim is empty",
        })
    }
}

impl std::error::Error for ClaimPathError {}

/// RFC 7519 section 2 `NumericDate` in whole seconds: fractions are cut downwards, times before
/// 1970 read as 1970, and what is no number is none (a date as text would be a guess).
pub fn numeric_date(value: &Value) -> Option<u64> {
    let number = value.as_number()?;
    if let Some(seconds) = number.as_u64() {
        return Some(seconds);
    }
    if number.as_i64().is_some() {
        return Some(0);
    }
    // The cast saturates at both ends.
    number.as_f64().map(|seconds| seconds.floor() as u64)
}

/// A string or a number as text: what an id may be (simplejwt's `user_id` is either).
pub(in crate::auth) fn scalar_id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => exact(number),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number as text, if it stands for itself alone. A whole number beyond 64 bits is read as the
/// nearest float, and two users whose ids are 128 bits wide would be one.
pub(in crate::auth) fn exact(number: &Number) -> Option<String> {
    let is_exact = !number.is_f64() || number.as_f64().is_some_and(|float| float.abs() < EXACT);
    is_exact.then(|| number.to_string())
}

/// From 2^53 on, a float stands for several whole numbers.
pub(in crate::auth) const EXACT: f64 = 9_007_199_254_740_992.0;

/// RFC 6901 section 4: digits without a leading zero.
fn array_index(step: &str) -> Option<usize> {
    let plain = step == "0" || !step.starts_with(['0', '+']);
    plain.then(|| step.parse().ok()).flatten()
}

/// RFC 6901 section 3: `~1` is `/`, `~0` is `~`, in that order.
fn unescape(step: &str) -> Result<String, ClaimPathError> {
    let mut text = String::with_capacity(step.len());
    let mut letters = step.chars();
    while let Some(letter) = letters.next() {
        text.push(match letter {
            '~' => match letters.next() {
                Some('0') => '~',
                Some('1') => '/',
                Some(_) | None => return Err(ClaimPathError::BadEscape),
            },
            other => other,
        });
    }
    Ok(text)
}

/// A JSON value none of whose objects names a member twice.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with unique names")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom("duplicate name"));
            }
            let Unique(value) = members.next_value()?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        Claims::new(value.as_object().cloned().unwrap())
    }

    #[test]
    fn a_name_may_stand_once_at_every_depth() {
        assert!(parse_object(br#"{"a":1,"b":{"a":2}}"#).is_ok());
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"b":2}}"#, r#"{"a":[{"b":1,"\u0062":2}]}"#]
        {
            assert_eq!(parse_object(twice.as_bytes()), Err(ObjectError::DuplicateName), "{twice}");
        }
    }

    #[test]
    fn only_one_object_is_accepted() {
        for text in ["[]", "1", "\"a\"", "null", "true", "-1.5"] {
            assert_eq!(parse_object(text.as_bytes()), Err(ObjectError::NotObject), "{text}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        for text in ["", "{", "{} {}", "{}x", "\u{feff}{}", "{\"a\":1e400}", "{a:1}", &deep] {
            assert_eq!(parse_object(text.as_bytes()), Err(ObjectError::NotJson), "{text}");
        }
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), Err(ObjectError::NotJson));
        assert_eq!(parse_object(b"{\"a\":\"\\ud800\"}"), Err(ObjectError::NotJson));
    }

    #[test]
    fn what_is_parsed_is_what_was_written() {
        let text =
            r#"{"n":null,"t":true,"f":false,"u":7,"i":-7,"x":0.5,"s":"a\u0062","l":[1,[]],"o":{}}"#;
        let parsed = Value::Object(parse_object(text.as_bytes()).unwrap());
        assert_eq!(parsed, serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(parsed["s"], "ab");
    }

    #[test]
    fn their_bytes_are_those_of_their_texts_and_some_for_each_place() {
        let long = "x".repeat(10_000);
        let (member, item) = (size_of::<(String, Value)>(), size_of::<Value>());
        for (value, texts, places) in [
            (json!({}), 0, 0),
            (json!({"a": 1}), 1, member),
            (json!({ "a": long }), 10_001, member),
            (json!({ &*long: 1 }), 10_000, member),
            (json!({ "a": [long, long, 1] }), 20_001, member + 3 * item),
            (json!({ "a": { &*long: [long] } }), 20_001, 2 * member + item),
        ] {
            let bytes = claims(value).bytes();
            let least = texts + places;
            assert!((least..=least + places).contains(&bytes), "{bytes}, not {least}");
        }
    }

    #[test]
    fn numeric_dates_are_floored_and_never_guessed() {
        assert_eq!(numeric_date(&json!(17)), Some(17));
        assert_eq!(numeric_date(&json!(17.999)), Some(17));
        assert_eq!(numeric_date(&json!(-5)), Some(0));
        assert_eq!(numeric_date(&json!(-0.5)), Some(0));
        assert_eq!(numeric_date(&json!(1e300)), Some(u64::MAX));
        for other in [json!("17"), json!(null), json!([17]), json!({}), json!(true)] {
            assert_eq!(numeric_date(&other), None, "{other}");
        }
    }

    #[test]
    fn a_path_is_a_literal_name_or_a_pointer() {
        let claims = claims(json!({
            "a.b": 1, "x": {"y/z": {"~": "deep"}, "list": [10, 20]}, "https://e/roles": ["r"],
            "nothing": null, "": {"": 7},
        }));
        let find = |path: &str| claims.find(&path.parse().unwrap()).cloned();
        assert_eq!(find("a.b"), Some(json!(1)));
        assert_eq!(find("/x/y~1z/~0"), Some(json!("deep")));
        assert_eq!(find("/x/list/1"), Some(json!(20)));
        assert_eq!(find("/x/list/01"), None);
        assert_eq!(find("/x/list/+1"), None);
        assert_eq!(find("/x/list/2"), None);
        assert_eq!(find("https://e/roles"), Some(json!(["r"])));
        assert_eq!(find("x.list"), None);
        assert_eq!(find("nothing"), None);
        assert_eq!(find("//"), Some(json!(7)));
        assert_eq!("".parse::<ClaimPath>(), Err(ClaimPathError::Empty));
        assert_eq!("/a~2".parse::<ClaimPath>(), Err(ClaimPathError::BadEscape));
        assert_eq!("/a~".parse::<ClaimPath>(), Err(ClaimPathError::BadEscape));
        assert!(ClaimPathError::Empty.to_string().contains("is empty"));
        assert!(ClaimPathError::BadEscape.to_string().contains("`~0`"));
    }
}
