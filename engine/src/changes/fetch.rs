//! Fetches the values of exact stored keys in sorted batches.

use std::collections::VecDeque;
use std::ops::Range;

use icecore_mvcc::{key, value};
use rocksdb::ReadOptions;

use super::collect::Piece;
use crate::commit::index::SizeClass;
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::read::{Snapshot, VersionRow};

/// The most keys of one batched read.
const MAX_BATCH_KEYS: usize = 256;

/// A batched read is closed once its keys and values may come to this many bytes; the last value
/// may still make it larger.
const BATCH_BYTES: usize = 4 << 20;

/// A running fetch.
pub(super) struct Fetch {
    keyspace: Keyspace,
    piece: Piece,
    /// Keeps the window readable.
    _pin: Snapshot,
    options: ReadOptions,
    /// The stored keys of the batch, one behind the other.
    keys: Vec<u8>,
    named: Vec<Named>,
    rows: VecDeque<VersionRow>,
    done: bool,
}

/// A key of the batch: where it lies, and the size of its value; `None` for a tombstone.
struct Named {
    key: Range<usize>,
    put: Option<SizeClass>,
}

impl Fetch {
    pub(super) fn new(keyspace: &Keyspace, piece: Piece, pin: Snapshot) -> Self {
        let mut options = ReadOptions::default();
        // One pass over what changed should not push what is hot out of the cache.
        options.fill_cache(false);
        Self {
            keyspace: keyspace.clone(),
            piece,
            _pin: pin,
            options,
            keys: Vec::new(),
            named: Vec::new(),
            rows: VecDeque::new(),
            done: false,
        }
    }

    /// The next version; after an error it ends.
    pub(super) fn next_row(&mut self) -> Result<Option<VersionRow>> {
        if self.rows.is_empty() && !self.done {
            self.done = true;
            let filled = self.fill();
            if filled.is_err() {
                self.rows.clear();
            }
            self.done = !filled?;
        }
        Ok(self.rows.pop_front())
    }

    /// Reads the next batch; `false` at the end.
    fn fill(&mut self) -> Result<bool> {
        self.name_batch()?;
        let named = || {
            let starts = self.named.iter();
            starts.map(|named| {
                (
                    self.keys.get(named.key.clone()).unwrap_or_default(),
                    named.put,
                )
            })
        };
        let puts: Vec<&[u8]> = named()
            .filter_map(|(stored, put)| put.map(|_| stored))
            .collect();
        let cf = self.keyspace.space().cf();
        let mut values = cf
            .db()
            .batched_multi_get_cf_opt(cf.handle(), puts, true, &self.options)
            .into_iter();
        let mut rows = std::mem::take(&mut self.rows);
        for (stored, put) in named() {
            let (user, ts) = key::decode_key(stored)?;
            let value = if put.is_none() {
                None
            } else {
                let found = values
                    .next()
                    .transpose()
                    .map_err(Error::rocks("fetch changed rows"))?
                    .flatten();
                let found = found.ok_or_else(|| missing(&self.keyspace, &user))?;
                value::decode_value(&found)?
                    .into_option()
                    .map(<[u8]>::to_vec)
            };
            let key = user;
            rows.push_back(VersionRow { key, ts, value });
        }
        self.rows = rows;
        Ok(!self.named.is_empty())
    }

    /// Names the next keys whose values are read together.
    fn name_batch(&mut self) -> Result<()> {
        self.keys.clear();
        self.named.clear();
        let mut value_bytes = 0_usize;
        while self.named.len() < MAX_BATCH_KEYS
            && self.keys.len().saturating_add(value_bytes) < BATCH_BYTES
        {
            let start = self.keys.len();
            let Some(put) = self.piece.next_into(&mut self.keys)? else {
                break;
            };
            value_bytes = value_bytes.saturating_add(put.map_or(0, SizeClass::max_bytes));
            let key = start..self.keys.len();
            self.named.push(Named { key, put });
        }
        Ok(())
    }
}

fn missing(keyspace: &Keyspace, user: &[u8]) -> Error {
    Error::corrupt(format!(
        "the commit index names key {} of keyspace {}, whose row is missing",
        Error::key_text(user),
        keyspace.name()
    ))
}
