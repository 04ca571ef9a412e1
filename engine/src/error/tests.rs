//! Every error text, pinned by `tests/golden/errors.txt`.

use std::path::Path;

use icecore_golden::{error_names, errors};
use icecore_mvcc::Timestamp;

use super::Error;

error_names!(Error:
    Locked, NotADatabase, Missing, NewerFormat, Corruption, InvalidOption, Invalid, NoSuchKeyspace,
    NotEmpty, KeyspaceExists, KeyspaceDropped, BelowThreshold, FeedGap, ResumeToken, InFuture, WritesRefused, Conflict, ReadOnly, TransactionTooOld,
    ForeignHandle, ClockExhausted, OutOfOrder, Poisoned, Restore, Io, Rocks,
);

/// 2022-02-09T15:53:40.13Z, and so many seconds.
fn time(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(1_644_422_020_130_000_000 + seconds * 1_000_000_000)
}

/// At least one of each kind.
fn all() -> Vec<Error> {
    let mut all = of_opening();
    all.extend(of_keyspaces());
    all.extend(of_commits());
    all.extend(of_failures());
    all
}

fn of_opening() -> Vec<Error> {
    let path = || "/srv/db".into();
    vec![
        Error::Locked { path: path() },
        Error::NotADatabase {
            path: path(),
            reason: "it holds files but no ICECORE identity file".to_owned(),
        },
        Error::Missing { path: path() },
        Error::NewerFormat {
            path: path(),
            found: 2,
            supported: 1,
        },
        Error::InvalidOption {
            name: "background_threads",
            reason: "0 is below the minimum of 1".to_owned(),
        },
        Error::ReadOnly { action: "commit" },
        Error::WritesRefused {
            record: "7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90".to_owned(),
            owner: "audit of march".to_owned(),
            reason: "it reaches 31d back, and may reach 30d back".to_owned(),
        },
    ]
}

fn of_keyspaces() -> Vec<Error> {
    let name = || "bank.accounts".to_owned();
    vec![
        Error::NoSuchKeyspace { name: name() },
        Error::NotEmpty {
            path: "/srv/db".into(),
        },
        Error::KeyspaceExists { name: name() },
        Error::KeyspaceDropped {
            name: name(),
            dropped: time(0),
        },
        Error::BelowThreshold {
            keyspace: name(),
            requested: time(0),
            threshold: time(10),
        },
        Error::FeedGap {
            position: time(0),
            what: format!("the history of keyspace {}", name()),
            floor: time(10),
        },
        "feed2-".parse::<crate::ResumeToken>().unwrap_err(),
        Error::InFuture {
            requested: time(10),
            now: time(0),
        },
        Error::Restore {
            restore: "job-2".to_owned(),
            name: name(),
            state: "not finished".to_owned(),
            way_out: "run that restore again to finish it, or abandon it",
        },
        Error::ForeignHandle {
            what: format!("keyspace {}", name()),
        },
    ]
}

fn of_commits() -> Vec<Error> {
    let conflict = |key: &[u8]| Error::Conflict {
        keyspace: "bank.accounts".to_owned(),
        key: Error::key_text(key),
        at: time(0),
    };
    vec![
        conflict(b"alice"),
        conflict(b""),
        conflict(&[0xff; 65]),
        Error::TransactionTooOld { start: time(0) },
        Error::ClockExhausted {
            requested: Timestamp::MAX,
        },
        Error::OutOfOrder {
            what: "bulk load",
            key: "alice".to_owned(),
        },
        icecore_mvcc::key::check_key(&[0; 65_537])
            .unwrap_err()
            .into(),
    ]
}

fn of_failures() -> Vec<Error> {
    let denied = || std::io::Error::from_raw_os_error(13);
    let refused = rocksdb::DB::list_cf(&rocksdb::Options::default(), "/nowhere").unwrap_err();
    vec![
        Error::corrupt("column family commits is missing"),
        Error::Poisoned {
            cause: "a write failed: IO error: No space left on device".to_owned(),
        },
        Error::io("start", "the housekeeper thread", denied()),
        Error::path("create", Path::new("/srv/db"))(denied()),
        Error::rocks("open the database")(refused),
    ]
}

#[test]
fn every_text() {
    let rows: Vec<_> = all().iter().map(|e| (name(e), e.to_string())).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/errors.txt");
    errors::check(&file, NAMES, &rows);
}

#[test]
fn only_what_lost_a_race_is_tried_again() {
    let retryable: Vec<_> = all()
        .iter()
        .filter(|e| e.is_retryable())
        .map(name)
        .collect();
    assert_eq!(
        retryable,
        ["Conflict", "Conflict", "Conflict", "TransactionTooOld"]
    );
}
