//! Development certificates: made, reused, and kept from others.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::*;

fn now() -> UnixTime {
    UnixTime::from_secs(1_700_000_000)
}

fn provide(folder: &Path) -> Development {
    Development::provide(folder, &Clock::fixed(now())).unwrap()
}

fn der(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

#[test]
fn clients_that_trust_the_ca_accept_the_certificate_for_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let made = provide(&folder.path().join("certs"));
    assert_eq!(made.origin(), Origin::Made);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der(&made.ca())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
    let at = |days: u64| {
        let since = Duration::from_secs(now().as_secs()) + DAY * u32::try_from(days).unwrap();
        rustls::pki_types::UnixTime::since_unix_epoch(since)
    };
    let verdict = |name: &str, days| {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.verify_server_cert(&der(&made.cert()), &[], &name, &[], at(days)).is_ok()
    };
    for name in ["localhost", "127.0.0.1", "::1"] {
        assert!(verdict(name, 0) && verdict(name, 396), "{name}");
        assert!(!verdict(name, 398), "{name}");
    }
    assert!(!verdict("example.com", 0));
}

#[test]
fn the_key_is_the_certificates_and_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let made = provide(folder.path());
    let mode = fs::metadata(made.key()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_file(made.key()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der(&made.cert())], key);
    assert!(config.is_ok());
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "no CA key and no leftovers: {names:?}");
}

#[test]
fn what_is_good_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let first = fs::read(provide(folder.path()).cert()).unwrap();
    let again = provide(folder.path());
    assert_eq!(again.origin(), Origin::Reused);
    assert_eq!(fs::read(again.cert()).unwrap(), first);
}

type Spoiler<'a> = &'a dyn Fn(&Path);

#[test]
fn what_is_not_good_is_made_anew() {
    let other = tempfile::tempdir().unwrap();
    let other = provide(other.path());
    let spoilers: [(&str, Spoiler<'_>); 5] = [
        ("no key", &|folder| fs::remove_file(folder.join(KEY)).unwrap()),
        ("another's key", &|folder| {
            fs::copy(other.key(), folder.join(KEY)).unwrap();
        }),
        ("another's ca", &|folder| {
            fs::copy(other.ca(), folder.join(CA)).unwrap();
        }),
        ("no certificate", &|folder| fs::write(folder.join(CERT), "garbage").unwrap()),
        ("an endless file", &|folder| {
            File::create(folder.join(CA)).unwrap().set_len(1 << 40).unwrap();
        }),
    ];
    for (what, spoil) in spoilers {
        let folder = tempfile::tempdir().unwrap();
        provide(folder.path());
        spoil(folder.path());
        assert_eq!(provide(folder.path()).origin(), Origin::Made, "{what}");
        assert_eq!(provide(folder.path()).origin(), Origin::Reused, "{what}");
    }
}

#[test]
fn what_expires_within_a_day_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    provide(folder.path());
    for (days, origin) in [(395, Origin::Reused), (397, Origin::Made)] {
        let clock = Clock::fixed(now().saturating_add(DAY * days));
        assert_eq!(Development::provide(folder.path(), &clock).unwrap().origin(), origin);
    }
    let before = Clock::fixed(UnixTime::from_secs(1));
    assert_eq!(Development::provide(folder.path(), &before).unwrap().origin(), Origin::Made);
}

#[test]
fn a_folder_that_cannot_be_written_is_replaced_by_a_temporary_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let made = provide(&file.join("certs"));
    assert_eq!(made.origin(), Origin::Temporary);
    let temporary = made.cert().parent().unwrap().to_owned();
    assert!(made.ca().exists() && made.cert().exists() && made.key().exists());
    assert_eq!(fs::metadata(&temporary).unwrap().permissions().mode() & 0o777, 0o700);
    drop(made);
    assert!(!temporary.exists());
}

#[test]
fn what_another_made_under_these_names_stays() {
    let folder = tempfile::tempdir().unwrap();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let theirs = [(CERT, cert.pem()), (KEY, signing_key.serialize_pem())];
    for (name, content) in &theirs {
        fs::write(folder.path().join(name), content).unwrap();
    }
    assert_eq!(provide(folder.path()).origin(), Origin::Temporary);
    for (name, content) in &theirs {
        assert_eq!(&fs::read_to_string(folder.path().join(name)).unwrap(), content);
    }
    assert!(!folder.path().join(CA).exists());
}

#[test]
fn errors_read_as_fragments() {
    let error = io::Error::other("full");
    let write = CertificateError::Write { folder: "x".into(), error };
    assert_eq!(write.to_string(), "the certificate could not be written to `x`: full");
    let generate = CertificateError::Generate(rcgen::Error::CouldNotParseCertificate);
    assert!(generate.to_string().starts_with("no certificate could be made: "));
}
