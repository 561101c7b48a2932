//! Files served from a folder, and nothing from outside it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};

use super::*;
use crate::auth::{Guarded, Policy};
use crate::clock::{Clock, UnixTime};
use crate::http::Coding;

struct Site {
    folder: tempfile::TempDir,
    files: Guarded<Files>,
    clock: Clock,
}

/// Every file of a site was written at this time, Tue, 14 Nov 2023 22:13:20 GMT.
const WRITTEN: u64 = 1_700_000_000;

fn settings(folder: &Path) -> Settings {
    Settings {
        folder: folder.to_owned(),
        prefix: String::new(),
        index: vec!["index.html".to_owned()],
        fallback: None,
        cache_control: CacheControl::Auto,
        precompressed: vec![Coding::Brotli, Coding::Zstd, Coding::Gzip],
        media: false,
        listing: false,
        internal: false,
        cache: None,
    }
}

fn write(folder: &Path, name: &str, content: &str, at: u64) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(at);
    fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
}

impl Site {
    fn new(files: &[(&str, &str)], change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            write(folder.path(), name, content, WRITTEN);
        }
        let mut settings = settings(folder.path());
        change(&mut settings);
        let clock = Clock::fixed(UnixTime::from_secs(WRITTEN + 1_000));
        let files = Guarded::new(Policy::Public, Files::open(settings, clock.clone()).unwrap());
        Self { folder, files, clock }
    }

    async fn ask(&self, method: Method, target: &str, fields: &[(HeaderName, &str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let permit = self.files.authorize(None, UnixTime::default()).unwrap();
        let ask = Ask { method: &method, headers: &headers, path, query };
        serve(permit, ask).await
    }

    /// What a blocking thread answers.
    fn look(&self, path: &str, audience: Audience) -> Answer {
        let permit = self.files.authorize(None, UnixTime::default()).unwrap();
        let folder = permit.action().folder();
        let headers = HeaderMap::new();
        let ask = Ask { method: &Method::GET, headers: &headers, path, query: None };
        let conditions = Conditions::new(&headers, false);
        let form = Form { head: false, audience, accepted: Accepted::default(), conditions };
        look(folder, Wanted::new(folder, ask).unwrap(), &form)
    }

    async fn get(&self, target: &str) -> Answer {
        self.ask(Method::GET, target, &[]).await
    }

    async fn page(&self, target: &str) -> Answer {
        self.ask(Method::GET, target, &[(header::ACCEPT, "text/html,*/*;q=0.1")]).await
    }
}

type Answer = Result<Response<Body>, Refusal>;

fn is_missing(answer: &Answer) -> bool {
    matches!(answer, Err(Refusal::NotFound))
}

fn field<'a>(response: &'a Response<Body>, name: &HeaderName) -> &'a str {
    response.headers().get(name).map_or("-", |value| value.to_str().unwrap())
}

async fn text(answer: Answer) -> String {
    #[expect(clippy::disallowed_methods, reason = "limited")]
    let body = Limited::new(answer.unwrap().into_body(), 1 << 20).collect().await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_file_is_served_whole_with_its_head() {
    let site = Site::new(&[("a/b.txt", "hello")], |_| {});
    let response = site.get("/a/b.txt").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(field(&response, &header::CONTENT_TYPE), "text/plain; charset=utf-8");
    assert_eq!(field(&response, &header::CONTENT_LENGTH), "5");
    assert_eq!(field(&response, &header::ACCEPT_RANGES), "bytes");
    assert_eq!(field(&response, &header::ETAG), "\"6553f100.0-5\"");
    assert_eq!(field(&response, &header::LAST_MODIFIED), "Tue, 14 Nov 2023 22:13:20 GMT");
    assert_eq!(field(&response, &header::X_CONTENT_TYPE_OPTIONS), "nosniff");
    assert_eq!(field(&response, &header::CACHE_CONTROL), "public, max-age=60");
    assert_eq!(text(Ok(response)).await, "hello");
}

#[tokio::test]
async fn head_is_get_without_content() {
    let site = Site::new(&[("a.txt", "hello")], |_| {});
    let get = site.get("/a.txt").await.unwrap();
    let range = [(header::RANGE, "bytes=0-1")];
    let head = site.ask(Method::HEAD, "/a.txt", &range).await.unwrap();
    assert_eq!((head.status(), head.headers()), (get.status(), get.headers()));
    assert_eq!(text(Ok(head)).await, "");
}

#[tokio::test]
async fn other_methods_are_refused_and_options_tells_which_are_not() {
    let site = Site::new(&[("a.txt", "hello")], |_| {});
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE] {
        let refused = site.ask(method, "/a.txt", &[]).await;
        assert!(matches!(refused, Err(Refusal::MethodNotAllowed)));
    }
    let options = site.ask(Method::OPTIONS, "/a.txt", &[]).await.unwrap();
    assert_eq!(options.status(), StatusCode::NO_CONTENT);
    assert_eq!(field(&options, &header::ALLOW), "GET, HEAD, OPTIONS");
}

