//! Odd and malformed requests, made of parts: the same ones in every run.

use std::fmt;

use portcullis::http::path::canonicalize;

/// What a request means to whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) method: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) body: Vec<u8>,
}

/// A request.
pub(super) struct Case {
    pub(super) sent: Listed,
    /// `None` if it is malformed: then it must not arrive at all.
    pub(super) meaning: Option<Meaning>,
}

/// A request as it is sent.
pub(super) enum Listed {
    Bytes(Vec<u8>),
    Frames { headers: Vec<(Vec<u8>, Vec<u8>)>, body: Vec<u8> },
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, target) = (self.method.escape_ascii(), self.target.escape_ascii());
        write!(f, "{method} {target} {}", self.body.escape_ascii())
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{}", bytes.escape_ascii()),
            Self::Frames { headers, body } => {
                for (name, value) in headers {
                    write!(f, "{}: {}; ", name.escape_ascii(), value.escape_ascii())?;
                }
                write!(f, "{}", body.escape_ascii())
            }
        }
    }
}

/// The number of the case whose request this is, out of its target: `/http/123/...`.
pub(super) fn number(raw: &[u8]) -> Option<usize> {
    let line = raw.split(|byte| *byte == b'\r').next()?;
    let target = std::str::from_utf8(line).ok()?.split(' ').nth(1)?;
    target.split(['/', '?']).nth(2)?.parse().ok()
}

/// Every case.
pub(super) fn all() -> Vec<Case> {
    let mut random = Random(0x5EED);
    let mut cases = Vec::new();
    while cases.len() < 1700 {
        let case = over_http1(cases.len(), &mut random);
        cases.push(case);
    }
    for framing in FRAMINGS {
        for kind in ["http", "wsgi"] {
            let case = framed(cases.len(), kind, framing);
            cases.push(case);
        }
    }
    while cases.len() < 2600 {
        let case = over_http2(cases.len(), &mut random);
        cases.push(case);
    }
    cases
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        let length = u64::try_from(list.len()).unwrap();
        list[usize::try_from(self.next() % length).unwrap()]
    }
}

// === HTTP/1 ===

const METHODS: &[&str] = &[
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "PROPFIND",
    "SEARCH",
    "get",
    "Post",
    "M-SEARCH",
    "FOO",
    "X!#$%&'*+.^_`|~",
    "TRACE",
    "CONNECT",
    "G\u{1}T",
    "G(T",
    "\"GET\"",
    "",
];

const SUFFIXES: &[&str] = &[
    "",
    "/",
    "/a/b",
    "?",
    "?x=1",
    "/a?x=/../..",
    "/%41/%7e",
    "/a%2Fb",
    "/a%2fb?q=%zz",
    "/;a=b/c",
    "/./x",
    "/x/../y",
    "//x",
    "/%e2%82%ac",
    "/:@!$&'()*+,=",
    "?a?b??c",
    "?q=[]\\^`{|}",
    "/~u/-._",
    "/%2561",
    "/a%20b",
    "?%00",
    "?q=\"<>\"",
    "/'\"",
    "/a b",
    "/\u{1}",
    "/%00",
    "/%zz",
    "/%",
    "/\\x",
    "/../../../x",
    "/#f",
    "?a#f",
    "/\u{7f}",
    "/a\tb",
    "/<x>",
    "/{x}",
    "/|",
    "?a b",
    "/\u{20ac}",
];

const VERSIONS: &[&str] = &[
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "HTTP/0.9",
    "http/1.1",
    "HTTP/1.1 ",
    "HTTP/1.10",
    "HTTP/11",
    "HTTP /1.1",
    "HTTPS/1.1",
    "",
    "HTTP/1.1\t",
];

const HOSTS: &[&str] = &[
    "host: localhost\r\n",
    "HOST:localhost\r\n",
    "Host:\t localhost \r\n",
    "Host: localhost:80\r\n",
    "Host: LOCALHOST\r\n",
    "",
    "Host:\r\n",
    "Host: a\r\nHost: b\r\n",
    "Host: a, b\r\n",
    "Host : localhost\r\n",
    " Host: localhost\r\n",
    "Host: local\r\n host\r\n",
    "Host: a/b\r\n",
    "Host: u@localhost\r\n",
    "Host: local host\r\n",
    "Host: localhost\r\nhost: localhost\r\n",
];

