//! What is revoked from the start: the operator's file, and what was told before a restart.
//!
//! A text that can't be read whole counts for nothing: half of it would let the other half's tokens
//! in. At the start that is an error, and while running what was in force before stays.

use std::fmt;
use std::io;
use std::path::Path;

use super::compile::Compiling;
use crate::auth::revocation::{LinesError, Revocation, parse_lines};
use crate::config::{Diagnostic, Spanned};
use crate::state_dir::FileName;
use crate::watched_file::WatchedFile;

/// What is revoked from the start.
#[derive(Debug, Default)]
pub struct Revoked {
    /// What the configured file says.
    pub file: Vec<Revocation>,
    /// What was told before the restart; empty on a reload.
    pub told: Vec<Revocation>,
}

/// What the bytes of a watched file say.
///
/// # Errors
/// They could not be read, or a line says nothing.
pub fn said(read: io::Result<Vec<u8>>) -> Result<Vec<Revocation>, ReadError> {
    let text = String::from_utf8(read?).map_err(io::Error::other)?;
    parse_lines(&text, None).map_err(ReadError::Line)
}

/// Why a text counts for nothing.
#[derive(Debug)]
pub enum ReadError {
    /// The system's word.
    Io(io::Error),
    /// A line that says nothing.
    Line(LinesError),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Line(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

/// The file in `state_dir` that keeps what was told.
pub fn kept_name() -> FileName {
    FileName::new("revocations", "")
}

/// Bytes of a file of revoked tokens; more than the list has room for in any but the oddest case.
pub const MAX_FILE: usize = 32 << 20;

/// Bytes of what we keep ourselves: every entry as long as can be, and escaped.
const MAX_KEPT: usize = 1 << 30;

pub(super) fn compile(compiling: &mut Compiling<'_>) -> Revoked {
    let file = configured(compiling);
    let told = if compiling.previous.is_none() { kept(compiling) } else { Vec::new() };
    Revoked { file, told }
}

/// What the configured file says.
fn configured(compiling: &mut Compiling<'_>) -> Vec<Revocation> {
    let config = compiling.config;
    let Some(file) = &config.server.revocations else { return Vec::new() };
    let mut reading = WatchedFile::new(file.value.clone(), MAX_FILE);
    match reading.look().map(said).transpose() {
        Ok(list) => {
            let known =
                |one: &Revocation| config.issuers.iter().any(|of| of.name.value == one.issuer);
            let list = list.unwrap_or_default();
            if list.iter().any(|one| !known(one)) {
                let message = "the file revokes tokens of an issuer that does not exist";
                let warning = Diagnostic::warning(file.span.clone(), message)
                    .path("server.revocations")
                    .hint("`issuer` is a name in this configuration: `[issuer.NAME]`");
                compiling.report(warning);
            }
            list
        }
        Err(error) => {
            let message = format!("{} can't be read: {error}", compiling.shown(file));
            let diagnostic = Diagnostic::error(file.span.clone(), message)
                .path("server.revocations")
                .hint("one JSON object a line; see docs/revocation.md");
            compiling.report(diagnostic);
            Vec::new()
        }
    }
}

/// What was told before the restart. To start without it would let revoked tokens in again.
fn kept(compiling: &mut Compiling<'_>) -> Vec<Revocation> {
    let Some(folder) = &compiling.state_dir else { return Vec::new() };
    let kept = match folder.read(&kept_name(), MAX_KEPT) {
        Ok(None) => return Vec::new(),
        Ok(Some(bytes)) => said(Ok(bytes)),
        Err(error) => Err(error.into()),
    };
    kept.unwrap_or_else(|error| {
        let written = &compiling.config.server.state_dir;
        let path = written.value.path().unwrap_or(Path::new("")).to_owned();
        let shown = compiling.shown(&Spanned { value: path, span: written.span.clone() });
        let message = format!("the revocations kept in {shown} can't be read: {error}");
        let hint = format!("to start without them, remove {}", kept_name());
        let diagnostic = Diagnostic::error(written.span.clone(), message);
        compiling.report(diagnostic.path("server.state_dir").hint(hint));
        Vec::new()
    })
}
