//! Spellings of paths, and properties that hold for every one.

use proptest::prelude::*;

use super::*;

fn canonical(path: &str) -> String {
    canonicalize(path).unwrap_or_else(|error| panic!("{path:?}: {error}")).path.into_owned()
}

#[test]
fn clean_paths_are_not_copied() {
    for path in ["/", "/a", "/a/b.c/d-e_f~g", "/a/", "/a../b", "/@x/:y/a=b,c!$&'()*+", "/[x]|^"] {
        assert!(is_clean(path.as_bytes()), "{path}");
    }
    for path in ["/.well-known/x", "/a/...", "/a/..b", "/a;v=1/b", "/%E2%82%AC", "/a%20b"] {
        assert!(matches!(canonicalize(path).unwrap().path, Cow::Borrowed(_)), "{path}");
    }
}

#[test]
fn escapes_are_decoded_once_and_dots_resolved() {
    for (raw, expected) in [
        ("/%61dmin", "/admin"),
        ("/%7euser/%2D%5f", "/~user/-_"),
        ("/a%2bb%3a", "/a%2Bb%3A"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b/%2e", "/b/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/.", "/"),
        ("/./", "/"),
        ("/a/.", "/a/"),
        ("/a/b/../../c/", "/c/"),
        ("/caf\u{e9}", "/caf%C3%A9"),
        ("/%2541", "/%2541"),
        ("/%25%34%31", "/%2541"),
        ("/100%25", "/100%25"),
        ("/a;b=1/c", "/a;b=1/c"),
        // Neither merged nor cut.
        ("/a//b/", "/a//b/"),
        ("/a//", "/a//"),
        ("/a%2fb%5cc", "/a%2Fb%5Cc"),
        ("/a/..;/b;", "/a/..;/b;"),
        ("/a/%252e%252e/b", "/a/%252e%252e/b"),
        // An empty segment is one (RFC 3986 section 5.2.4).
        ("/a//../b", "/a/b"),
    ] {
        assert_eq!(canonical(raw), expected, "{raw}");
    }
}

#[test]
fn what_servers_read_differently_is_doubtful() {
    for raw in [
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a%5Cb",
        "/a//b",
        "/a//",
        "/a;b",
        "/a%3bb",
        "/..;/a",
        "/a/..;x=1/b",
        "/a;../b",
        "/%2e%2e;/a",
        "/a/..%3b/b",
        "/.;/admin",
        "/%252e%252e/a",
        "/%252E",
        "/a%252fb",
        "/a%255cb",
        "/%2541",
        "/%25252e",
        "/%25%32%65",
        "/%252%65",
        "/public/..%2fadmin",
        "/a/../b",
        "/a/%2e/b",
        "/a/.",
    ] {
        assert!(canonicalize(raw).unwrap().doubtful, "{raw}");
    }
    for raw in ["/a/.b", "/a../b...", "/%20%40a", "/%c3%a9", "/100%25", "/100%25x", "/%2a", "/%61"]
    {
        assert!(!canonicalize(raw).unwrap().doubtful, "{raw}");
    }
}

#[test]
fn what_some_take_for_a_host_is_ambiguous() {
    for raw in ["//", "//a", "///a", "/.//a", "/a/..//b", "/%2e//a", "/x/%2e%2e//a/b"] {
        assert_eq!(canonicalize(raw), Err(PathError::Ambiguous), "{raw}");
    }
}

#[test]
fn what_is_no_path_is_refused() {
    for (raw, error) in [
        ("", PathError::NotAbsolute),
        ("*", PathError::NotAbsolute),
        ("a/b", PathError::NotAbsolute),
        ("http://x/", PathError::NotAbsolute),
        ("/..", PathError::AboveRoot),
        ("/a/../..", PathError::AboveRoot),
        ("/a/../../a", PathError::AboveRoot),
        ("/%2e%2e/a", PathError::AboveRoot),
        ("/a\\b", PathError::Backslash),
        ("/..\\a", PathError::Backslash),
        ("/%", PathError::BadEscape),
        ("/%4", PathError::BadEscape),
        ("/%4/1", PathError::BadEscape),
        ("/%%32%65", PathError::BadEscape),
        ("/%u002e", PathError::BadEscape),
        ("/%+1", PathError::BadEscape),
        ("/%00", PathError::Control),
        ("/a%0a", PathError::Control),
        ("/a%0D%0Ab", PathError::Control),
        ("/%7f", PathError::Control),
        ("/\u{0}", PathError::Control),
        ("/a b", PathError::Control),
        ("/a\u{7f}", PathError::Control),
        ("/a?b", PathError::Control),
        ("/a#b", PathError::Control),
    ] {
        assert_eq!(canonicalize(raw), Err(error), "{raw:?}");
    }
}

#[test]
fn segments_decode_within_their_buffer() {
    let mut buffer = [0; 4];
    assert_eq!(decode_segment("%40adm", &mut buffer), Some(b"@adm".as_slice()));
    assert_eq!(decode_segment("%40admi", &mut buffer), None);
    assert_eq!(
        decode_segment("longer-but-plain", &mut buffer),
        Some(b"longer-but-plain".as_slice())
    );
    assert_eq!(decode_segment("%4", &mut buffer), None);
    assert_eq!(encode_segment(b"@a b*%/\xc3"), "@a%20b%2A%25%2F%C3");
}

fn pathlike() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "/", ".", "..", "%2e", "%2E", "%25", "2e", "%2f", "%5c", ";", "%3b", "a", "B", "%61",
        "%41", "%7e", "%c3%a9", "\u{e9}", "%00", "%0a", "\\", "%", "%4", "32", "65", "*", " ", "~",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn check_invariants(raw: &str) {
    let Ok(Canonical { path: once, doubtful }) = canonicalize(raw) else { return };
    let again = canonicalize(&once).unwrap();
    assert_eq!(again.path, once, "idempotent: {raw:?}");
    assert!(doubtful || !again.doubtful, "{raw:?}");
    assert!(once.is_ascii() && once.starts_with('/') && !once.starts_with("//"), "{raw:?}");
    assert!(!once.split('/').any(|segment| matches!(segment, "." | "..")), "{raw:?} -> {once}");
    let lower = once.to_ascii_lowercase();
    for hidden in ["%2e", "%00", "\\"] {
        assert!(!lower.contains(hidden), "{raw:?} -> {once}");
    }
    if !again.doubtful {
        for hidden in ["//", "%2f", "%5c", "%252e", ";"] {
            assert!(!lower.contains(hidden), "{raw:?} -> {once}");
        }
    }
    // What has one reading by its look has one when it is read in every way.
    if !doubtful {
        let mut buffer = [0; 4096];
        let mut seen = |path: &str| -> Vec<Vec<u8>> {
            let decoded = |one| decode_segment(one, &mut buffer).unwrap().to_vec();
            path.split('/').map(decoded).collect()
        };
        let meant = seen(&once);
        for reading in crate::http::readings::readings(raw).unwrap() {
            assert_eq!(seen(&reading.path), meant, "{raw:?} read as {reading:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_keeps_the_invariants(raw in any::<String>()) {
        check_invariants(&raw);
        check_invariants(&format!("/{raw}"));
    }

    #[test]
    fn path_like_text_keeps_the_invariants(raw in pathlike()) {
        check_invariants(&raw);
    }

    #[test]
    fn segments_survive_encoding(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut buffer = [0; 64];
        let text = encode_segment(&bytes);
        prop_assert_eq!(decode_segment(&text, &mut buffer), Some(bytes.as_slice()));
    }
}
