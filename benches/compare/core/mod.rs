//! What needs no program to run: figures, ratios, what the load programs print, the results page,
//! its picture. `tests/compare/` compiles this folder too, and tests it.

pub(crate) mod figure;
pub(crate) mod outputs;
pub(crate) mod page;
pub(crate) mod picture;
pub(crate) mod spread;
pub(crate) mod template;