/// Well-formed, if odd.
const ODD: &[&str] = &[
    "X-A: 1\r\n",
    "x-b:\r\n",
    "X-C:\t spaced \t\r\n",
    "X-D: a\tb\r\n",
    "X-E: caf\u{e9}\r\n",
    "X-Same: 1\r\nX-Same: 2\r\n",
    "Cookie: a=b\r\nCookie: c=d\r\n",
    "X_Under: 1\r\n",
    "Content_Length: 7\r\n",
    "Transfer_Encoding: chunked\r\n",
    "Connection: x-a, keep-alive\r\n",
    "Connection: ,,\r\n",
    "Proxy-Connection: keep-alive\r\n",
    "Keep-Alive: timeout=5\r\n",
    "TE: trailers\r\n",
    "TE: gzip;q=0.5, trailers\r\n",
    "Trailer: X-T\r\n",
    "Upgrade: h2c\r\n",
    "HTTP2-Settings: AAMAAABk\r\n",
    "Expect: 100-continue\r\n",
    "Accept: */*\r\n",
    "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n",
    "SCRIPT_NAME: /x\r\n",
    "X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
    "!#$%&'*+-.^_`|~: tokens\r\n",
    "X-Quote: \"a\\\"b\"\r\n",
    "Via: 1.1 other\r\n",
    "X-Looks: GET / HTTP/1.1\r\n",
    "X-Colon: a: b: c\r\n",
    "Referer: http://x/?a#b\r\n",
    "Content-Type: text/plain\r\n",
    "Authorization: Basic eDp5\r\n",
    "Range: bytes=0-1\r\n",
];

/// No head may have these.
const BAD: &[&str] = &[
    "bad name: x\r\n",
    ": x\r\n",
    "noline\r\n",
    "X-Cr: a\rb\r\n",
    "X-Nul: a\0b\r\n",
    " folded: x\r\n",
    "X-A: b\r\n folded\r\n",
    "X\u{e9}: a\r\n",
    "X-A : b\r\n",
    "X(a): b\r\n",
    "X-A\t: b\r\n",
    "X-Del: a\u{7f}b\r\n",
    "X-Bel: a\u{7}b\r\n",
    "Connection: host\r\n",
    "Connection: content-length\r\n",
    "Expect: 200-maybe\r\n",
    "Content-Type: a/b\r\nContent-Type: c/d\r\n",
];

/// How a body is framed, as lines; what it is; and whether that is one reading.
type Framing = (&'static str, &'static str, Option<&'static str>);

const NONE: Framing = ("", "", Some(""));

const FRAMINGS: &[Framing] = &[
    NONE,
    ("Content-Length: 5\r\n", "hello", Some("hello")),
    ("content-length:5\r\n", "hello", Some("hello")),
    ("Content-Length:\t5 \r\n", "hello", Some("hello")),
    ("Content-Length: 05\r\n", "hello", Some("hello")),
    ("Content-Length: 0\r\n", "", Some("")),
    ("Content-Length: 00\r\n", "", Some("")),
    ("Content-Length: 5\r\nContent-Length: 5\r\n", "hello", Some("hello")),
    ("Content-Length: 4\r\n", "\r\n\r\n", Some("\r\n\r\n")),
    (
        "Content-Length: 32\r\n",
        "GET /http/0 HTTP/1.1\r\nHost: a\r\n\r",
        Some("GET /http/0 HTTP/1.1\r\nHost: a\r\n\r"),
    ),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", Some("hello")),
    ("transfer-encoding:Chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", Some("hello")),
    ("Transfer-Encoding: \tCHUNKED \r\n", "5\r\nhello\r\n0\r\n\r\n", Some("hello")),
    ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", Some("")),
    ("Transfer-Encoding: chunked\r\n", "000\r\n\r\n", Some("")),
    ("Transfer-Encoding: chunked\r\n", "0005\r\nhello\r\n0\r\n\r\n", Some("hello")),
    ("Transfer-Encoding: chunked\r\n", "A\r\n0123456789\r\n0\r\n\r\n", Some("0123456789")),
    ("Transfer-Encoding: chunked\r\n", "a\r\n0123456789\r\n0\r\n\r\n", Some("0123456789")),
    ("Transfer-Encoding: chunked\r\n", "1\r\nh\r\n1\r\ne\r\n3\r\nllo\r\n0\r\n\r\n", Some("hello")),
    ("Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0;c\r\n\r\n", Some("hello")),
    ("Transfer-Encoding: chunked\r\n", "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n", Some("hello")),
    ("Transfer-Encoding: chunked\r\n", "5 \r\nhello\r\n0\r\n\r\n", Some("hello")),
    ("Transfer-Encoding: chunked\r\n", "7\r\n0\r\n\r\nxx\r\n0\r\n\r\n", Some("0\r\n\r\nxx")),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", Some("hello")),
    (
        "Transfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 9\r\nHost: evil\r\n\r\n",
        Some("hello"),
    ),
    (
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        Some("hello"),
    ),
    (
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        Some("hello"),
    ),
    ("Content-Length: +5\r\n", "hello", None),
    ("Content-Length: -5\r\n", "hello", None),
    ("Content-Length: 0x5\r\n", "hello", None),
    ("Content-Length: 5, 5\r\n", "hello", None),
    ("Content-Length: 5, 6\r\n", "hello!", None),
    ("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!", None),
    ("Content-Length: 5 5\r\n", "hello", None),
    ("Content-Length: five\r\n", "hello", None),
    ("Content-Length:\r\n", "hello", None),
    ("Content-Length: \"5\"\r\n", "hello", None),
    ("Content-Length: 99999999999999999999\r\n", "hello", None),
    ("Content-Length : 5\r\n", "hello", None),
    ("Content-Length:\r\n 5\r\n", "hello", None),
    ("Content\0-Length: 5\r\n", "hello", None),
    ("Transfer-Encoding: gzip, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunked, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunked, identity\r\n", "5\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: identity\r\n", "hello", None),
    ("Transfer-Encoding: xchunked\r\n", "5\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunkedx\r\n", "5\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: \"chunked\"\r\n", "5\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunked;q=1\r\n", "5\r\nhello\r\n0\r\n\r\n", None),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        None,
    ),
    ("Transfer-Encoding: \u{b}chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding:\r\n chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding : chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding:\r\n", "hello", None),
    ("Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunked\r\n", "+5\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunked\r\n", "-5\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunked\r\n", "5_\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunked\r\n", "g\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunked\r\n", "\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhello0\r\n\r\n", None),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhello\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhelloworld\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunked\r\n", "5;\nx\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n", None),
];

