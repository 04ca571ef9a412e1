//! An engine in a temporary folder, with a clock that the test owns.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use icecore_engine::{Durability, Engine, Keyspace, Options};
use icecore_gc::{GcOptions, ProtectRequest, ProtectedTimestamps, Record, Result, Target};
use icecore_mvcc::{Clock, KeyspaceSettings, ManualClock, NamePattern, Timestamp};

pub const HOUR: Duration = Duration::from_secs(3600);

pub struct Lab {
    pub engine: Engine,
    pub clock: ManualClock,
    dir: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::new("2022-02-09T12:00:00Z".parse().unwrap());
        let engine = open(dir.path().join("db"), Arc::new(clock.clone()));
        Self { engine, clock, dir }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("db")
    }

    /// Closes the database and opens it again.
    pub fn reopen(self) -> Self {
        let Self { engine, clock, dir } = self;
        engine.close().unwrap();
        let engine = open(dir.path().join("db"), Arc::new(clock.clone()));
        Self { engine, clock, dir }
    }

    pub fn keyspace(&self, name: &str, ttl: Duration) -> Keyspace {
        let settings = KeyspaceSettings {
            gc_ttl: ttl,
            ..KeyspaceSettings::default()
        };
        self.engine.create_keyspace(name, settings).unwrap()
    }

    pub fn protected(&self) -> ProtectedTimestamps {
        ProtectedTimestamps::new(&self.engine)
    }

    pub fn protect(&self, timestamp: Timestamp, target: Target) -> Result<Record> {
        let request = ProtectRequest::new(timestamp, target, "test");
        self.protected().protect(request)
    }

    pub fn collect(&self) -> icecore_gc::GcReport {
        icecore_gc::collect(&self.engine, &GcOptions::default()).unwrap()
    }
}

pub fn open(path: PathBuf, clock: Arc<dyn Clock>) -> Engine {
    let options = Options {
        clock,
        block_cache_bytes: 8 << 20,
        write_buffer_bytes: 1 << 20,
        total_write_buffer_bytes: 8 << 20,
        ..Options::default()
    };
    Engine::open(path, &options).unwrap()
}

pub fn put(keyspace: &Keyspace, key: &str, value: &str) -> Timestamp {
    keyspace.put(key, value, Durability::Buffered).unwrap()
}

pub fn delete(keyspace: &Keyspace, key: &str) -> Timestamp {
    keyspace.delete(key, Durability::Buffered).unwrap()
}

/// The value as of a time, or the error's text.
pub fn read(keyspace: &Keyspace, key: &str, at: Timestamp) -> Result<Option<String>, String> {
    let snapshot = keyspace.engine().snapshot_at(at).unwrap();
    match keyspace.get_at(&snapshot, key.as_bytes()) {
        Ok(value) => Ok(value.map(|v| String::from_utf8(v).unwrap())),
        Err(e) => Err(e.to_string()),
    }
}

pub fn patterns(names: &[&str]) -> Vec<NamePattern> {
    names
        .iter()
        .map(|n| NamePattern::parse(n).unwrap())
        .collect()
}
