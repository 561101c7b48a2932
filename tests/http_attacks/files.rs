//! H20, H21 and H22: parts of files, the ways out of a folder, and files encoded beforehand.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, Mode};

use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};

/// A gateway that serves `public/static` of its own folder below `/static/*`.
fn serve() -> Gateway {
    let setup = Setup::new();
    lay_out(setup.folder());
    Certificate::make(setup.folder());
    setup.start(
        "[listener.plain]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/static/*\"\nstatic = \"public/static\"\npublic = true\n",
    )
}

/// `outside` is what nobody may see.
fn lay_out(folder: &Path) {
    let root = folder.join("public/static");
    fs::create_dir_all(root.join("inner")).unwrap();
    fs::create_dir_all(root.join(".git")).unwrap();
    fs::create_dir_all(folder.join("public/staticsecret")).unwrap();
    for (file, text) in [
        ("public/static/a.txt", "0123456789"),
        ("public/static/inner/b.txt", "inner"),
        ("public/static/.env", "outside"),
        ("public/static/.git/config", "outside"),
        ("public/static/inner/.hidden", "outside"),
        ("public/secret.txt", "outside"),
        ("public/staticsecret/x", "outside"),
        ("secret.txt", "outside"),
    ] {
        fs::write(folder.join(file), text).unwrap();
    }
    symlink(folder.join("secret.txt"), root.join("absolute")).unwrap();
    symlink("../secret.txt", root.join("relative")).unwrap();
    symlink("../..", root.join("up")).unwrap();
    symlink("/etc", root.join("etc")).unwrap();
    symlink("/proc/self/root", root.join("proc")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    rustix::fs::mkfifoat(CWD, root.join("fifo"), Mode::from_raw_mode(0o644)).unwrap();
    drop(std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap());
}

#[test]
fn h21_nothing_outside_the_folder_is_served() {
    let gateway = serve();
    let mut client = Client::tcp(gateway.address("plain"));
    for path in [
        "/static/../secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/..%2fsecret.txt",
        "/static/..%5csecret.txt",
        "/static/..\\secret.txt",
        "/static/%252e%252e/secret.txt",
        "/static/inner/../../secret.txt",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/..;/secret.txt",
        "/static../secret.txt",
        "/static..%2fsecret.txt",
        "/staticsecret/x",
        "/static%2e%2e/secret.txt",
        "/static/a.txt%00.html",
        "/static/a.txt/",
        "/static/a.txt/x",
        "/static/a.txt%20",
        "/static/A.TXT",
        "/static/a.txt::$DATA",
        "/static/./.env",
        "/static/.env",
        "/static/%2eenv",
        "/static/.git/config",
        "/static/inner/.hidden",
        "/static/absolute",
        "/static/relative",
        "/static/up/secret.txt",
        "/static/etc/passwd",
        "/static/proc/etc/passwd",
        "/static/loop",
        "/static/fifo",
        "/static/socket",
        "/static/staticfiles.json",
        "/static/inner",
        "/static/inner/",
        "/static/",
        "/static",
        "/static/nothing",
        "/static/file:///etc/passwd",
        "/static/%ff%fe",
        "/static/~root/x",
    ] {
        let response = client.get(path, "");
        assert!(
            matches!(response.status, 301 | 308 | 400 | 404),
            "{path}: {} {:?}",
            response.status,
            response.text()
        );
        assert!(!response.text().contains("outside"), "{path}");
        assert!(!response.text().contains("root:"), "{path}");
        if response.closes {
            client = Client::tcp(gateway.address("plain"));
        }
    }
    let long = format!("/static/{}", "a/".repeat(2000));
    client.get(&long, "").expect(404);
    assert_eq!(client.get("/static/a.txt", "").expect(200).text(), "0123456789");
    assert_eq!(client.get("/static/inner/../a.txt", "").expect(200).text(), "0123456789");
}

#[test]
fn h21_a_folder_is_only_read() {
    let gateway = serve();
    let mut client = Client::tcp(gateway.address("plain"));
    for method in ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "MOVE"] {
        client.send(format!(
            "{method} /static/a.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        ));
        let response = client.response().expect(405);
        assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    assert_eq!(client.get("/static/a.txt", "").expect(200).text(), "0123456789");
}

#[test]
fn h20_ranges_never_make_a_response_longer_than_the_file() {
    let gateway = serve();
    let mut client = Client::tcp(gateway.address("plain"));
    let mut range = |value: &str| client.get("/static/a.txt", &format!("Range: {value}\r\n"));
    for (value, content_range, body) in [
        ("bytes=0-0", "bytes 0-0/10", "0"),
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=8-", "bytes 8-9/10", "89"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=5-99999999999999999999", "bytes 5-9/10", "56789"),
        ("bytes=-99", "bytes 0-9/10", "0123456789"),
        ("bytes=0-0,1-1", "bytes 0-1/10", "01"),
        ("bytes=0-,0-,0-,0-,0-,0-,0-,0-", "bytes 0-9/10", "0123456789"),
    ] {
        let response = range(value);
        if response.status == 200 {
            assert_eq!(response.text(), "0123456789", "{value}");
            continue;
        }
        let response = response.expect(206);
        assert_eq!(
            (response.header("content-range"), response.text()),
            (Some(content_range), body)
        );
    }
    for value in ["bytes=10-", "bytes=99-100", "bytes=-0"] {
        let response = range(value).expect(416);
        assert_eq!(response.header("content-range"), Some("bytes */10"), "{value}");
        assert!(!response.text().contains("0123"));
    }
    let overlapping = format!("bytes={}", vec!["0-"; 1000].join(","));
    for value in [
        "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8",
        "bytes=",
        "bytes",
        "bytes=a-b",
        "bytes=4-2",
        "lines=1-2",
        "bytes=--1",
        "bytes=0x0-0x1",
        "bytes=+0-1",
        &overlapping,
    ] {
        let response = range(value).expect(200);
        assert_eq!(response.text(), "0123456789", "{value}");
    }
    // Eight parts at most, each byte once; what comes with them is bounded by their number.
    let most = range("bytes=0-0,2-2,4-4,6-6,8-8,0-0,2-2,4-4").expect(206);
    assert!(most.header("content-type").unwrap().starts_with("multipart/byteranges; boundary="));
    assert_eq!(most.text().matches("Content-Range:").count(), 5);
    assert!(most.text().len() < 8 * 200);
    // A validator that does not fit brings the whole file.
    let stale = client.get("/static/a.txt", "Range: bytes=0-0\r\nIf-Range: \"stale\"\r\n");
    assert_eq!(stale.expect(200).text(), "0123456789");
}

#[test]
fn h22_what_is_encoded_beforehand_lies_in_the_folder_and_fits() {
    let setup = Setup::new();
    lay_out(setup.folder());
    let root = setup.folder().join("public/static");
    fs::write(root.join("a.txt.gz"), "gz").unwrap();
    symlink(setup.folder().join("secret.txt"), root.join("a.txt.br")).unwrap();
    rustix::fs::mkfifoat(CWD, root.join("a.txt.zst"), Mode::from_raw_mode(0o644)).unwrap();
    let gateway = setup.start(
        "[listener.plain]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/static/*\"\nstatic = \"public/static\"\npublic = true\n\
         [[route]]\npath = \"/media/*\"\nstatic = \"public/static\"\npublic = true\nmedia = true\n",
    );
    let mut client = Client::tcp(gateway.address("plain"));
    for (accepted, coding, body) in [
        ("br", None, "0123456789"),
        ("zstd", None, "0123456789"),
        ("br, zstd, gzip", Some("gzip"), "gz"),
        ("gzip;q=0", None, "0123456789"),
    ] {
        let response = client.get("/static/a.txt", &format!("Accept-Encoding: {accepted}\r\n"));
        let response = response.expect(200);
        assert_eq!(response.header("content-encoding"), coding, "{accepted}");
        assert_eq!(response.header("vary"), Some("Accept-Encoding"));
        assert_eq!(response.text(), body, "{accepted}");
    }
    // Whoever uploads a file chooses what it shows, not what another one does.
    let media = client.get("/media/a.txt", "Accept-Encoding: gzip\r\n").expect(200);
    assert_eq!((media.header("content-encoding"), media.text()), (None, "0123456789"));
}
