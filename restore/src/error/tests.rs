//! Every error text, pinned by `tests/golden/errors.txt`.

use std::path::Path;

use icecore_archive::ContentHash;
use icecore_golden::{error_names, errors};
use icecore_mvcc::{Fingerprint, Timestamp};

use super::Error;

error_names!(Error:
    Engine, Archive, NotEmpty, NothingMatches, BeforeKeyspaces, NothingToRename, SameName,
    NoHistory, Unfounded, UnexpectedHead, NoSpace, Held, OtherState, Interrupted, InvalidOption,
);

/// 2022-02-09T15:53:40.13Z, and so many seconds.
fn time(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(1_644_422_020_130_000_000 + seconds * 1_000_000_000)
}

/// One of each kind.
fn all() -> Vec<Error> {
    let text = str::to_owned;
    vec![
        Error::Engine(icecore_engine::Error::KeyspaceExists {
            name: text("bank.accounts"),
        }),
        Error::Archive(icecore_archive::Error::EmptyChain),
        Error::NotEmpty {
            engine: text("/srv/db"),
        },
        Error::NothingMatches {
            pattern: text("zoo.*"),
            target: time(0),
            available: text("bank.accounts, bank.audit"),
        },
        Error::BeforeKeyspaces {
            full: text("2022/02/09-155340.13"),
            target: time(0),
            keyspace: text("bank.accounts"),
            since: time(10),
            until: time(20),
        },
        Error::NothingToRename {
            name: text("zoo.animals"),
            available: text("bank.accounts, bank.audit"),
        },
        Error::SameName {
            first: text("bank.accounts"),
            second: text("nyc.accounts"),
            name: text("old.accounts"),
        },
        Error::NoHistory {
            keyspace: text("bank.accounts"),
            target: time(0),
            layer: text("2022/02/09-155340.13"),
            from: time(10),
        },
        Error::Unfounded {
            keyspace: text("bank.accounts"),
            layer: text("2022/02/09-155340.13/20220210/155530.50"),
        },
        Error::UnexpectedHead {
            chain: text("2022/02/09-155340.13"),
            found: ContentHash::of(b"a"),
            expected: ContentHash::of(b"b"),
        },
        Error::NoSpace {
            folder: "/srv/db/staging".into(),
            needed: 5_000_000,
            available: 4_194_304,
        },
        Error::Held {
            keyspace: text("bank.accounts"),
            owner: text("job 7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90"),
        },
        Error::OtherState {
            keyspace: text("bank.accounts"),
            target: time(0),
            found: Fingerprint::EMPTY,
            expected: format!("{}:7", "0f".repeat(16)).parse().unwrap(),
        },
        Error::Interrupted,
        Error::InvalidOption {
            name: "threads",
            reason: text("0 is not within 1 to 64"),
        },
    ]
}

#[test]
fn every_text() {
    let rows: Vec<_> = all().iter().map(|e| (name(e), e.to_string())).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/errors.txt");
    errors::check(&file, NAMES, &rows);
}