#[tokio::test]
async fn the_prefix_ends_at_a_segment() {
    let site = Site::new(&[("a.txt", "hello")], |s| s.prefix = "/static/".to_owned());
    assert_eq!(text(site.get("/static/a.txt").await).await, "hello");
    for other in ["/statica.txt", "/a.txt", "/static", "/static/", "/static/../a.txt", ""] {
        assert!(is_missing(&site.get(other).await), "{other}");
    }
}

#[tokio::test]
async fn a_directory_leads_to_its_index() {
    let files = [("index.html", "top"), ("sub/index.html", "sub"), ("bare/x.txt", "x")];
    let site = Site::new(&files, |_| {});
    assert_eq!(text(site.get("/").await).await, "top");
    assert_eq!(text(site.get("/sub/").await).await, "sub");
    let response = site.get("/sub?a=1&b=//c").await.unwrap();
    assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(field(&response, &header::LOCATION), "./sub/?a=1&b=//c");
    for missing in ["/bare", "/bare/", "/sub/index.html/", "/none/", "/sub//"] {
        assert!(is_missing(&site.get(missing).await), "{missing}");
    }
}

#[tokio::test]
async fn a_redirect_never_leaves_the_site() {
    let files = [("evil.example/index.html", "e"), ("javascript:a/index.html", "j")];
    let site = Site::new(&files, |_| {});
    for (path, location) in
        [("/evil.example", "./evil.example/"), ("/javascript:a", "./javascript:a/")]
    {
        assert_eq!(field(&site.get(path).await.unwrap(), &header::LOCATION), location);
    }
    assert!(is_missing(&site.get("//evil.example").await));
    let top = Site::new(&[("index.html", "top")], |s| s.prefix = "/static".to_owned());
    let response = top.get("/static").await.unwrap();
    assert_eq!(field(&response, &header::LOCATION), "./static/");
}

#[tokio::test]
async fn the_first_index_that_exists_is_taken() {
    let site = Site::new(&[("default.htm", "default")], |s| {
        s.index = vec!["index.html".to_owned(), "default.htm".to_owned()];
    });
    let response = site.get("/").await.unwrap();
    assert_eq!(field(&response, &header::CACHE_CONTROL), "no-cache");
    assert_eq!(text(Ok(response)).await, "default");
}

#[tokio::test]
async fn the_fallback_answers_pages_and_nothing_else() {
    let files = [("index.html", "app"), ("assets/x.js", "x"), (".git/config", "secret")];
    let site = Site::new(&files, |s| s.fallback = Some("index.html".to_owned()));
    for page in ["/orders", "/orders/17", "/orders/", "/assets", "/assets/"] {
        let response = site.page(page).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(field(&response, &header::CACHE_CONTROL), "no-cache");
        assert_eq!(text(Ok(response)).await, "app", "{page}");
    }
    for missing in ["/gone.js", "/gone.js/", "/.git/config", "/.well-known/x", "/a%2Fb", "/a//b"] {
        assert!(is_missing(&site.page(missing).await), "{missing}");
    }
    let json = [(header::ACCEPT, "application/json")];
    assert!(is_missing(&site.ask(Method::GET, "/orders", &json).await));
    assert!(site.ask(Method::HEAD, "/orders", &[]).await.is_ok());
    let post = site.ask(Method::POST, "/orders", &[]).await;
    assert!(matches!(post, Err(Refusal::MethodNotAllowed)));
}

