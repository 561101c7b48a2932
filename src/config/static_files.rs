//! What belongs to folders and their files beside the route's own keys.

words! {
    /// A way to encode content.
    pub enum Coding {
        /// Brotli; `app.js.br` beside `app.js`.
        Brotli = "br",
        /// Zstandard; `app.js.zst` beside `app.js`.
        Zstd = "zstd",
        /// gzip; `app.js.gz` beside `app.js`.
        Gzip = "gzip",
    }
}
