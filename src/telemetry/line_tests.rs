//! Access-log lines under hostile bytes.

use hyper::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::telemetry::ids::Names;
use crate::telemetry::labels::{AuthOutcome, CacheLookup, Reason};
use crate::telemetry::record::AuthResult;

const TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiI3In0.c2lnbmF0dXJl-_xyz";

fn line(record: &Record<'_>) -> String {
    let mut out = Vec::new();
    json(&mut out, record);
    String::from_utf8(out).unwrap()
}

fn combined_line(record: &Record<'_>) -> String {
    let mut out = Vec::new();
    combined(&mut out, record);
    String::from_utf8(out).unwrap()
}

fn full() -> Record<'static> {
    let mut names = Names::default();
    let (listener, route) = (names.add_listener("main"), names.add_route("/*"));
    Record {
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        query: Some(b"page=2&token=x"),
        version: Some(Version::HTTP_2),
        status: 502,
        reason: Some(Reason::UpstreamFailed),
        detail: Some("closed_before_head"),
        user_agent: Some(b"curl/8"),
        referer: Some(b"https://a.example/?code=1"),
        auth: Some(AuthRecord {
            result: AuthResult::Passed(AuthOutcome::Ok),
            issuer: Some((names.add_issuer("id"), "id")),
            subject: Some("user 7"),
            jti: Some("j"),
            cache: Some(CacheLookup::Hit),
            duration: Some(Duration::from_micros(1)),
        }),
        upstream: Some(UpstreamRecord {
            upstream: (names.add_upstream("app", &["127.0.0.1:8000"]), "app"),
            endpoint: Some((0, "127.0.0.1:8000")),
            status: Some(200),
            first_byte: Some(Duration::from_millis(12_345)),
            attempts: 2,
            reused: true,
        }),
        tls: Some(TlsRecord { version: "1.3", sni: Some("example.com") }),
        ..Record::sample(listener, route)
    }
}

#[test]
fn a_full_line_has_every_field_in_order() {
    assert_eq!(
        line(&full()),
        concat!(
            r#"{"ts":1767225600.123,"level":"info","msg":"request","request_id":"0123456789abcdef","#,
            r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","listener":"main","route":"/*","#,
            r#""method":"GET","host":"example.com","path":"/","query":"page=2&token=REDACTED","#,
            r#""proto":"HTTP/2.0","status":502,"reason":"upstream_failed","#,
            r#""detail":"closed_before_head","bytes_in":3,"bytes_out":1024,"duration":0.001234,"#,
            r#""client_ip":"127.0.0.1","user_agent":"curl/8","#,
            r#""referer":"https://a.example/?code=REDACTED","#,
            r#""auth":{"result":"ok","issuer":"id","sub":"user 7","jti":"j","cached":true},"#,
            r#""upstream":{"name":"app","endpoint":"127.0.0.1:8000","status":200,"#,
            r#""first_byte":12.345000,"attempts":2,"reused":true},"#,
            r#""tls":{"version":"1.3","sni":"example.com"}}"#,
        )
    );
}

#[test]
fn a_head_that_could_not_be_parsed_has_a_line_too() {
    let record = Record {
        route: None,
        method: None,
        host: None,
        path: b"",
        version: None,
        client_ip: None,
        status: 400,
        reason: Some(Reason::BadRequest),
        ..full()
    };
    let line: Value = serde_json::from_str(&line(&record)).unwrap();
    assert_eq!(line["route"], json!("-"));
    assert_eq!(line["method"], json!("-"));
    assert_eq!(line["reason"], json!("bad_request"));
    assert_eq!(line.get("client_ip"), None);
}

#[test]
fn combined_is_apaches() {
    assert_eq!(
        combined_line(&full()),
        concat!(
            r#"127.0.0.1 - user_7 [01/Jan/2026:00:00:00 +0000] "#,
            r#""GET /?page=2&token=REDACTED HTTP/2.0" 502 1024 "#,
            r#""https://a.example/?code=REDACTED" "curl/8""#,
        )
    );
    let record = Record { auth: None, referer: None, user_agent: None, client_ip: None, ..full() };
    let line = combined_line(&record);
    assert!(line.starts_with("unix: - - ["), "{line}");
    assert!(line.ends_with(r#" "-" "-""#), "{line}");
}

#[test]
fn dates_know_leap_years() {
    for (secs, date) in [
        (0, "01/Jan/1970:00:00:00 +0000"),
        (951_782_400, "29/Feb/2000:00:00:00 +0000"),
        (951_868_800, "01/Mar/2000:00:00:00 +0000"),
        (1_709_251_199, "29/Feb/2024:23:59:59 +0000"),
        (1_735_689_599, "31/Dec/2024:23:59:59 +0000"),
        (4_107_542_400, "01/Mar/2100:00:00:00 +0000"),
    ] {
        let mut out = Vec::new();
        put_date(&mut out, UnixTime::from_secs(secs));
        assert_eq!(String::from_utf8(out).unwrap(), date);
    }
}

#[test]
fn no_line_is_longer_than_any_buffer_expects() {
    let long = vec![b'\x01'; 100_000];
    let text = "\u{1}".repeat(100_000);
    let mut record = Record {
        request_id: &long,
        host: Some(&long),
        path: &long,
        query: Some(&long),
        user_agent: Some(&long),
        referer: Some(&long),
        ..full()
    };
    record.tls = Some(TlsRecord { version: "1.3", sni: Some(&text) });
    assert!(line(&record).len() < 64 * 1024);
}

prop_compose! {
    /// Bytes with what breaks lines, quotes or secrets in them.
    fn hostile()(parts in prop::collection::vec(
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            Just(TOKEN.as_bytes().to_vec()),
            Just(format!("access_token={TOKEN}").into_bytes()),
            Just(format!("Bearer {TOKEN}").into_bytes()),
            Just(b"\r\n{\"msg\":\"request\"}\"\\".to_vec()),
            Just("\u{2028}\u{9b}".as_bytes().to_vec()),
        ], 0..8)) -> Vec<u8> {
        parts.concat()
    }
}

proptest! {
    #[test]
    fn any_bytes_make_one_line_of_json_without_a_token(
        host in hostile(), path in hostile(), query in hostile(), agent in hostile(),
        referer in hostile(), id in hostile(), sub in "\\PC*", method in "[A-Z]{1,50}",
    ) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let auth = AuthRecord { subject: Some(&sub), jti: Some(&sub), ..full().auth.unwrap() };
        let record = Record {
            request_id: &id,
            method: Some(&method),
            host: Some(&host),
            path: &path,
            query: Some(&query),
            user_agent: Some(&agent),
            referer: Some(&referer),
            auth: Some(auth),
            ..full()
        };

        let json = line(&record);
        let value: Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&value["msg"], "request");
        prop_assert_eq!(value.as_object().unwrap().len(), 24);
        for line in [json, combined_line(&record)] {
            prop_assert!(!line.chars().any(char::is_control), "{}", line);
            for part in TOKEN.split('.') {
                prop_assert!(!line.contains(part), "{}", line);
            }
        }
    }

    #[test]
    fn text_without_secrets_comes_back(text in "[^eJ]{0,200}") {
        let record = Record { user_agent: Some(text.as_bytes()), ..full() };
        let value: Value = serde_json::from_str(&line(&record)).unwrap();
        let expected = if text.len() > 512 { return Ok(()) } else { text };
        prop_assert_eq!(value["user_agent"].as_str().unwrap(), expected);
    }
}
