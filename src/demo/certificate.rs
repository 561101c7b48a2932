//! A development certificate for this machine, signed by a CA that can sign nothing else.
//!
//! The CA's key is gone when the leaf is signed, so whoever trusts `dev-ca.crt` trusts one
//! certificate for `localhost`, `127.0.0.1` and `::1`, and no other can ever be made. Files that fit
//! together and have not expired are used again; trusts nothing else of what lies in the folder, and
//! replaces nothing that was not made here: a key of the operator's own would be lost for good.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::Pem;

use crate::clock::{Clock, UnixTime};

/// A development certificate on disk.
#[derive(Debug)]
pub struct Development {
    folder: PathBuf,
    origin: Origin,
}

/// Where a [`Development`] certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Made just now, in the folder asked for.
    Made,
    /// Found in the folder asked for, still good.
    Reused,
    /// Made just now, in a folder that is removed when the value is dropped.
    Temporary,
}

impl Development {
    /// The certificate in `folder`, made if there is none that is good for another day.
    ///
    /// Where `folder` cannot be written, or holds another's files under these names, a new folder
    /// for temporary files takes its place. Blocks.
    ///
    /// # Errors
    /// The system gives no randomness, or neither folder can be written.
    pub fn provide(folder: &Path, clock: &Clock) -> Result<Self, CertificateError> {
        let now = clock.wall();
        if is_good(folder, now) {
            return Ok(Self { folder: folder.to_owned(), origin: Origin::Reused });
        }
        let made = Made::new(now).map_err(CertificateError::Generate)?;
        let written = match is_free(folder) {
            true => fs::create_dir_all(folder).and_then(|()| made.write(folder)),
            false => Err(io::Error::new(io::ErrorKind::AlreadyExists, "another's files")),
        };
        if let Err(error) = written {
            tracing::debug!(folder = %folder.display(), %error, "using a temporary folder instead");
            // From here on dropped, and removed, even when the write fails.
            let temporary = Self { folder: temporary(now)?, origin: Origin::Temporary };
            return match made.write(&temporary.folder) {
                Ok(()) => Ok(temporary),
                Err(error) => {
                    Err(CertificateError::Write { folder: temporary.folder.clone(), error })
                }
            };
        }
        Ok(Self { folder: folder.to_owned(), origin: Origin::Made })
    }

    /// The CA's certificate, for clients: `curl --cacert`.
    pub fn ca(&self) -> PathBuf {
        self.folder.join(CA)
    }

    /// The server's certificate.
    pub fn cert(&self) -> PathBuf {
        self.folder.join(CERT)
    }

    /// The server's key, readable by its owner alone.
    pub fn key(&self) -> PathBuf {
        self.folder.join(KEY)
    }

    /// Where it comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

impl Drop for Development {
    fn drop(&mut self) {
        if self.origin == Origin::Temporary
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            tracing::debug!(folder = %self.folder.display(), %error, "not removed");
        }
    }
}

const CA: &str = "dev-ca.crt";
const CERT: &str = "dev.crt";
const KEY: &str = "dev.key";

/// A folder of our own with nobody else's permissions. `create` fails on a name that is taken, so
/// a link or folder that another user of the machine put there is never used.
fn temporary(now: UnixTime) -> Result<PathBuf, CertificateError> {
    let mut attempt = 0_u32;
    loop {
        let (process, time) = (std::process::id(), now.as_millis());
        let folder = std::env::temp_dir().join(format!("portcullis-{process}-{time}-{attempt}"));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => {
                attempt = attempt.saturating_add(1);
            }
            Err(error) => return Err(CertificateError::Write { folder, error }),
        }
    }
}

// === Making ===

/// The three files' contents.
struct Made {
    ca: String,
    cert: String,
    key: String,
}

impl Made {
    fn new(now: UnixTime) -> Result<Self, rcgen::Error> {
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::default();
        valid(&mut ca, now);
        ca.distinguished_name = named(CA_NAME);
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_cert = ca.self_signed(&ca_key)?;

        let key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(NAMES.map(str::to_owned))?;
        valid(&mut leaf, now);
        leaf.distinguished_name = named("localhost");
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        // Takes the CA's key, which ends with this function.
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let cert = leaf.signed_by(&key, &issuer)?;
        Ok(Self { ca: ca_cert.pem(), cert: cert.pem(), key: key.serialize_pem() })
    }

