//! What the side-by-side benchmark makes of figures: the part of it that needs no program to run.

#[path = "../../benches/compare/core/mod.rs"]
#[allow(dead_code, reason = "the benchmark uses what its tests do not")]
mod core;
mod figure;
mod outputs;
mod page;
mod picture;
mod spread;
mod template;
