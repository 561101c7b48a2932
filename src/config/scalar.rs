//! The leaves of the file: values with their place, sizes, secrets.

use std::fmt;
use std::ops::{Deref, Range};

use super::SecretEncoding;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Diagnostic;
use super::describe::Shape;
use super::node::{Node, NodeKind};
use super::walk::{Value, Walk};

/// A value and where it stands in the file.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    /// What was written, expanded and parsed.
    pub value: T,
    /// Byte offsets in the file; a default has the place of its table.
    pub span: Range<usize>,
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A number of bytes, written `"64KiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// Text that is never shown: not by `Debug`, not in a diagnostic. Wiped when dropped.
#[derive(Clone)]
pub struct Secret(zeroize::Zeroizing<String>);

impl Secret {
    /// The text itself; whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its bytes; `None` if it is not written as `encoding` says.
    pub fn decode(&self, encoding: SecretEncoding) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        use base64::Engine;
        use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
        let text = self.expose();
        let bytes = match encoding {
            SecretEncoding::Utf8 => Some(text.as_bytes().to_vec()),
            SecretEncoding::Hex => hex(text),
            SecretEncoding::Base64 => {
                let text = text.trim_end_matches('=');
                STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()
            }
        };
        bytes.map(zeroize::Zeroizing::new)
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .map(|byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A list that may be written as its only value.
#[derive(Clone, Debug)]
pub struct OneOrMany<T>(Vec<T>);

impl<T> Deref for OneOrMany<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl Value for bool {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        if let NodeKind::Boolean(value) = node.kind {
            return Some(value);
        }
        let parsed =
            node.text().filter(|text| text.expanded).and_then(|text| text.value.parse().ok());
        if parsed.is_none() {
            walk.expected(node, "`true` or `false`");
        }
        parsed
    }

    fn shape() -> Shape {
        Shape::or_expanded("`true` or `false`", &json!({ "type": "boolean" }))
    }
}

/// Reads whole numbers, as such or as an expanded string.
fn integer(node: &Node, walk: &mut Walk<'_>) -> Option<i128> {
    if let NodeKind::Integer(value) = node.kind {
        return Some(value);
    }
    let parsed = node.text().filter(|text| text.expanded).and_then(|text| text.value.parse().ok());
    if parsed.is_none() {
        match node.text() {
            Some(text) if !text.expanded && text.value.parse::<i128>().is_ok() => {
                walk.wrong(
                    &node.span,
                    "expected a whole number, found a string",
                    "leave the quotes out",
                );
            }
            Some(_) | None => walk.expected(node, "a whole number"),
        }
    }
    parsed
}

macro_rules! integers {
    ($($integer:ty)+) => { $(
        impl Value for $integer {
            fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
                let value = integer(node, walk)?;
                let fits = Self::try_from(value).ok();
                if fits.is_none() {
                    let message = format!("out of range: at most {} is possible, nothing below 0", Self::MAX);
                    walk.report(Diagnostic::error(node.span.clone(), message));
                }
                fits
            }

            fn shape() -> Shape {
                Shape::or_expanded("whole number", &json!({ "type": "integer", "minimum": 0 }))
            }

            fn measure(&self) -> Option<u128> {
                u128::try_from(*self).ok()
            }
        }
    )+ };
}

integers!(u16 u32 u64 usize);

impl Value for String {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let text = node.text();
        if text.is_none() {
            walk.expected(node, "a string");
        }
        let text = text?;
        if text.value.trim().is_empty() {
            let what =
                if text.expanded { "the expanded value is empty" } else { "an empty string" };
            walk.wrong(&node.span, what, "write a value, or leave the key out if it is optional");
            return None;
        }
        Some(text.value.clone())
    }

    fn shape() -> Shape {
        Shape::new("string", json!({ "type": "string", "minLength": 1 }))
    }
}

impl Value for PathBuf {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        // An empty path would be the configuration's own folder, secrets and all.
        String::read(node, walk).map(|path| walk.resolve(&path))
    }

    fn shape() -> Shape {
        Shape::new("path", json!({ "type": "string", "minLength": 1 }))
    }
}

/// Units of time, in milliseconds.
const TIMES: &[(&str, u64)] =
    &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Units of size, in bytes.
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
];

/// A time as it is written everywhere: `500ms`, `10s`, `5m`, `24h`, `30d`.
pub fn duration(text: &str) -> Option<Duration> {
    amount(text, TIMES).map(Duration::from_millis)
}

/// A whole number and its unit, as a number of the smallest unit.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn read_amount(
    node: &Node,
    walk: &mut Walk<'_>,
    units: &[(&str, u64)],
    what: &str,
    hint: &str,
) -> Option<u64> {
    let Some(text) = node.text() else {
        if matches!(node.kind, NodeKind::Integer(_)) {
            walk.wrong(&node.span, format!("expected {what}, found a number without a unit"), hint);
        } else {
            walk.expected(node, what);
        }
        return None;
    };
    let amount = amount(&text.value, units);
    if amount.is_none() {
        walk.wrong(&node.span, format!("{} is not {what}", text.shown()), hint);
    }
    amount
}

/// JSON Schema of a number with a unit; `${...}` may stand anywhere.
fn amount_schema(units: &[(&str, u64)]) -> Json {
    let names = units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join("|");
    json!({ "type": "string", "pattern": format!("^[0-9]+ ?({names})$|\\$\\{{") })
}

impl Value for Duration {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let hint = "write a whole number and its unit: \"500ms\", \"10s\", \"5m\", \"24h\"";
        read_amount(node, walk, TIMES, "a duration", hint).map(Self::from_millis)
    }

    fn shape() -> Shape {
        Shape::new("duration (`\"500ms\"`, `\"10s\"`, `\"5m\"`, `\"24h\"`)", amount_schema(TIMES))
    }

    fn measure(&self) -> Option<u128> {
        Some(self.as_millis())
    }
}

