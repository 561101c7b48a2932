//! Choosing, covering, and every fault of a file.

use super::*;

fn certificate(name: &str, names: &[&str]) -> Arc<Certificate> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = made.signing_key.serialize_pem();
    Arc::new(Certificate::from_pem(name, made.cert.pem().as_bytes(), key.as_bytes()).unwrap())
}

fn three(unknown: UnknownName) -> Certificates {
    let entries = vec![
        certificate("first", &["example.com", "127.0.0.1", "::1"]),
        certificate("star", &["*.Example.com"]),
        certificate("api", &["api.example.com"]),
    ];
    Certificates::new(entries, unknown)
}

#[test]
fn exact_names_win_over_wildcards_of_one_label() {
    let set = three(UnknownName::Reject);
    assert_eq!(set.candidates(Some("example.com")), [0]);
    assert_eq!(set.candidates(Some("API.example.com")), [2]);
    assert_eq!(set.candidates(Some("www.example.com.")), [1]);
    assert!(set.candidates(Some("a.b.example.com")).is_empty());
    assert!(set.candidates(Some("evil.org")).is_empty());
    assert_eq!(set.candidates(None), [0]);
    assert!(!set.serves(Some("evil.org")) && set.serves(None));
    assert_eq!(three(UnknownName::First).candidates(Some("evil.org")), [0]);
}

#[test]
fn covering_looks_at_names_and_addresses() {
    let set = three(UnknownName::Reject);
    for host in ["example.com", "x.example.com", "127.0.0.1", "::1", "[::1]", "EXAMPLE.com."] {
        assert!(set.covers(host), "{host}");
    }
    for host in ["org", "xexample.com", "127.0.0.2", "[::2]", "", ".", "a.b.example.com"] {
        assert!(!set.covers(host), "{host}");
    }
    assert!(set.served_covers(Some("www.example.com"), "other.example.com"));
    assert!(!set.served_covers(Some("www.example.com"), "example.com"));
    assert!(!set.served_covers(Some("api.example.com"), "www.example.com"));
    assert!(set.served_covers(None, "127.0.0.1"));
}

#[test]
fn h6_of_several_certificates_for_a_name_each_must_cover_the_host() {
    let entries = vec![
        certificate("one", &["a.test", "b.test"]),
        certificate("other", &["a.test", "c.test", "192.0.2.7"]),
        certificate("star", &["*.a.test", "a.test"]),
    ];
    let set = Certificates::new(entries, UnknownName::Reject);
    assert_eq!(set.candidates(Some("a.test")), [0, 1, 2]);
    assert!(set.served_covers(Some("a.test"), "a.test"));
    for host in ["b.test", "c.test", "x.a.test", "192.0.2.7", "[192.0.2.7]"] {
        assert!(!set.served_covers(Some("a.test"), host), "{host}");
    }
    assert!(set.served_covers(Some("c.test"), "192.0.2.7"));
    assert!(!set.served_covers(Some("c.test"), "192.0.2.8"));
    assert!(set.served_covers(Some("x.a.test"), "y.a.test"));
    assert!(!set.served_covers(Some("x.a.test"), "y.x.a.test"));
}

#[test]
fn faults_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (
        rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap(),
        rcgen::generate_simple_self_signed(vec!["b".to_owned()]).unwrap(),
    );
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let cert = file("a.crt", &a.cert.pem());
    let key = file("a.key", &a.signing_key.serialize_pem());
    let other = file("b.key", &b.signing_key.serialize_pem());
    let junk = file("junk", "-----BEGIN CERTIFICATE-----\nnot base64\n");
    let empty = file("empty", "");
    let hollow = file("hollow", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert!(Certificate::load(&cert, &key).is_ok());
    let fault = |cert: &Path, key: &Path| Certificate::load(cert, key).unwrap_err();
    let error = fault(&cert, &other);
    assert_eq!(error.path, other);
    assert!(matches!(error.fault, CertificateFault::KeyMismatch), "{error}");
    assert!(matches!(fault(&junk, &key).fault, CertificateFault::BadPem));
    assert!(matches!(fault(&empty, &key).fault, CertificateFault::NoCertificate));
    assert!(matches!(fault(&hollow, &key).fault, CertificateFault::BadCertificate));
    assert!(matches!(fault(&cert, &empty).fault, CertificateFault::NoKey));
    let bad = file("bad.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let error = fault(&cert, &bad);
    assert!(matches!(error.fault, CertificateFault::BadKey) && error.path == bad, "{error}");
    let missing = dir.path().join("missing");
    let error = fault(&missing, &key);
    assert!(matches!(error.fault, CertificateFault::Unreadable(_)) && error.path == missing);
}

#[test]
fn the_end_is_read() {
    let mut params = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2031, 5, 6);
    let key = rcgen::KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let pem = key.serialize_pem();
    let own = Certificate::from_pem("a", made.pem().as_bytes(), pem.as_bytes()).unwrap();
    assert_eq!(own.not_after().as_secs(), 1_935_792_000);
}
