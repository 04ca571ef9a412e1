//! A handle to one keyspace.

use std::sync::Arc;

use icecore_mvcc::{Descriptor, KeyRange, KeyspaceId, Timestamp, key};

use crate::commit::{Durability, Rows};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::store::Space;

/// A keyspace of an open engine. Cheap to clone; keeps the engine open.
#[derive(Clone)]
pub struct Keyspace {
    engine: Engine,
    space: Arc<Space>,
}

/// What a keyspace occupies, as RocksDB estimates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyspaceStats {
    /// Bytes of its SST files on disk, compressed.
    pub sst_bytes: u64,
    /// Number of its SST files.
    pub sst_files: u64,
    /// Bytes in its memtables.
    pub memtable_bytes: u64,
    /// Estimated number of stored versions.
    pub estimated_versions: u64,
}

impl std::fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyspace({} {})", self.id(), self.name())
    }
}

impl Keyspace {
    pub(crate) fn new(engine: Engine, space: Arc<Space>) -> Self {
        Self { engine, space }
    }

    pub(crate) fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// The engine that this keyspace belongs to.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its id, never given to another keyspace of this engine.
    pub fn id(&self) -> KeyspaceId {
        self.space.id()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.space.name()
    }

    /// Its descriptor as it is now.
    pub fn descriptor(&self) -> Descriptor {
        self.space.descriptor()
    }

    /// Reads below this time are refused; history at and above it is whole.
    pub fn threshold(&self) -> Timestamp {
        self.space.threshold()
    }

    /// Whether it was dropped; its past may still be readable.
    pub fn is_dropped(&self) -> bool {
        self.space.dropped().is_some()
    }

    /// Commits one put.
    ///
    /// # Errors
    /// As [`Engine::commit`].
    pub fn put(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        durability: Durability,
    ) -> Result<Timestamp> {
        self.commit_one(key.as_ref(), Some(value.as_ref()), durability)
    }

    /// Commits one delete. Deleting a key that is not there is allowed, and writes a tombstone.
    ///
    /// # Errors
    /// As [`Engine::commit`].
    pub fn delete(&self, key: impl AsRef<[u8]>, durability: Durability) -> Result<Timestamp> {
        self.commit_one(key.as_ref(), None, durability)
    }

    fn commit_one(
        &self,
        key: &[u8],
        value: Option<&[u8]>,
        durability: Durability,
    ) -> Result<Timestamp> {
        let mut rows = Rows::spare();
        rows.push(&self.space, key, value);
        let ts = self.engine.commit_rows(&mut rows, durability, None)?;
        rows.keep();
        Ok(ts)
    }

    /// What it occupies.
    pub fn stats(&self) -> KeyspaceStats {
        let cf = self.space.cf();
        let files = cf.db().get_column_family_metadata_cf(cf.handle());
        KeyspaceStats {
            sst_bytes: files.size,
            sst_files: files.file_count as u64,
            memtable_bytes: cf.property("rocksdb.size-all-mem-tables"),
            estimated_versions: cf.property("rocksdb.estimate-num-keys"),
        }
    }

    /// Up to `parts - 1` user keys that cut `range` into pieces of similar size on disk, in
    /// order. Fewer where the data is small; none where it lies in memory only.
    ///
    /// # Errors
    /// [`Error::Rocks`] when the file list cannot be read.
    pub fn split_points(&self, range: &KeyRange, parts: usize) -> Result<Vec<Vec<u8>>> {
        let (lower, upper) = key::range_bounds(range);
        let family = crate::catalog::family_name(self.id());
        let files = self
            .space
            .cf()
            .db()
            .live_files()
            .map_err(Error::rocks("list the live files"))?;
        let mut cuts: Vec<Vec<u8>> = files
            .into_iter()
            .filter(|file| file.column_family_name == family)
            .flat_map(|file| [file.start_key, file.end_key])
            .flatten()
            .filter(|stored| *stored > lower && upper.as_ref().is_none_or(|u| stored < u))
            .filter_map(|stored| key::decode_key(&stored).ok().map(|(user, _)| user))
            .filter(|user| range.contains(user) && user != range.start())
            .collect();
        cuts.sort();
        cuts.dedup();
        if parts <= 1 || cuts.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = (parts - 1).min(cuts.len());
        let step = cuts.len() as f64 / (wanted + 1) as f64;
        let mut picked: Vec<Vec<u8>> = (1..=wanted)
            .filter_map(|i| cuts.get(((i as f64) * step) as usize).cloned())
            .collect();
        picked.dedup();
        Ok(picked)
    }
}
