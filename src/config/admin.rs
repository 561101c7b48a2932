//! `[cache]`, `[admin]` and `[log]`: what is kept, shown and written down.

use std::time::Duration;

use super::{Address, Size, Spanned};

table! {
    /// What is kept in memory.
    pub struct Cache {
        /// Verified tokens kept, never past their `exp`.
        tokens: u64, default(100000), limits(0, 100000000);
        /// Memory for them, about: with long claims fewer tokens fit.
        token_bytes: Size, default("128MiB"), limits("0B", "1TiB");
        /// How long a verified token is kept at most.
        max_age: Duration, default("5m"), limits("0s", "1h");
        /// Memory for small static files (up to 256 KiB each). A change of a file is seen after a
        /// second at most.
        files: Size, default("64MiB"), limits("0B", "1TiB");
    }
}

table! {
    /// The address of metrics, health and state. To peers beyond loopback only `/metrics`,
    /// `/livez`, `/readyz` and `/healthz` answer.
    pub struct Admin {
        /// `host:port`, `:port` or `unix:/path/of.sock`. A change needs a restart.
        address: Spanned<Address>, default("127.0.0.1:9180");
    }
}

table! {
    /// What is logged, and how.
    pub struct Log {
        /// The least severe of Portcullis's own messages to be written.
        level: Level, default("info");
        /// `auto`: text on a terminal, JSON elsewhere.
        format: LogFormat, default("auto");
        /// The access log, one line per exchange. Tokens and cookies are never written.
        access: AccessFormat, default("json");
    }
}

words! {
    /// How severe a message must be to be written.
    pub enum Level {
        /// Only what needs somebody's attention.
        Error = "error",
        /// And what may soon.
        Warn = "warn",
        /// And what happened.
        Info = "info",
        /// And why.
        Debug = "debug",
        /// And everything else.
        Trace = "trace",
    }
}

words! {
    /// How messages are written.
    pub enum LogFormat {
        /// Text on a terminal, JSON elsewhere.
        Auto = "auto",
        /// Lines for people.
        Text = "text",
        /// Lines for machines.
        Json = "json",
    }
}

words! {
    /// How exchanges are written.
    pub enum AccessFormat {
        /// One JSON object a line.
        Json = "json",
        /// The combined log format of Apache and nginx.
        Combined = "combined",
        /// Not at all.
        Off = "off",
    }
}
