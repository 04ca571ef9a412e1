//! Fetches the values of rows that the index named, in sorted batches that go across transactions.

use std::collections::BTreeMap;

use icecore_mvcc::{KeyspaceId, key, value};
use rocksdb::ReadOptions;

use super::window::{IndexWindow, Slot};
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;

/// The most values that are fetched at once.
const MAX_ROWS: usize = 256;

/// No more are fetched at once than until they may come to this many bytes; the last value may still
/// make it more.
const MAX_BYTES: usize = 4 << 20;

/// The wanted rows of one keyspace: their stored keys, each with its place among all that are wanted.
struct Wanted {
    keyspace: Keyspace,
    keys: Vec<(Vec<u8>, usize)>,
}

/// Fetches the values of the rows that come next.
pub(super) fn ahead(window: &mut IndexWindow) -> Result<()> {
    let (wanted, count) = gather(window);
    let mut values = vec![None; count];
    for of in wanted.into_values() {
        of.fetch(&mut values)?;
    }
    let missing = window
        .rows_mut()
        .filter(|(_, _, row)| matches!(row.value, Slot::Wanted(_)));
    for ((_, _, row), value) in missing.zip(values) {
        row.value = Slot::There(value);
    }
    Ok(())
}

/// The rows whose values come next, by keyspace, and how many they are.
fn gather(window: &mut IndexWindow) -> (BTreeMap<KeyspaceId, Wanted>, usize) {
    let mut wanted = BTreeMap::new();
    let (mut count, mut bytes) = (0, 0_usize);
    for (at, of, row) in window.rows_mut() {
        let Slot::Wanted(class) = row.value else {
            continue;
        };
        if count >= MAX_ROWS || bytes >= MAX_BYTES {
            break;
        }
        let entry = wanted.entry(of.keyspace.id()).or_insert_with(|| Wanted {
            keyspace: of.keyspace.clone(),
            keys: Vec::new(),
        });
        entry.keys.push((key::encode_key(&row.key, at), count));
        count += 1;
        bytes = bytes.saturating_add(class.max_bytes());
    }
    (wanted, count)
}

impl Wanted {
    /// Puts each value in its place.
    fn fetch(mut self, values: &mut [Option<Vec<u8>>]) -> Result<()> {
        self.keys.sort_unstable();
        let mut options = ReadOptions::default();
        // What is new is read once here; it should not push what is hot out of the cache.
        options.fill_cache(false);
        let cf = self.keyspace.space().cf();
        let stored = self.keys.iter().map(|(stored, _)| stored);
        let found = cf
            .db()
            .batched_multi_get_cf_opt(cf.handle(), stored, true, &options);
        for ((stored, place), found) in self.keys.iter().zip(found) {
            let found = found.map_err(Error::rocks("fetch committed rows"))?;
            let found = found.ok_or_else(|| missing(&self.keyspace, stored))?;
            if let Some(value) = values.get_mut(*place) {
                *value = value::decode_value(&found)?
                    .into_option()
                    .map(<[u8]>::to_vec);
            }
        }
        Ok(())
    }
}

fn missing(keyspace: &Keyspace, stored: &[u8]) -> Error {
    let user = key::decode_key(stored).map(|(user, _)| user);
    Error::corrupt(format!(
        "the commit index names key {} of keyspace {}, whose row is missing",
        Error::key_text(&user.unwrap_or_default()),
        keyspace.name()
    ))
}
