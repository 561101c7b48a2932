//! Compiling, from the text of a configuration: what is adopted, what is told.

mod adoption;
mod local_keys;
mod overlaps;
mod shape;
mod state_dir;

use std::path::Path;

use super::{Compiled, Snapshot, Surroundings, compile};
use crate::config::{self, Diagnostics, Environment};

/// A folder, and what every compilation in a test shares.
struct Workshop {
    folder: tempfile::TempDir,
    surroundings: Surroundings,
}

impl Workshop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, surroundings: Surroundings::offline().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn try_compile(
        &self,
        text: &str,
        previous: Option<&Snapshot>,
    ) -> Result<Compiled, Diagnostics> {
        let environment = Environment::new([("HIDDEN", "hunter2")]);
        let loaded = config::parse("gateway.toml", text, &environment, self.path())?;
        compile(&loaded, previous, &self.surroundings)
    }

    fn compile(&self, text: &str, previous: Option<&Compiled>) -> Compiled {
        let previous = previous.map(|compiled| &*compiled.snapshot);
        self.try_compile(text, previous).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// What is wrong with it, without its warnings.
    fn errors(&self, text: &str) -> Vec<String> {
        let errors = self.try_compile(text, None).map(|_| ()).unwrap_err();
        messages(&errors)
    }

    fn warnings(&self, text: &str) -> Vec<String> {
        messages(&self.compile(text, None).warnings)
    }
}

fn messages(diagnostics: &Diagnostics) -> Vec<String> {
    diagnostics.list().iter().map(|one| one.message.clone()).collect()
}
