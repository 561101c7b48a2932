//! The requests of the comparison. `{etag}` stands for the entity tag that the asked server gave for
//! the same path with the same `Accept-Encoding`, `{date}` for the time all files were written at.

/// One request; its lines end with CRLF.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) lines: Vec<String>,
}

impl Case {
    fn new(method: &'static str, path: &str, lines: &[&str]) -> Self {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Self { method, path: path.to_owned(), lines }
    }

    /// The value of a field, if the request has one such line.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// As the table shows it.
    pub(super) fn shown(&self) -> String {
        let mut shown = format!("{} {}", self.method, self.path);
        for line in &self.lines {
            shown.push_str("; ");
            shown.push_str(line);
        }
        shown
    }
}

pub(super) fn all() -> Vec<Case> {
    let mut cases = conditions();
    cases.extend(ranges());
    cases.extend(encodings());
    cases.extend(paths());
    cases.extend(methods());
    cases
}

const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";
const AFTER: &str = "Tue, 14 Nov 2023 22:13:21 GMT";

fn conditions() -> Vec<Case> {
    let single = [
        "If-None-Match: {etag}",
        "If-None-Match: W/{etag}",
        "If-None-Match: \"other\"",
        "If-None-Match: \"other\", {etag}",
        "If-None-Match: \"a,b\", W/\"c\",{etag}",
        "If-None-Match: W/\"other\", W/{etag}",
        "If-None-Match: *",
        "If-None-Match: unquoted",
        "If-None-Match: \"open",
        "If-Match: {etag}",
        "If-Match: W/{etag}",
        "If-Match: \"other\"",
        "If-Match: \"other\", {etag}",
        "If-Match: *",
        "If-Match: unquoted",
        "If-Modified-Since: {date}",
        "If-Modified-Since: Tue, 14 Nov 2023 22:13:19 GMT",
        "If-Modified-Since: Tue, 14 Nov 2023 22:13:21 GMT",
        "If-Modified-Since: Tuesday, 14-Nov-23 22:13:20 GMT",
        "If-Modified-Since: Tue Nov 14 22:13:20 2023",
        "If-Modified-Since: yesterday",
        "If-Modified-Since: Mon, 14 Nov 2033 22:13:20 GMT",
        "If-Unmodified-Since: {date}",
        "If-Unmodified-Since: Tue, 14 Nov 2023 22:13:19 GMT",
        "If-Unmodified-Since: Tue, 14 Nov 2023 22:13:21 GMT",
        "If-Unmodified-Since: yesterday",
    ];
    let mut cases = Vec::new();
    for line in single {
        for method in ["GET", "HEAD"] {
            cases.push(Case::new(method, "/a.txt", &[line]));
        }
        cases.push(Case::new("GET", "/app.js", &[line, "Accept-Encoding: gzip"]));
    }
    let before = &*format!("If-Unmodified-Since: {BEFORE}");
    let known = "If-Modified-Since: {date}";
    let after = &*format!("If-Unmodified-Since: {AFTER}");
    for lines in [
        &["If-None-Match: \"other\"", known][..],
        &["If-None-Match: {etag}", "If-Modified-Since: Tue, 14 Nov 2023 22:13:19 GMT"],
        &["If-Match: {etag}", before],
        &["If-Match: \"other\"", after],
        &["If-Match: \"other\"", "If-None-Match: {etag}"],
        &["If-Match: {etag}", "If-None-Match: {etag}"],
        &["If-Match: *", "If-None-Match: *"],
        &["If-None-Match: \"other\"", "If-None-Match: {etag}"],
        &["If-Match: \"other\"", "If-Match: {etag}"],
        &[before, known],
        &[after, known],
        &[known, known],
        &["If-Match: {etag}", known],
        &["If-None-Match: {etag}", "Range: bytes=0-1"],
        &["If-Match: \"other\"", "Range: bytes=0-1"],
        &["If-Modified-Since: {date}", "Range: bytes=0-1"],
        &["If-Unmodified-Since: {date}", "Range: bytes=0-1"],
    ] {
        for method in ["GET", "HEAD"] {
            cases.push(Case::new(method, "/a.txt", lines));
        }
    }
    for path in ["/missing.txt", "/sub", "/sub/"] {
        cases.push(Case::new("GET", path, &["If-Match: \"other\""]));
        cases.push(Case::new("GET", path, &["If-None-Match: *"]));
    }
    cases
}

