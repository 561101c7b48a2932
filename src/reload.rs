//! Where a configuration comes from, again and again: the file, its changes, and what a running
//! process can't take over from it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::config::{self, Config, Diagnostic, Diagnostics, Environment, Loaded, Outcome, Source};
use crate::snapshot::{Surroundings, problems};

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
    /// Every problem of it; also of what it refers to, as far as the text says what that is.
    pub fn load(&self, environment: &Environment) -> Result<Loaded, Diagnostics> {
        let Outcome { loaded, rest } = match self {
            Self::File(path) => config::load_all(path, environment),
            Self::Text { name, text, folder } => config::parse_all(name, text, environment, folder),
        };
        loaded.map_err(|told| match (rest, Surroundings::offline()) {
            (Some(rest), Ok(surroundings)) => {
                let more = problems(&rest, &surroundings, &told);
                let source = told.source().clone();
                told.merge(Diagnostics::new(source, more))
            }
            (_, _) => told,
        })
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
    if running.server.state_dir.value != next.server.state_dir.value {
        refuse("server.state_dir", Some(next.server.state_dir.span.clone()));
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

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [listener.main]
        address = "127.0.0.1:8080"
        [upstream.web]
        endpoints = ["http://127.0.0.1:8000"]
        [[route]]
        path = "/*"
        upstream = "web"
        public = true
        "#;

    fn load(text: &str) -> Loaded {
        let environment = Environment::default();
        config::parse("gateway.toml", text, &environment, Path::new("/")).unwrap()
    }

    #[test]
    fn what_only_a_new_process_can_change_is_refused_by_name() {
        let running = load(TEXT);
        let refused = |more: &str| -> Vec<String> {
            let next = load(&format!("{TEXT}\n{more}"));
            needs_restart(&running.config, &next).into_iter().map(|one| one.path).collect()
        };
        assert!(refused("").is_empty());
        assert!(refused("[server]\nidle_timeout = \"1s\"\n[cache]\ntokens = 1").is_empty());
        assert_eq!(refused("[server]\nworkers = 3"), ["server.workers"]);
        assert_eq!(refused("[server]\nstate_dir = \"/state\""), ["server.state_dir"]);
        assert_eq!(refused("[admin]\naddress = \"127.0.0.1:9181\""), ["admin.address"]);
        for log in ["level = \"warn\"", "format = \"json\"", "access = \"off\""] {
            assert_eq!(refused(&format!("[log]\n{log}")), ["log"]);
        }
        let all = "[server]\nworkers = 3\n[admin]\naddress = \":1\"\n[log]\naccess = \"off\"";
        assert_eq!(refused(all).len(), 3);
    }

    #[test]
    fn a_reload_names_what_came_and_went() {
        let before = load(TEXT);
        assert_eq!(difference(&before.config, &before.config), "no names changed");
        let after = load(&TEXT.replace("web", "app").replace("\"/*\"", "\"/a\""));
        let line = difference(&before.config, &after.config);
        assert_eq!(line, "upstreams +app -web, routes +/a -/*");
    }

    #[test]
    fn a_file_has_changed_if_it_says_something_else_than_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, "not a configuration").unwrap();
        let origin = Origin::File(file.clone());
        // Refused: but read, and not to be read again before it changes.
        let refused = origin.load(&Environment::default()).unwrap_err();
        assert!(!origin.has_changed(refused.source()));
        std::fs::write(&file, TEXT).unwrap();
        assert!(origin.has_changed(refused.source()));
        std::fs::remove_file(&file).unwrap();
        assert!(!origin.has_changed(refused.source()), "an editor is about to write it");
    }
}
