//! Scans of a key range as of a snapshot, in both directions.

use icecore_mvcc::{KeyRange, Timestamp, Value, key, value};

use super::point::damaged;
use super::snapshot::Snapshot;
use super::{STEPS_BEFORE_SEEK, successor_of};
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::rocks::RawIter;

/// In which order a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScanDirection {
    /// Ascending keys.
    #[default]
    Forward,
    /// Descending keys.
    Reverse,
}

/// A row of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The user key.
    pub key: Vec<u8>,
    /// When this version was committed.
    pub ts: Timestamp,
    /// The value.
    pub value: Vec<u8>,
}

/// A row of a scan, borrowed until the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// The user key.
    pub key: &'a [u8],
    /// When this version was committed.
    pub ts: Timestamp,
    /// The value.
    pub value: &'a [u8],
}

/// A running scan. It sees one time, whatever is committed meanwhile. After an error it ends.
pub struct Scan {
    keyspace: Keyspace,
    at: Snapshot,
    iter: RawIter,
    direction: ScanDirection,
    started: bool,
    done: bool,
    /// Prefix of the key visited last.
    prefix: Vec<u8>,
    /// User key of the current row.
    key: Vec<u8>,
    /// Reverse only: value of the current row.
    value: Vec<u8>,
    scratch: Vec<u8>,
}

impl Keyspace {
    /// Scans the rows of a range as of a snapshot.
    ///
    /// # Errors
    /// [`crate::Error::BelowThreshold`], [`crate::Error::KeyspaceDropped`]; the rows may give
    /// [`crate::Error::Rocks`] or [`crate::Error::Corruption`].
    pub fn scan(&self, at: &Snapshot, range: &KeyRange, direction: ScanDirection) -> Result<Scan> {
        self.check_snapshot(at)?;
        let (lower, upper) = key::range_bounds(range);
        Ok(Scan {
            keyspace: self.clone(),
            at: at.clone(),
            iter: RawIter::new(self.space().cf(), RawIter::scan_options(lower, upper)),
            direction,
            started: false,
            done: range.is_empty(),
            prefix: Vec::new(),
            key: Vec::new(),
            value: Vec::new(),
            scratch: Vec::new(),
        })
    }
}

