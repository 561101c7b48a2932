//! Whom a policy admits, and what is told of them.

use rustls_pki_types::pem::PemObject as _;

use super::*;
use crate::tls::authority::{Authority, Signed};

fn chain(signed: &Signed) -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from_pem_slice(signed.cert.as_bytes()).unwrap()]
}

/// As after a resumed handshake: nobody has looked at it.
fn resumed(signed: &Signed) -> ClientCertificate {
    ClientCertificate::new(&chain(signed), None).unwrap()
}

fn policy(demand: Demand, authority: &Authority, lists: &[String]) -> ClientAuth {
    let lists: Vec<_> = lists.iter().map(|list| list.as_bytes().to_vec()).collect();
    ClientAuth::new(demand, authority.pem.as_bytes(), &lists).unwrap()
}

fn year(year: u64) -> UnixTime {
    UnixTime::from_secs((year - 1970) * 31_557_600)
}

#[test]
fn who_is_admitted() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let good = ours.client("good", 1);
    let revoked = ours.client("revoked", 2);
    let brief = ours.client_until("brief", 3, 2030);
    let stranger = other.client("stranger", 1);
    let list = ours.revoke(&[&revoked], 2090);
    let policy = policy(Demand::Require, &ours, std::slice::from_ref(&list));
    let admits = |signed: &Signed, at| policy.admits(Some(&resumed(signed)), at).is_ok();
    assert!(admits(&good, year(2027)));
    assert!(!admits(&revoked, year(2027)));
    assert!(!admits(&stranger, year(2027)));
    assert!(admits(&brief, year(2029)) && !admits(&brief, year(2031)));
    assert!(!admits(&good, year(2015)), "not yet");
    assert!(!admits(&good, year(2095)), "the list is overdue");
    assert!(policy.admits(None, year(2027)).is_err());
}

#[test]
fn who_may_have_none_must_not_have_a_bad_one() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let policy = policy(Demand::Request, &ours, &[]);
    assert!(policy.admits(None, year(2027)).is_ok());
    assert!(policy.admits(Some(&resumed(&ours.client("a", 1))), year(2027)).is_ok());
    assert!(policy.admits(Some(&resumed(&other.client("a", 1))), year(2027)).is_err());
}

#[test]
fn h23_what_one_policy_has_verified_is_verified_again_under_the_next() {
    let ours = Authority::new("ours");
    let client = ours.client("client", 7);
    let before = policy(Demand::Require, &ours, &[]);
    let certificate = ClientCertificate::new(&chain(&client), Some(&before)).unwrap();
    assert!(before.admits(Some(&certificate), year(2027)).is_ok());
    let after = policy(Demand::Require, &ours, &[ours.revoke(&[&client], 2090)]);
    assert!(after.admits(Some(&certificate), year(2027)).is_err());
    // Also at the second request, and where the end has come since.
    assert!(after.admits(Some(&certificate), year(2027)).is_err());
    assert!(before.admits(Some(&certificate), year(2101)).is_err());
    assert_ne!(before.id(), after.id());
    assert_ne!(before.id(), policy(Demand::Request, &ours, &[]).id());
}

#[test]
fn the_lists_of_every_authority_are_needed() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let both = ours.pem.clone() + &other.pem;
    let list = ours.revoke(&[], 2090).into_bytes();
    let policy = ClientAuth::new(Demand::Require, both.as_bytes(), &[list]).unwrap();
    let at = year(2027);
    assert!(policy.admits(Some(&resumed(&ours.client("a", 1))), at).is_ok());
    assert!(policy.admits(Some(&resumed(&other.client("a", 1))), at).is_err());
}

#[test]
fn an_application_is_told_names_that_nobody_can_add_to() {
    let ours = Authority::new("ours");
    let certificate = resumed(&ours.client("alice \u{e9}=", 1));
    let told: Vec<_> = certificate
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let [subject, san, fingerprint] = &told[..] else { panic!("{told:?}") };
    assert_eq!(*subject, ("x-client-cert-subject", "O=Acme\\, \\\"Inc\\\",CN=alice \\C3\\A9\\="));
    assert_eq!(san.0, "x-client-cert-san");
    assert!(san.1.ends_with("%2Cx") && san.1.matches(',').count() == 1, "{}", san.1);
    assert_eq!(fingerprint.0, "x-client-cert-fingerprint");
    assert!(fingerprint.1.len() == 64 && fingerprint.1.bytes().all(|b| b.is_ascii_hexdigit()));
}

#[test]
fn faults_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca = file("ca.pem", &ours.pem);
    let list = file("list.pem", &ours.revoke(&[], 2090));
    let overdue = file("overdue.pem", &ours.revoke(&[], 2022));
    let empty = file("empty", "");
    let junk = file("junk", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    let load = |ca: &Path, crls: &[&PathBuf]| {
        let crls = crls.iter().map(|&crl| crl.clone()).collect();
        ClientAuth::load(&ClientFiles { demand: Demand::Require, ca: ca.to_owned(), crls })
    };
    assert!(load(&ca, &[&list]).is_ok());
    let policy = load(&ca, &[&list, &overdue]).unwrap();
    assert!(policy.is_overdue(&overdue, year(2027)) && !policy.is_overdue(&list, year(2027)));
    for (crl, is_expected) in [
        (&empty, (|fault| matches!(fault, CertificateFault::NoList)) as fn(&_) -> bool),
        (&junk, |fault| matches!(fault, CertificateFault::BadList)),
        (&ca, |fault| matches!(fault, CertificateFault::NoList)),
    ] {
        let error = load(&ca, &[&list, crl]).unwrap_err();
        assert!(error.path == *crl && is_expected(&error.fault), "{error}");
    }
    let error = load(&empty, &[]).unwrap_err();
    assert!(error.path == empty && matches!(error.fault, CertificateFault::NoCertificate));
    let missing = folder.path().join("missing");
    assert_eq!(load(&missing, &[]).unwrap_err().path, missing);
}