    /// The certificate comes last: whoever finds it finds what belongs to it.
    fn write(&self, folder: &Path) -> io::Result<()> {
        replace(folder, CA, &self.ca, 0o644)?;
        replace(folder, KEY, &self.key, 0o600)?;
        replace(folder, CERT, &self.cert, 0o644)
    }
}

/// Writes beside and renames: never a half-written file, never through a link, and the key never
/// in a file that was readable for others before.
fn replace(folder: &Path, name: &str, content: &str, mode: u32) -> io::Result<()> {
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside);
    let written = opened
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .and_then(|()| fs::rename(&beside, folder.join(name)));
    if written.is_err()
        && let Err(error) = fs::remove_file(&beside)
    {
        tracing::debug!(file = %beside.display(), %error, "not removed");
    }
    written
}

fn valid(params: &mut CertificateParams, now: UnixTime) {
    // Before the year 9000, whatever the clock says: the date arithmetic would panic past 9999.
    let now = Duration::from_secs(now.as_secs().min(221_845_392_000));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(DAY);
    params.not_after = epoch + now + LIFETIME;
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

const CA_NAME: &str = "Portcullis development CA";
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest that every browser accepts.
const LIFETIME: Duration = Duration::from_secs(397 * 24 * 60 * 60);

// === Finding again ===

/// Whether the three files fit together and last another day, by our own making of them.
fn is_good(folder: &Path, now: UnixTime) -> bool {
    let fits = || -> Option<bool> {
        let ca_pem = certificate(&folder.join(CA))?;
        let cert_pem = certificate(&folder.join(CERT))?;
        let ca = ca_pem.parse_x509().ok()?;
        let cert = cert_pem.parse_x509().ok()?;
        let key = KeyPair::from_pem(&read(&folder.join(KEY))?).ok()?;
        let seconds = |at: UnixTime| i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
        let (today, tomorrow) = (seconds(now), seconds(now.saturating_add(DAY)));
        let lasts = |certificate: &X509Certificate<'_>| {
            let validity = certificate.validity();
            validity.not_before.timestamp() <= today && tomorrow <= validity.not_after.timestamp()
        };
        let signed_by = authority_key(&cert)? == subject_key(&ca)?;
        let same_key = cert.public_key().subject_public_key.data == key.public_key_raw();
        Some(lasts(&ca) && lasts(&cert) && signed_by && same_key)
    };
    fits().unwrap_or(false)
}

/// Whether nothing is there, or nothing but what was made here: at least one of the two
/// certificates still says so.
fn is_free(folder: &Path) -> bool {
    let is_ours = |name: &str| -> Option<bool> {
        let pem = certificate(&folder.join(name))?;
        let certificate = pem.parse_x509().ok()?;
        let mut names = certificate.issuer().iter_common_name();
        Some(names.any(|name| name.as_str().is_ok_and(|name| name == CA_NAME)))
    };
    let nothing = [CA, CERT, KEY].iter().all(|name| !folder.join(name).exists());
    nothing || [CA, CERT].iter().any(|name| is_ours(name) == Some(true))
}

fn certificate(path: &Path) -> Option<Pem> {
    Pem::iter_from_buffer(read(path)?.as_bytes()).next()?.ok()
}

/// A file of at most 64 KiB: somebody may have put something else there.
fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(64 * 1024).read_to_string(&mut text).ok()?;
    Some(text)
}

fn subject_key(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0.to_vec()),
        _ => None,
    })
}

fn authority_key(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(key) => {
            key.key_identifier.as_ref().map(|key| key.0.to_vec())
        }
        _ => None,
    })
}

// === CertificateError ===

/// Why there is no development certificate.
#[derive(Debug)]
pub enum CertificateError {
    /// Keys or certificates could not be made.
    Generate(rcgen::Error),
    /// Neither the folder asked for nor the one for temporary files can be written.
    Write {
        /// The one for temporary files.
        folder: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generate(error) => write!(f, "no certificate could be made: {error}"),
            Self::Write { folder, error } => {
                write!(f, "the certificate could not be written to `{}`: {error}", folder.display())
            }
        }
    }
}

impl std::error::Error for CertificateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Generate(error) => Some(error),
            Self::Write { error, .. } => Some(error),
        }
    }
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
