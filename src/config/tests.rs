//! What holds for every key, taken from the definitions themselves.

use std::path::Path;
use std::time::Duration;

use super::describe::{FieldDoc, Many, Presence};
use super::walk::Value;
use super::*;

/// A file with every table that can be there, and `extra` lines in the table of that path.
fn file(path: &str, extra: &str) -> String {
    let tables = [
        ("listener", "[listener.main]\naddress = \":8080\""),
        ("issuer", "[issuer.main]\nurl = \"https://id.example.com/\"\naudience = [\"x\"]"),
        ("upstream", "[upstream.web]\nendpoints = [\"http://127.0.0.1:8000\"]"),
        ("upstream.queue", "[upstream.web.queue]"),
        ("upstream.eject", "[upstream.web.eject]"),
        ("upstream.health", "[upstream.web.health]\npath = \"/\""),
        ("upstream.endpoints", "[[upstream.many.endpoints]]\nurl = \"http://127.0.0.1:8000\""),
        ("-", "[[route]]\npath = \"/many/*\"\nupstream = \"many\""),
        ("route", "[[route]]\npath = \"/*\"\nupstream = \"web\""),
        ("route.cors", "[route.cors]\norigins = [\"https://app.example.com\"]"),
        ("route.rate_limit", "[route.rate_limit]\nrate = \"10/s\""),
        ("route.revoke_on", "[route.revoke_on]\npath = \"/logout\""),
        ("server", "[server]"),
        ("server.assertion", "[server.assertion]"),
        ("server.bad_tokens", "[server.bad_tokens]"),
        ("server.max_headers", "[server.max_headers]"),
        ("server.spool", "[server.spool]"),
        ("cache", "[cache]"),
        ("admin", "[admin]"),
        ("log", "[log]"),
    ];
    let lines = tables.map(|(of, table)| match of == path {
        true => format!("{table}\n{extra}\n"),
        false => format!("{table}\n"),
    });
    lines.concat()
}

fn problems(text: &str) -> String {
    match parse("x.toml", text, &Environment::default(), Path::new("/etc")) {
        Ok(loaded) => loaded.warnings.render(false),
        Err(diagnostics) => diagnostics.render(false),
    }
}

/// Every key with the path of its table.
fn fields(within: &str, fields: Vec<FieldDoc>, out: &mut Vec<(String, FieldDoc)>) {
    for field in fields {
        if let Some(table) = field.table.clone() {
            let path = match within {
                "" => field.key.to_owned(),
                within => format!("{within}.{}", field.key),
            };
            fields_of(&path, table.fields, out);
        }
        out.push((within.to_owned(), field));
    }
}

fn fields_of(path: &str, list: Vec<FieldDoc>, out: &mut Vec<(String, FieldDoc)>) {
    fields(path, list, out);
}

fn every_field() -> Vec<(String, FieldDoc)> {
    let mut out = Vec::new();
    fields("", Config::describe().fields, &mut out);
    out
}

#[test]
fn every_default_written_out_changes_nothing() {
    assert_eq!(problems(&file("", "")), "");
    for (path, field) in every_field() {
        let Presence::Default(text) = field.presence else { continue };
        if path.is_empty() || text.starts_with('{') || path.contains("tls") {
            continue;
        }
        assert_eq!(
            problems(&file(&path, &format!("{} = {text}", field.key))),
            "",
            "{path}.{}",
            field.key
        );
    }
}

