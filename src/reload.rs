//! Where a configuration comes from, again and again: the file, its changes, and what a running
//! process can't take over from it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::config::{self, Config, Diagnostic, Diagnostics, Environment, Loaded};

/// Editors write a file in several steps, and Kubernetes swaps a symlink: the change is read when
/// nothing has moved for this long.
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
    let mut lines = Vec::new();
    let names = |config: &Config, kind: &str| -> Vec<String> {
        match kind {
            "listener" => config.listeners.iter().map(|one| one.name.value.clone()).collect(),
            "issuer" => config.issuers.iter().map(|one| one.name.value.clone()).collect(),
            "upstream" => config.upstreams.iter().map(|one| one.name.value.clone()).collect(),
            _ => config.routes.iter().map(config::Route::effective_name).collect(),
        }
    };
    for kind in ["listener", "issuer", "upstream", "route"] {
        let (old, new) = (names(before, kind), names(after, kind));
        let added = new.iter().filter(|name| !old.contains(name)).map(|name| format!("+{name}"));
        let removed = old.iter().filter(|name| !new.contains(name)).map(|name| format!("-{name}"));
        let changes: Vec<_> = added.chain(removed).collect();
        if !changes.is_empty() {
            lines.push(format!("{kind}s {}", changes.join(" ")));
        }
    }
    if lines.is_empty() { "no names changed".to_owned() } else { lines.join(", ") }
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
