//! Fingerprints of a keyspace, and the reads of old rows that lead from one to the next.

use icecore_mvcc::{Fingerprint, Fingerprinter, KeyRange, Timestamp, Value, key, value};

use super::point::damaged;
use super::snapshot::Snapshot;
use super::versions::{Pick, Versions};
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::rocks::RawIter;

impl Keyspace {
    /// The fingerprint of the rows that a scan as of a snapshot shows, read by up to so many threads.
    ///
    /// Reads the whole keyspace. 0 threads count as 1.
    ///
    /// # Errors
    /// As [`Keyspace::scan`].
    pub fn fingerprint_at(&self, at: &Snapshot, threads: usize) -> Result<Fingerprint> {
        self.check_snapshot(at)?;
        self.fingerprint_of(at.timestamp(), at, threads)
    }

    /// As [`Keyspace::fingerprint_at`], of a keyspace that nobody reads yet, or with the time checked.
    pub(crate) fn fingerprint_of(
        &self,
        at: Timestamp,
        pin: &Snapshot,
        threads: usize,
    ) -> Result<Fingerprint> {
        let range = KeyRange::all();
        let mut pieces = range.split_at(&self.split_points(&range, threads.max(1))?);
        if pieces.is_empty() {
            pieces.push(range);
        }
        let pick = Pick::Full { at, floor: at };
        let walk = |piece: &KeyRange| {
            let mut rows = Versions::new(self, piece, pick, pin.clone());
            let mut print = Fingerprinter::default();
            while let Some(row) = rows.next_ref()? {
                if let Some(value) = row.value {
                    print.add(row.key, value);
                }
            }
            Ok(print.finish())
        };
        let prints: Result<Vec<Fingerprint>> = std::thread::scope(|scope| {
            let walks: Vec<_> = pieces
                .iter()
                .map(|piece| scope.spawn(move || walk(piece)))
                .collect();
            walks
                .into_iter()
                .map(|walk| {
                    let panicked = |_| Err(Error::corrupt("a thread that reads rows ended early"));
                    walk.join().unwrap_or_else(panicked)
                })
                .collect()
        });
        Ok(prints?
            .into_iter()
            .fold(Fingerprint::EMPTY, Fingerprint::plus))
    }
}

/// Reads of single keys as of one snapshot with one iterator, made for many keys in ascending order.
pub struct PointReader {
    // First: an iterator goes before the handle that keeps the folder locked.
    iter: RawIter,
    keyspace: Keyspace,
    at: Snapshot,
    target: Vec<u8>,
}

impl Keyspace {
    /// A reader of single keys as of a snapshot.
    ///
    /// # Errors
    /// [`Error::BelowThreshold`], [`Error::KeyspaceDropped`].
    pub fn point_reader(&self, at: &Snapshot) -> Result<PointReader> {
        self.check_snapshot(at)?;
        Ok(PointReader {
            iter: RawIter::new(self.space().cf(), RawIter::point_options()),
            keyspace: self.clone(),
            at: at.clone(),
            target: Vec::new(),
        })
    }
}

impl PointReader {
    /// The key's value, until the next read; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Rocks`] or [`Error::Corruption`].
    pub fn get(&mut self, user: &[u8]) -> Result<Option<&[u8]>> {
        self.target.clear();
        key::encode_into(&mut self.target, user, self.at.timestamp());
        self.iter.seek(&self.target);
        let Some((stored, bytes)) = self.iter.item() else {
            return self.iter.status().map(|()| None);
        };
        let prefix = |stored| key::split(stored).map(|(prefix, _)| prefix);
        if prefix(stored) != prefix(self.target.as_slice()) {
            return Ok(None);
        }
        match value::decode_value(bytes) {
            Ok(Value::Put(bytes)) => Ok(Some(bytes)),
            Ok(Value::Tombstone) => Ok(None),
            Err(e) => Err(damaged(self.keyspace.space(), e)),
        }
    }
}
