//! Walking backward through the keys of a range as of a time.
//!
//! A key's versions come oldest first then, so the one to show is the last before a version that is
//! too new: it is copied on the way.

use icecore_mvcc::{KeyRange, Timestamp, Value, key, value};

use super::cursor::{STEPS_BEFORE_SEEK, target_of};
use super::point::damaged;
use super::scan::Found;
use super::split;
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::rocks::RawIter;

/// A position, after the last key to begin with.
pub(super) struct Reverse {
    iter: RawIter,
    keyspace: Keyspace,
    started: bool,
    /// Prefix and value of the row shown last.
    prefix: Vec<u8>,
    value: Vec<u8>,
    target: Vec<u8>,
}

impl Reverse {
    pub(super) fn new(keyspace: &Keyspace, range: &KeyRange) -> Self {
        let (lower, upper) = key::range_bounds(range);
        Self {
            keyspace: keyspace.clone(),
            iter: RawIter::new(keyspace.space().cf(), RawIter::scan_options(lower, upper)),
            started: false,
            prefix: Vec::new(),
            value: Vec::new(),
            target: Vec::new(),
        }
    }

    /// Goes to the next lower key that is there at `at`.
    pub(super) fn advance(&mut self, at: Timestamp) -> Result<Option<Found<'_>>> {
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
            if let Some((ts, true)) = self.newest(at)? {
                return Ok(Some(Found {
                    prefix: &self.prefix,
                    ts,
                    value: &self.value,
                }));
            }
        }
    }

    /// Finds the version of this key to show, with whether it is a put (its value is then in
    /// `self.value`), and leaves the iterator before the first version of the key.
    fn newest(&mut self, at: Timestamp) -> Result<Option<(Timestamp, bool)>> {
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
            if ts > at || steps > STEPS_BEFORE_SEEK {
                break;
            }
            found = Some((ts, take_value(&self.keyspace, bytes, &mut self.value)?));
            steps += 1;
            self.iter.prev();
        }
        if steps > STEPS_BEFORE_SEEK {
            target_of(&self.prefix, at, &mut self.target);
            self.iter.seek(&self.target);
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