fn framed(number: usize, kind: &str, framing: &Framing) -> Case {
    let (lines, body, meant) = framing;
    let target = format!("/{kind}/{number}");
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n");
    // A request behind it, which nobody may serve.
    let hidden = format!("GET {target}/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let meaning = meant.map(|body| Meaning {
        method: b"POST".to_vec(),
        target: target.into_bytes(),
        body: body.as_bytes().to_vec(),
    });
    Case { sent: Listed::Bytes(format!("{head}{body}{hidden}").into_bytes()), meaning }
}

/// Mostly right, with something odd, and at times something wrong.
fn over_http1(number: usize, random: &mut Random) -> Case {
    let kind = random.of(&["http", "wsgi"]);
    let method = match random.one_in(3) {
        true => random.of(METHODS),
        false => random.of(&METHODS[..7]),
    };
    let suffix = random.of(SUFFIXES);
    let target = format!("/{kind}/{number}{suffix}");
    let (form, mut good) = match random.next() % 24 {
        0 => (format!("http://localhost{target}"), true),
        1 => (format!("HTTP://LOCALHOST:80{target}"), true),
        2 => (format!("http://evil.example{target}"), false),
        3 => (target.trim_start_matches('/').to_owned(), false),
        _ => (target.clone(), true),
    };
    let version = match random.one_in(16) {
        true => random.of(VERSIONS),
        false => "HTTP/1.1",
    };
    good &= version == "HTTP/1.1";
    let host = match random.one_in(10) {
        true => random.of(HOSTS),
        false => "Host: localhost\r\n",
    };
    let mut fields = String::new();
    for _ in 0..random.next() % 4 {
        fields.push_str(random.of(ODD));
    }
    if random.one_in(12) {
        fields.push_str(random.of(BAD));
        good = false;
    }
    let framing = match random.one_in(3) {
        true => random.of(FRAMINGS),
        false => NONE,
    };
    let (lines, body, meant) = framing;
    let head = format!(
        "{method} {form} {version}\r\n{host}Connection: close\r\n{fields}{lines}\r\n{body}"
    );
    let mut bytes = latin1(&head);
    if random.one_in(4) {
        bytes.extend_from_slice(
            format!("GET /{kind}/{number}/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes(),
        );
    }
    let meaning = meaning(method, &target, meant);
    // What is odd in version, host or target form may be refused, and is what it is if it is not.
    let never = !good && version == "HTTP/1.1";
    Case { sent: Listed::Bytes(bytes), meaning: meaning.filter(|_| !never) }
}

/// As one who sends a header in ISO 8859-1 would.
fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .flat_map(|c| match u8::try_from(u32::from(c)) {
            Ok(byte) => vec![byte],
            Err(_) => c.to_string().into_bytes(),
        })
        .collect()
}

