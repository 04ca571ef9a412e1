//! Golden files: what the tests of every crate expect, kept beside them as text.
//!
//! `ICECORE_BLESS=1` writes what the code gives now instead of comparing; read the difference before you
//! keep it, since each file is a claim about behaviour. Where `CI` is set, that is refused.
//!
//! | module | what |
//! |---|---|
//! | [`mod@file`] | a file compared with a text |
//! | [`script`] | commands with what they print below them |
//! | [`page`] | the examples on the pages under `docs/format` |
//! | [`errors`] | a table of the error texts of a crate, one of each variant |
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

pub mod errors;
pub mod file;
pub mod page;
pub mod script;