impl Value for Size {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let hint = "write a whole number and its unit: \"512B\", \"64KiB\", \"10MiB\", \"1GiB\"";
        read_amount(node, walk, SIZES, "a size", hint).map(Self)
    }

    fn shape() -> Shape {
        Shape::new("size (`\"64KiB\"`, `\"10MiB\"`)", amount_schema(SIZES))
    }

    fn measure(&self) -> Option<u128> {
        Some(self.0.into())
    }
}

impl Value for Secret {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        String::read(node, walk).map(|text| Self(text.into()))
    }

    fn shape() -> Shape {
        let text = "string, better `\"${VAR}\"` or `\"${file:/run/secrets/name}\"`";
        Shape::new(text, json!({ "type": "string", "minLength": 1 }))
    }
}

impl<T: Value> Value for OneOrMany<T> {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        if matches!(node.kind, NodeKind::Array(_)) {
            return Vec::read(node, walk).map(Self);
        }
        T::read(node, walk).map(|one| Self(vec![one]))
    }

    fn shape() -> Shape {
        let (one, many) = (T::shape(), Vec::<T>::shape());
        Shape::new(
            format!("{}, or a list", one.text),
            json!({ "anyOf": [one.schema, many.schema] }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_a_number_and_a_unit() {
        assert_eq!(amount("500ms", TIMES), Some(500));
        assert_eq!(amount("5 m", TIMES), Some(300_000));
        assert_eq!(amount("10MiB", SIZES), Some(10 << 20));
        for text in [
            "",
            "5",
            "m",
            "-1s",
            "1.5s",
            "5 minutes",
            "5mib",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(amount(text, TIMES), None, "{text}");
        }
    }

    #[test]
    fn a_secret_shows_nothing() {
        assert_eq!(format!("{:?}", Secret("hunter2".to_owned().into())), "Secret(..)");
    }
}
