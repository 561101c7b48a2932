//! Spellings of one path of two segments, `/{a}/{b}`, each with what the contract says of it.
//!
//! Both columns are written by hand; nothing here is computed as the gateway computes it. `{A}` is
//! the first segment in upper case, `{a%}` with its first letter escaped (`{a%%}`: all letters),
//! `{long}` 4,000 and `{huge}` 9,000 letters.

use Reading::{Asterisk, Misfit, Path, Refused};

/// What a spelling comes to, before any route is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The server as a whole is asked.
    Asterisk,
    /// No request line at all: the parser answers 400 without a body, and closes.
    Misfit,
    /// The one canonical spelling, with its query.
    Path(&'static str),
    /// The reason.
    Refused(&'static str),
}

/// One spelling.
pub(crate) struct Spelling {
    pub(crate) raw: &'static str,
    pub(crate) reading: Reading,
    pub(crate) carried: Carried,
}

/// Which protocols can carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    ByBoth,
    /// An HTTP/2 client has no way to write it.
    ByHttp1,
}

const fn both(raw: &'static str, reading: Reading) -> Spelling {
    Spelling { raw, reading, carried: Carried::ByBoth }
}

const fn http1(raw: &'static str, reading: Reading) -> Spelling {
    Spelling { raw, reading, carried: Carried::ByHttp1 }
}

const BAD: Reading = Refused("bad_request");
const AMBIGUOUS: Reading = Refused("ambiguous_path");
const SAME: Reading = Path("/{a}/{b}");

