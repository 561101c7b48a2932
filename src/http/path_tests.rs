//! Spellings of paths, and properties that hold for every one.

use proptest::prelude::*;

use super::*;

fn canonical(path: &str) -> String {
    canonicalize(path).unwrap_or_else(|error| panic!("{path:?}: {error}")).into_owned()
}

#[test]
fn clean_paths_are_not_copied() {
    for path in ["/", "/a", "/a/b.c/d-e_f~g", "/a/", "/a../b", "/@x/:y/a=b,c!$&'()*+", "/[x]|^"] {
        assert!(is_clean(path.as_bytes()), "{path}");
    }
    for path in ["/.well-known/x", "/a/...", "/a/..b", "/a;v=1/b", "/%E2%82%AC", "/a%20b"] {
        assert!(matches!(canonicalize(path), Ok(Cow::Borrowed(_))), "{path}");
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
    ] {
        assert_eq!(canonical(raw), expected, "{raw}");
    }
}

#[test]
fn what_servers_read_differently_is_ambiguous() {
    for raw in [
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a%5Cb",
        "//",
        "//a",
        "/a//b",
        "/a//",
        "/a/.//b",
        "/..;/a",
        "/a/..;x=1/b",
        "/a;../b",
        "/a;x/..;",
        "/%2e%2e;/a",
        "/a/..%3b/b",
        "/a%3B../b",
        "/.;/admin",
        "/%2e%3b/admin",
        "/%252e%252e/a",
        "/%252E",
        "/a%252fb",
        "/a%255cb",
        "/%25252e",
        "/%25%32%65",
        "/%25%32%66x",
        "/%252%65",
        "/public/..%2fadmin",
    ] {
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
    let Ok(once) = canonicalize(raw) else { return };
    assert_eq!(canonicalize(&once).as_deref(), Ok(once.as_ref()), "idempotent: {raw:?}");
    assert!(once.is_ascii() && once.starts_with('/') && !once.contains("//"), "{raw:?} -> {once}");
    assert!(!once.split('/').any(|segment| matches!(segment, "." | "..")), "{raw:?} -> {once}");
    let lower = once.to_ascii_lowercase();
    for hidden in ["%2e", "%2f", "%5c", "%00", "\\", "%252e", "..;", ";.."] {
        assert!(!lower.contains(hidden), "{raw:?} -> {once}");
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
