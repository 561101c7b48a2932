//! `portcullis routes`: the route table as compiled.

use std::path::Path;

use super::{Failure, load, refused};
use crate::snapshot::{Surroundings, compile};

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let loaded = load(path)?;
    let compiled = compile(&loaded, None, &Surroundings::offline().map_err(Failure::Running)?)
        .map_err(|errors| refused(&errors))?;
    let rows = compiled.snapshot.route_rows();
    let mut cells = vec![["HOST", "PATH", "METHODS", "WHO", "WHERE"].map(str::to_owned)];
    cells.extend(rows.into_iter().map(|row| [row.hosts, row.path, row.methods, row.who, row.to]));
    let widths: Vec<usize> = (0..5)
        .map(|column| {
            cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    for row in &cells {
        let line: Vec<_> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}", line.join("  ").trim_end());
    }
    Ok(())
}
