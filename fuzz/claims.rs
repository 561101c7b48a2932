//! Claims under a good signature: a principal has exactly the claims that were signed, each name
//! once, of the right issuer, for us, and in their time.

use serde_json::Value;

use super::issuer::{CLAIMS, HEADER, LEEWAY, NOW, URL, object, seal, verify};
use super::pen;

const OTHERS: &[&str] = &[
    r#""iss":"https://id.example.com""#,
    r#""iss":["https://id.example.com/"]"#,
    r#""aud":["x","api"]"#,
    r#""aud":["api",1]"#,
    r#""aud":"API""#,
    r#""aud":{}"#,
    r#""exp":1799999971"#,
    r#""exp":1799999970"#,
    r#""exp":1800000000.9"#,
    r#""exp":1e300"#,
    r#""exp":-1"#,
    r#""exp":18446744073709551615"#,
    r#""exp":"1800000300""#,
    r#""exp":null"#,
    r#""nbf":1800000030"#,
    r#""nbf":1800000031"#,
    r#""nbf":-1e300"#,
    r#""iat":1800000031"#,
    r#""iat":"now""#,
    r#""sub":17"#,
    r#""sub":{}"#,
    r#""jti":"t""#,
    r#""\u0065xp":1"#,
    r#""nested":{"a":1,"a":2}"#,
    r#""nested":[[[{"b":null}]]]"#,
    r#""big":123456789012345678901234567890"#,
    r#""text":"\ud83d\ude00\u0000""#,
    r#""":"""#,
];

pub(crate) fn check(data: &[u8]) {
    let header = object(HEADER);
    for claims in [pen::object(data, CLAIMS, OTHERS).into_bytes(), data.to_vec()] {
        let Ok(principal) = verify(&seal(header.as_bytes(), &claims)) else { continue };
        let text = String::from_utf8_lossy(&claims);
        let members = pen::members(&claims).expect("an object passed");
        let signed: Value = serde_json::from_slice(&claims).expect("JSON passed");
        assert_eq!(Some(principal.claims().members()), signed.as_object(), "{text}");
        for (place, (name, _)) in members.iter().enumerate() {
            assert!(members.iter().skip(place + 1).all(|(other, _)| other != name), "{text}");
        }
        assert_eq!(signed["iss"], URL, "{text}");
        let audience = signed["aud"].as_array().cloned().unwrap_or(vec![signed["aud"].clone()]);
        assert!(
            audience.contains(&"api".into()) && audience.iter().all(Value::is_string),
            "{text}"
        );
        let seconds = |name: &str| signed.get(name).map(|time| time.as_f64().expect("a number"));
        let (now, leeway) = (NOW as f64, LEEWAY as f64);
        assert!(seconds("exp").is_some_and(|exp| exp.floor() + leeway > now), "{text}");
        for name in ["nbf", "iat"] {
            assert!(seconds(name).is_none_or(|begin| begin.floor() - leeway <= now), "{text}");
        }
        assert!(principal.expires().as_secs() > NOW, "{text}");
    }
}
