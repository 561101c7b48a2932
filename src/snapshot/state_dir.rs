//! `[server] state_dir`: opened once, and kept over every reload.

use std::path::Path;
use std::sync::Arc;

use super::compile::Compiling;
use crate::config::{Diagnostic, Spanned};
use crate::state_dir::{StateDir, StateDirError};

/// The folder of state: the running one, since it can't change, or the one that is written here;
/// none if none is, or after a diagnostic.
pub(super) fn open(compiling: &mut Compiling<'_>) -> Option<Arc<StateDir>> {
    let written = &compiling.config.server.state_dir;
    let path = written.value.path()?;
    if let Some(running) = compiling.previous.and_then(|old| old.state_dir.clone()) {
        return Some(running);
    }
    let shown = compiling.shown(&Spanned { value: path.to_owned(), span: written.span.clone() });
    match open_or_look(path, compiling.surroundings.offline) {
        Ok(folder) => {
            if let Some(mode) = folder.as_ref().and_then(StateDir::shared_mode) {
                let message = format!("others may look into {shown} (mode {mode:o})");
                compiling.report(
                    Diagnostic::warning(written.span.clone(), message)
                        .path("server.state_dir")
                        .hint("only the gateway needs to: `chmod 700`"),
                );
            }
            folder.map(Arc::new)
        }
        // Whoever checks may be another user than the one it will run as.
        Err(StateDirError::ForeignOwner) if compiling.surroundings.offline => {
            compiling.report(
                Diagnostic::warning(
                    written.span.clone(),
                    format!("{shown} belongs to another user"),
                )
                .path("server.state_dir")
                .hint("it has to be the one that the gateway runs as"),
            );
            None
        }
        Err(error) => {
            compiling.report(
                Diagnostic::error(written.span.clone(), format!("{shown} {error}"))
                    .path("server.state_dir")
                    .hint("a folder of the gateway's own user, with mode 700"),
            );
            None
        }
    }
}

fn open_or_look(path: &Path, offline: bool) -> Result<Option<StateDir>, StateDirError> {
    if offline { StateDir::inspect(path) } else { StateDir::open(path).map(Some) }
}
