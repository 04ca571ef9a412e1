//! What most tests need: a database in memory-backed storage, a clock that stands still, and rows
//! that are easy to write down.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use icecore_engine::{
    ChangeOptions, ChangePlan, ChangeSet, Changes, Compression, Durability, Engine, Keyspace,
    Options, ScanDirection, Window,
};
use icecore_mvcc::{KeyRange, KeyspaceSettings, ManualClock, Timestamp};
use tempfile::TempDir;

/// Where the tests' clocks begin.
pub const START: u64 = 1_000_000_000_000;

/// One version as tests write it: key, timestamp, value.
pub type Row = (Vec<u8>, u64, Option<Vec<u8>>);

/// A folder that goes when dropped; in memory where the system has such a place, since these
/// tests are about order and visibility, not about disks.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir()
        && let Ok(dir) = tempfile::tempdir_in(memory)
    {
        return dir;
    }
    tempfile::tempdir().unwrap()
}

/// A timestamp from nanoseconds.
pub fn ts(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// Settings that make a small database do what a large one does.
pub fn small() -> Options {
    Options {
        block_cache_bytes: 4 << 20,
        write_buffer_bytes: 1 << 20,
        total_write_buffer_bytes: 32 << 20,
        background_threads: 1,
        block_bytes: 1024,
        target_file_bytes: 64 << 10,
        ..Options::default()
    }
}

/// An engine on a manual clock, in a folder of its own.
pub struct Fixture {
    pub clock: ManualClock,
    pub options: Options,
    engine: Option<Engine>,
    temp: TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(small())
    }

    pub fn with(options: Options) -> Self {
        let clock = ManualClock::new(ts(START));
        let options = Options {
            clock: Arc::new(clock.clone()),
            ..options
        };
        let temp = scratch();
        let engine = Engine::open(temp.path().join("db"), &options).unwrap();
        Self {
            clock,
            options,
            engine: Some(engine),
            temp,
        }
    }

    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    pub fn dir(&self) -> PathBuf {
        self.temp.path().join("db")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub fn keyspace(&self, name: &str) -> Keyspace {
        match self.engine().keyspace(name) {
            Ok(keyspace) => keyspace,
            Err(_) => self
                .engine()
                .create_keyspace(name, KeyspaceSettings::default())
                .unwrap(),
        }
    }

    /// Closes and opens again. The caller has dropped all its handles.
    pub fn reopen(&mut self) {
        self.engine.take().unwrap().close().unwrap();
        self.open();
    }

    /// Drops the engine without closing it, and opens again.
    pub fn drop_and_open(&mut self) {
        drop(self.engine.take());
        self.open();
    }

    pub fn close(&mut self) {
        self.engine.take().unwrap().close().unwrap();
    }

    pub fn open(&mut self) {
        self.engine = Some(Engine::open(self.dir(), &self.options).unwrap());
    }

    pub fn tick(&self) -> Timestamp {
        self.clock.advance(Duration::from_secs(1))
    }
}

/// A buffered put.
pub fn put(keyspace: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Timestamp {
    keyspace.put(key, value, Durability::Buffered).unwrap()
}

/// A buffered delete.
pub fn delete(keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Timestamp {
    keyspace.delete(key, Durability::Buffered).unwrap()
}

/// Keys and values of a range as of now.
pub fn scan(
    keyspace: &Keyspace,
    range: &KeyRange,
    direction: ScanDirection,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    scan_at(keyspace, keyspace.engine().visible(), range, direction)
}

/// Keys and values of a range as of a time.
pub fn scan_at(
    keyspace: &Keyspace,
    at: Timestamp,
    range: &KeyRange,
    direction: ScanDirection,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let snapshot = keyspace.engine().snapshot_at(at).unwrap();
    let scan = keyspace.scan(&snapshot, range, direction).unwrap();
    scan.map(|entry| entry.map(|e| (e.key, e.value)).unwrap())
        .collect()
}

/// A window's rows.
pub fn window(
    keyspace: &Keyspace,
    after: Timestamp,
    until: Timestamp,
    set: ChangeSet,
    plan: ChangePlan,
) -> Vec<Row> {
    let options = ChangeOptions {
        plan,
        ..ChangeOptions::default()
    };
    collect(
        keyspace
            .changes(&KeyRange::all(), Window { after, until }, set, &options)
            .unwrap(),
    )
}

/// All rows of a time-bounded read.
pub fn collect(changes: Changes) -> Vec<Row> {
    changes
        .map(|row| row.map(|r| (r.key, r.ts.nanos(), r.value)).unwrap())
        .collect()
}

/// Writes an SST file to be ingested.
pub fn sst(engine: &Engine, path: &Path, rows: &[(&[u8], u64, Option<&[u8]>)]) -> PathBuf {
    let mut writer = engine.sst_writer(path, Compression::Lz4).unwrap();
    for (key, at, value) in rows {
        writer.add(key, ts(*at), *value).unwrap();
    }
    writer.finish().unwrap();
    path.to_owned()
}
