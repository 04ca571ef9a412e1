//! An engine whose full backup takes several files of the smallest size, and what is asked of its collection.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore_archive::{Collection, OperationLog, StoreOptions};
use icecore_backup::{BackupOptions, BackupReport, Mode, backup};
use icecore_engine::{Batch, Durability, Engine, Options, ScanDirection, Snapshot};
use icecore_mvcc::{KeyRange, KeyspaceSettings, SystemClock, Timestamp};
use icecore_testkit::scratch;
use tempfile::TempDir;

/// Rows of each keyspace; with their values some 4 MiB.
const ROWS: u32 = 4000;

pub struct ManyFiles {
    pub engine: Engine,
    pub collection: Collection,
    pub log: OperationLog,
    folder: TempDir,
}

pub fn clock_options() -> Options {
    Options {
        write_buffer_bytes: 1 << 20,
        total_write_buffer_bytes: 8 << 20,
        ..scratch::small_engine(Arc::new(SystemClock))
    }
}

/// Backups of files of the smallest size.
pub fn small_files() -> BackupOptions {
    BackupOptions {
        target_file_bytes: 1 << 20,
        ..BackupOptions::default()
    }
}

impl ManyFiles {
    /// Two keyspaces, and an empty collection of that name in memory.
    pub async fn new(name: &str) -> Self {
        let folder = scratch::folder().unwrap();
        let engine = Engine::open(folder.path().join("db"), &clock_options()).unwrap();
        for keyspace in ["bank.accounts", "bank.audit"] {
            engine
                .create_keyspace(keyspace, KeyspaceSettings::default())
                .unwrap();
        }
        fill(&engine, 0, ROWS);
        let log = OperationLog::new();
        let options = StoreOptions {
            log: Some(log.clone()),
            ..StoreOptions::default()
        };
        let uri = format!("memory://many-files-{name}").parse().unwrap();
        let collection = Collection::create_or_open(&uri, options).await.unwrap();
        Self {
            engine,
            collection,
            log,
            folder,
        }
    }

    /// A full backup; forgets the requests that it made.
    pub async fn back_up(&self) -> BackupReport {
        self.back_up_with(&small_files()).await
    }

    /// Likewise, of copied live files.
    pub async fn back_up_fast(&self) -> BackupReport {
        let fast = BackupOptions {
            mode: Mode::Fast,
            revision_history: true,
            ..BackupOptions::default()
        };
        self.back_up_with(&fast).await
    }

    pub async fn back_up_with(&self, options: &BackupOptions) -> BackupReport {
        let report = backup(&self.engine, &self.collection, options)
            .await
            .unwrap();
        drop(self.log.take());
        report
    }

    /// How often each object below `part` was asked for with a verb that begins so.
    pub fn requests_of(&self, part: &str, verb: &str) -> BTreeMap<String, usize> {
        let mut requests = BTreeMap::new();
        for operation in self.log.operations() {
            if operation.path.contains(part) && operation.verb.to_string().starts_with(verb) {
                *requests.entry(operation.path).or_default() += 1;
            }
        }
        requests
    }
}

/// Writes rows of both keyspaces, with values that do not compress.
pub fn fill(engine: &Engine, from: u32, to: u32) {
    let mut state = u64::from(from) * 7919 + 1;
    for keyspace in engine.keyspaces() {
        for start in (from..to).step_by(100) {
            let mut batch = Batch::new();
            for row in start..(start + 100).min(to) {
                let value: Vec<u8> = (0..128)
                    .flat_map(|_| {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        state.to_le_bytes()
                    })
                    .collect();
                batch.put(&keyspace, format!("{row:08}"), value);
            }
            engine.commit(batch, Durability::Buffered).unwrap();
        }
    }
}

/// Rows by keyspace.
pub type Rows = BTreeMap<String, Vec<(Vec<u8>, Vec<u8>)>>;

/// All rows of all keyspaces.
pub fn rows_of(engine: &Engine) -> Rows {
    rows_in(engine, &engine.snapshot())
}

/// All rows of all keyspaces as of a time.
pub fn rows_at(engine: &Engine, at: Timestamp) -> Rows {
    rows_in(engine, &engine.snapshot_at(at).unwrap())
}

fn rows_in(engine: &Engine, at: &Snapshot) -> Rows {
    let mut all = BTreeMap::new();
    for keyspace in engine.keyspaces() {
        let scan = keyspace
            .scan(at, &KeyRange::all(), ScanDirection::Forward)
            .unwrap();
        let rows = scan.map(|entry| entry.map(|e| (e.key, e.value)).unwrap());
        all.insert(keyspace.name().to_owned(), rows.collect());
    }
    all
}
