//! The data that backups are taken of: an engine of ours and a raw RocksDB, with the same rows in the same
//! order.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use icecore_archive::{BackupSelector, Collection, CollectionUri, StoreOptions};
use icecore_backup::{BackupOptions, BackupReport, Mode};
use icecore_engine::Options;
use rocksdb::DB;
use rocksdb::backup::{BackupEngine, BackupEngineOptions};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::bench::Bench;
use crate::data::{self, KEY_BYTES, Row};
use crate::error::{Error, Result};
use crate::systems::{IcecoreStore, Store, open_rocks, put_rocks};

/// RocksDB's backup engine, as printed.
pub(crate) const BACKUP_ENGINE: &str = "RocksDB BackupEngine";

/// Rows of one commit.
const BATCH: usize = 500;

/// Threads that write or read files, on both sides.
pub(crate) const THREADS: usize = 2;

/// What backups are taken of, and where they go.
pub(crate) struct Source {
    /// Ours.
    pub(crate) store: IcecoreStore,
    /// The peer.
    pub(crate) rocks: DB,
    /// Keys.
    pub(crate) keys: u64,
    /// Bytes of each value.
    pub(crate) value_bytes: usize,
    /// Runs our futures.
    pub(crate) runtime: Runtime,
    folder: TempDir,
}

impl Source {
    /// Loads both sides, in random order, and waits until they rest.
    ///
    /// # Errors
    /// Those of the systems.
    pub(crate) fn load(bench: &Bench) -> Result<Self> {
        Self::of(bench, &bench.options, bench.scale.backup_keys as u64)
    }

    /// As [`Source::load`], with other settings and another number of keys.
    ///
    /// # Errors
    /// Those of the systems.
    pub(crate) fn of(bench: &Bench, options: &Options, keys: u64) -> Result<Self> {
        let folder = bench.folder()?;
        let source = Self {
            store: IcecoreStore::create(&folder.path().join("icecore"), options)?,
            rocks: open_rocks(&folder.path().join("rocksdb"), options)?,
            keys,
            value_bytes: bench.scale.backup_value_bytes,
            runtime: runtime()?,
            folder,
        };
        source.write(&data::shuffled(keys, 0), 0)?;
        source.rest()?;
        Ok(source)
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub(crate) const fn logical_bytes(&self) -> u64 {
        self.keys * (KEY_BYTES + self.value_bytes) as u64
    }

    /// A place that is removed at the end of the run.
    #[must_use]
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Rewrites a share of the keys on both sides, another one for each version; gives the bytes that
    /// changed.
    ///
    /// # Errors
    /// Those of the systems.
    pub(crate) fn rewrite(&self, per_mille: u64, version: u64) -> Result<u64> {
        let mut order = data::shuffled(self.keys, version);
        order.truncate((self.keys * per_mille / 1000) as usize);
        self.write(&order, version)?;
        Ok((order.len() * (KEY_BYTES + self.value_bytes)) as u64)
    }

    fn write(&self, order: &[u64], version: u64) -> Result<()> {
        for commit in order.chunks(BATCH) {
            let row = |&index| data::row(index, version, self.value_bytes);
            let rows: Vec<Row> = commit.iter().map(row).collect();
            self.store.put_batch(&rows, false)?;
            put_rocks(&self.rocks, &rows)?;
        }
        Ok(())
    }

    /// Writes the memtables of both sides, and waits until nothing is left to compact.
    fn rest(&self) -> Result<()> {
        self.store.engine.flush()?;
        self.rocks.flush()?;
        let mut before = None;
        loop {
            let ours = self.store.keyspace.stats();
            let theirs = self
                .rocks
                .property_int_value("rocksdb.num-running-compactions")?;
            let now = Some((ours, theirs));
            if now == before && theirs == Some(0) {
                return Ok(());
            }
            before = now;
            thread::sleep(Duration::from_secs(2));
        }
    }

    /// Takes a backup of ours into the collection at that folder.
    ///
    /// # Errors
    /// Those of the backup.
    pub(crate) fn backup(&self, into: &Path, options: &BackupOptions) -> Result<BackupReport> {
        self.runtime.block_on(async {
            let uri = CollectionUri::from_local_path(into)?;
            let collection = Collection::create_or_open(&uri, StoreOptions::default()).await?;
            Ok(icecore_backup::backup(&self.store.engine, &collection, options).await?)
        })
    }

    /// Takes a backup of the peer into that folder, synced.
    ///
    /// # Errors
    /// RocksDB's.
    pub(crate) fn backup_rocks(&self, into: &Path) -> Result<()> {
        let mut options = BackupEngineOptions::new(into)?;
        options.set_max_background_operations(THREADS as i32);
        options.set_sync(true);
        let mut engine = BackupEngine::open(&options, &rocksdb::Env::new()?)?;
        Ok(engine.create_new_backup_flush(&self.rocks, true)?)
    }
}

/// Settings of a full.
#[must_use]
pub(crate) fn full(mode: Mode) -> BackupOptions {
    BackupOptions {
        mode,
        // A fast full keeps history; so that both do the same, each key has one version.
        revision_history: true,
        threads: THREADS,
        ..BackupOptions::default()
    }
}

/// Settings of an incremental onto the newest full.
#[must_use]
pub(crate) fn onto_latest() -> BackupOptions {
    BackupOptions {
        onto: Some(BackupSelector::Latest),
        ..full(Mode::Auto)
    }
}

/// Removes a folder, if it is there.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// A runtime with a thread for each thread of a backup.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(Error::io("start a runtime for", Path::new(".")))
}
