//! An iterator that owns its column family, so that it can be pooled and moved between threads.

use rocksdb::{DBRawIteratorWithThreadMode, ReadOptions};

use super::db::{Cf, Inner};
use crate::error::{Error, Result};

/// A positioned reader over one column family.
///
/// Fields drop in order: the iterator goes before the column family and its database.
pub(crate) struct RawIter {
    iter: DBRawIteratorWithThreadMode<'static, Inner>,
    cf: Cf,
}

impl RawIter {
    /// A new iterator; it sees the database as it is now, until [`RawIter::refresh`].
    pub(crate) fn new(cf: &Cf, options: ReadOptions) -> Self {
        let iter = cf.db().raw_iterator_cf_opt(cf.handle(), options);
        // SAFETY: the iterator borrows the database, which `cf` keeps open for as long as this
        // struct lives; the iterator is dropped first.
        let iter: DBRawIteratorWithThreadMode<'static, Inner> =
            unsafe { std::mem::transmute(iter) };
        Self {
            iter,
            cf: cf.clone(),
        }
    }

    /// Options of a scan in total order between two stored keys.
    pub(crate) fn scan_options(lower: Vec<u8>, upper: Option<Vec<u8>>) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options.set_iterate_lower_bound(lower);
        if let Some(upper) = upper {
            options.set_iterate_upper_bound(upper);
        }
        options
    }

    /// Options of a point seek that uses the prefix bloom and stops at the end of its prefix.
    pub(crate) fn point_options() -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(true);
        options
    }

    /// Moves the iterator's view to now. The position is lost.
    pub(crate) fn refresh(&mut self) -> Result<()> {
        if self.cf.is_read_only() {
            // Nothing changes, and RocksDB refuses to refresh iterators of such a database.
            return Ok(());
        }
        self.iter
            .refresh()
            .map_err(Error::rocks("refresh an iterator"))
    }

    /// To the first key at or after `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        self.iter.seek(key);
    }

    /// To the last key at or before `key`.
    pub(crate) fn seek_for_prev(&mut self, key: &[u8]) {
        self.iter.seek_for_prev(key);
    }

    /// To the first key within the bounds.
    pub(crate) fn seek_to_first(&mut self) {
        self.iter.seek_to_first();
    }

    /// To the last key within the bounds.
    pub(crate) fn seek_to_last(&mut self) {
        self.iter.seek_to_last();
    }

    /// One key on. Only on a valid iterator.
    pub(crate) fn next(&mut self) {
        self.iter.next();
    }

    /// One key back. Only on a valid iterator.
    pub(crate) fn prev(&mut self) {
        self.iter.prev();
    }

    /// The key and value at the position; `None` past the end.
    pub(crate) fn item(&self) -> Option<(&[u8], &[u8])> {
        self.iter.item()
    }

    /// Whether the end was reached because of a failure.
    pub(crate) fn status(&self) -> Result<()> {
        self.iter.status().map_err(Error::rocks("iterate"))
    }
}
