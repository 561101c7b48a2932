//! Reads a configuration: the file, the tree, the tables, the rules that span tables.
//!
//! The only file of `config` that touches the file system.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::describe::Presence;
use super::expand::Expander;
use super::node::Node;
use super::walk::{Fields, Value, Walk};
use super::{Admin, Config, Diagnostic, Diagnostics, Source, check};

/// A configuration beyond this is a mistake (a log, a device): 10,000 routes take about 2 MiB.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Secrets are short; whoever names a device or a disk image gets an error, not a full memory.
const MAX_INCLUSION: u64 = 1024 * 1024;

/// What `${...}` may refer to.
#[derive(Clone, Default)]
pub struct Environment {
    vars: BTreeMap<String, String>,
    files: bool,
}

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the file says.
    pub config: Config,
    /// What is allowed, but hardly meant.
    pub warnings: Diagnostics,
    /// To draw diagnostics that are found later.
    pub source: Source,
}

/// Reads the configuration at `path`. Relative paths in it begin at its folder.
///
/// # Errors
/// Every problem at once.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Diagnostics> {
    let name = path.display().to_string();
    let fail = |message: String| {
        Diagnostics::new(Source::new(name.clone(), ""), vec![Diagnostic::of_file(message)])
    };
    let absolute = std::path::absolute(path)
        .map_err(|error| fail(format!("cannot find the file: {error}")))?;
    let text = read(path, MAX_FILE)
        .map_err(|error| fail(format!("cannot read the configuration `{name}`: {error}")))?;
    parse(&name, &text, environment, absolute.parent().unwrap_or(Path::new("/")))
}

/// Where the admin address is, however wrong the rest of the file may be: whoever asks a running
/// gateway must not depend on an edit that it does not run.
///
/// # Errors
/// The file can't be read, or its `[admin]` is wrong.
pub fn load_admin(path: &Path, environment: &Environment) -> Result<Admin, Diagnostics> {
    let name = path.display().to_string();
    let text = read(path, MAX_FILE).map_err(|error| {
        let message = format!("cannot read the configuration `{name}`: {error}");
        Diagnostics::new(Source::new(name.clone(), ""), vec![Diagnostic::of_file(message)])
    })?;
    let base_dir = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let base_dir = base_dir.parent().unwrap_or(Path::new("/"));
    let source = Source::new(name, text.as_str());
    let mut walk = Walk::new(base_dir, &source);
    let expander = Expander { environment, base_dir };
    let (document, _) = Node::document(&text, &expander, &mut walk.problems);
    let admin = Fields::open(&document, &["admin"], &mut walk)
        .and_then(|fields| fields.read("admin", Presence::Default("{}"), None, &mut walk));
    admin.ok_or_else(|| Diagnostics::new(source.clone(), walk.finish()))
}

/// Reads a configuration from `text`, shown as `file_name`; relative paths in it begin at
/// `base_dir`, which should be absolute.
///
/// # Errors
/// Every problem at once.
pub fn parse(
    file_name: &str,
    text: &str,
    environment: &Environment,
    base_dir: &Path,
) -> Result<Loaded, Diagnostics> {
    let source = Source::new(file_name, text);
    let expander = Expander { environment, base_dir };
    let mut walk = Walk::new(base_dir, &source);
    let (document, broken) = Node::document(text, &expander, &mut walk.problems);
    if broken {
        walk.recover();
    }
    let config = Config::read(&document, &mut walk);
    if let (Some(config), false) = (&config, broken) {
        check::rules(config, &document, &mut walk);
    }
    let list = Diagnostics::new(source.clone(), walk.finish());
    match config {
        Some(config) if list.errors() == 0 => Ok(Loaded { config, warnings: list, source }),
        Some(_) | None => Err(list),
    }
}

/// The text of a `${file:...}`.
pub(super) fn read_inclusion(environment: &Environment, path: &Path) -> io::Result<String> {
    if !environment.files {
        return Err(io::Error::other("this environment reads no files"));
    }
    read(path, MAX_INCLUSION)
}

fn read(path: &Path, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(limit + 1).read_to_string(&mut text)?;
    if read as u64 > limit {
        return Err(io::Error::other(format!("larger than {limit} bytes")));
    }
    Ok(text)
}

impl std::fmt::Debug for Environment {
    /// Names alone: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("vars", &self.vars.keys()).finish_non_exhaustive()
    }
}

impl Environment {
    /// These variables, and no files.
    pub fn new<K: Into<String>, V: Into<String>>(vars: impl IntoIterator<Item = (K, V)>) -> Self {
        let vars = vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { vars, files: false }
    }

    /// The variables of this process, and every file that it may read. Variables that are not
    /// UTF-8 count as unset.
    pub fn of_process() -> Self {
        let vars = std::env::vars_os();
        let text = vars.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self { files: true, ..Self::new(text) }
    }

    pub(super) fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }
}
