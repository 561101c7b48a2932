//! Where a configuration comes from, again and again: the file, its changes, and what a running
//! process can't take over from it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::config::{self, Config, Diagnostic, Diagnostics, Environment, Loaded, Source};

/// Editors write a file in several steps, and Kubernetes swaps a symlink: a change is read this long
/// after its first sign, and again if more follow.
pub(crate) const SETTLE: Duration = Duration::from_millis(200);

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A file, read at every load.
    File(PathBuf),
    /// A text, such as the demo's.
    Text {
        /// What diagnostics call it.
        name: String,
        /// The TOML.
        text: String,
        /// What its relative paths start from.
        folder: PathBuf,
    },
}

impl Origin {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// Every problem of it.
    pub fn load(&self, environment: &Environment) -> Result<Loaded, Diagnostics> {
        match self {
            Self::File(path) => config::load(path, environment),
            Self::Text { name, text, folder } => config::parse(name, text, environment, folder),
        }
    }

    /// Whether it says something else than `read`. Blocks; what can't be read has not changed.
    pub(crate) fn has_changed(&self, read: &Source) -> bool {
        match self {
            Self::File(path) => std::fs::read_to_string(path).is_ok_and(|text| text != read.text()),
            Self::Text { .. } => false,
        }
    }
}

/// Errors for every change that only a new process can make.
pub(crate) fn needs_restart(running: &Config, loaded: &Loaded) -> Vec<Diagnostic> {
    let next = &loaded.config;
    let mut refused = Vec::new();
    let mut refuse = |key: &str, span: Option<std::ops::Range<usize>>| {
        let message = format!("`{key}` can't change while the gateway runs");
        let diagnostic = match span {
            Some(span) => Diagnostic::error(span, message),
            None => Diagnostic::of_file(message),
        };
        refused.push(diagnostic.path(key).hint("restart the gateway, or put the old value back"));
    };
    if running.server.workers != next.server.workers {
        refuse("server.workers", None);
    }
    if running.admin.address.value != next.admin.address.value {
        refuse("admin.address", Some(next.admin.address.span.clone()));
    }
    let (before, after) = (&running.log, &next.log);
    if (before.level, before.format, before.access) != (after.level, after.format, after.access) {
        refuse("log", None);
    }
    refused
}

/// One line for the log: what a reload changed.
pub(crate) fn difference(before: &Config, after: &Config) -> String {
    let listeners =
        |config: &Config| config.listeners.iter().map(|one| one.name.value.clone()).collect();
    let issuers =
        |config: &Config| config.issuers.iter().map(|one| one.name.value.clone()).collect();
    let upstreams =
        |config: &Config| config.upstreams.iter().map(|one| one.name.value.clone()).collect();
    let routes =
        |config: &Config| config.routes.iter().map(config::Route::effective_name).collect();
    let lines: Vec<_> = [
        names("listeners", &listeners(before), &listeners(after)),
        names("issuers", &issuers(before), &issuers(after)),
        names("upstreams", &upstreams(before), &upstreams(after)),
        names("routes", &routes(before), &routes(after)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if lines.is_empty() { "no names changed".to_owned() } else { lines.join(", ") }
}

/// Which names came and went; `None` if none did.
fn names(kind: &str, old: &BTreeSet<String>, new: &BTreeSet<String>) -> Option<String> {
    let added = new.difference(old).map(|name| format!("+{name}"));
    let changes: Vec<_> = added.chain(old.difference(new).map(|name| format!("-{name}"))).collect();
    (!changes.is_empty()).then(|| format!("{kind} {}", changes.join(" ")))
}

/// Watches the folder of a configuration file (a watch on the file itself ends when an editor
/// replaces it); sends a word for every change, at most one ahead.
///
/// # Errors
/// The system has no watches left, or the folder does not exist.
pub(crate) fn watch(
    path: &Path,
    changed: mpsc::Sender<()>,
) -> Result<RecommendedWatcher, notify::Error> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // Full means that a reload is due already.
            let _full = changed.try_send(()).is_err();
        }
    })?;
    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
