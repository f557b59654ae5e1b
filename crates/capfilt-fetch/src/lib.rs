//! Bytes for a reference: HTTP, files and data URLs, within limits.