#[tokio::test]
async fn conditions_are_answered_without_content() {
    let site = Site::new(&[("a.txt", "hello")], |_| {});
    let etag = "\"6553f100.0-5\"";
    let known = [(header::IF_NONE_MATCH, etag), (header::RANGE, "bytes=0-1")];
    let response = site.ask(Method::GET, "/a.txt", &known).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(field(&response, &header::ETAG), etag);
    assert_eq!(field(&response, &header::CACHE_CONTROL), "public, max-age=60");
    assert_eq!(field(&response, &header::CONTENT_LENGTH), "-");
    assert_eq!(text(Ok(response)).await, "");
    let failed = [(header::IF_MATCH, "\"other\"")];
    let response = site.ask(Method::GET, "/a.txt", &failed).await.unwrap();
    assert_eq!(response.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(text(Ok(response)).await, "");
    assert!(is_missing(&site.ask(Method::GET, "/b.txt", &failed).await));
}

#[tokio::test]
async fn one_range_is_a_part_and_several_are_parts_of_one_body() {
    for cache in [None, Cache::new(1 << 20)] {
        let site = Site::new(&[("a.txt", "0123456789")], |s| s.cache = cache);
        for (range, status, content_range, expected) in [
            ("bytes=2-4", 206, "bytes 2-4/10", "234"),
            ("bytes=7-", 206, "bytes 7-9/10", "789"),
            ("bytes=-2", 206, "bytes 8-9/10", "89"),
            ("bytes=0-99", 206, "bytes 0-9/10", "0123456789"),
            ("bytes=0-1,2-3", 206, "bytes 0-3/10", "0123"),
            ("bytes=0-1,20-", 206, "bytes 0-1/10", "01"),
            ("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8", 200, "-", "0123456789"),
            ("bytes=4-2", 200, "-", "0123456789"),
            ("bytes=10-", 416, "bytes */10", ""),
            ("bytes=-0,99-", 416, "bytes */10", ""),
        ] {
            let asked = [(header::RANGE, range)];
            let response = site.ask(Method::GET, "/a.txt", &asked).await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{range}");
            assert_eq!(field(&response, &header::CONTENT_RANGE), content_range, "{range}");
            assert_eq!(field(&response, &header::CONTENT_LENGTH), expected.len().to_string());
            assert_eq!(text(Ok(response)).await, expected, "{range}");
        }
        let asked = [(header::RANGE, "bytes=8-,0-1")];
        let response = site.ask(Method::GET, "/a.txt", &asked).await.unwrap();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        let content_type = field(&response, &header::CONTENT_TYPE).to_owned();
        let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
        assert!(boundary.len() >= 32, "nobody can guess it");
        let length: usize = field(&response, &header::CONTENT_LENGTH).parse().unwrap();
        let body = text(Ok(response)).await;
        assert_eq!(body.len(), length);
        let part = |range, bytes| {
            format!(
                "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Range: bytes {range}/10\r\n\r\n{bytes}"
            )
        };
        let expected = part("8-9", "89") + &part("0-1", "01") + &format!("\r\n--{boundary}--\r\n");
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn what_holds_its_hash_is_kept_for_ever() {
    let manifest = r#"{"paths": {"css/a.css": "css/a.abc.css", "i.html": "i.abc.html"}}"#;
    let files = [
        ("staticfiles.json", manifest),
        ("css/a.css", ""),
        ("css/a.abc.css", ""),
        ("i.abc.html", ""),
        ("app.0123456789ab.js", ""),
        ("page.html", ""),
    ];
    let site = Site::new(&files, |_| {});
    let for_ever = "public, max-age=31536000, immutable";
    for (path, expected) in [
        ("/css/a.css", "public, max-age=60"),
        ("/css/a.abc.css", for_ever),
        ("/css/%61.abc.css", for_ever),
        ("/i.abc.html", for_ever),
        ("/app.0123456789ab.js", for_ever),
        ("/page.html", "no-cache"),
    ] {
        let response = site.get(path).await.unwrap();
        assert_eq!(field(&response, &header::CACHE_CONTROL), expected, "{path}");
    }
    assert!(is_missing(&site.get("/staticfiles.json").await));
}

#[tokio::test]
async fn the_operator_may_say_what_is_kept() {
    let site = Site::new(&[("a.0123456789ab.html", "")], |s| {
        s.cache_control = CacheControl::Fixed(HeaderValue::from_static("no-store"));
    });
    let response = site.get("/a.0123456789ab.html").await.unwrap();
    assert_eq!(field(&response, &header::CACHE_CONTROL), "no-store");
}

/// A shared cache must not show one principal's file to another.
#[test]
fn what_a_token_was_needed_for_is_never_public() {
    let site = Site::new(&[("a.0123456789ab.js", ""), ("b.html", ""), ("c.png", "")], |_| {});
    for path in ["/a.0123456789ab.js", "/b.html", "/c.png"] {
        let response = site.look(path, Audience::Principal).unwrap();
        assert!(field(&response, &header::CACHE_CONTROL).starts_with("private, "), "{path}");
    }
}

#[test]
fn a_folder_that_cannot_be_served_is_told_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let open = |change: &dyn Fn(&mut Settings)| {
        let mut settings = settings(folder.path());
        change(&mut settings);
        Files::open(settings, Clock::system())
    };
    assert!(open(&|_| {}).is_ok());
    let missing = open(&|s| s.folder.push("missing"));
    assert!(matches!(missing, Err(FilesError::Folder { .. })));
    assert!(matches!(open(&|s| s.folder = file.clone()), Err(FilesError::Folder { .. })));
    for name in ["", "a/b", "..", "/"] {
        let bad = open(&|s| s.index = vec![name.to_owned()]);
        assert!(matches!(bad, Err(FilesError::BadIndex(_))), "{name}");
    }
    for name in ["", "/index.html", "../index.html", "a//b"] {
        let bad = open(&|s| s.fallback = Some(name.to_owned()));
        assert!(matches!(bad, Err(FilesError::BadFallback(_))), "{name}");
    }
}

/// H21, through the door that requests use.
#[tokio::test]
async fn a_link_swapped_during_requests_never_shows_what_is_outside() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.txt"), "outside").unwrap();
    let site = Site::new(&[("inside.txt", "inside")], |_| {});
    let folder = site.folder.path().to_owned();
    symlink("inside.txt", folder.join("link.txt")).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let swapper = {
        let done = Arc::clone(&done);
        let secret = outside.path().join("secret.txt");
        std::thread::spawn(move || {
            for turn in 0..10_000 {
                let next = folder.join("next");
                let target = if turn % 2 == 0 { secret.as_path() } else { "inside.txt".as_ref() };
                symlink(target, &next).unwrap();
                fs::rename(&next, folder.join("link.txt")).unwrap();
            }
            done.store(true, Ordering::Release);
        })
    };
    let mut served = 0_u32;
    loop {
        let last = done.load(Ordering::Acquire);
        match site.get("/link.txt").await {
            Err(Refusal::NotFound) => {}
            Err(refusal) => panic!("{refusal}"),
            Ok(response) => {
                assert_eq!(text(Ok(response)).await, "inside");
                served += 1;
            }
        }
        if last {
            break;
        }
    }
    swapper.join().unwrap();
    let permit = site.files.authorize(None, UnixTime::default()).unwrap();
    let follows = permit.action().folder().root.follows_links();
    assert_eq!(served > 0, follows, "the last link points inside");
}

/// What was found is gone when the first chunk is read.
#[test]
fn a_file_cut_short_before_the_first_byte_is_an_error_of_ours() {
    let site = Site::new(&[("a.txt", "hello")], |_| {});
    let permit = site.files.authorize(None, UnixTime::default()).unwrap();
    let folder = permit.action().folder();
    let headers = HeaderMap::new();
    let ask = Ask { method: &Method::GET, headers: &headers, path: "/a.txt", query: None };
    let wanted = Wanted::new(folder, ask).unwrap();
    let Found::File { name, by, opened } = resolve::find(folder, &wanted).unwrap() else {
        panic!()
    };
    let Loaded { asset, files } = Loaded::new(folder, &name, by, opened);
    fs::write(site.folder.path().join("a.txt"), "").unwrap();
    let content = || Ok(asset::content(&asset, files, None).unwrap());
    let conditions = Conditions::new(&headers, false);
    let (audience, accepted) = (Audience::Public, Accepted::default());
    let form = Form { head: false, audience, accepted, conditions };
    assert!(reply::send(folder, &asset, &asset.plain, &form, content).is_err());
}

#[tokio::test]
async fn the_smallest_encoding_that_is_liked_best_is_sent() {
    let files = [
        ("app.js", "0123456789"),
        ("app.js.br", "b234"),
        ("app.js.gz", "g23"),
        ("app.js.zst", "z2345"),
        ("plain.js", "0123456789"),
    ];
    for cache in [None, Cache::new(1 << 20)] {
        let site = Site::new(&files, |s| s.cache = cache);
        for (accepted, expected, coding) in [
            ("", "0123456789", "-"),
            ("gzip, br, zstd", "g23", "gzip"),
            ("br, zstd", "b234", "br"),
            ("zstd;q=1, gzip;q=0.9", "z2345", "zstd"),
            ("*;q=0.1, identity;q=0.2", "0123456789", "-"),
            ("gzip;q=0", "0123456789", "-"),
        ] {
            let asked = [(header::ACCEPT_ENCODING, accepted)];
            let response = site.ask(Method::GET, "/app.js", &asked).await.unwrap();
            assert_eq!(field(&response, &header::VARY), "Accept-Encoding", "{accepted}");
            assert_eq!(field(&response, &header::CONTENT_ENCODING), coding, "{accepted}");
            let content_type = field(&response, &header::CONTENT_TYPE);
            assert_eq!(content_type, "text/javascript; charset=utf-8");
            assert_eq!(field(&response, &header::CONTENT_LENGTH), expected.len().to_string());
            let etag = field(&response, &header::ETAG).to_owned();
            assert_eq!(etag.ends_with(&format!("-{coding}\"")), coding != "-", "{etag}");
            assert_eq!(text(Ok(response)).await, expected, "{accepted}");
            // That very encoding is known, another one is not.
            for (sent, status) in
                [(accepted, 304), ("br;q=0.1", if coding == "br" { 304 } else { 200 })]
            {
                let asked = [(header::ACCEPT_ENCODING, sent), (header::IF_NONE_MATCH, &*etag)];
                let response = site.ask(Method::GET, "/app.js", &asked).await.unwrap();
                assert_eq!(response.status().as_u16(), status, "{etag} {sent}");
                assert_eq!(field(&response, &header::VARY), "Accept-Encoding");
            }
            // Parts are parts of that encoding.
            let asked = [(header::ACCEPT_ENCODING, accepted), (header::RANGE, "bytes=0-1")];
            let response = site.ask(Method::GET, "/app.js", &asked).await.unwrap();
            assert_eq!(field(&response, &header::CONTENT_ENCODING), coding);
            assert_eq!(text(Ok(response)).await, expected.get(..2).unwrap());
        }
        let asked = [(header::ACCEPT_ENCODING, "br")];
        let response = site.ask(Method::GET, "/plain.js", &asked).await.unwrap();
        assert_eq!(field(&response, &header::VARY), "-");
    }
}

#[tokio::test]
async fn an_encoding_that_cannot_be_of_its_file_is_left_alone() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "out").unwrap();
    let files = [
        ("old.js", "0123456789"),
        ("empty.js", "0123456789"),
        ("empty.js.br", ""),
        ("larger.js", "01"),
        ("larger.js.br", "b12"),
        ("link.js", "0123456789"),
        ("folder.js", "0123456789"),
        ("folder.js.br/x", ""),
        ("page.html", "0123456789"),
        ("page.html.br", "b"),
    ];
    let site = Site::new(&files, |s| s.precompressed = vec![Coding::Brotli]);
    write(site.folder.path(), "old.js.br", "b", WRITTEN - 1);
    symlink(outside.path().join("secret"), site.folder.path().join("link.js.br")).unwrap();
    let asked = [(header::ACCEPT_ENCODING, "br, gzip")];
    for path in ["/old.js", "/empty.js", "/larger.js", "/link.js", "/folder.js"] {
        let response = site.ask(Method::GET, path, &asked).await.unwrap();
        assert_eq!(field(&response, &header::CONTENT_ENCODING), "-", "{path}");
        assert!(text(Ok(response)).await.starts_with("01"), "{path}");
    }
    let response = site.ask(Method::GET, "/page.html", &asked).await.unwrap();
    assert_eq!(field(&response, &header::CONTENT_ENCODING), "br");
}

