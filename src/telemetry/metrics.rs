//! (skeleton)
/// (skeleton)
#[derive(Debug, Default)]
pub struct Metrics;