#[test]
fn every_limit_is_allowed_and_what_is_beyond_is_not() {
    let limited: Vec<_> =
        every_field().into_iter().filter(|(_, field)| field.limits.is_some()).collect();
    assert!(limited.len() > 25);
    for (path, field) in limited {
        let limits = field.limits.unwrap();
        for text in [limits.min, limits.max] {
            let seen = problems(&file(&path, &format!("{} = {text}", field.key)));
            // `line` and `size` also have a rule between them.
            assert!(
                !seen.contains("out of range") && !seen.contains("is not a"),
                "{path}.{}: {seen}",
                field.key
            );
        }
        let beyond =
            if limits.max.starts_with('"') { "\"20000PiB\"" } else { "18446744073709551616" };
        let time = limits.max.trim_end_matches('"').ends_with(['s', 'm', 'h', 'd']);
        let beyond = if time { "\"100000d\"" } else { beyond };
        let seen = problems(&file(&path, &format!("{} = {beyond}", field.key)));
        assert!(!seen.is_empty(), "{path}.{} = {beyond}", field.key);
    }
}

#[test]
fn every_key_is_documented() {
    for (path, field) in every_field() {
        assert!(field.doc.ends_with('.'), "{path}.{}: {}", field.key, field.doc);
        assert!(!field.shape.text.is_empty());
        assert!(field.table.is_some() || field.shape.many != Many::Named);
    }
}

/// A little of everything.
const WRITTEN: &str = r#"
[listener.main]
address = "[::1]:${PORT}"
public_port = "${PORT}"

[issuer.b]
url = "https://b.example.com/"
audience = "any"
public_key = "keys/b.pem"
identity_headers = { X-User = "sub", X-Roles = "/realm_access/roles" }
require = [{ a = 1 }, { scope = ["x", "y"], "/b/c" = { all = [true], none = ["z"] } }]

[issuer.a]
url = "https://a.example.com/"
audience = ["x"]
allow_http = "${YES}"
refresh = "1h"

[[route]]
path = "/$$/*"
hosts = ["a.example.com", "*.b.example.com"]
methods = ["GET", "POST"]
static = "public"
issuers = "all"

[server]
spool = { dir = "/var/spool/portcullis" }
workers = 3
    "#;

#[test]
fn values_arrive_as_they_were_written() {
    let environment = Environment::new([("PORT", "8443"), ("YES", "true")]);
    let config =
        parse("x.toml", WRITTEN, &environment, Path::new("/etc/portcullis")).unwrap().config;
    let listener = &config.listeners[0];
    assert_eq!(listener.address.value, Address::Tcp { host: Some("::1".to_owned()), port: 8443 });
    assert_eq!(listener.public_port, Some(8443));
    let names: Vec<&str> = config.issuers.iter().map(|issuer| issuer.name.as_str()).collect();
    assert_eq!(names, ["b", "a"], "the order of the file");
    let issuer = &config.issuers[0];
    assert_eq!(issuer.audience, Some(Audience::Any));
    assert_eq!(
        issuer.public_key.as_ref().unwrap()[0].value,
        Path::new("/etc/portcullis/keys/b.pem")
    );
    assert_eq!(issuer.identity_headers[1].1.value, "/realm_access/roles");
    assert_eq!(issuer.require[1].claims[0].any, ["x", "y"]);
    assert_eq!(issuer.require[1].claims[1].all, [true]);
    assert!(config.issuers[1].allow_http);
    assert_eq!(config.issuers[1].refresh, Refresh::Every(Duration::from_secs(3600)));
    let route = &config.routes[0];
    assert_eq!(route.effective_name(), "a.example.com,*.b.example.com/$/* GET,POST");
    assert_eq!(route.static_root.as_ref().unwrap().value, Path::new("/etc/portcullis/public"));
    assert_eq!(config.server.spool.dir.path(), Some(Path::new("/var/spool/portcullis")));
    assert_eq!(config.server.spool.memory.bytes(), 64 << 20);
    assert_eq!(config.server.workers, Workers::Count(3));
    assert_eq!(
        config.admin.address.value,
        Address::Tcp { host: Some("127.0.0.1".to_owned()), port: 9180 }
    );
    let span = config.issuers[1].url.as_ref().unwrap().span.clone();
    assert_eq!(
        WRITTEN.get(span).unwrap(),
        "\"https://a.example.com/\"",
        "spans point into the file"
    );
    assert!(Config::table().is_some());
}
