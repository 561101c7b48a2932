//! A token's header under a good signature: none that says how else to read the token, or with
//! which key, passes.

use super::issuer::{CLAIMS, HEADER, object, seal, verify};
use super::pen;

const OTHERS: &[&str] = &[
    r#""alg":"HS256""#,
    r#""alg":"none""#,
    r#""alg":"RS256""#,
    r#""alg":["HS256"]"#,
    r#""typ":"at+jwt""#,
    r#""typ":"application/JWT""#,
    r#""typ":"logout+jwt""#,
    r#""typ":null"#,
    r#""kid":"k""#,
    r#""kid":7"#,
    r#""crit":[]"#,
    r#""crit":["exp"],"exp":1"#,
    r#""b64":true"#,
    r#""zip":"DEF""#,
    r#""enc":"A256GCM""#,
    r#""jku":"https://evil.example/""#,
    r#""jwk":{}"#,
    r#""x5u":"""#,
    r#""x5c":[]"#,
    r#""cty":"JWT""#,
    r#""cty":"text""#,
    r#""\u0061lg":"none""#,
    r#""x":{"alg":"none"}"#,
    r#""x5t":"abc""#,
];

pub(crate) fn check(data: &[u8]) {
    let claims = object(CLAIMS);
    for header in [pen::object(data, HEADER, OTHERS).into_bytes(), data.to_vec()] {
        if verify(&seal(&header, claims.as_bytes())).is_err() {
            continue;
        }
        let members = pen::members(&header).expect("an object passed");
        let text = String::from_utf8_lossy(&header);
        for (place, (name, value)) in members.iter().enumerate() {
            assert!(members.iter().skip(place + 1).all(|(other, _)| other != name), "{text}");
            let value = value.as_str().unwrap_or_default();
            let typ = value.to_ascii_lowercase();
            let typ = typ.strip_prefix("application/").unwrap_or(&typ);
            match name.as_str() {
                "alg" => assert_eq!(value, "HS256", "{text}"),
                "typ" => assert!(matches!(typ, "jwt" | "at+jwt"), "{text}"),
                "cty" => assert_ne!(typ, "jwt", "{text}"),
                "crit" | "b64" | "zip" | "enc" | "jku" | "jwk" | "x5u" | "x5c" => {
                    panic!("{name} passed: {text}")
                }
                _ => {}
            }
        }
        assert!(members.iter().any(|(name, _)| name == "alg"), "{text}");
    }
}
