//! What the programs in `examples/` share: fingerprints of databases, and plain-text tables.

#![forbid(unsafe_code)]

pub mod fingerprint;
pub mod table;
pub mod text;
