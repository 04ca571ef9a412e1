//! Every error text, pinned by `tests/golden/errors.txt`.

use std::path::Path;

use icecore_golden::{error_names, errors};
use icecore_mvcc::{EngineId, Timestamp};

use super::Error;

error_names!(Error:
    Engine, Archive, Protection, OtherEngine, NotAfterChain, OtherScope, NothingMatches,
    RestoredLater, GcGap, MergeMismatch, WouldLeaveLess, InvalidOption,
);

/// 2022-02-09T15:53:40.13Z, and so many seconds.
fn time(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(1_644_422_020_130_000_000 + seconds * 1_000_000_000)
}

/// One of each kind.
fn all() -> Vec<Error> {
    let chain = || "2022/02/09-155340.13".to_owned();
    vec![
        Error::Engine(icecore_engine::Error::ReadOnly { action: "back up" }),
        Error::Archive(icecore_archive::Error::EmptyChain),
        Error::Protection(icecore_gc::Error::NoSuchKeyspace {
            name: "bank.accounts".to_owned(),
        }),
        Error::OtherEngine {
            chain: chain(),
            theirs: EngineId::from_bytes([0x11; 16]),
            ours: EngineId::from_bytes([0x22; 16]),
        },
        Error::NotAfterChain {
            chain: chain(),
            chain_end: time(10),
            end: time(0),
        },
        Error::OtherScope {
            chain: chain(),
            theirs: "bank.*".to_owned(),
            ours: "bank.accounts".to_owned(),
        },
        Error::NothingMatches {
            pattern: "zoo.*".to_owned(),
            end: time(0),
        },
        Error::RestoredLater {
            keyspace: "bank.accounts".to_owned(),
            end: time(0),
            restored: time(10),
        },
        Error::GcGap {
            keyspace: "bank.accounts".to_owned(),
            start: time(0),
            threshold: time(10),
        },
        Error::MergeMismatch {
            keyspace: "bank.accounts".to_owned(),
            expected: 1000,
            found: 999,
        },
        Error::WouldLeaveLess {
            reason: "1 of 2 backups of the whole engine would stay".to_owned(),
        },
        Error::InvalidOption {
            name: "threads",
            reason: "0 is not within 1 to 64".to_owned(),
        },
    ]
}

#[test]
fn every_text() {
    let rows: Vec<_> = all().iter().map(|e| (name(e), e.to_string())).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/errors.txt");
    errors::check(&file, NAMES, &rows);
}
