//! Content codings, and which of them a client takes (RFC 9110 sections 8.4.1 and 12.5.3).
//!
//! `Accept-Encoding` comes from strangers: what cannot be read of it accepts nothing, so that the
//! worst that a malformed line gets is the plain content. A client that sends no such field gets the
//! plain content too, although the RFC would allow any coding: whoever decodes says so.

use hyper::header::{self, HeaderMap};

/// A way to encode content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// Its registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// What the name of a file that was encoded beforehand ends with, after a dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }
}

/// What a client takes: thousandths for each coding, zero for what it refuses or does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    brotli: u16,
    gzip: u16,
    zstd: u16,
    /// What a client says of plain content; zero too if it says nothing, and then it takes it.
    identity: u16,
}

impl Accepted {
    /// What `headers` say. Of a coding that is named twice the last counts.
    pub fn of(headers: &HeaderMap) -> Self {
        let (mut accepted, mut rest) = (Self::default(), None);
        let mut named = [false; 4];
        for line in headers.get_all(header::ACCEPT_ENCODING) {
            for item in line.as_bytes().split(|byte| *byte == b',') {
                let (coding, weight) = weighted(item);
                let at = match coding {
                    // RFC 9110 section 8.4.1.3: the same thing by its older name.
                    name if is(name, "gzip") || is(name, "x-gzip") => 0,
                    name if is(name, "br") => 1,
                    name if is(name, "zstd") => 2,
                    name if is(name, "identity") => 3,
                    b"*" => {
                        rest = Some(weight);
                        continue;
                    }
                    _ => continue,
                };
                accepted.set(at, weight);
                if let Some(named) = named.get_mut(at) {
                    *named = true;
                }
            }
        }
        if let Some(weight) = rest {
            for (at, _) in named.iter().enumerate().filter(|(_, named)| !**named) {
                accepted.set(at, weight);
            }
        }
        accepted
    }

    fn set(&mut self, at: usize, weight: u16) {
        match at {
            0 => self.gzip = weight,
            1 => self.brotli = weight,
            2 => self.zstd = weight,
            _ => self.identity = weight,
        }
    }

    fn weight(self, coding: Coding) -> u16 {
        match coding {
            Coding::Brotli => self.brotli,
            Coding::Gzip => self.gzip,
            Coding::Zstd => self.zstd,
        }
    }

    /// The coding to send: the one that the client likes best, among equals the first of `offered`;
    /// `None` if plain content is liked better than all of them.
    pub fn choose(self, offered: impl IntoIterator<Item = Coding>) -> Option<Coding> {
        let mut best: Option<(u16, Coding)> = None;
        for coding in offered {
            let weight = self.weight(coding);
            if weight > best.map_or(0, |(best, _)| best) {
                best = Some((weight, coding));
            }
        }
        best.filter(|(weight, _)| *weight >= self.identity).map(|(_, coding)| coding)
    }
}

fn is(name: &[u8], coding: &str) -> bool {
    name.eq_ignore_ascii_case(coding.as_bytes())
}

/// One item of the list: a name and its weight, 0 if that cannot be read.
fn weighted(item: &[u8]) -> (&[u8], u16) {
    let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    let weight = match (parts.next(), parts.next()) {
        (None, _) => Some(1000),
        (Some(parameter), None) => thousandths(parameter),
        (Some(_), Some(_)) => None,
    };
    (name, weight.unwrap_or(0))
}

/// `q=0.5` in thousandths: at most three digits behind the point, and nothing above 1 (RFC 9110
/// section 12.4.2).
fn thousandths(parameter: &[u8]) -> Option<u16> {
    let (name, value) = parameter.split_first()?;
    let value = value.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    if !name.eq_ignore_ascii_case(&b'q') {
        return None;
    }
    let (whole, fraction) = match value.iter().position(|byte| *byte == b'.') {
        Some(point) => (value.get(..point)?, value.get(point.checked_add(1)?..)?),
        None => (value, &b""[..]),
    };
    let whole = match whole {
        b"0" => 0,
        b"1" => 1000,
        _ => return None,
    };
    if fraction.len() > 3 {
        return None;
    }
    let mut unit = 100_u16;
    let mut weight: u16 = whole;
    for digit in fraction {
        let digit = u16::from(digit.is_ascii_digit().then(|| digit.wrapping_sub(b'0'))?);
        weight = weight.saturating_add(digit.saturating_mul(unit));
        unit = unit.checked_div(10)?;
    }
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

    fn choose(lines: &[&str]) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
        }
        Accepted::of(&headers).choose(ALL)
    }

    #[test]
    fn the_best_liked_is_chosen_and_among_equals_the_first_offered() {
        for (lines, expected) in [
            (&[][..], None),
            (&[""], None),
            (&["gzip"], Some(Coding::Gzip)),
            (&["X-GZIP"], Some(Coding::Gzip)),
            (&["gzip, deflate, br, zstd"], Some(Coding::Brotli)),
            (&["gzip, zstd"], Some(Coding::Zstd)),
            (&["gzip", "br"], Some(Coding::Brotli)),
            (&["br;q=0.5, gzip;q=0.9"], Some(Coding::Gzip)),
            (&["br;q=0.123, gzip;q=0.124"], Some(Coding::Gzip)),
            (&["BR ; Q = 1.000"], Some(Coding::Brotli)),
            (&["br;q=0, gzip;q=0.001"], Some(Coding::Gzip)),
            (&["br;q=0"], None),
            (&["*"], Some(Coding::Brotli)),
            (&["*, br;q=0"], Some(Coding::Zstd)),
            (&["*;q=0"], None),
            (&["*;q=0, gzip"], Some(Coding::Gzip)),
            (&["identity, gzip;q=0.5"], None),
            (&["identity, gzip"], Some(Coding::Gzip)),
            (&["identity;q=0, gzip;q=0.1"], Some(Coding::Gzip)),
            (&["identity;q=0.5, *;q=0"], None),
            (&["deflate, compress"], None),
        ] {
            assert_eq!(choose(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_can_not_be_read_accepts_nothing() {
        for line in [
            "br;q",
            "br;q=",
            "br;q=2",
            "br;q=1.1",
            "br;q=0.1234",
            "br;q=-1",
            "br;q=.5",
            "br;q=1e0",
            "br;q=0.5;x",
            "br;x=1",
            "brx",
            "b r",
            "br;q=0.x",
            ";q=1",
            "gzip\u{e9}",
            "br;;",
        ] {
            assert_eq!(choose(&[line]), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_chosen_was_named(line in "[a-z0-9;=,*. q]{0,60}") {
            if let Some(coding) = choose(&[&line]) {
                let named = line.contains(coding.as_str()) || line.contains('*');
                prop_assert!(named);
            }
        }

        #[test]
        fn any_bytes_end(item in proptest::collection::vec(any::<u8>(), 0..64)) {
            let (_, weight) = weighted(&item);
            prop_assert!(weight <= 1000);
        }
    }
}
