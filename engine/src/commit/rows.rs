//! The rows of one commit, in the form in which they will be stored.
//!
//! Keys and values lie one behind the other in one buffer: each row's stored key, with room for the
//! timestamp that the sequencer has yet to give, then its stored value. So a commit copies a row once,
//! and RocksDB's batch takes it from there.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use icecore_mvcc::{KeyspaceId, Timestamp, Value, key, value};
use rocksdb::WriteBatch;

use super::index;
use crate::error::Result;
use crate::store::Space;

/// A buffer that grew beyond this is not kept for the thread's next commit.
const KEPT_BYTES: usize = 64 << 10;

/// About what RocksDB's batch adds to each row, and the commit index to each key.
const ROW_OVERHEAD_BYTES: usize = 40;

/// Puts and deletes, in the order they were added until [`Rows::prepare`] sorts them.
#[derive(Default)]
pub(crate) struct Rows {
    bytes: Vec<u8>,
    places: Vec<Place>,
    key_bytes: usize,
    /// Room for a record of the commit index.
    record: Vec<u8>,
    /// The first key or value over its limit.
    refused: Option<icecore_mvcc::Error>,
}

/// Where a row lies in the buffer.
struct Place {
    space: Arc<Space>,
    key: Range<usize>,
    value: Range<usize>,
}

/// One put or delete.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    /// Its keyspace.
    pub(crate) space: &'a Arc<Space>,
    prefix: &'a [u8],
    value: &'a [u8],
}

thread_local! {
    /// The buffers of this thread's last commit of a single row, empty.
    static SPARE: Cell<Option<Box<Rows>>> = const { Cell::new(None) };
}

impl Rows {
    /// No rows, with buffers that an earlier commit of this thread has given back.
    pub(crate) fn spare() -> Box<Self> {
        // Another thread-local's destructor may commit after this one is gone.
        let kept = SPARE.try_with(Cell::take);
        kept.ok().flatten().unwrap_or_default()
    }

    /// Keeps the buffers for the thread's next [`Rows::spare`].
    pub(crate) fn keep(mut self: Box<Self>) {
        if self.bytes.capacity() <= KEPT_BYTES {
            self.clear();
            let _gone = SPARE.try_with(|spare| spare.set(Some(self)));
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
        self.key_bytes = 0;
        self.refused = None;
    }

    /// Adds a put (`Some`) or a delete. One over its limits is not taken, and fails `prepare`.
    pub(crate) fn push(&mut self, space: &Arc<Space>, user: &[u8], put: Option<&[u8]>) {
        let checked = key::check_key(user).and_then(|()| put.map_or(Ok(()), value::check_value));
        if let Err(over) = checked {
            self.refused.get_or_insert(over);
            return;
        }
        let start = self.bytes.len();
        key::encode_into(&mut self.bytes, user, Timestamp::MIN);
        let middle = self.bytes.len();
        value::encode_into(&mut self.bytes, put.map_or(Value::Tombstone, Value::Put));
        self.key_bytes += middle - start;
        self.places.push(Place {
            space: Arc::clone(space),
            key: start..middle,
            value: middle..self.bytes.len(),
        });
    }

    /// How many rows there are to write.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nothing was added, not even what `prepare` will refuse.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.refused.is_none()
    }

    /// The rows, in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Row<'_>> + Clone {
        self.places.iter().map(|place| place.row(&self.bytes))
    }

    /// Checks the limits, sorts by keyspace and key, and keeps the last write of each key.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        if let Some(over) = &self.refused {
            return Err(over.clone().into());
        }
        let bytes = &self.bytes;
        if self
            .places
            .is_sorted_by(|a, b| a.row(bytes).sort_key() < b.row(bytes).sort_key())
        {
            return Ok(());
        }
        // Stable, so equal keys stay in the order they were added; keep the last of each run.
        self.places
            .sort_by(|a, b| a.row(bytes).sort_key().cmp(&b.row(bytes).sort_key()));
        self.places.reverse();
        self.places
            .dedup_by(|a, b| a.row(bytes).sort_key() == b.row(bytes).sort_key());
        self.places.reverse();
        Ok(())
    }

    /// About how many bytes RocksDB's batch will have, with the record in the commit index.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.bytes.len() + self.key_bytes + self.places.len() * ROW_OVERHEAD_BYTES
    }

    /// Puts the rows into RocksDB's batch, as of their commit's timestamp.
    pub(crate) fn write_at(&mut self, ts: Timestamp, batch: &mut WriteBatch) {
        let inverted = key::encode_timestamp(ts);
        for place in &self.places {
            place.stamp(&mut self.bytes, inverted);
            let (stored_key, stored_value) = place.parts(&self.bytes);
            batch.put_cf(place.space.cf().handle(), stored_key, stored_value);
        }
    }

    /// Hands `emit` the records of the commit index that name the rows, with their numbers.
    pub(crate) fn write_index(&mut self, emit: impl FnMut(u32, &[u8])) {
        let mut record = std::mem::take(&mut self.record);
        index::encode_keys(self, &mut record, emit);
        self.record = record;
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "places are made by `push`, and the buffer they are of only grows until both are cleared"
)]
impl Place {
    fn parts<'a>(&self, bytes: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        (&bytes[self.key.clone()], &bytes[self.value.clone()])
    }

    fn row<'a>(&'a self, bytes: &'a [u8]) -> Row<'a> {
        let prefix = self.key.start..self.key.end - key::TIMESTAMP_BYTES;
        Row {
            space: &self.space,
            prefix: &bytes[prefix],
            value: &bytes[self.value.clone()],
        }
    }

    fn stamp(&self, bytes: &mut [u8], inverted: [u8; key::TIMESTAMP_BYTES]) {
        bytes[self.key.end - key::TIMESTAMP_BYTES..self.key.end].copy_from_slice(&inverted);
    }
}

impl<'a> Row<'a> {
    /// Prefixes sort as their user keys do.
    fn sort_key(self) -> (KeyspaceId, &'a [u8]) {
        (self.space.id(), self.prefix)
    }

    /// The user key, copied only if it is stored escaped.
    #[expect(clippy::expect_used, reason = "`push` has encoded it")]
    pub(crate) fn user_key(self) -> Cow<'a, [u8]> {
        key::user_key(self.prefix).expect("what was encoded decodes")
    }

    /// Bytes of the key as it is escaped, at least those of the user key.
    pub(crate) fn key_bytes(self) -> usize {
        self.prefix.len() - key::TERMINATOR.len()
    }

    /// The bytes of a put; `None` for a delete.
    pub(crate) fn put(self) -> Option<&'a [u8]> {
        match self.value.split_first() {
            Some((&value::TAG_PUT, bytes)) => Some(bytes),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.put().is_some() {
            "put"
        } else {
            "delete"
        };
        let key = icecore_mvcc::text::to_text(&self.user_key());
        write!(f, "{what} {} {key}", self.space.name())
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
