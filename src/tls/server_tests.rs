//! Files that change under a listener.

use std::path::Path;

use super::super::certificate::{CertificateFault, UnknownName};
use super::super::client_auth::Demand;
use super::*;
use crate::tls::authority::Authority;

struct Made {
    cert: String,
    key: String,
}

fn made(name: &str, until: i32) -> Made {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap().pem();
    Made { cert, key: key.serialize_pem() }
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

fn now() -> UnixTime {
    // 2027.
    UnixTime::from_secs(1_800_000_000)
}

/// Two pairs, `a` and `b`, and whose clients count.
fn listener(folder: &Path, clients: Option<ClientFiles>) -> ServerTls {
    for name in ["a", "b"] {
        let pair = made(&format!("{name}.test"), 2090);
        write(folder, &format!("{name}.crt"), &pair.cert);
        write(folder, &format!("{name}.key"), &pair.key);
    }
    let pairs = ["a", "b"]
        .map(|name| (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key"))));
    let loaded = pairs.iter().map(|(cert, key)| Arc::new(Certificate::load(cert, key).unwrap()));
    let certificates = Arc::new(Certificates::new(loaded.collect(), UnknownName::Reject));
    let client_auth = clients.as_ref().map(|files| Arc::new(ClientAuth::load(files).unwrap()));
    let offer = Offer {
        min_version: MinVersion::Tls12,
        protocols: vec![Alpn::Http1],
        tickets: Arc::new(Tickets::new().unwrap()),
    };
    let files = Files { pairs: pairs.to_vec(), clients };
    ServerTls::new(offer, files, certificates, client_auth).unwrap()
}

fn serves(tls: &ServerTls) -> Vec<bool> {
    let current = tls.current();
    ["a.test", "b.test", "new.test"].map(|name| current.certificates.covers(name)).to_vec()
}

#[test]
fn a_pair_is_renewed_when_both_of_its_files_fit() {
    let folder = tempfile::tempdir().unwrap();
    let tls = listener(folder.path(), None);
    assert_eq!(tls.files().len(), 4);
    assert!(tls.renew(now()).unwrap().is_empty(), "nothing has changed");
    let new = made("new.test", 2091);
    write(folder.path(), "a.crt", &new.cert);
    // The key is still on its way: told once, and the last good pair stays.
    let renewals = tls.renew(now()).unwrap();
    let [Renewal::Failed(error)] = &renewals[..] else { panic!("{renewals:?}") };
    assert!(matches!(error.fault, CertificateFault::KeyMismatch));
    assert!(error.path.ends_with("a.key"));
    assert!(tls.renew(now()).unwrap().is_empty());
    assert_eq!(serves(&tls), [true, true, false]);
    // Meanwhile the other one is renewed all the same.
    let other = made("b.test", 2092);
    write(folder.path(), "b.crt", &other.cert);
    write(folder.path(), "b.key", &other.key);
    let renewals = tls.renew(now()).unwrap();
    let [Renewal::Certificate(renewed)] = &renewals[..] else { panic!("{renewals:?}") };
    assert!(renewed.name().ends_with("b.crt") && renewed.not_after() > now());
    write(folder.path(), "a.key", &new.key);
    assert!(matches!(&tls.renew(now()).unwrap()[..], [Renewal::Certificate(_)]));
    assert_eq!(serves(&tls), [false, true, true]);
}

#[test]
fn a_certificate_that_is_over_replaces_none_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let tls = listener(folder.path(), None);
    let over = made("new.test", 2024);
    write(folder.path(), "a.crt", &over.cert);
    write(folder.path(), "a.key", &over.key);
    let renewals = tls.renew(now()).unwrap();
    let [Renewal::Failed(error)] = &renewals[..] else { panic!("{renewals:?}") };
    assert!(matches!(error.fault, CertificateFault::Expired), "{error}");
    assert_eq!(serves(&tls), [true, true, false]);
    std::fs::remove_file(folder.path().join("a.crt")).unwrap();
    assert!(matches!(&tls.renew(now()).unwrap()[..], [Renewal::Failed(_)]));
    assert_eq!(serves(&tls), [true, true, false]);
}

#[test]
fn h23_other_roots_or_lists_have_other_tickets() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let client = ours.client("client", 1);
    write(folder.path(), "ca.pem", &ours.pem);
    write(folder.path(), "list.pem", &ours.revoke(&[], 2090));
    let clients = ClientFiles {
        demand: Demand::Require,
        ca: folder.path().join("ca.pem"),
        crls: vec![folder.path().join("list.pem")],
    };
    let tls = listener(folder.path(), Some(clients));
    assert_eq!(tls.files().len(), 6);
    let before = tls.current();
    let sealed = before.config.ticketer.encrypt(b"session").unwrap();
    // A renewed certificate of our own changes nothing for clients.
    let other = made("b.test", 2092);
    write(folder.path(), "b.crt", &other.cert);
    write(folder.path(), "b.key", &other.key);
    assert_eq!(tls.renew(now()).unwrap().len(), 1);
    assert_eq!(tls.current().config.ticketer.decrypt(&sealed).unwrap(), b"session");
    write(folder.path(), "list.pem", "broken");
    assert!(matches!(&tls.renew(now()).unwrap()[..], [Renewal::Failed(_)]));
    assert_eq!(tls.client_auth().unwrap().id(), before.client_auth.as_ref().unwrap().id());
    write(folder.path(), "list.pem", &ours.revoke(&[&client], 2090));
    assert!(matches!(&tls.renew(now()).unwrap()[..], [Renewal::ClientAuth]));
    assert_eq!(tls.current().config.ticketer.decrypt(&sealed), None);
}
