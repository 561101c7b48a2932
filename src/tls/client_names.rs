//! What a client certificate says of its owner, as headers for an application.
//!
//! The certificate's authority is trusted, but not with syntax: every byte that could end a value,
//! or make two names of one, is escaped. What can't be told whole is not told at all.

use std::fmt::Write as _;
use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use hyper::header::{HeaderName, HeaderValue};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The headers of one certificate: subject, alternative names if it has any, fingerprint.
pub type Names = Vec<(HeaderName, HeaderValue)>;

/// `None`: malformed, or longer than anybody can want.
pub(super) fn names(der: &[u8], certificate: &X509Certificate<'_>) -> Option<Names> {
    let mut names = Vec::with_capacity(3);
    let mut add = |name: &'static str, value: String| {
        let value = (value.len() <= LONGEST).then(|| HeaderValue::try_from(value).ok())??;
        names.push((HeaderName::from_static(name), value));
        Some(())
    };
    add("x-client-cert-subject", subject(certificate.subject())?)?;
    let alternative = alternative(certificate)?;
    if !alternative.is_empty() {
        add("x-client-cert-san", alternative)?;
    }
    let mut fingerprint = String::with_capacity(64);
    for byte in digest(&SHA256, der).as_ref() {
        write!(fingerprint, "{byte:02x}").ok()?;
    }
    add("x-client-cert-fingerprint", fingerprint)?;
    Some(names)
}

/// RFC 4514: the most specific part first.
fn subject(name: &X509Name<'_>) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in name.iter_rdn() {
        let attributes: Option<Vec<_>> = part.iter().map(attribute).collect();
        parts.push(attributes?.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let oid = attribute.attr_type();
    let kind = match oid2abbrev(oid, oid_registry()) {
        Ok(name) => name.to_owned(),
        Err(_) => oid.to_id_string(),
    };
    let mut text = format!("{kind}=");
    match attribute.as_str() {
        Ok(value) => escape(value, &mut text)?,
        // RFC 4514 section 2.4: what has no text is told in hexadecimal.
        Err(_) => {
            text.push('#');
            for byte in attribute.attr_value().data {
                write!(text, "{byte:02x}").ok()?;
            }
        }
    }
    Some(text)
}

/// RFC 4514 section 2.4; beyond it every byte that is no visible ASCII.
fn escape(value: &str, text: &mut String) -> Option<()> {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let special = matches!(byte, b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=')
            || (byte == b'#' && at == 0)
            || (byte == b' ' && (at == 0 || at == last));
        match byte {
            _ if special => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\{byte:02X}").ok()?,
        }
    }
    Some(())
}

/// `DNS:`, `IP:`, `URI:`, `email:` with `,` between them; `%`, `,` and what is not visible ASCII
/// as %XX.
fn alternative(certificate: &X509Certificate<'_>) -> Option<String> {
    let extension = certificate.subject_alternative_name().ok()?;
    let mut text = String::new();
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        let (kind, value) = match name {
            GeneralName::DNSName(name) => ("DNS:", (*name).to_owned()),
            GeneralName::RFC822Name(name) => ("email:", (*name).to_owned()),
            GeneralName::URI(uri) => ("URI:", (*uri).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
                ("IP:", address.ok()?.to_string())
            }
            _ => continue,
        };
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(kind);
        for byte in value.bytes() {
            match byte {
                b'%' | b',' => write!(text, "%{byte:02X}").ok()?,
                b'!'..=b'~' => text.push(char::from(byte)),
                _ => write!(text, "%{byte:02X}").ok()?,
            }
        }
    }
    Some(text)
}

/// Bytes of one value; all of them have to fit into an application server's limit of one line.
const LONGEST: usize = 4096;
