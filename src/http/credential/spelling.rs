//! Names as the most lenient application would read them.

/// What a part of a request holds under the name of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occurrence<'r> {
    /// Nothing that anybody could take for it.
    Absent,
    /// Once, and without a value: what is left of a cookie that was cleared.
    Empty,
    /// Once, and as strictly written as can be.
    One(&'r [u8]),
    /// Once, but only lenient readers would find it.
    Respelled,
    /// More than once, for lenient readers at least.
    Several,
}

impl<'r> Occurrence<'r> {
    /// With one more that was found behind it.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Absent, one) | (one, Self::Absent) => one,
            (
                Self::Empty | Self::One(_) | Self::Respelled | Self::Several,
                Self::Empty | Self::One(_) | Self::Respelled | Self::Several,
            ) => Self::Several,
        }
    }

    /// Once, strictly written.
    pub(super) fn once(value: &'r [u8]) -> Self {
        if value.is_empty() { Self::Empty } else { Self::One(value) }
    }
}

/// Whether some application would take `written` for `name`.
///
/// PHP decodes escapes in the names of cookies, writes `.` and spaces as `_` and cuts a name at `[`;
/// ASP.NET ignores case; Django trims whatever Unicode calls white space, which is how a cookie
/// set by another host's page passes for one that only this host could have set.
pub fn reads_as(written: &[u8], name: &[u8]) -> bool {
    let mut decoded = Decoded(written).skip_while(|byte| is_blank(*byte));
    let same = name.iter().all(|&wanted| decoded.next().is_some_and(|b| fold(b) == fold(wanted)));
    same && match decoded.next() {
        None | Some(b'[' | 0) => true,
        Some(byte) => is_blank(byte) && decoded.all(is_blank),
    }
}

/// Bytes beyond ASCII may be any Unicode white space.
fn is_blank(byte: u8) -> bool {
    byte <= b' ' || byte >= 0x7f
}

fn fold(byte: u8) -> u8 {
    match byte {
        b'.' | b' ' => b'_',
        byte => byte.to_ascii_lowercase(),
    }
}

/// Percent escapes decoded, `+` as the space that forms write so.
struct Decoded<'w>(&'w [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
        match (byte, rest) {
            (b'+', _) => Some(b' '),
            (b'%', [high, low, rest @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    self.0 = rest;
                    Some(high << 4 | low)
                }
                (_, _) => Some(byte),
            },
            (_, _) => Some(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenient_readers_are_outdone() {
        for written in [
            "access_token",
            "Access_Token",
            "access.token",
            "access+token",
            "access%5Ftoken",
            "%61ccess_token",
            "access_token[]",
            "access_token[0]",
            " access_token ",
            "+access_token",
            "%20access_token%09",
            "\u{a0}access_token",
            "\u{2003}access_token\u{2003}",
            "access_token\0x",
            "access_token%00x",
        ] {
            assert!(reads_as(written.as_bytes(), b"access_token"), "{written:?}");
        }
        for written in [
            "",
            "access_toke",
            "access_tokens",
            "xaccess_token",
            "access_token x",
            "accesstoken",
            "access%255Ftoken",
            "access_token%",
            "[access_token]",
            "access-token",
        ] {
            assert!(!reads_as(written.as_bytes(), b"access_token"), "{written:?}");
        }
    }
}
