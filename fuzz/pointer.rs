//! The name of a claim: read as RFC 6901 says where it is a pointer, literally where it is not, and
//! printed as it was written.

use std::sync::{Arc, LazyLock};

use portcullis::auth::{ClaimPath, Principal};
use serde_json::Value;

use super::issuer::{CLAIMS, HEADER, object, seal, verify};
use super::pen;

const DEEP: &str = r#""a":{"b":[10,{"c":null,"":1},[]],"0":"zero","~":2,"/":3,"~1":4},"":5,"a/b":6,
    "~0":7,"/a":8,"null":null,"list":["x","y"],"\u00e9":{"%2F":9}"#;
const WORDS: &[&str] = &[
    "/",
    "/a",
    "/b",
    "/0",
    "/1",
    "/01",
    "/+1",
    "/-",
    "/c",
    "~0",
    "~1",
    "~",
    "~2",
    "a",
    "b",
    "/list",
    "list",
    "null",
    "/null",
    "\u{e9}",
    "/%2F",
    "//",
    "/~1",
    "/~01",
    "/99999999999999999999",
];

static PRINCIPAL: LazyLock<Arc<Principal>> = LazyLock::new(|| {
    let claims = object(&[CLAIMS, &[DEEP]].concat());
    verify(&seal(object(HEADER).as_bytes(), claims.as_bytes())).expect("a good token")
});

pub(crate) fn check(data: &[u8]) {
    let claims = PRINCIPAL.claims();
    let document = Value::Object(claims.members().clone());
    for text in [pen::words(data, WORDS), String::from_utf8_lossy(data).into_owned()] {
        let Ok(path) = text.parse::<ClaimPath>() else {
            let mut escapes = text.split('~').skip(1);
            let bad = escapes.any(|after| !after.starts_with(['0', '1']));
            assert!(text.is_empty() || text.starts_with('/') && bad, "{text:?} is refused");
            continue;
        };
        assert_eq!(path.to_string(), text);
        assert_eq!(path.to_string().parse::<ClaimPath>().as_ref(), Ok(&path));
        let expected = match text.starts_with('/') {
            true => document.pointer(&text),
            false => document.get(&text),
        };
        assert_eq!(claims.find(&path), expected.filter(|value| !value.is_null()), "{text:?}");
    }
}