#[tokio::test]
async fn a_hash_that_the_manifest_vouches_for_is_the_tag() {
    let manifest = r#"{"paths": {"a.css": "a.0123456789ab.css"}}"#;
    let files = [
        ("staticfiles.json", manifest),
        ("a.0123456789ab.css", "0123456789"),
        ("a.0123456789ab.css.gz", "g"),
        ("b.0123456789ab.css", ""),
    ];
    let site = Site::new(&files, |_| {});
    let response = site.get("/a.0123456789ab.css").await.unwrap();
    assert_eq!(field(&response, &header::ETAG), "\"0123456789ab-a\"");
    let asked = [(header::ACCEPT_ENCODING, "gzip")];
    let response = site.ask(Method::GET, "/a.0123456789ab.css", &asked).await.unwrap();
    assert_eq!(field(&response, &header::ETAG), "\"0123456789ab-1-gzip\"");
    let response = site.get("/b.0123456789ab.css").await.unwrap();
    assert_eq!(
        field(&response, &header::ETAG),
        "\"6553f100.0-0\"",
        "the name alone vouches for nothing"
    );
}

/// The second after a look: what is in memory answers, and not a moment longer.
#[tokio::test]
async fn a_file_in_memory_is_looked_at_again_after_a_second() {
    let site = Site::new(&[("a.txt", "old"), ("gone.txt", "here"), ("d/index.html", "i")], |s| {
        s.cache = Cache::new(1 << 20);
    });
    let later = |millis| site.clock.set(UnixTime::from_millis((WRITTEN + 1_000) * 1_000 + millis));
    for path in ["/a.txt", "/gone.txt", "/d/"] {
        assert!(site.get(path).await.is_ok(), "{path}");
    }
    write(site.folder.path(), "a.txt", "new and longer", WRITTEN + 5);
    fs::remove_file(site.folder.path().join("gone.txt")).unwrap();
    fs::rename(site.folder.path().join("d"), site.folder.path().join("e")).unwrap();
    later(999);
    assert_eq!(text(site.get("/a.txt").await).await, "old");
    assert_eq!(text(site.get("/%61.txt").await).await, "old", "in whatever spelling");
    assert_eq!(text(site.get("/gone.txt").await).await, "here");
    assert_eq!(text(site.get("/d/").await).await, "i");
    later(1_000);
    assert_eq!(text(site.get("/a.txt").await).await, "new and longer");
    for path in ["/gone.txt", "/d/"] {
        assert!(is_missing(&site.get(path).await), "{path}");
        assert!(is_missing(&site.get(path).await), "{path} is not remembered");
    }
    // Same name, same time, same size: other content all the same.
    write(site.folder.path(), "next", "NEW AND LONGER", WRITTEN + 5);
    fs::rename(site.folder.path().join("next"), site.folder.path().join("a.txt")).unwrap();
    later(2_000);
    assert_eq!(text(site.get("/a.txt").await).await, "NEW AND LONGER");
    // A clock that was set back stops nothing.
    write(site.folder.path(), "a.txt", "back", WRITTEN);
    site.clock.set(UnixTime::from_secs(WRITTEN));
    assert_eq!(text(site.get("/a.txt").await).await, "back");
}

