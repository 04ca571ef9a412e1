//! Fetches the values of exact stored keys in sorted batches.

use std::collections::VecDeque;

use icecore_mvcc::{key, value};
use rocksdb::ReadOptions;

use super::collect::Piece;
use super::runs::Named;
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
    rows: VecDeque<VersionRow>,
    done: bool,
}

impl Fetch {
    pub(super) fn new(keyspace: &Keyspace, piece: Piece, pin: Snapshot) -> Self {
        Self {
            keyspace: keyspace.clone(),
            piece,
            _pin: pin,
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
        let named = self.next_batch()?;
        let puts: Vec<&[u8]> = named
            .iter()
            .filter(|n| n.put.is_some())
            .map(|n| n.stored.as_slice())
            .collect();
        let cf = self.keyspace.space().cf();
        let mut options = ReadOptions::default();
        // One pass over what changed should not push what is hot out of the cache.
        options.fill_cache(false);
        let mut values = cf
            .db()
            .batched_multi_get_cf_opt(cf.handle(), puts, true, &options)
            .into_iter();
        for Named { stored, put } in &named {
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
            self.rows.push_back(VersionRow {
                key: user,
                ts,
                value,
            });
        }
        Ok(!named.is_empty())
    }

    /// The next keys whose values are read together.
    fn next_batch(&mut self) -> Result<Vec<Named>> {
        let mut named = Vec::new();
        let mut bytes = 0_usize;
        while named.len() < MAX_BATCH_KEYS && bytes < BATCH_BYTES {
            let Some(next) = self.piece.next()? else {
                break;
            };
            let value_bytes = next.put.map_or(0, SizeClass::max_bytes);
            bytes = bytes
                .saturating_add(next.stored.len())
                .saturating_add(value_bytes);
            named.push(next);
        }
        Ok(named)
    }
}

fn missing(keyspace: &Keyspace, user: &[u8]) -> Error {
    Error::corrupt(format!(
        "the commit index names key {} of keyspace {}, whose row is missing",
        Error::key_text(user),
        keyspace.name()
    ))
}
