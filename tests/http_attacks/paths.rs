//! H8 and H9: the path that chooses the route is the path that the application gets.

use super::{Site, token};
use crate::support::caller::Caller;
use crate::support::upstream::Upstream;

/// A path, and what it is answered with where `/open/*` is public and the rest is not.
const REFUSED: &[(&str, &str)] = &[
    ("/open/..%2fprivate", "ambiguous_path"),
    ("/open/..%2Fprivate", "ambiguous_path"),
    ("/open%2f..%2fprivate", "ambiguous_path"),
    ("/open/%2e%2e%2fprivate", "ambiguous_path"),
    ("/open/..%5cprivate", "ambiguous_path"),
    ("/open%5c..%5cprivate", "ambiguous_path"),
    ("/open//../private", "ambiguous_path"),
    ("//private", "ambiguous_path"),
    ("/open/..;/private", "ambiguous_path"),
    ("/open/..;a=b/private", "ambiguous_path"),
    ("/open/;../private", "ambiguous_path"),
    ("/.;/open/x", "ambiguous_path"),
    ("/open/%2e%2e;/private", "ambiguous_path"),
    ("/open/..%3b/private", "ambiguous_path"),
    ("/open/%252e%252e/private", "ambiguous_path"),
    ("/open/%252e%252e%252fprivate", "ambiguous_path"),
    ("/open/%25252e%25252e/private", "ambiguous_path"),
    ("/open/%25%32%65%25%32%65/private", "ambiguous_path"),
    ("/open/..%255cprivate", "ambiguous_path"),
    // Somebody in front may have let these pass for what they begin with.
    ("/open/../private", "ambiguous_path"),
    ("/open/%2e%2e/private", "ambiguous_path"),
    ("/open/.%2e/private", "ambiguous_path"),
    ("/open/a/../../private", "ambiguous_path"),
    ("/open/./../private", "ambiguous_path"),
    ("/open/..", "ambiguous_path"),
    ("/private/../open/x", "ambiguous_path"),
    ("/private/%2e%2e/open/./x", "ambiguous_path"),
    ("/open;x/y", "ambiguous_path"),
    ("/open%3Bx/y", "ambiguous_path"),
    ("/open%2Fx", "ambiguous_path"),
    ("/%2561/../open/x", "ambiguous_path"),
    ("//evil.example/../open/x", "ambiguous_path"),
    ("/open/..//private", "ambiguous_path"),
    ("/open\\..\\private", "bad_request"),
    ("/open/..\\private", "bad_request"),
    ("/open/%00", "bad_request"),
    ("/open/x%00/../../private", "bad_request"),
    ("/open/%0d%0aX-User:root", "bad_request"),
    ("/open/%7f", "bad_request"),
    ("/open/%", "bad_request"),
    ("/open/%2", "bad_request"),
    ("/open/%zz", "bad_request"),
    ("/open/%u002e", "bad_request"),
    ("/..", "bad_request"),
    ("/../private", "bad_request"),
    ("/open/../../private", "bad_request"),
    ("/%2e%2e/private", "bad_request"),
    // Nothing wrong with these but where they lead.
    ("/private/open/x", "token_missing"),
    ("/openness", "token_missing"),
    ("/open.html", "token_missing"),
    ("/open%20/y", "token_missing"),
    ("/open%2A", "token_missing"),
    ("/OPEN/x", "token_missing"),
    ("/ope", "token_missing"),
    ("/", "token_missing"),
];

#[test]
fn h8_no_spelling_of_a_path_leads_elsewhere() {
    let site = Site::start();
    for mut caller in Caller::both(site.secured(), &site.certificate) {
        for (path, reason) in REFUSED {
            // hyper's own client types refuse to send a raw backslash or a bad escape over HTTP/2.
            let name = caller.name();
            if name == "HTTP/2" && format!("https://localhost{path}").parse::<hyper::Uri>().is_err()
            {
                continue;
            }
            let response = caller.get(path, &[]);
            let status = if *reason == "token_missing" { 401 } else { 400 };
            assert_eq!(response.status, status, "{name} {path}: {}", response.text());
            assert_eq!(response.json()["code"], *reason, "{name} {path}");
            assert_eq!(site.targets(), [""; 0], "{name} {path}");
        }
    }
}

#[test]
fn h8_the_path_that_was_matched_is_the_path_that_is_forwarded() {
    let site = Site::start();
    let bearer = format!("Bearer {}", token());
    for mut caller in Caller::both(site.secured(), &site.certificate) {
        for (path, forwarded) in [
            ("/open/x", "/open/x"),
            ("/open", "/open"),
            ("/open/", "/open/"),
            ("/%6fpen/x", "/open/x"),
            ("/open/y/../x", "/open/x"),
            ("/open/y/%2e%2e/./x", "/open/x"),
            // Whoever reads these comes to the same route; what they mean is the application's.
            ("/open//", "/open//"),
            ("/open//x", "/open//x"),
            ("/open/group%2fproject/x", "/open/group%2Fproject/x"),
            ("/open/a%5cb", "/open/a%5Cb"),
            ("/open/x/..;/y", "/open/x/..;/y"),
            ("/open/.;/private", "/open/.;/private"),
            ("/open/a%252fb%2541", "/open/a%252fb%2541"),
            ("/open/a%2db%7e", "/open/a-b~"),
            ("/open/%c3%a9%20", "/open/%C3%A9%20"),
            ("/open/a;b=c,d", "/open/a;b=c,d"),
            ("/open/x?a=../%2e%2e//%00\\", "/open/x?a=../%2e%2e//%00\\"),
        ] {
            if caller.name() == "HTTP/2"
                && format!("https://localhost{path}").parse::<hyper::Uri>().is_err()
            {
                continue;
            }
            caller.get(path, &[]).expect(200);
            assert_eq!(site.targets().pop().unwrap(), forwarded, "{} {path}", caller.name());
        }
        caller.get("/private/y/../%2e/x", &[("authorization", &bearer)]).expect(200);
        assert_eq!(site.targets().pop().unwrap(), "/private/x");
    }
}

#[test]
fn h9_prefixes_end_at_segments_and_what_no_route_names_goes_nowhere() {
    let upstream = Upstream::saying("reached");
    let gateway = crate::support::gateway::Setup::new().start(&format!(
        r#"
        [listener.plain]
        address = "127.0.0.1:0"
        [[route]]
        path = "/a/*"
        upstream = "{0}"
        public = true
        [[route]]
        path = "/b"
        methods = ["GET"]
        upstream = "{0}"
        public = true
        "#,
        upstream.url(),
    ));
    let mut client = crate::support::client::Client::tcp(gateway.address("plain"));
    for path in ["/", "/ab", "/a.b", "/a%2Ab", "/A/x", "/b/", "/b/x", "/bb", "/x/a/y", "/x;y"] {
        let response = client.get(path, "").expect(404);
        assert_eq!(response.json()["code"], "no_route", "{path}");
    }
    for path in ["/a;b", "/a%3Bb", "/x/..%2Fa", "/a/..%2F..%2Fx", "/b;x", "/%2561", "/x//../a"] {
        let response = client.get(path, "").expect(400);
        assert_eq!(response.json()["code"], "ambiguous_path", "{path}");
    }
    assert_eq!(upstream.count(), 0);
    for path in ["/a", "/a/", "/a/x", "/b", "/x/../a"] {
        client.get(path, "").expect(200);
    }
    client.send("POST /b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    let response = client.response().expect(405);
    assert_eq!(response.header("allow"), Some("GET, HEAD"));
    assert_eq!(upstream.count(), 5);
}
