//! Reads a configuration: the file, the tree, the tables, the rules that span tables.
//!
//! The only file of `config` that touches the file system.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::describe::Presence;
use super::expand::Expander;
use super::node::Node;
use super::walk::{Fields, Value, Walk};
use super::{Admin, Config, Diagnostic, Diagnostics, Severity, Source, check};

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

/// What came of a configuration.
#[derive(Debug)]
pub struct Outcome {
    /// It, or every problem of its text.
    pub loaded: Result<Loaded, Diagnostics>,
    /// What can be looked at all the same, if there are problems.
    pub rest: Option<Rest>,
}

/// What could be read of a configuration with errors: never to be run, but what it names can be
/// looked at, so that everything is told at once.
#[derive(Debug)]
pub struct Rest {
    /// With defaults in the place of what could not be read.
    pub loaded: Loaded,
    /// Tables (`route[2]`, `issuer.main`) that are not as they were meant.
    pub doubtful: Vec<String>,
    /// Whether every route is there and as it was meant.
    pub routes_are_whole: bool,
}

/// Reads the configuration at `path`. Relative paths in it begin at its folder.
///
/// # Errors
/// Every problem at once.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Diagnostics> {
    load_all(path, environment).loaded
}

/// As [`load()`], with what can be looked at in spite of errors.
pub fn load_all(path: &Path, environment: &Environment) -> Outcome {
    match read_at(path) {
        Ok((name, text, folder)) => parse_all(&name, &text, environment, &folder),
        Err(problems) => Outcome { loaded: Err(problems), rest: None },
    }
}

/// The name of the file as messages show it, its text, and its folder.
fn read_at(path: &Path) -> Result<(String, String, PathBuf), Diagnostics> {
    let name = path.display().to_string();
    let fail = |message: String| {
        Diagnostics::new(Source::new(name.clone(), ""), vec![Diagnostic::of_file(message)])
    };
    let absolute = std::path::absolute(path)
        .map_err(|error| fail(format!("cannot find the file: {error}")))?;
    let text = read(path, MAX_FILE)
        .map_err(|error| fail(format!("cannot read the configuration `{name}`: {error}")))?;
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    Ok((name, text, folder))
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
    parse_all(file_name, text, environment, base_dir).loaded
}

/// As [`parse()`], with what can be looked at in spite of errors.
pub fn parse_all(
    file_name: &str,
    text: &str,
    environment: &Environment,
    base_dir: &Path,
) -> Outcome {
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
    let doubts = config.as_ref().filter(|_| !broken).map(|config| doubts(config, &document, &walk));
    let list = Diagnostics::new(source.clone(), walk.finish());
    match (config, doubts) {
        (Some(config), _) if list.errors() == 0 => {
            Outcome { loaded: Ok(Loaded { config, warnings: list, source }), rest: None }
        }
        (Some(config), Some((doubtful, routes_are_whole))) => {
            let warnings = Diagnostics::new(source.clone(), Vec::new());
            let loaded = Loaded { config, warnings, source };
            Outcome { loaded: Err(list), rest: Some(Rest { loaded, doubtful, routes_are_whole }) }
        }
        (_, _) => Outcome { loaded: Err(list), rest: None },
    }
}

/// The tables that are not as they were meant, and whether every route is.
fn doubts(config: &Config, document: &Node, walk: &Walk<'_>) -> (Vec<String>, bool) {
    let listeners =
        config.listeners.iter().map(|one| (format!("listener.{}", one.name.value), &one.span));
    let issuers =
        config.issuers.iter().map(|one| (format!("issuer.{}", one.name.value), &one.span));
    let upstreams =
        config.upstreams.iter().map(|one| (format!("upstream.{}", one.name.value), &one.span));
    let routes = config.routes.iter().enumerate();
    let routes = routes.map(|(place, one)| (format!("route[{place}]"), &one.span));
    let server = ("server".to_owned(), &config.server.span);
    let tables = listeners.chain(issuers).chain(upstreams).chain(routes).chain([server]);
    let doubtful: Vec<String> =
        tables.filter(|(_, span)| walk.is_incomplete(span)).map(|(path, _)| path).collect();
    let of_routes = |path: &str| path.starts_with("route");
    let errors = walk.problems.iter().filter(|one| one.severity == Severity::Error);
    let routes_are_whole = check::routes_written(document) == config.routes.len()
        && !errors.map(|one| one.path.as_str()).any(of_routes);
    (doubtful, routes_are_whole)
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