impl Scan {
    /// The next row, without copying it. `None` at the end.
    ///
    /// # Errors
    /// [`crate::Error::Rocks`] or [`crate::Error::Corruption`]; the scan ends with it.
    pub fn next_ref(&mut self) -> Result<Option<EntryRef<'_>>> {
        if self.done {
            return Ok(None);
        }
        // Ends the scan should a step fail.
        self.done = true;
        let ts = match self.direction {
            ScanDirection::Forward => self.forward()?,
            ScanDirection::Reverse => self.reverse()?,
        };
        let Some(ts) = ts else {
            return Ok(None);
        };
        self.done = false;
        let value = match self.direction {
            ScanDirection::Forward => self
                .iter
                .item()
                .and_then(|(_, v)| v.split_first())
                .map(|(_, v)| v)
                .unwrap_or_default(),
            ScanDirection::Reverse => &self.value,
        };
        Ok(Some(EntryRef {
            key: &self.key,
            ts,
            value,
        }))
    }

    /// Goes to the next key's newest version at or before the snapshot that is a put.
    fn forward(&mut self) -> Result<Option<Timestamp>> {
        if self.started {
            self.iter.next();
        } else {
            self.started = true;
            self.iter.seek_to_first();
        }
        let mut steps = 0;
        loop {
            let Some((stored, bytes)) = self.iter.item() else {
                return self.iter.status().map(|()| None);
            };
            let (prefix, ts) = split(stored)?;
            if prefix == self.prefix {
                steps += 1;
                if steps > STEPS_BEFORE_SEEK {
                    successor_of(&self.prefix, &mut self.scratch);
                    self.iter.seek(&self.scratch);
                    steps = 0;
                } else {
                    self.iter.next();
                }
            } else if ts > self.at.timestamp() {
                steps += 1;
                if steps > STEPS_BEFORE_SEEK {
                    seek_target(prefix, self.at.timestamp(), &mut self.scratch);
                    self.iter.seek(&self.scratch);
                    steps = 0;
                } else {
                    self.iter.next();
                }
            } else {
                self.prefix.clear();
                self.prefix.extend_from_slice(prefix);
                match value::decode_value(bytes).map_err(|e| damaged(self.keyspace.space(), e))? {
                    Value::Put(_) => {
                        self.key.clear();
                        key::decode_prefix_into(&mut self.key, &self.prefix)
                            .map_err(|e| damaged(self.keyspace.space(), e))?;
                        return Ok(Some(ts));
                    }
                    Value::Tombstone => {
                        steps = 0;
                        self.iter.next();
                    }
                }
            }
        }
    }

    /// As `forward`, in the other direction. A key's versions come oldest first.
    fn reverse(&mut self) -> Result<Option<Timestamp>> {
        if !self.started {
            self.started = true;
            self.iter.seek_to_last();
        }
        loop {
            let Some((stored, _)) = self.iter.item() else {
                return self.iter.status().map(|()| None);
            };
            let (prefix, _) = split(stored)?;
            self.prefix.clear();
            self.prefix.extend_from_slice(prefix);
            let found = self.newest_going_back()?;
            if let Some((ts, true)) = found {
                self.key.clear();
                key::decode_prefix_into(&mut self.key, &self.prefix)
                    .map_err(|e| damaged(self.keyspace.space(), e))?;
                return Ok(Some(ts));
            }
        }
    }

    /// Finds the version of `self.prefix` to show, with whether it is a put (its value is then in
    /// `self.value`), and leaves the iterator before the first version of the key.
    fn newest_going_back(&mut self) -> Result<Option<(Timestamp, bool)>> {
        let mut found = None;
        let mut steps = 0;
        loop {
            let Some((stored, bytes)) = self.iter.item() else {
                self.iter.status()?;
                return Ok(found);
            };
            let (prefix, ts) = split(stored)?;
            if prefix != self.prefix {
                return Ok(found);
            }
            if ts > self.at.timestamp() || steps > STEPS_BEFORE_SEEK {
                break;
            }
            found = Some((ts, take_value(&self.keyspace, bytes, &mut self.value)?));
            steps += 1;
            self.iter.prev();
        }
        if steps > STEPS_BEFORE_SEEK {
            seek_target(&self.prefix, self.at.timestamp(), &mut self.scratch);
            self.iter.seek(&self.scratch);
            if let Some((stored, bytes)) = self.iter.item() {
                let (prefix, ts) = split(stored)?;
                if prefix == self.prefix {
                    found = Some((ts, take_value(&self.keyspace, bytes, &mut self.value)?));
                }
            }
            self.iter.status()?;
        }
        // The prefix alone sorts before all its versions.
        self.iter.seek_for_prev(&self.prefix);
        Ok(found)
    }
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_ref() {
            Ok(Some(row)) => Some(Ok(Entry {
                key: row.key.to_vec(),
                ts: row.ts,
                value: row.value.to_vec(),
            })),
            Ok(None) => None,
            Err(e) => Some(Err(e)),
        }
    }
}

/// Prefix and timestamp of a stored key.
pub(super) fn split(stored: &[u8]) -> Result<(&[u8], Timestamp)> {
    key::split(stored)
        .ok_or_else(|| crate::Error::corrupt("a stored key is shorter than its timestamp"))
}

fn seek_target(prefix: &[u8], ts: Timestamp, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(prefix);
    out.extend_from_slice(&key::encode_timestamp(ts));
}

/// Copies a put's bytes to `out`; `false` for a tombstone.
fn take_value(keyspace: &Keyspace, stored: &[u8], out: &mut Vec<u8>) -> Result<bool> {
    match value::decode_value(stored).map_err(|e| damaged(keyspace.space(), e))? {
        Value::Put(bytes) => {
            out.clear();
            out.extend_from_slice(bytes);
            Ok(true)
        }
        Value::Tombstone => Ok(false),
    }
}