fn ranges() -> Vec<Case> {
    let values = [
        "bytes=0-0",
        "bytes=2-4",
        "bytes=7-",
        "bytes=-2",
        "bytes=0-99",
        "bytes=0-9",
        "bytes=9-9",
        "bytes=10-",
        "bytes=10-20",
        "bytes=-0",
        "bytes=-99",
        "bytes=4-2",
        "bytes=",
        "bytes=-",
        "bytes",
        "bytes=a-b",
        "bytes=0-x",
        "bytes=+0-1",
        "bytes=0x0-1",
        "bytes=--1",
        "bytes=0-1-2",
        "lines=0-1",
        "Bytes=0-1",
        "bytes=0-1,4-5",
        "bytes=4-5,0-1",
        "bytes=0-1, 4-5",
        "bytes=0-1,2-3",
        "bytes=0-5,3-9",
        "bytes=0-,0-",
        "bytes=0-0,-1",
        "bytes=0-1,20-",
        "bytes=20-,30-",
        "bytes=0-1,x",
        "bytes=0-1,,4-5",
        "bytes=,0-1",
        "bytes=0-18446744073709551615",
        "bytes=0-99999999999999999999",
        "bytes=99999999999999999999-",
        "bytes=0-0,2-2,4-4,6-6,8-8,0-0,2-2,4-4",
        "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8",
        "bytes= 0-1",
        "bytes=0 - 1",
        "bytes =0-1",
    ];
    let mut cases = Vec::new();
    for value in values {
        let line = format!("Range: {value}");
        cases.push(Case::new("GET", "/a.txt", &[&line]));
    }
    for value in
        ["bytes=0-0", "bytes=65535-65536", "bytes=-1", "bytes=0-99999,150000-", "bytes=300000-"]
    {
        let line = format!("Range: {value}");
        cases.push(Case::new("GET", "/big.bin", &[&line]));
        cases.push(Case::new("HEAD", "/big.bin", &[&line]));
    }
    for value in ["bytes=0-0", "bytes=0-", "bytes=-1", "bytes=-0", "bytes=0-0,1-1"] {
        let line = format!("Range: {value}");
        cases.push(Case::new("GET", "/empty.txt", &[&line]));
    }
    for value in [
        "{etag}",
        "W/{etag}",
        "\"other\"",
        "{date}",
        BEFORE,
        AFTER,
        "yesterday",
        "*",
        "\"other\", {etag}",
    ] {
        let line = format!("If-Range: {value}");
        cases.push(Case::new("GET", "/a.txt", &["Range: bytes=0-1", &line]));
    }
    cases.push(Case::new("GET", "/a.txt", &["If-Range: {etag}"]));
    cases.push(Case::new("GET", "/a.txt", &["Range: bytes=0-1", "Range: bytes=4-5"]));
    for lines in [
        &["Range: bytes=0-1", "Accept-Encoding: gzip"][..],
        &["Range: bytes=0-1", "Accept-Encoding: gzip", "If-Range: {etag}"],
        &["Range: bytes=0-1", "Accept-Encoding: gzip", "If-Range: {date}"],
        &["Range: bytes=0-1,4-5", "Accept-Encoding: gzip"],
    ] {
        cases.push(Case::new("GET", "/app.js", lines));
    }
    cases
}

