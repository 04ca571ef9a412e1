//! The requests that a backup and a restore make of the store, in order, pinned by files.
//!
//! `ICECORE_BLESS=1` writes them. A change there is a change of the protocol: it must keep the order
//! that `docs/format/collection.md` gives the reasons for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use icecore_archive::{BackupSelector, Collection, CollectionUri, OperationLog, StoreOptions};
use icecore_backup::{BackupOptions, CompactOptions, ExpireOptions, backup, compact, expire};
use icecore_engine::{Durability, Engine};
use icecore_mvcc::{KeyspaceSettings, ManualClock, Timestamp};
use icecore_restore::{Depth, RestoreOptions, VerifyOptions, restore, verify};
use icecore_testkit::scratch;

/// 2022-02-09T15:53:40.13Z.
const BEGIN: Timestamp = Timestamp::from_nanos(1_644_422_020_130_000_000);

/// Compares with `tests/golden/<name>.txt`.
fn check(name: &str, script: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{name}.txt"));
    icecore_golden::file::check(&path, script);
}

/// One thread, so that the order is the same each time.
fn serial() -> BackupOptions {
    BackupOptions {
        threads: 1,
        ..BackupOptions::default()
    }
}

struct Stage {
    _folder: tempfile::TempDir,
    clock: ManualClock,
    engine: Engine,
    uri: CollectionUri,
    log: OperationLog,
    options: StoreOptions,
}

fn stage(name: &str) -> Stage {
    let folder = scratch::folder().unwrap();
    let clock = ManualClock::new(BEGIN);
    let engine = Engine::open(
        folder.path().join("db"),
        &scratch::small_engine(Arc::new(clock.clone())),
    )
    .unwrap();
    let log = OperationLog::new();
    let options = StoreOptions {
        clock: Arc::new(clock.clone()),
        log: Some(log.clone()),
        ..StoreOptions::default()
    };
    let uri = format!("memory://golden-{name}").parse().unwrap();
    Stage {
        _folder: folder,
        clock,
        engine,
        uri,
        log,
        options,
    }
}

impl Stage {
    /// Two keyspaces, a few rows each.
    fn fill(&self) {
        for name in ["bank.accounts", "bank.audit"] {
            let keyspace = self
                .engine
                .create_keyspace(name, KeyspaceSettings::default())
                .unwrap();
            for row in 0..5_u8 {
                keyspace
                    .put(vec![row], vec![row; 10], Durability::Sync)
                    .unwrap();
            }
        }
    }

    /// A change in one keyspace, the next day.
    fn change(&self) {
        self.clock.advance(Duration::from_secs(24 * 3600));
        let keyspace = self.engine.keyspace("bank.accounts").unwrap();
        keyspace.delete(vec![1], Durability::Sync).unwrap();
        keyspace.put(vec![2], b"new", Durability::Sync).unwrap();
    }
}

#[test]
fn operations_of_a_full_an_incremental_and_a_restore() {
    let stage = stage("operations");
    stage.fill();
    let runtime = scratch::runtime().unwrap();
    runtime.block_on(async {
        let collection = Collection::create_or_open(&stage.uri, stage.options.clone())
            .await
            .unwrap();
        check("open", &stage.log.script());
        backup(&stage.engine, &collection, &serial()).await.unwrap();
        check("full", &stage.log.script());
        stage.change();
        let onto = BackupOptions {
            onto: Some(BackupSelector::Latest),
            revision_history: true,
            ..serial()
        };
        backup(&stage.engine, &collection, &onto).await.unwrap();
        check("incremental", &stage.log.script());
        stage.clock.advance(Duration::from_secs(24 * 3600));
        backup(&stage.engine, &collection, &onto).await.unwrap();
        check("incremental_of_nothing", &stage.log.script());

        let folder = scratch::folder().unwrap();
        let clock = Arc::new(stage.clock.clone());
        let engine = Engine::open(folder.path().join("db"), &scratch::small_engine(clock)).unwrap();
        let collection = Collection::open(&stage.uri, stage.options.clone())
            .await
            .unwrap();
        let options = RestoreOptions {
            threads: 1,
            ..RestoreOptions::default()
        };
        restore(&engine, &collection, &options).await.unwrap();
        check("restore", &stage.log.script());
        for (depth, name) in [
            (Depth::Presence, "verify_presence"),
            (Depth::Checksum, "verify_checksum"),
        ] {
            let options = VerifyOptions {
                depth,
                threads: 1,
                ..VerifyOptions::default()
            };
            assert!(verify(&collection, &options).await.unwrap().is_ok());
            check(name, &stage.log.script());
        }
    });
}

