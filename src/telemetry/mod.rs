//! What Portcullis tells about itself: metrics, the access log, and its own log.
//!
//! Everything here takes closed labels ([`labels`]) or names from the configuration, never a
//! client's bytes as a label value: one client must not be able to grow a time series.

pub mod access_log;
pub mod labels;
pub mod metrics;
pub mod record;