fn encodings() -> Vec<Case> {
    let values = [
        "gzip",
        "br",
        "zstd",
        "gzip, br",
        "br, gzip",
        "gzip, deflate, br, zstd",
        "deflate",
        "identity",
        "*",
        "*;q=0",
        "gzip;q=0",
        "gzip;q=0, br",
        "gzip;q=0.5",
        "gzip;q=0.5, br;q=0.4",
        "br;q=0.5, gzip",
        "gzip;q=1.0",
        "gzip;q=0.000",
        "gzip; q=0.5",
        "GZIP",
        "x-gzip",
        "identity;q=0, gzip",
        "identity;q=0",
        "identity, gzip;q=0.5",
        "*, gzip;q=0",
        "gzip;q=x",
        "gzip;q=2",
        "gzipx",
        "",
        "gzip,",
        ",gzip",
    ];
    let mut cases = Vec::new();
    for path in ["/app.js", "/only.css", "/a.txt"] {
        for value in values {
            let line = format!("Accept-Encoding: {value}");
            cases.push(Case::new("GET", path, &[&line]));
        }
    }
    for path in ["/stale.js", "/larger.js", "/empty-beside.js", "/app.js.gz", "/app.js.br", "/sub/"]
    {
        cases.push(Case::new("GET", path, &["Accept-Encoding: gzip"]));
        cases.push(Case::new("GET", path, &["Accept-Encoding: br"]));
        cases.push(Case::new("HEAD", path, &["Accept-Encoding: gzip"]));
    }
    cases
}

fn paths() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in [
        "/",
        "/index.html",
        "/a.txt",
        "/empty.txt",
        "/big.bin",
        "/page.html",
        "/app.js",
        "/only.css",
        "/data.json",
        "/drawing.svg",
        "/picture.png",
        "/module.mjs",
        "/font.woff2",
        "/code.wasm",
        "/unknown.thing",
        "/README",
        "/missing",
        "/missing.txt",
        "/missing/",
        "/a.txt/",
        "/a.txt/x",
        "/sub",
        "/sub/",
        "/sub?a=b",
        "/sub?",
        "/sub/?a=b",
        "/sub/index.html",
        "/sub/index.html/",
        "/bare",
        "/bare/",
        "/bare/x.txt",
        "/with%20space.txt",
        "/with+space.txt",
        "/100%25.txt",
        "/100%.txt",
        "/%C3%A4.txt",
        "/a%3Bb.txt",
        "/a;b.txt",
        "/a.txt;x",
        "/plus+.txt",
        "/plus%2B.txt",
        "/q%3F.txt",
        "/q?.txt",
        "/hash%23.txt",
        "/%61.txt",
        "/a%2Etxt",
        "/%2561.txt",
        "/A.TXT",
        "/UPPER.TXT",
        "/./a.txt",
        "/sub/../a.txt",
        "/sub/%2e%2e/a.txt",
        "/sub/%2E./a.txt",
        "/../a.txt",
        "/..%2fa.txt",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%5c..%5ca.txt",
        "/sub%2findex.html",
        "/sub%2Findex.html",
        "/sub\\index.html",
        "//a.txt",
        "/sub//index.html",
        "///sub",
        "/sub//",
        "/.hidden",
        "/.git/config",
        "/%2ehidden",
        "/.well-known/security.txt",
        "/.well-known/",
        "/a.txt~",
        "/key.pem",
        "/staticfiles.json",
        "/settings.py",
        "/link-in.txt",
        "/link-out.txt",
        "/link-out/secret.txt",
        "/a.txt%00",
        "/a.txt%00.html",
        "/a.txt%20",
        "/a.txt.",
        "/a.txt?x=y",
        "/a.txt?",
        "/a.txt#x",
        "/%ff",
        "/%zz",
        "/%",
        "/sub/..;/a.txt",
        "/a.txt/.",
        "/a.txt/..",
        "/evil.example",
        "/evil.example?x",
        "/javascript:x",
        "/~root/x",
    ] {
        cases.push(Case::new("GET", path, &[]));
    }
    let long = format!("/{}", "x".repeat(300));
    cases.push(Case::new("GET", &long, &[]));
    for path in ["/", "/a.txt", "/empty.txt", "/missing", "/sub", "/sub/", "/app.js"] {
        cases.push(Case::new("HEAD", path, &[]));
    }
    cases
}

fn methods() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "BREW"] {
        for path in ["/a.txt", "/missing", "/sub"] {
            cases.push(Case::new(method, path, &["Content-Length: 0"]));
        }
    }
    cases
}
