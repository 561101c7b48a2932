//! Rates, and what they are counted by.

use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::json;

use super::Spanned;
use super::describe::{Shape, TableDoc};
use super::node::{Node, NodeKind};
use super::walk::{Value, Walk, read_list};

table! {
    /// A limit on how often one client may ask. Beyond it: 429, with Retry-After.
    pub struct RateLimit {
        /// So many in so long, evenly: `"10/min"` is one every six seconds.
        rate: Rate, required;
        /// So many at once, after a rest.
        burst: Option<NonZeroU32>, optional("as many as the rate names"), limits(1, 1000000);
        /// Whose requests are counted together: `ip` is an address (in IPv6 its /64),
        /// `header:NAME` everybody who sends the same value, `claim:NAME` every token with the same
        /// value (a name that begins with `/` is a JSON Pointer). Requests without that header or
        /// claim count for their address.
        by: Spanned<LimitBy>, default("ip");
    }
}

/// A route's limits: one, or several that all have to hold.
#[derive(Clone, Debug)]
pub struct RateLimits(Vec<RateLimit>);

impl RateLimits {
    /// In the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &RateLimit> {
        self.0.iter()
    }
}

table! {
    /// How many tokens that don't verify one client may send.
    pub struct TokenBudget {
        /// So many in so long.
        rate: Rate, default("100/min");
        /// So many at once, after a rest.
        burst: NonZeroU32, default(50), limits(1, 1000000);
    }
}

/// The budget for bad tokens, unless it is switched off.
#[derive(Clone, Debug)]
pub enum BadTokens {
    /// Every token is verified, from whomever.
    Off,
    /// Up to this.
    Budget(TokenBudget),
}

/// So many in so long, written `"10/min"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In how long.
    pub period: Duration,
}

/// What requests are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LimitBy {
    /// The client's address.
    Ip,
    /// A header's value.
    Header(String),
    /// A claim's value.
    Claim(String),
}

/// Units of a rate, in seconds.
const PERIODS: &[(&str, u64)] = &[("s", 1), ("min", 60), ("h", 3600), ("d", 86_400)];

impl Value for Rate {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let text = String::read(node, walk)?;
        let rate = parse_rate(&text);
        if rate.is_none() {
            let shown = node.text().map(super::node::Text::shown).unwrap_or_default();
            let hint =
                "write how many in which time: \"10/s\", \"100/min\", \"1000/h\", \"5000/d\"";
            walk.wrong(&node.span, format!("{shown} is not a rate"), hint);
        }
        rate
    }

    fn shape() -> Shape {
        let pattern = "^[1-9][0-9]*/(s|min|h|d)$|\\$\\{";
        Shape::new(
            "rate (`\"10/s\"`, `\"100/min\"`, `\"1000/h\"`)",
            json!({ "type": "string", "pattern": pattern }),
        )
    }
}

fn parse_rate(text: &str) -> Option<Rate> {
    let (count, unit) = text.split_once('/')?;
    let (_, seconds) = PERIODS.iter().find(|(name, _)| *name == unit)?;
    let digits = count.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.parse().ok().filter(|_| digits)?;
    Some(Rate { count, period: Duration::from_secs(*seconds) })
}

impl Value for LimitBy {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let text = String::read(node, walk)?;
        let by = match text.split_once(':') {
            None if text == "ip" => Some(Self::Ip),
            Some(("header", name)) => Some(Self::Header(name.to_owned())),
            Some(("claim", name)) => Some(Self::Claim(name.to_owned())),
            Some(_) | None => None,
        };
        if by.is_none() {
            let shown = node.text().map(super::node::Text::shown).unwrap_or_default();
            let hint = "one of `ip`, `header:NAME`, `claim:NAME`";
            walk.wrong(&node.span, format!("{shown} is nothing to count by"), hint);
        }
        by
    }

    fn shape() -> Shape {
        Shape::new(
            "`\"ip\"`, `\"header:NAME\"` or `\"claim:NAME\"`",
            json!({ "type": "string", "pattern": "^ip$|^(header|claim):.|\\$\\{" }),
        )
    }
}

impl Value for NonZeroU32 {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        let number = u32::read(node, walk)?;
        let number = Self::new(number);
        if number.is_none() {
            walk.wrong(&node.span, "0 lets nothing through", "write at least 1");
        }
        number
    }

    fn shape() -> Shape {
        u32::shape()
    }

    fn measure(&self) -> Option<u128> {
        Some(self.get().into())
    }
}

impl Value for RateLimits {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.kind {
            NodeKind::Array(_) => read_list(node, walk).map(Self),
            NodeKind::Boolean(_)
            | NodeKind::Datetime
            | NodeKind::Failed
            | NodeKind::Float(_)
            | NodeKind::Integer(_)
            | NodeKind::Table(_)
            | NodeKind::Text(_) => RateLimit::read(node, walk).map(|one| Self(vec![one])),
        }
    }

    fn shape() -> Shape {
        let one = RateLimit::shape().schema;
        let schema = json!({ "anyOf": [one, { "type": "array", "items": one }] });
        Shape::new("table, or a list of tables", schema)
    }

    fn table() -> Option<TableDoc> {
        RateLimit::table()
    }
}

impl Value for BadTokens {
    fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.text() {
            Some(text) if text.value == "off" => Some(Self::Off),
            Some(_) | None => TokenBudget::read(node, walk).map(Self::Budget),
        }
    }

    fn shape() -> Shape {
        let table = TokenBudget::shape().schema;
        Shape::new("table, or `\"off\"`", json!({ "anyOf": [{ "const": "off" }, table] }))
    }

    fn table() -> Option<TableDoc> {
        TokenBudget::table()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_number_and_a_unit() {
        let rate = |count, seconds| {
            let count = NonZeroU32::new(count).unwrap();
            Some(Rate { count, period: Duration::from_secs(seconds) })
        };
        assert_eq!(parse_rate("10/min"), rate(10, 60));
        assert_eq!(parse_rate("1/s"), rate(1, 1));
        assert_eq!(parse_rate("5000/d"), rate(5000, 86_400));
        for text in [
            "",
            "10",
            "10/",
            "/min",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "10/m",
            "10 / s",
            "9999999999/s",
        ] {
            assert_eq!(parse_rate(text), None, "{text}");
        }
    }
}
