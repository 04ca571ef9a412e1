//! Every error text, pinned by `tests/golden/errors.txt`.

use std::path::Path;

use icecore_archive::CollectionId;
use icecore_golden::{error_names, errors};
use icecore_mvcc::{EngineId, Timestamp};

use super::Error;
use crate::jobs::{JobEvent, JobId, JobState};

error_names!(Error:
    Engine, Archive, Protection, OtherEngine, OtherCollection, NotAfterChain, OtherScope, NothingMatches,
    RestoredLater, GcGap, MergeMismatch, WouldLeaveLess, NotFast, NoSuchJob, JobIdSyntax, JobState, UnknownKind,
    JobRefused, UnreadableJob, NoSuchSchedule, ScheduleExists, ScheduleRefused, UnreadableSchedule, CronSyntax, Thread, RunnerPanicked, InvalidOption,
);

/// 2022-02-09T15:53:40.13Z, and so many seconds.
fn time(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(1_644_422_020_130_000_000 + seconds * 1_000_000_000)
}

/// One of each kind.
fn all() -> Vec<Error> {
    let job = || {
        let id: Result<JobId, Error> = "7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90".parse();
        id.unwrap()
    };
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
        Error::OtherCollection {
            location: "file:///mnt/backups".to_owned(),
            found: CollectionId::from_bytes([0x33; 16]),
            begun: CollectionId::from_bytes([0x44; 16]),
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
            released: None,
        },
        Error::GcGap {
            keyspace: "bank.accounts".to_owned(),
            start: time(0),
            threshold: time(10),
            released: Some(
                "the chain's protection was released at 2022-02-09T15:53:45.130000000Z, since it reaches 31d back, and may reach 30d back"
                    .to_owned(),
            ),
        },
        Error::MergeMismatch {
            keyspace: "bank.accounts".to_owned(),
            expected: 1000,
            found: 999,
        },
        Error::WouldLeaveLess {
            reason: "1 of 2 backups of the whole engine would stay".to_owned(),
        },
        Error::NotFast {
            reason: "live files are as of now, and a time was asked for",
        },
        Error::NoSuchJob { id: job() },
        Error::JobIdSyntax {
            text: "nightly".to_owned(),
        },
        Error::JobState {
            id: job(),
            state: JobState::Succeeded,
            wanted: JobEvent::Pause.as_verb(),
        },
        Error::UnknownKind {
            kind: "dance".to_owned(),
            known: "backup, restore".to_owned(),
        },
        Error::JobRefused {
            reason: "it is no backup that this version knows: missing field `into`".to_owned(),
        },
        Error::UnreadableJob {
            id: job().to_string(),
            reason: "missing field `kind`".to_owned(),
        },
        Error::NoSuchSchedule {
            label: "nightly".to_owned(),
        },
        Error::ScheduleExists {
            label: "nightly".to_owned(),
        },
        Error::ScheduleRefused {
            reason: "--compact-after is below 2: one incremental alone cannot be merged".to_owned(),
        },
        Error::UnreadableSchedule {
            label: "nightly".to_owned(),
            reason: "missing field `spec`".to_owned(),
        },
        Error::CronSyntax {
            text: "0 0 30 2 *".to_owned(),
            reason: "it never comes".to_owned(),
        },
        Error::Thread {
            source: std::io::Error::from_raw_os_error(11),
        },
        Error::RunnerPanicked {
            message: "out of luck".to_owned(),
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
