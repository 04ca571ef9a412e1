//! Every error text, pinned by `tests/golden/errors.txt`.

use std::path::Path;

use icecore_golden::{error_names, errors};
use icecore_mvcc::Timestamp;

use super::Error;
use crate::record::RecordId;

error_names!(Error:
    Verification, InFuture, Backwards, NoSuchRecord, NoSuchKeyspace, RecordIdSyntax, InvalidRequest,
    ConsumerKeyspaces,
    InvalidOption, UnreadableRecord, Thread, WorkerPanicked, Engine,
);

const ID: &str = "7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90";

/// 2022-02-09T15:53:40.13Z, and so many seconds.
fn time(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(1_644_422_020_130_000_000 + seconds * 1_000_000_000)
}

/// One of each kind.
fn all() -> Vec<Error> {
    let id = RecordId::parse(ID).unwrap();
    let name = || "bank.accounts".to_owned();
    vec![
        Error::Verification {
            timestamp: time(0),
            keyspace: name(),
            threshold: time(10),
        },
        Error::InFuture {
            timestamp: time(10),
            now: time(0),
        },
        Error::Backwards {
            id,
            from: time(10),
            to: time(0),
        },
        Error::NoSuchRecord { id },
        Error::NoSuchKeyspace { name: name() },
        RecordId::parse("7f3b\n").unwrap_err(),
        Error::InvalidRequest {
            field: "owner",
            reason: "is empty; say who needs the record".to_owned(),
        },
        Error::ConsumerKeyspaces {
            name: "search".to_owned(),
            has: "bank.*".to_owned(),
            asked: "all keyspaces".to_owned(),
        },
        Error::InvalidOption {
            name: "interval",
            reason: "9ms is below the minimum of 10ms".to_owned(),
        },
        Error::UnreadableRecord {
            id: ID.to_owned(),
            reason: "unknown variant `rows`".to_owned(),
        },
        Error::Thread {
            source: std::io::Error::from_raw_os_error(11),
        },
        Error::WorkerPanicked {
            message: "index out of bounds".to_owned(),
        },
        Error::Engine(icecore_engine::Error::ReadOnly {
            action: "collect garbage",
        }),
    ]
}

#[test]
fn every_text() {
    let rows: Vec<_> = all().iter().map(|e| (name(e), e.to_string())).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/errors.txt");
    errors::check(&file, NAMES, &rows);
}
