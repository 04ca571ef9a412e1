//! One module for each page, and what they share.

mod catalog;
mod commit_index;
mod engine_records;
mod folder;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use icecore_engine::{Engine, Keyspace, Options, SYSTEM_KEYSPACE, SweepBudget};
use icecore_mvcc::{ManualClock, Timestamp};

pub const START: u64 = 1_000_000_000_000;

/// A database whose wall clock stands still.
pub struct Database {
    pub options: Options,
    temp: tempfile::TempDir,
}

impl Database {
    pub fn new(nanos: u64) -> Self {
        let options = Options {
            clock: Arc::new(ManualClock::new(Timestamp::from_nanos(nanos))),
            block_cache_bytes: 1 << 20,
            ..Options::default()
        };
        let temp = tempfile::tempdir().unwrap();
        Self { options, temp }
    }

    pub fn folder(&self) -> PathBuf {
        self.temp.path().join("db")
    }

    pub fn open(&self) -> Engine {
        Engine::open(self.folder(), &self.options).unwrap()
    }

    /// Puts a record in place of the engine, which is closed.
    pub fn overwrite(&self, family: &str, key: &[u8], value: &[u8]) {
        let options = rocksdb::Options::default();
        let data = self.folder().join("data");
        let names = crate::rocks::families(&self.folder());
        let db = rocksdb::DB::open_cf(&options, data, names).unwrap();
        db.put_cf(&db.cf_handle(family).unwrap(), key, value)
            .unwrap();
    }
}

/// Raises a keyspace's threshold as far as it goes, and sweeps it.
pub fn collect(engine: &Engine, keyspace: &Keyspace) {
    let guard = engine.gc_guard();
    guard.raise(keyspace.id(), Timestamp::MAX).unwrap();
    drop(guard);
    engine.sweep(keyspace, SweepBudget::default()).unwrap();
}

pub fn system(engine: &Engine) -> Keyspace {
    engine.keyspace_by_id(SYSTEM_KEYSPACE).unwrap()
}

/// Reads a page under `docs/format`.
pub fn page(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format");
    std::fs::read_to_string(docs.join(name)).unwrap()
}