/// The first is the plain one.
pub(crate) const SPELLINGS: &[Spelling] = &[
    both("/{a}/{b}", SAME),
    // Other spellings of the same.
    both("/./{a}/{b}", SAME),
    both("/{a}/./{b}", SAME),
    both("/%2e/{a}/{b}", SAME),
    both("/{a}/%2E/{b}", SAME),
    both("/x/../{a}/{b}", SAME),
    both("/x/%2e%2e/{a}/{b}", SAME),
    both("/x/%2E./{a}/{b}", SAME),
    both("/x/.%2e/{a}/{b}", SAME),
    both("/x/y/../../{a}/{b}", SAME),
    both("/{a}/../{a}/{b}", SAME),
    both("/{a}/{b}/../{b}", SAME),
    both("/public/../{a}/{b}", SAME),
    both("/public/%2e%2e/{a}/{b}", SAME),
    both("/public/x/../../{a}/{b}", SAME),
    both("/static/../{a}/{b}", SAME),
    both("/static/%2E%2E/{a}/{b}", SAME),
    both("/api/token/../../{a}/{b}", SAME),
    both("/{a%}/{b}", SAME),
    both("/{a}/{b%}", SAME),
    both("/{a%%}/{b%%}", SAME),
    both("/public/.%2E/{a%%}/{b}", SAME),
    both("/{a}/{b}#/../../public/item", SAME),
    both("/{a}/{b}#fragment", SAME),
    // A query, which is never looked at.
    both("/{a}/{b}?x=1&y=%2e%2e%2f", Path("/{a}/{b}?x=1&y=%2e%2e%2f")),
    both("/{a}/{b}?/../public/item", Path("/{a}/{b}?/../public/item")),
    both("/public/../{a}/{b}?next=//evil", Path("/{a}/{b}?next=//evil")),
    both("/{a}/{b}??#x", Path("/{a}/{b}??")),
    // Below and beside it.
    both("/{a}/{b}/", Path("/{a}/{b}/")),
    both("/{a}/{b}/.", Path("/{a}/{b}/")),
    both("/{a}/{b}/x/..", Path("/{a}/{b}/")),
    both("/{a}/{b}/x/%2e%2e", Path("/{a}/{b}/")),
    both("/{a}/{b}/child", Path("/{a}/{b}/child")),
    both("/{a}/x", Path("/{a}/x")),
    both("/{a}", Path("/{a}")),
    both("/{a}/", Path("/{a}/")),
    both("/{a}x/{b}", Path("/{a}x/{b}")),
    both("/{a}/{b}x", Path("/{a}/{b}x")),
    both("/{a}.", Path("/{a}.")),
    both("/{a}./{b}", Path("/{a}./{b}")),
    both("/{a}/{b}.", Path("/{a}/{b}.")),
    both("/{a}/...", Path("/{a}/...")),
    both("/.../{a}/{b}", Path("/.../{a}/{b}")),
    both("/{a}/.{b}", Path("/{a}/.{b}")),
    both("/{A}/{b}", Path("/{A}/{b}")),
    both("/{A}/{B}", Path("/{A}/{B}")),
    both("/{a}/{B}", Path("/{a}/{B}")),
    both("/", Path("/")),
    both("/{a}/../public/item", Path("/public/item")),
    both("/{a}/%2e%2e/public/item", Path("/public/item")),
    both("/{a}/{b}/../../public/item", Path("/public/item")),
    both("/public/{a}/{b}", Path("/public/{a}/{b}")),
    both("/public;/{a}/{b}", Path("/public;/{a}/{b}")),
    both("/{a};x=1/{b}", Path("/{a};x=1/{b}")),
    both("/{a}/{b};x=1", Path("/{a}/{b};x=1")),
    both("/{a}/{b};", Path("/{a}/{b};")),
    // Reserved, and what is no text, stays escaped; what need not be escaped does not.
    both("/{a}/%7euser", Path("/{a}/~user")),
    both("/{a}/%2d%5F%41", Path("/{a}/-_A")),
    both("/{a}/%40a%3ab", Path("/{a}/%40a%3Ab")),
    both("/{a}/!$&'()*+,=:@", Path("/{a}/!$&'()*+,=:@")),
    both("/{a}/{b}%23x", Path("/{a}/{b}%23x")),
    both("/{a}/{b}%3fx=1", Path("/{a}/{b}%3Fx=1")),
    both("/{a}/{b}%20", Path("/{a}/{b}%20")),
    both("/{a}/{b}%ff", Path("/{a}/{b}%FF")),
    both("/{a}/{b}%c3%a9", Path("/{a}/{b}%C3%A9")),
    both("/{a}/{b}\u{e9}", Path("/{a}/{b}%C3%A9")),
    both("/{a}/%25", Path("/{a}/%25")),
    both("/{a}/%2541", Path("/{a}/%2541")),
    both("/public/%c0%ae%c0%ae/{a}/{b}", Path("/public/%C0%AE%C0%AE/{a}/{b}")),
    both("/public/..%c0%af{a}/{b}", Path("/public/..%C0%AF{a}/{b}")),
    both("/public/%e3%80%82/{a}/{b}", Path("/public/%E3%80%82/{a}/{b}")),
    both("/{a}/{long}", Path("/{a}/{long}")),
    // Above the root.
    both("/../{a}/{b}", BAD),
    both("/%2e%2e/{a}/{b}", BAD),
    both("/public/../../{a}/{b}", BAD),
    both("/{a}/../../{b}", BAD),
    both("/..", BAD),
    // What no path may hold.
    both("/public\\..\\{a}\\{b}", BAD),
    both("/{a}\\{b}", BAD),
    both("/{a}/{b}%00", BAD),
    both("/{a}/{b}%00.css", BAD),
    both("/public/%00/../{a}/{b}", BAD),
    both("/{a}/{b}%0a", BAD),
    both("/{a}/{b}%0d%0aX-User:%20intruder", BAD),
    both("/{a}/{b}%09", BAD),
    both("/{a}/{b}%7f", BAD),
    both("/{a}/{b}%", BAD),
    both("/{a}/{b}%4", BAD),
    both("/{a}/{b}%zz", BAD),
    both("/public/%u002e%u002e/{a}/{b}", BAD),
    both("/%%32%65/{a}/{b}", BAD),
    // What many take for a host.
    both("//{a}/{b}", AMBIGUOUS),
    both("///{a}/{b}", AMBIGUOUS),
    both("/.//{a}/{b}", AMBIGUOUS),
    both("/public/..//{a}/{b}", AMBIGUOUS),
    // What servers disagree about: kept as it is, where all their readings lead to one route.
    both("/{a}//{b}", Path("/{a}//{b}")),
    both("/{a}/{b}//", Path("/{a}/{b}//")),
    both("/public//../{a}/{b}", Path("/public/{a}/{b}")),
    both("/public/..;/{a}/{b}", Path("/public/..;/{a}/{b}")),
    both("/public/..;x=1/{a}/{b}", Path("/public/..;x=1/{a}/{b}")),
    both("/public/;../{a}/{b}", Path("/public/;../{a}/{b}")),
    both("/public/%2e%2e;/{a}/{b}", Path("/public/..;/{a}/{b}")),
    both("/public/..%3b/{a}/{b}", Path("/public/..%3B/{a}/{b}")),
    both("/public%2f{a}/{b}", Path("/public%2F{a}/{b}")),
    both("/{a}%2f{b}", Path("/{a}%2F{b}")),
    both("/{a}%2F{b}", Path("/{a}%2F{b}")),
    both("/{a}/{b}%2Fx", Path("/{a}/{b}%2Fx")),
    both("/{a}/{b}%2F..%2Fx", Path("/{a}/{b}%2F..%2Fx")),
    both("/{a}/x%252f%5c{b}", Path("/{a}/x%252f%5C{b}")),
    both("/%2f{a}/{b}", Path("/%2F{a}/{b}")),
    both("/public/..%2f{a}/{b}", Path("/public/..%2F{a}/{b}")),
    both("/public%2f..%2f{a}%2f{b}", Path("/public%2F..%2F{a}%2F{b}")),
    both("/public/%2e%2e%2f{a}/{b}", Path("/public/..%2F{a}/{b}")),
    both("/public/..%5c{a}/{b}", Path("/public/..%5C{a}/{b}")),
    both("/public%5c..%5C{a}%5c{b}", Path("/public%5C..%5C{a}%5C{b}")),
    both("/public/%252e%252e/{a}/{b}", Path("/public/%252e%252e/{a}/{b}")),
    both("/public/..%252f{a}/{b}", Path("/public/..%252f{a}/{b}")),
    both("/public/%252E./{a}/{b}", Path("/public/%252E./{a}/{b}")),
    both("/public/..%255c{a}/{b}", Path("/public/..%255c{a}/{b}")),
    both("/public/%25252e%25252e/{a}/{b}", Path("/public/%25252e%25252e/{a}/{b}")),
    both("/public/%25%32%65%25%32%65/{a}/{b}", Path("/public/%252e%252e/{a}/{b}")),
    both("/{a}%252f{b}", Path("/{a}%252f{b}")),
    // Other forms of the target, and its size.
    both("/{a}/{huge}", Refused("target_too_long")),
    http1("http://{host}/{a}/{b}", SAME),
    http1("HTTP://{host}/public/../{a}/{b}", SAME),
    http1("http://{host}/%2e%2e/{a}/{b}", BAD),
    http1("http://elsewhere.test/{a}/{b}", Refused("bad_host")),
    http1("http://{host}", Path("/")),
    http1("ftp://{host}/{a}/{b}", BAD),
    http1("*", Asterisk),
    http1("{host}", BAD),
    http1("{a}/{b}", Misfit),
    http1("../{a}/{b}", Misfit),
    http1("?/{a}/{b}", Misfit),
    http1("\\{a}\\{b}", Misfit),
    http1("/{a}/{b}\u{1}", Misfit),
    http1("/{a}/{b} x", Misfit),
];

/// The text of a spelling or of its reading for a path.
pub(crate) fn write(template: &str, path: &str, host: &str) -> String {
    let (a, b) = path.trim_start_matches('/').split_once('/').unwrap();
    let escaped = |letter: u8| format!("%{letter:02x}");
    let first = |text: &str| format!("{}{}", escaped(text.as_bytes()[0]), &text[1..]);
    let all = |text: &str| text.bytes().map(escaped).collect::<String>();
    template
        .replace("{a}", a)
        .replace("{b}", b)
        .replace("{A}", &a.to_uppercase())
        .replace("{B}", &b.to_uppercase())
        .replace("{a%}", &first(a))
        .replace("{b%}", &first(b))
        .replace("{a%%}", &all(a))
        .replace("{b%%}", &all(b))
        .replace("{host}", host)
        .replace("{long}", &"l".repeat(4000))
        .replace("{huge}", &"h".repeat(9000))
}