#[tokio::test]
async fn what_changed_just_now_is_not_kept() {
    let site = Site::new(&[("a.txt", "old")], |s| s.cache = Cache::new(1 << 20));
    let now = Clock::system().wall();
    site.clock.set(now);
    assert_eq!(text(site.get("/a.txt").await).await, "old");
    fs::write(site.folder.path().join("a.txt"), "new").unwrap();
    assert_eq!(text(site.get("/a.txt").await).await, "new");
}

#[tokio::test]
async fn large_files_and_what_is_missing_are_not_kept() {
    let large = "x".repeat(300_000);
    let files = [("large.txt", &*large), ("large.txt.gz", "small"), ("index.html", "app")];
    let cache = Cache::new(1 << 20).unwrap();
    let site = Site::new(&files, |s| {
        s.cache = Some(Arc::clone(&cache));
        s.fallback = Some("index.html".to_owned());
    });
    for page in 0..50 {
        assert_eq!(text(site.page(&format!("/p{page}")).await).await, "app");
        assert!(is_missing(&site.get(&format!("/p{page}.js")).await));
    }
    assert_eq!(cache.entries(), 0);
    for _ in 0..2 {
        assert_eq!(text(site.get("/large.txt").await).await, large);
        let asked = [(header::ACCEPT_ENCODING, "gzip")];
        assert_eq!(text(site.ask(Method::GET, "/large.txt", &asked).await).await, "small");
    }
    assert_eq!(cache.entries(), 1, "for its encoding");
}

