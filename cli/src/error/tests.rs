//! Every error text, pinned by `tests/golden/errors.txt`, and what becomes of it.

use std::path::Path;

use icecore_golden::{error_names, errors};

use super::*;

error_names!(Error:
    NoDatabase, BackupIsReadOnly, NotOfABackup, Usage, NoSuchKey, UnknownFormat, Input, Row, Stopped,
    Unserved, HeldByServer, Server, JobEnded, SchedulesFailed, Unsound, Invalid, Engine, Gc, Archive, Backup, Restore, Io,
    Output,
);

/// One of each kind.
fn all() -> Vec<Error> {
    let text = str::to_owned;
    let job: Result<JobId, icecore_backup::Error> = "7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90".parse();
    let row = || Error::Row {
        file: text("rows.csv"),
        line: 3,
        reason: text("it has 1 fields where the header has 2; mend that line"),
    };
    vec![
        Error::NoDatabase,
        Error::BackupIsReadOnly,
        Error::NotOfABackup,
        Error::Usage(text("no key column is named; give --key COLUMN,…")),
        Error::NoSuchKey {
            keyspace: text("bank.accounts"),
            key: text("alice"),
            as_of: text(" as of 2022-02-09T15:53:40.130000000Z"),
        },
        Error::UnknownFormat {
            path: "rows.txt".into(),
        },
        Error::Input {
            file: text("rows.csv"),
            reason: text("it has no column \"id\"; its columns are name, city"),
        },
        row(),
        Error::Stopped {
            rows: 1,
            cause: Box::new(row()),
        },
        Error::Unserved {
            path: "/srv/db".into(),
        },
        Error::HeldByServer {
            path: "/srv/db".into(),
        },
        Error::Server(text(
            "the job is refused: it is no backup that this version knows",
        )),
        Error::JobEnded {
            id: job.unwrap(),
            state: JobState::Failed,
            error: text(": bucket gone"),
        },
        Error::SchedulesFailed { failed: 1, runs: 3 },
        Error::Unsound(text(
            "1 of 7 checks failed; restore the database from a backup, and keep this one for examination",
        )),
        Error::Invalid(icecore_mvcc::parse_duration("90").unwrap_err()),
        Error::Engine(icecore_engine::Error::ReadOnly { action: "commit" }),
        Error::Gc(icecore_gc::Error::NoSuchKeyspace {
            name: text("bank.accounts"),
        }),
        Error::Archive(icecore_archive::Error::EmptyChain),
        Error::Backup(icecore_backup::Error::InvalidOption {
            name: "threads",
            reason: text("0 is not within 1 to 64"),
        }),
        Error::Restore(icecore_restore::Error::NotEmpty {
            engine: text("/srv/db"),
        }),
        Error::io("open", "rows.csv")(io::Error::from_raw_os_error(2)),
        Error::Output(io::Error::from_raw_os_error(28)),
    ]
}

#[test]
fn every_text() {
    let rows: Vec<_> = all().iter().map(|e| (name(e), e.to_string())).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/errors.txt");
    errors::check(&file, NAMES, &rows);
}

#[test]
fn only_a_wrong_command_line_ends_with_2() {
    let usage: Vec<_> = all()
        .iter()
        .filter(|e| e.exit_code() == 2)
        .map(name)
        .collect();
    assert_eq!(
        usage,
        [
            "NoDatabase",
            "BackupIsReadOnly",
            "NotOfABackup",
            "Usage",
            "UnknownFormat",
            "Invalid"
        ]
    );
}

#[test]
fn a_text_of_several_lines_is_printed_on_one() {
    let error = Error::Unsound("first\n  second\n\nthird\n".to_owned());
    assert_eq!(error.line(), "first; second; third");
}

#[test]
fn only_a_closed_pipe_is_no_failure() {
    assert!(Error::Output(io::ErrorKind::BrokenPipe.into()).is_broken_pipe());
    assert!(!Error::Output(io::ErrorKind::StorageFull.into()).is_broken_pipe());
}
