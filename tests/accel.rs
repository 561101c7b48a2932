//! Files that an application names, and pages about errors that an operator writes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::token::{ISSUER, SECRET, Signer, claims};
use crate::support::upstream::{Then, Upstream};

/// Answers with the header lines that the query holds, percent-encoded, and a body of its own.
fn application() -> Upstream {
    Upstream::start(|received, stream| {
        let query = received.target().split_once('?').map_or("", |(_, query)| query);
        let lines: String = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| format!("{name}: {}\r\n", value.replace("%20", " ")))
            .collect();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n{lines}\r\nown")?;
        Ok(Then::Keep)
    })
}

struct Site {
    gateway: Gateway,
    application: Upstream,
    folder: String,
}

fn site() -> Site {
    let (setup, application) = (Setup::new(), application());
    let folder = setup.folder().canonicalize().unwrap();
    for name in ["protected", "protected/deep", "other", "outside"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::write(folder.join("protected/a.pdf"), "0123456789").unwrap();
    fs::write(folder.join("protected/a b.txt"), "space").unwrap();
    fs::write(folder.join("protected/.hidden"), "outside").unwrap();
    fs::write(folder.join("other/b.txt"), "other").unwrap();
    fs::write(folder.join("outside/secret"), "outside").unwrap();
    symlink("../outside/secret", folder.join("protected/link")).unwrap();
    let url = application.url();
    let gateway = setup.variable("KEY", SECRET).start(&format!(
        "[listener.plain]\naddress = \"127.0.0.1:0\"\n\
         [issuer.main]\nurl = \"{ISSUER}\"\nsecret = \"${{KEY}}\"\naudience = [\"api\"]\n\
         [[route]]\npath = \"/*\"\nupstream = \"{url}\"\naccel = true\npublic = true\n\
         [[route]]\npath = \"/api/*\"\nupstream = \"{url}\"\naccel = true\n\
         [[route]]\npath = \"/plain/*\"\nupstream = \"{url}\"\npublic = true\n\
         [[route]]\npath = \"/protected/*\"\nstatic = \"protected\"\ninternal = true\n\
         [[route]]\npath = \"/elsewhere/*\"\nhosts = [\"elsewhere.example\"]\nstatic = \"other\"\n\
         internal = true\n"
    ));
    Site { gateway, application, folder: folder.display().to_string() }
}

#[test]
fn an_application_names_a_file_and_the_client_gets_it() {
    let site = site();
    let mut client = Client::tcp(site.gateway.address("plain"));
    let named = "/x?X-Accel-Redirect=/protected/a.pdf&X-Accel-Limit-Rate=1&X-Own=1";
    let response = client.get(named, "").expect(200);
    assert_eq!(response.text(), "0123456789");
    assert_eq!(response.header("content-type"), Some("application/pdf"));
    // Decided for this client.
    assert_eq!(response.header("cache-control"), Some("private, max-age=60"));
    for gone in ["x-accel-redirect", "x-accel-limit-rate", "x-own"] {
        assert_eq!(response.header(gone), None, "{gone}");
    }
    let survive = "&Content-Type=text/x-own&Content-Disposition=attachment&Set-Cookie=a=b\
                   &Cache-Control=no-store&Expires=0";
    let response = client.get(&format!("{named}{survive}"), "Range: bytes=2-3\r\n").expect(206);
    assert_eq!(response.text(), "23");
    for (name, value) in [
        ("content-range", "bytes 2-3/10"),
        ("content-type", "text/x-own"),
        ("content-disposition", "attachment"),
        ("set-cookie", "a=b"),
        ("cache-control", "no-store"),
        ("expires", "0"),
    ] {
        assert_eq!(response.header(name), Some(value));
    }
    // Conditions, parts, and what was posted.
    let etag = client.get(named, "").expect(200).header("etag").unwrap().to_owned();
    client.get(named, &format!("If-None-Match: {etag}\r\n")).expect(304);
    client.get(named, "Range: bytes=99-\r\n").expect(416);
    let head = client.ask("HEAD", named, "").expect(200);
    assert_eq!(head.header("content-length"), Some("10"));
    let posted = client.ask("POST", named, "Content-Length: 0\r\nRange: bytes=0-0\r\n").expect(200);
    assert_eq!(posted.text(), "0123456789");
    // In whatever way it is written.
    let on_disk = format!("/x?X-Sendfile={}/protected/a%20b.txt", site.folder);
    for spelling in [
        "/x?X-Accel-Redirect=/protected/a%20b.txt",
        "/x?X-Accel-Redirect=/protected/deep/../a%20b.txt",
        &on_disk,
    ] {
        assert_eq!(client.get(spelling, "").expect(200).text(), "space", "{spelling}");
    }
    // Whoever asks to switch gets no file, and learns of none.
    let switch = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let response = Client::tcp(site.gateway.address("plain")).get(named, switch);
    assert_eq!(response.text(), "own");
    for gone in ["x-accel-redirect", "x-accel-limit-rate"] {
        assert_eq!(response.header(gone), None, "{gone}");
    }
    // What it does not name is its own answer; without `accel` nothing is looked at.
    let own = client.get("/x?X-Accel-Buffering=no", "").expect(200);
    assert_eq!((own.text(), own.header("x-accel-buffering")), ("own", None));
    let plain = client.get("/plain/x?X-Accel-Redirect=/protected/a.pdf", "").expect(200);
    assert_eq!(plain.text(), "own");
}

/// H21: what the application may be made to name is a file of the internal route, or nothing.
#[test]
fn h21_an_application_names_files_of_internal_routes_alone() {
    let site = site();
    let mut client = Client::tcp(site.gateway.address("plain"));
    for (name, status) in [
        ("/protected/missing", 404),
        ("/protected/.hidden", 404),
        ("/protected/link", 404),
        ("/protected/deep", 404),
        ("/protected/deep/", 404),
        ("/protected/%2e%2e/outside/secret", 502),
        ("/protected/../outside/secret", 502),
        ("/protected/..%2foutside/secret", 404),
        ("/protectedx/a.pdf", 502),
        ("/plain/x", 502),
        ("/elsewhere/b.txt", 502),
        ("https://evil.example/", 502),
        ("//evil.example/", 502),
        ("relative", 502),
    ] {
        let response = client.get(&format!("/x?X-Accel-Redirect={name}"), "").expect(status);
        assert!(!response.text().contains("outside"), "{name}");
        assert!(!response.text().contains("protected"), "{name}: {}", response.text());
    }
    let folder = &site.folder;
    for (name, status) in [
        (format!("{folder}/outside/secret"), 502),
        (format!("{folder}/protected/../outside/secret"), 404),
        (format!("{folder}/protected/link"), 404),
        (format!("{folder}/protectedx"), 502),
        (format!("{folder}/other/b.txt"), 502),
        ("/etc/passwd".to_owned(), 502),
        ("protected/a.pdf".to_owned(), 502),
    ] {
        let response = client.get(&format!("/x?X-Sendfile={name}"), "").expect(status);
        assert!(!response.text().contains("outside"), "{name}");
    }
    let twice = "/x?X-Accel-Redirect=/protected/a.pdf&X-Accel-Redirect=/protected/a.pdf";
    client.get(twice, "").expect(502);
    let both = format!("/x?X-Accel-Redirect=/protected/a.pdf&X-Sendfile={folder}/protected/a.pdf");
    client.get(&both, "").expect(502);
}

/// H21: nobody but an application gets there.
#[test]
fn h21_a_client_never_reaches_an_internal_route() {
    let site = site();
    let mut client = Client::tcp(site.gateway.address("plain"));
    let token = Signer::hmac(SECRET.as_bytes()).sign(&claims(ISSUER, "ada"));
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let forged = "X-Accel-Redirect: /protected/a.pdf\r\nX-Sendfile: /etc/passwd\r\n";
    let before = site.application.count();
    for path in ["/protected/a.pdf", "/protected", "/protected/", "/%70rotected/a.pdf"] {
        for lines in ["", &bearer, forged] {
            for method in ["GET", "HEAD", "POST", "OPTIONS"] {
                let lines = format!("{lines}Content-Length: 0\r\n");
                client.ask(method, path, &lines).expect(404);
            }
        }
    }
    assert_eq!(site.application.count(), before, "and nobody is asked");
    // The route's own policy decides about what is named.
    let named = "/api/x?X-Accel-Redirect=/protected/a.pdf";
    client.get(named, "").expect(401);
    assert_eq!(client.get(named, &bearer).expect(200).text(), "0123456789");
    // Of the client's own words the application hears nothing.
    client.get("/x", forged).expect(200);
    let heard = site.application.received().last().unwrap().head.to_ascii_lowercase();
    assert!(!heard.contains("x-accel") && !heard.contains("x-sendfile"), "{heard}");
}

#[test]
fn browsers_get_the_pages_of_the_operator() {
    let setup = Setup::new();
    for (name, text) in
        [("404.html", "no such page"), ("5xx.html", "sorry"), ("own.html", "own page")]
    {
        fs::write(setup.folder().join(name), text).unwrap();
    }
    fs::create_dir(setup.folder().join("public")).unwrap();
    let gateway = setup.start(
        "[server]\nerror_pages = { 404 = \"404.html\", 5xx = \"5xx.html\" }\n\
         [listener.plain]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/files/*\"\nstatic = \"public\"\npublic = true\n\
         [[route]]\npath = \"/own/*\"\nstatic = \"public\"\npublic = true\n\
         error_pages = { 4xx = \"own.html\" }\n\
         [[route]]\npath = \"/down/*\"\nupstream = \"http://127.0.0.1:1\"\npublic = true\n",
    );
    let mut client = Client::tcp(gateway.address("plain"));
    let browser = "Accept: text/html,*/*;q=0.1\r\n";
    for (path, status, text) in [
        ("/files/x", 404, "no such page"),
        ("/nowhere", 404, "no such page"),
        ("/own/x", 404, "own page"),
        ("/down/x", 502, "sorry"),
    ] {
        let response = client.get(path, browser).expect(status);
        assert_eq!(response.text(), text, "{path}");
        assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        // Programs get what programs read.
        let response = client.get(path, "").expect(status);
        assert_eq!(response.header("content-type"), Some("application/problem+json"), "{path}");
    }
}