/// Marks of retired layers are listed by their hashes, which differ from run to run: here by their layers.
fn marks_sorted(script: &str) -> String {
    let layer = |line: &str| line.rsplit_once('-').map(|(_, layer)| layer.to_owned());
    let mut lines: Vec<String> = script.lines().map(str::to_owned).collect();
    let is_mark = |line: &String| line.contains("/retired-<");
    let first = lines.iter().position(is_mark).unwrap();
    let marks = lines[first..].iter().take_while(|line| is_mark(line));
    let end = first + marks.count();
    lines[first..end].sort_by_key(|line| layer(line));
    for line in &mut lines[first..end] {
        let (before, rest) = line.split_once('<').unwrap();
        let after = rest.split_once('>').unwrap().1;
        *line = format!("{before}<hash>{after}");
    }
    lines.join("\n") + "\n"
}

#[test]
fn operations_of_a_compaction_and_of_retention() {
    let stage = stage("retention");
    stage.fill();
    let runtime = scratch::runtime().unwrap();
    runtime.block_on(async {
        let collection = Collection::create_or_open(&stage.uri, stage.options.clone())
            .await
            .unwrap();
        let onto = BackupOptions {
            onto: Some(BackupSelector::Latest),
            revision_history: true,
            ..serial()
        };
        for options in [&serial(), &onto, &onto, &serial(), &onto] {
            stage.change();
            backup(&stage.engine, &collection, options).await.unwrap();
        }
        drop(stage.log.take());
        let compact_first = CompactOptions {
            backup: BackupSelector::Full(collection.fulls().await.unwrap()[1].path.clone()),
            threads: 1,
            ..CompactOptions::default()
        };
        drop(stage.log.take());
        compact(&collection, &compact_first).await.unwrap();
        check("compact", &stage.log.script());
        // Two layers retire.
        let mut options = ExpireOptions {
            grace: Duration::ZERO,
            ..ExpireOptions::default()
        };
        expire(&collection, &options).await.unwrap();
        check("expire_layers", &stage.log.script());
        // And a chain of two goes.
        options.policy.keep_fulls = Some(1);
        expire(&collection, &options).await.unwrap();
        check("expire_chain", &marks_sorted(&stage.log.script()));
    });
}

#[test]
fn operations_of_what_is_refused_write_nothing() {
    let stage = stage("refused");
    stage.fill();
    let runtime = scratch::runtime().unwrap();
    runtime.block_on(async {
        let collection = Collection::create_or_open(&stage.uri, stage.options.clone())
            .await
            .unwrap();
        drop(stage.log.take());
        let onto = BackupOptions {
            onto: Some(BackupSelector::Latest),
            ..serial()
        };
        backup(&stage.engine, &collection, &onto).await.unwrap_err();
        let nothing = BackupOptions {
            keyspaces: vec!["nothing.*".parse().unwrap()],
            ..serial()
        };
        backup(&stage.engine, &collection, &nothing)
            .await
            .unwrap_err();
        backup(&stage.engine, &collection, &serial()).await.unwrap();
        drop(stage.log.take());
        // The chain ends there already.
        let again = BackupOptions {
            as_of: Some(BEGIN),
            ..onto
        };
        backup(&stage.engine, &collection, &again)
            .await
            .unwrap_err();
        check("refused", &stage.log.script());
    });
}