#[tokio::test]
async fn uploads_speak_for_nobody() {
    let manifest = r#"{"paths": {"a.js": "a.abc.js"}}"#;
    let files = [
        ("staticfiles.json", manifest),
        ("a.abc.js", "0123456789"),
        ("a.abc.js.br", "evil"),
        ("a.0123456789ab.png", ""),
        ("index.html", "evil"),
        ("page.html", ""),
        ("drawing.svg", ""),
        ("photo.jpg", ""),
    ];
    let site = Site::new(&files, |s| s.media = true);
    assert!(is_missing(&site.page("/").await));
    for (path, disposition) in [
        ("/a.abc.js", "attachment"),
        ("/page.html", "attachment"),
        ("/drawing.svg", "attachment"),
        ("/photo.jpg", "-"),
        ("/a.0123456789ab.png", "-"),
    ] {
        let asked = [(header::ACCEPT_ENCODING, "br")];
        let response = site.ask(Method::GET, path, &asked).await.unwrap();
        assert_eq!(field(&response, &header::CONTENT_DISPOSITION), disposition, "{path}");
        assert_eq!(field(&response, &header::CONTENT_ENCODING), "-", "{path}");
        assert!(!field(&response, &header::CACHE_CONTROL).contains("immutable"), "{path}");
        assert_eq!(field(&response, &header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        let policy = field(&response, &header::CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("sandbox; default-src 'none'"), "{path}: {policy}");
    }
}

#[tokio::test]
async fn a_listing_shows_what_a_request_would_get() {
    let files = [
        ("sub/b&<i>.txt", "12345"),
        ("sub/.hidden", ""),
        ("sub/key.pem", ""),
        ("sub/line\nend", ""),
        ("sub/inner/x", ""),
        ("home/index.html", "home"),
        (".well-known/x", ""),
    ];
    let site = Site::new(&files, |s| s.listing = true);
    symlink("/etc/passwd", site.folder.path().join("sub/passwd")).unwrap();
    let response = site.get("/sub/").await.unwrap();
    assert_eq!(field(&response, &header::CONTENT_TYPE), "text/html; charset=utf-8");
    assert_eq!(field(&response, &header::CACHE_CONTROL), "no-cache");
    assert!(field(&response, &header::CONTENT_SECURITY_POLICY).starts_with("default-src 'none'"));
    let page = text(Ok(response)).await;
    assert!(
        page.contains("<a href=\"./b%26%3Ci%3E.txt\">b&amp;&lt;i&gt;.txt</a></td><td>5<"),
        "{page}"
    );
    assert!(page.contains("<a href=\"./inner/\">inner/</a>") && page.contains("href=\"../\""));
    for absent in ["hidden", "pem", "passwd", "line", "<i>"] {
        assert!(!page.contains(absent), "{absent}");
    }
    let top = text(site.get("/").await).await;
    assert!(top.contains("\"./.well-known/\"") && !top.contains("href=\"../\""));
    assert_eq!(text(site.get("/home/").await).await, "home");
    assert_eq!(field(&site.get("/sub?x").await.unwrap(), &header::LOCATION), "./sub/?x");
    let head = site.ask(Method::HEAD, "/sub/", &[]).await.unwrap();
    assert_eq!(field(&head, &header::CONTENT_LENGTH), page.len().to_string());
    assert_eq!(text(Ok(head)).await, "");
    assert!(is_missing(&site.get("/.git/").await));
}

#[tokio::test]
async fn a_listing_has_an_end() {
    let site = Site::new(&[], |s| s.listing = true);
    for at in 0..1_100 {
        fs::write(site.folder.path().join(format!("{at:04}")), "").unwrap();
    }
    let page = text(site.get("/").await).await;
    assert!(page.contains("There is more") && page.contains("0999") && !page.contains("1000"));
}

#[test]
fn refusals_read_as_fragments() {
    let refusal = Refusal::Io(io::Error::other("broken"));
    assert_eq!(refusal.to_string(), "the file could not be read: broken");
    assert_eq!(Refusal::NotFound.to_string(), "no such file");
    assert_eq!(Refusal::MethodNotAllowed.to_string(), "files can only be read");
}
