//! Identity headers: which claims the application gets to see, under which names.
//!
//! Trusts verified claims only, and those only as far as their text: a value is written so that it
//! can neither end the line nor pass for two values (attack J29). The clients' own copies of these
//! names are deleted elsewhere, on every route.
//!
//! An application reads a value by splitting at `,` and percent-decoding each piece.

use std::fmt::Write;

use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;

use super::claims::{ClaimPath, Claims, exact};
use super::refusal::Cause;

/// The claims that an issuer's settings send on, by header name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct IdentityHeaders(Vec<(HeaderName, ClaimPath)>);

impl IdentityHeaders {
    /// From pairs of header name and claim, kept in that order.
    pub fn new(pairs: impl IntoIterator<Item = (HeaderName, ClaimPath)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The header names: what must be deleted from every request before these are set.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The pairs, for `routes` and `explain`.
    pub fn pairs(&self) -> &[(HeaderName, ClaimPath)] {
        &self.0
    }

    /// The headers for these claims. An absent claim makes no header: an empty one would look like
    /// a user without a name.
    pub(in crate::auth) fn of(
        &self,
        claims: &Claims,
    ) -> Result<Box<[(HeaderName, HeaderValue)]>, Cause> {
        let mut headers = Vec::with_capacity(self.0.len());
        for (name, path) in &self.0 {
            let Some(claim) = claims.find(path) else { continue };
            let Some(text) = render(claim)? else { continue };
            if text.len() > MAX_VALUE {
                return Err(Cause::IdentityTooLong);
            }
            let value = HeaderValue::from_str(&text).map_err(|_| Cause::IdentityNotScalar)?;
            headers.push((name.clone(), value));
        }
        Ok(headers.into_boxed_slice())
    }
}

/// A scalar, or a list of scalars joined with `,`; an empty list is none.
fn render(claim: &Value) -> Result<Option<String>, Cause> {
    let mut text = String::new();
    match claim {
        Value::Array(items) if items.is_empty() => return Ok(None),
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                render_scalar(item, &mut text)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            render_scalar(claim, &mut text)?;
        }
    }
    Ok(Some(text))
}

fn render_scalar(value: &Value, text: &mut String) -> Result<(), Cause> {
    match value {
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => {
            text.push_str(&exact(number).ok_or(Cause::IdentityNotScalar)?);
        }
        Value::String(string) => escape(string, text),
        Value::Null | Value::Array(_) | Value::Object(_) => return Err(Cause::IdentityNotScalar),
    }
    Ok(())
}

/// Visible ASCII stays, but `%` (so that decoding has one answer) and `,` (the separator); a space
/// stays where no parser trims it.
fn escape(string: &str, text: &mut String) {
    let last = string.len().saturating_sub(1);
    for (place, byte) in string.bytes().enumerate() {
        match byte {
            b'%' | b',' => push_escaped(byte, text),
            b' ' if place > 0 && place < last => text.push(' '),
            0x21..=0x7e => text.push(char::from(byte)),
            _ => push_escaped(byte, text),
        }
    }
}

fn push_escaped(byte: u8, text: &mut String) {
    // Writing to a `String` cannot fail.
    let written = write!(text, "%{byte:02X}");
    debug_assert!(written.is_ok());
}

/// Bytes of one header value. Gunicorn refuses a header line above 8190 bytes, so that several of
/// these must still leave the request deliverable; below it, long role lists would be refused.
const MAX_VALUE: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn header(claim: Value) -> Result<Option<String>, Cause> {
        let map = IdentityHeaders::new([(
            HeaderName::from_static("x-user"),
            "claim".parse::<ClaimPath>().unwrap(),
        )]);
        let claims = Claims::new(json!({ "claim": claim }).as_object().cloned().unwrap());
        let headers = map.of(&claims)?;
        Ok(headers.first().map(|(_, value)| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn scalars_and_lists_become_one_line() {
        for (claim, text) in [
            (json!("ada"), "ada"),
            (json!("Ada Lovelace"), "Ada Lovelace"),
            (json!(" ada "), "%20ada%20"),
            (json!(17), "17"),
            (json!(true), "true"),
            (json!(""), ""),
            (json!(["admin", "staff", 3]), "admin,staff,3"),
            (json!(["a,b", "c"]), "a%2Cb,c"),
            (json!("x,admin"), "x%2Cadmin"),
            (json!("100%"), "100%25"),
            (json!("a\r\nX-Admin: 1"), "a%0D%0AX-Admin: 1"),
            (json!("J\u{fc}rgen\0"), "J%C3%BCrgen%00"),
        ] {
            assert_eq!(header(claim.clone()), Ok(Some(text.to_owned())), "{claim}");
        }
    }

    #[test]
    fn an_absent_claim_makes_no_header() {
        assert_eq!(header(Value::Null), Ok(None));
        assert_eq!(header(json!([])), Ok(None));
    }

    #[test]
    fn j29_what_cannot_be_one_line_refuses_the_token() {
        for claim in [json!({}), json!([{}]), json!([["a"]]), json!([null]), json!([1e22])] {
            assert_eq!(header(claim.clone()), Err(Cause::IdentityNotScalar), "{claim}");
        }
        assert!(header(json!("a".repeat(4096))).is_ok());
        assert_eq!(header(json!("a".repeat(4097))), Err(Cause::IdentityTooLong));
        assert_eq!(header(json!("\u{0}".repeat(1366))), Err(Cause::IdentityTooLong));
    }

    proptest! {
        #[test]
        fn any_text_is_one_line_that_decodes_to_itself(text in any::<String>()) {
            prop_assume!(text.len() < 1000);
            let line = header(json!(text.as_str())).unwrap().unwrap();
            prop_assert!(line.bytes().all(|byte| (0x20..=0x7e).contains(&byte) && byte != b','));
            prop_assert_eq!(line.trim(), line.as_str());
            let mut bytes = Vec::new();
            let mut rest = line.bytes();
            while let Some(byte) = rest.next() {
                if byte != b'%' { bytes.push(byte); continue; }
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            }
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), text);
        }
    }
}
