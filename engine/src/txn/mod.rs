//! Optimistic transactions.
//!
//! A transaction reads one snapshot and keeps its writes to itself until it commits. It starts
//! at the newest timestamp given so far, waiting for the commits at or below it; so whatever could
//! conflict with it is committed later, and the [`tracker`](Tracker) sees it. At commit, under the
//! sequencer's lock, the transaction fails if a key it wrote was committed by another since
//! (snapshot isolation), or, when serializable, if a key or range it read was.

mod overlay;
mod tracker;

use std::collections::{BTreeMap, BTreeSet};

use icecore_mvcc::{KeyRange, KeyspaceId, Timestamp};
pub use overlay::TransactionScan;
pub(crate) use tracker::{Reads, Tracker};

use crate::commit::{Batch, Durability};
use crate::engine::Engine;
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::read::{ScanDirection, Snapshot};

/// How much of what a transaction read must still hold at its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Nothing but the keys that it writes: concurrent transactions that read what the other
    /// writes may both commit (write skew). The default.
    #[default]
    Snapshot,
    /// All of it: the outcome is that of some order of the transactions, one after another.
    Serializable,
}

/// Writes not yet committed: by keyspace, by key; `None` is a delete.
type Writes = BTreeMap<KeyspaceId, (Keyspace, BTreeMap<Vec<u8>, Option<Vec<u8>>>)>;

/// A transaction. Dropped without commit, it leaves nothing behind.
pub struct Transaction {
    engine: Engine,
    snapshot: Snapshot,
    isolation: Isolation,
    writes: Writes,
    /// What it read, if serializable.
    read_keys: BTreeSet<(KeyspaceId, Vec<u8>)>,
    read_ranges: Vec<(KeyspaceId, KeyRange)>,
    /// Names of the keyspaces that it read.
    read_names: BTreeMap<KeyspaceId, String>,
}

impl Engine {
    /// Begins a transaction on everything committed so far.
    ///
    /// # Errors
    /// [`crate::Error::ReadOnly`], [`crate::Error::Poisoned`].
    pub fn begin(&self, isolation: Isolation) -> Result<Transaction> {
        self.check_writable("begin a transaction")?;
        // Keeps thresholds below the start until the transaction has its own pin.
        let _hold = self.snapshot();
        let start = self
            .sequencer()
            .last_assigned(|start| self.tracker().begin(start));
        let snapshot = self
            .snapshot_at(start)
            .inspect_err(|_| self.tracker().end(start))?;
        Ok(Transaction {
            engine: self.clone(),
            snapshot,
            isolation,
            writes: BTreeMap::new(),
            read_keys: BTreeSet::new(),
            read_ranges: Vec::new(),
            read_names: BTreeMap::new(),
        })
    }
}

impl Transaction {
    /// The snapshot that it reads.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The key's value: its own write, or the snapshot's.
    ///
    /// # Errors
    /// As [`Keyspace::get_at`].
    pub fn get(&mut self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(own) = self
            .writes
            .get(&keyspace.id())
            .and_then(|(_, rows)| rows.get(key))
        {
            return Ok(own.clone());
        }
        if self.isolation == Isolation::Serializable {
            self.read_keys.insert((keyspace.id(), key.to_vec()));
            self.name(keyspace);
        }
        keyspace.get_at(&self.snapshot, key)
    }

    /// Scans a range: the snapshot with its own writes over it. When serializable, the whole
    /// range counts as read, however far the scan is taken.
    ///
    /// # Errors
    /// As [`Keyspace::scan`].
    pub fn scan(
        &mut self,
        keyspace: &Keyspace,
        range: &KeyRange,
        direction: ScanDirection,
    ) -> Result<TransactionScan> {
        if self.isolation == Isolation::Serializable {
            self.read_ranges.push((keyspace.id(), range.clone()));
            self.name(keyspace);
        }
        let base = keyspace.scan(&self.snapshot, range, direction)?;
        let own = self.writes.get(&keyspace.id()).map(|(_, rows)| rows);
        let own = own
            .into_iter()
            .flatten()
            .filter(|(key, _)| range.contains(key));
        let own = own
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Ok(TransactionScan::new(base, own, direction))
    }

    /// Remembers the name of a keyspace that was read.
    fn name(&mut self, keyspace: &Keyspace) {
        self.read_names
            .entry(keyspace.id())
            .or_insert_with(|| keyspace.name().to_owned());
    }

    /// Writes a key, for the commit.
    pub fn put(&mut self, keyspace: &Keyspace, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.write(keyspace, key.into(), Some(value.into()));
    }

    /// Deletes a key, for the commit.
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl Into<Vec<u8>>) {
        self.write(keyspace, key.into(), None);
    }

    fn write(&mut self, keyspace: &Keyspace, key: Vec<u8>, value: Option<Vec<u8>>) {
        let (_, rows) = self
            .writes
            .entry(keyspace.id())
            .or_insert_with(|| (keyspace.clone(), BTreeMap::new()));
        rows.insert(key, value);
    }

    /// Commits. A transaction that wrote nothing always succeeds.
    ///
    /// # Errors
    /// [`crate::Error::Conflict`] and [`crate::Error::TransactionTooOld`], after which the same work may
    /// be tried in a new transaction; otherwise as [`Engine::commit`].
    pub fn commit(mut self, durability: Durability) -> Result<Timestamp> {
        let mut batch = Batch::new();
        for (keyspace, rows) in std::mem::take(&mut self.writes).into_values() {
            for (key, value) in rows {
                batch.push(&keyspace, &key, value.as_deref());
            }
        }
        let reads = Reads {
            start: self.snapshot.timestamp(),
            keys: std::mem::take(&mut self.read_keys),
            ranges: std::mem::take(&mut self.read_ranges),
            names: std::mem::take(&mut self.read_names),
        };
        self.engine
            .commit_validated(batch, durability, Some(&reads))
    }

    /// Gives the transaction up; the same as dropping it.
    pub fn rollback(self) {}
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.engine.tracker().end(self.snapshot.timestamp());
    }
}
