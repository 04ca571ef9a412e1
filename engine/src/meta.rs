//! The engine's own small records, in RocksDB's default column family.
//!
//! | key | value |
//! |---|---|
//! | `clock` | high-water mark of the clock, 8 bytes big-endian nanoseconds |
//! | `next-keyspace` | the next keyspace id, 4 bytes big-endian |
//! | `purged` | empty: a dropped keyspace was removed for good |
//! | `index-low-water` | commit-index entries at or below are trimmed, 8 bytes |
//! | `threshold/` + id (4 bytes) | garbage-collection threshold, 8 bytes |
//! | `swept/` + id (4 bytes) | the sweep is done up to here, 8 bytes |
//! | `restore/` + restore id + `/` + name | an unfinished restore, JSON |
//!
//! Every write is synced: these records must never be older than what relied on them.

use icecore_mvcc::{KeyspaceId, Timestamp};
use rocksdb::{IteratorMode, WriteBatch};

use crate::error::{Error, Result};
use crate::rocks::Cf;

const CLOCK: &[u8] = b"clock";
const NEXT_KEYSPACE: &[u8] = b"next-keyspace";
const PURGED: &[u8] = b"purged";
const INDEX_LOW_WATER: &[u8] = b"index-low-water";

/// Which per-keyspace timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The garbage-collection threshold.
    Threshold,
    /// How far the sweep has come.
    Swept,
}

impl Mark {
    fn key(self, id: KeyspaceId) -> Vec<u8> {
        let mut key = match self {
            Self::Threshold => b"threshold/".to_vec(),
            Self::Swept => b"swept/".to_vec(),
        };
        key.extend_from_slice(&id.get().to_be_bytes());
        key
    }
}

/// Typed access to the records.
#[derive(Clone)]
pub(crate) struct Meta {
    cf: Cf,
}

impl Meta {
    pub(crate) fn new(cf: Cf) -> Self {
        Self { cf }
    }

    /// Writes the records to an SST file.
    pub(crate) fn flush(&self) -> Result<()> {
        self.cf.flush("flush the engine records")
    }

    /// How many flushes and compactions of the database have failed; RocksDB keeps the count with
    /// this column family.
    pub(crate) fn background_failures(&self) -> u64 {
        self.cf.property("rocksdb.background-errors")
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.cf.handle(), key, value);
        self.write(batch)
    }

    /// Writes a batch and syncs it.
    pub(crate) fn write(&self, batch: WriteBatch) -> Result<()> {
        self.cf.write(batch, true, "write an engine record")
    }

    fn timestamp(&self, key: &[u8]) -> Result<Option<Timestamp>> {
        let Some(bytes) = self.cf.get(key)? else {
            return Ok(None);
        };
        let bytes: [u8; 8] = bytes.try_into().map_err(|_| {
            Error::corrupt(format!(
                "engine record {} is not 8 bytes long",
                String::from_utf8_lossy(key)
            ))
        })?;
        Ok(Some(Timestamp::from_nanos(u64::from_be_bytes(bytes))))
    }

    /// The clock's high-water mark.
    pub(crate) fn clock(&self) -> Result<Timestamp> {
        Ok(self.timestamp(CLOCK)?.unwrap_or(Timestamp::MIN))
    }

    /// Raises the clock's high-water mark.
    pub(crate) fn set_clock(&self, mark: Timestamp) -> Result<()> {
        self.put(CLOCK, &mark.nanos().to_be_bytes())
    }

    /// Commit-index entries at or below this are gone.
    pub(crate) fn index_low_water(&self) -> Result<Timestamp> {
        Ok(self.timestamp(INDEX_LOW_WATER)?.unwrap_or(Timestamp::MIN))
    }

    /// Raises the commit index's low-water mark.
    pub(crate) fn set_index_low_water(&self, mark: Timestamp) -> Result<()> {
        self.put(INDEX_LOW_WATER, &mark.nanos().to_be_bytes())
    }

    /// A keyspace's mark; the zero timestamp where none was set.
    pub(crate) fn mark(&self, mark: Mark, id: KeyspaceId) -> Result<Timestamp> {
        Ok(self.timestamp(&mark.key(id))?.unwrap_or(Timestamp::MIN))
    }

    /// Sets a keyspace's mark.
    pub(crate) fn set_mark(&self, mark: Mark, id: KeyspaceId, to: Timestamp) -> Result<()> {
        self.put(&mark.key(id), &to.nanos().to_be_bytes())
    }

    /// Adds a keyspace's mark to a batch.
    pub(crate) fn add_mark(
        &self,
        batch: &mut WriteBatch,
        mark: Mark,
        id: KeyspaceId,
        to: Timestamp,
    ) {
        batch.put_cf(self.cf.handle(), mark.key(id), to.nanos().to_be_bytes());
    }

    /// Forgets the marks of a keyspace that is gone for good.
    pub(crate) fn remove_marks(&self, id: KeyspaceId) -> Result<()> {
        let mut batch = WriteBatch::default();
        for mark in [Mark::Threshold, Mark::Swept] {
            batch.delete_cf(self.cf.handle(), mark.key(id));
        }
        self.write(batch)
    }

    /// Takes the next keyspace id; an id is never given twice.
    pub(crate) fn take_keyspace_id(&self) -> Result<KeyspaceId> {
        let next =
            match self.cf.get(NEXT_KEYSPACE)? {
                None => 1,
                Some(bytes) => u32::from_be_bytes(bytes.try_into().map_err(|_| {
                    Error::corrupt("engine record next-keyspace is not 4 bytes long")
                })?),
            };
        let after = next
            .checked_add(1)
            .ok_or_else(|| Error::corrupt("all keyspace ids are used up"))?;
        self.put(NEXT_KEYSPACE, &after.to_be_bytes())?;
        Ok(KeyspaceId::new(next))
    }

    /// Whether the catalog has forgotten a keyspace.
    pub(crate) fn has_purged(&self) -> Result<bool> {
        Ok(self.cf.get(PURGED)?.is_some())
    }

    /// Notes that the catalog is about to forget a keyspace.
    pub(crate) fn set_purged(&self) -> Result<()> {
        if self.has_purged()? {
            return Ok(());
        }
        self.put(PURGED, b"")
    }

    /// The record of an unfinished restore of one keyspace.
    pub(crate) fn set_restore(&self, key: &str, json: &[u8]) -> Result<()> {
        self.put(restore_key(key).as_bytes(), json)
    }

    /// Adds the removal of a restore's record to a batch.
    pub(crate) fn remove_restore(&self, batch: &mut WriteBatch, key: &str) {
        batch.delete_cf(self.cf.handle(), restore_key(key).as_bytes());
    }

    /// All unfinished restores, by key.
    pub(crate) fn restores(&self) -> Result<Vec<Vec<u8>>> {
        let start = restore_key("");
        let mode = IteratorMode::From(start.as_bytes(), rocksdb::Direction::Forward);
        let mut found = Vec::new();
        for item in self.cf.db().iterator_cf(self.cf.handle(), mode) {
            let (key, value) = item.map_err(Error::rocks("read the unfinished restores"))?;
            if !key.starts_with(start.as_bytes()) {
                break;
            }
            found.push(value.into_vec());
        }
        Ok(found)
    }
}

fn restore_key(key: &str) -> String {
    format!("restore/{key}")
}
