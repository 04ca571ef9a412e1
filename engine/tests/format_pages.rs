//! The examples on the pages under `docs/format` against what a database has on disk, read by RocksDB's
//! own reader. The pages are the golden files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "test code"
)]

#[path = "script/rocks.rs"]
mod rocks;

mod pages;
