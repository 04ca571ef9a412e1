//! Scans of a key range as of a snapshot, in both directions.

use std::borrow::Cow;

use icecore_mvcc::{KeyRange, Timestamp, Value, key, value};

use super::cursor::Cursor;
use super::point::damaged;
use super::reverse::Reverse;
use super::snapshot::Snapshot;
use crate::error::Result;
use crate::keyspace::Keyspace;

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
    // First: an iterator goes before the handle that keeps the folder locked.
    walk: Walk,
    keyspace: Keyspace,
    at: Snapshot,
    done: bool,
    /// The user key of a row, where it is stored escaped.
    unescaped: Vec<u8>,
}

enum Walk {
    Forward(Cursor),
    Reverse(Reverse),
}

/// A row as a walk found it.
pub(super) struct Found<'a> {
    /// Escaped user key and terminator.
    pub(super) prefix: &'a [u8],
    pub(super) ts: Timestamp,
    /// The bytes of the put.
    pub(super) value: &'a [u8],
}

impl Keyspace {
    /// Scans the rows of a range as of a snapshot.
    ///
    /// # Errors
    /// [`crate::Error::BelowThreshold`], [`crate::Error::KeyspaceDropped`]; the rows may give
    /// [`crate::Error::Rocks`] or [`crate::Error::Corruption`].
    pub fn scan(&self, at: &Snapshot, range: &KeyRange, direction: ScanDirection) -> Result<Scan> {
        self.check_snapshot(at)?;
        Ok(Scan {
            keyspace: self.clone(),
            at: at.clone(),
            walk: match direction {
                ScanDirection::Forward => Walk::Forward(Cursor::new(self, range)),
                ScanDirection::Reverse => Walk::Reverse(Reverse::new(self, range)),
            },
            done: range.is_empty(),
            unescaped: Vec::new(),
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
        let at = self.at.timestamp();
        let row = match &mut self.walk {
            Walk::Forward(cursor) => forward(&self.keyspace, cursor, at)?,
            Walk::Reverse(reverse) => reverse.advance(at)?,
        };
        let Some(row) = row else {
            return Ok(None);
        };
        let entry = EntryRef {
            key: user_key(&self.keyspace, row.prefix, &mut self.unescaped)?,
            ts: row.ts,
            value: row.value,
        };
        self.done = false;
        Ok(Some(entry))
    }
}

/// Goes to the next key's newest version at or before `at` that is a put.
fn forward<'a>(
    keyspace: &Keyspace,
    cursor: &'a mut Cursor,
    at: Timestamp,
) -> Result<Option<Found<'a>>> {
    let ts = loop {
        let Some(ts) = cursor.next_key(at)? else {
            return Ok(None);
        };
        match value::decode_value(cursor.finished().1) {
            Ok(Value::Put(_)) => break ts,
            Ok(Value::Tombstone) => {}
            Err(e) => return Err(damaged(keyspace.space(), e)),
        }
    };
    let (prefix, value) = cursor.finished();
    let value = value.get(1..).unwrap_or_default();
    Ok(Some(Found { prefix, ts, value }))
}

/// The user key of a prefix, in `unescaped` where it is stored escaped.
#[inline]
pub(super) fn user_key<'a>(
    keyspace: &Keyspace,
    prefix: &'a [u8],
    unescaped: &'a mut Vec<u8>,
) -> Result<&'a [u8]> {
    match key::user_key(prefix).map_err(|e| damaged(keyspace.space(), e))? {
        Cow::Borrowed(key) => Ok(key),
        Cow::Owned(key) => {
            *unescaped = key;
            Ok(unescaped)
        }
    }
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    #[inline]
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
