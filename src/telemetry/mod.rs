//! What Portcullis tells about itself: metrics, the access log, and its own log.
//!
//! Everything here takes closed labels ([`labels`]) or names from the configuration, never a
//! client's bytes as a label value: one client must not be able to grow a time series.
//!
//! One exchange is one [`record::Record`]: [`metrics::Metrics::observe`] counts it,
//! [`access_log::AccessLog::write`] writes it down. Both work on memory of their own thread.

pub mod access_log;
mod counts;
mod families;
pub mod ids;
pub mod labels;
mod line;
pub mod metrics;
mod per_thread;
pub mod record;
mod text;
pub mod tracing;
