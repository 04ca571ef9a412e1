//! Reads a window of the commit index in commit order.

use icecore_mvcc::Timestamp;

use crate::commit::index::{record_key, record_timestamp};
use crate::engine::Engine;
use crate::error::Result;
use crate::rocks::RawIter;

/// A running read of the records with a timestamp in `(after, until]`.
pub(crate) struct IndexReader {
    iter: RawIter,
    started: bool,
}

impl IndexReader {
    /// The caller has checked that the index covers the window.
    pub(crate) fn new(engine: &Engine, after: Timestamp, until: Timestamp) -> Self {
        Self::from_record(engine, (after.next(), 0), until)
    }

    /// From a record on, given by its time and its number within the commit.
    pub(crate) fn from_record(
        engine: &Engine,
        (first, number): (Timestamp, u32),
        until: Timestamp,
    ) -> Self {
        let lower = record_key(first, number).to_vec();
        // Timestamps end far below the maximum, where `next` would not go up.
        let upper = record_key(until.next(), 0).to_vec();
        let options = RawIter::scan_options(lower.min(upper.clone()), Some(upper));
        Self {
            iter: RawIter::new(engine.commits(), options),
            started: false,
        }
    }

    /// The next record with the timestamp of its commit.
    pub(crate) fn next(&mut self) -> Result<Option<(Timestamp, &[u8])>> {
        if self.started {
            self.iter.next();
        } else {
            self.started = true;
            self.iter.seek_to_first();
        }
        match self.iter.item() {
            Some((key, record)) => Ok(Some((record_timestamp(key)?, record))),
            None => self.iter.status().map(|()| None),
        }
    }
}
