//! Reads of single keys.

use icecore_mvcc::{KeyRange, Timestamp, Value, Version, value};

use super::snapshot::Snapshot;
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::store::{PooledIter, Space};

impl Keyspace {
    /// The key's value as of now; `None` where there is none.
    ///
    /// # Errors
    /// [`crate::Error::KeyspaceDropped`]; [`crate::Error::Rocks`] when the disk fails.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let space = self.space();
        loop {
            let ts = self.engine().visible();
            space.check_exists_at(ts)?;
            let found = get_at(space, &mut self.reader(ts)?, key, ts)?;
            // Without a pin the threshold may have passed `ts` meanwhile; then read again.
            let threshold = space.threshold();
            if threshold <= ts {
                return Ok(found);
            }
            // Thresholds follow what is visible, but for a restore that is being published.
            if self.engine().visible() == ts {
                space.check_readable(ts)?;
            }
        }
    }

    /// The key's value as of a snapshot.
    ///
    /// # Errors
    /// [`crate::Error::BelowThreshold`], [`crate::Error::KeyspaceDropped`],
    /// [`crate::Error::Rocks`].
    pub fn get_at(&self, at: &Snapshot, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.check_snapshot(at)?;
        let ts = at.timestamp();
        get_at(self.space(), &mut self.reader(ts)?, key, ts)
    }

    /// A pooled iterator for reads at `ts`.
    fn reader(&self, ts: Timestamp) -> Result<PooledIter<'_>> {
        let space = self.space();
        space
            .pool()
            .take(space.cf(), ts, || self.engine().visible())
    }

    /// The values of many keys as of a snapshot, in the order of the keys given.
    ///
    /// # Errors
    /// As [`Keyspace::get_at`].
    pub fn multi_get_at<K: AsRef<[u8]>>(
        &self,
        at: &Snapshot,
        keys: &[K],
    ) -> Result<Vec<Option<Vec<u8>>>> {
        self.check_snapshot(at)?;
        let space = self.space();
        let mut iter = self.reader(at.timestamp())?;
        // In key order the seeks run through the blocks once.
        let mut order: Vec<(usize, &[u8])> = keys.iter().map(AsRef::as_ref).enumerate().collect();
        order.sort_by(|a, b| a.1.cmp(b.1));
        let mut values = vec![None; keys.len()];
        for (position, key) in order {
            let found = get_at(space, &mut iter, key, at.timestamp())?;
            if let Some(slot) = values.get_mut(position) {
                *slot = found;
            }
        }
        Ok(values)
    }

    /// The versions of a key up to a snapshot, newest first: all above the threshold, and the
    /// one that reads at the threshold see.
    ///
    /// # Errors
    /// As [`Keyspace::get_at`].
    pub fn versions(&self, at: &Snapshot, key: &[u8]) -> Result<Vec<Version>> {
        self.full(&KeyRange::single(key), at, true)?
            .map(|row| {
                row.map(|row| Version {
                    ts: row.ts,
                    value: row.value,
                })
            })
            .collect()
    }
}

/// One point read. The caller checks the threshold.
fn get_at(
    space: &Space,
    iter: &mut PooledIter<'_>,
    key: &[u8],
    ts: Timestamp,
) -> Result<Option<Vec<u8>>> {
    let Some(bytes) = iter.find(key, ts)? else {
        return Ok(None);
    };
    match value::decode_value(bytes) {
        Ok(Value::Put(bytes)) => Ok(Some(bytes.to_vec())),
        Ok(Value::Tombstone) => Ok(None),
        Err(e) => Err(damaged(space, e)),
    }
}

/// A stored row that breaks its format.
pub(super) fn damaged(space: &Space, error: icecore_mvcc::Error) -> crate::Error {
    crate::Error::corrupt(format!("a row of keyspace {}: {error}", space.name()))
}