/// What is forwarded, if anything is.
fn meaning(method: &str, target: &str, body: Option<&str>) -> Option<Meaning> {
    let target = target.split('#').next()?;
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = canonicalize(path).ok()?.path.into_owned();
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    Some(Meaning {
        method: method.as_bytes().to_vec(),
        target: target.into_bytes(),
        body: body?.as_bytes().to_vec(),
    })
}

// === HTTP/2 ===

type Field = (&'static str, &'static str);

/// Well-formed, if odd.
const ODD_FIELDS: &[&[Field]] = &[
    &[("x-a", "1")],
    &[("x-b", "")],
    &[("x-d", "a\tb")],
    &[("x-e", "caf\u{e9}")],
    &[("cookie", "a=b"), ("cookie", "c=d")],
    &[("te", "trailers")],
    &[("x_under", "1")],
    &[("content_length", "7")],
    &[("expect", "100-continue")],
    &[("x-looks", "GET / HTTP/1.1")],
    &[("host", "localhost")],
    &[("proxy", "x"), ("script-name", "/x")],
    &[("x-forwarded-for", "1.2.3.4")],
    &[("!#$%&'*+-.^_`|~", "tokens")],
    &[("trailer", "x-t")],
];

/// No request may have these.
const BAD_FIELDS: &[&[Field]] = &[
    &[("connection", "close")],
    &[("keep-alive", "1")],
    &[("proxy-connection", "x")],
    &[("transfer-encoding", "chunked")],
    &[("upgrade", "h2c")],
    &[("te", "gzip")],
    &[("X-Upper", "1")],
    &[("bad name", "1")],
    &[("", "1")],
    &[("x-crlf", "a\r\nx-b: c")],
    &[("x-lf", "a\nb")],
    &[("x-nul", "a\0b")],
    &[("x:colon", "1")],
    &[("host", "evil.example")],
    &[("content-length", "+1")],
    &[("content-length", "1"), ("content-length", "2")],
    &[("content-length", "1, 1")],
    &[(":late", "1")],
    &[(":path", "/again")],
    &[(":method", "GET")],
];

fn over_http2(number: usize, random: &mut Random) -> Case {
    let kind = random.of(&["http", "wsgi"]);
    let method = match random.one_in(3) {
        true => random.of(METHODS),
        false => random.of(&METHODS[..7]),
    };
    let suffix = random.of(SUFFIXES);
    let target = format!("/{kind}/{number}{suffix}");
    let mut good = true;
    let path = match random.next() % 24 {
        0 => format!("https://localhost{target}"),
        1 => target.trim_start_matches('/').to_owned(),
        _ => target.clone(),
    };
    good &= path == target;
    let authority = match random.one_in(16) {
        true => {
            random.of(&["LOCALHOST", "localhost:443", "evil.example", "", "u@localhost", "a b"])
        }
        false => "localhost",
    };
    let mut headers: Vec<(String, String)> = [
        (":method", method),
        (":scheme", if random.one_in(24) { "ftp" } else { "https" }),
        (":authority", authority),
        (":path", &path),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let mut add = |fields: &[Field]| {
        headers
            .extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    };
    for _ in 0..random.next() % 3 {
        add(random.of(ODD_FIELDS));
    }
    if random.one_in(10) {
        add(random.of(BAD_FIELDS));
        good = false;
    }
    let body = match random.one_in(2) {
        true => random.of(&["hello", "0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\0"]),
        false => "",
    };
    match random.next() % 6 {
        0 | 1 => headers.push(("content-length".to_owned(), body.len().to_string())),
        // What is announced and what comes differ.
        2 if random.one_in(3) => {
            headers.push(("content-length".to_owned(), (body.len() + 1).to_string()));
            good = false;
        }
        _ => {}
    }
    let headers = headers.iter().map(|(name, value)| (latin1(name), latin1(value))).collect();
    let sent = Listed::Frames { headers, body: body.as_bytes().to_vec() };
    Case { sent, meaning: meaning(method, &target, Some(body)).filter(|_| good) }
}
