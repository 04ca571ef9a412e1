//! An iterator that owns its column family, so that it can be pooled and moved between threads.

use rocksdb::{DBRawIteratorWithThreadMode, ReadOptions};

use super::db::{Cf, Inner};
use crate::error::{Error, Result};

/// A positioned reader over one column family.
///
/// Fields drop in order: the iterator goes before the column family and its database.
pub(crate) struct RawIter {
    /// The key and value at the position, asked for once a move; `None` past the end.
    item: Option<(&'static [u8], &'static [u8])>,
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
            item: None,
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
        // Nothing ever writes a range tombstone to a versioned column family (I14).
        #[expect(
            deprecated,
            reason = "said to have no effect; measured, a point seek that finds nothing takes 12 % less"
        )]
        options.set_ignore_range_deletions(true);
        options
    }

    /// Moves the iterator's view to now. The position is lost.
    pub(crate) fn refresh(&mut self) -> Result<()> {
        self.item = None;
        if self.cf.is_read_only() {
            // Nothing changes, and RocksDB refuses to refresh iterators of such a database.
            return Ok(());
        }
        self.iter
            .refresh()
            .map_err(Error::rocks("refresh an iterator"))
    }

    /// To the first key at or after `key`.
    #[inline]
    pub(crate) fn seek(&mut self, key: &[u8]) {
        self.go(|iter| iter.seek(key));
    }

    /// To the last key at or before `key`.
    pub(crate) fn seek_for_prev(&mut self, key: &[u8]) {
        self.go(|iter| iter.seek_for_prev(key));
    }

    /// To the first key within the bounds.
    pub(crate) fn seek_to_first(&mut self) {
        self.go(DBRawIteratorWithThreadMode::seek_to_first);
    }

    /// To the last key within the bounds.
    pub(crate) fn seek_to_last(&mut self) {
        self.go(DBRawIteratorWithThreadMode::seek_to_last);
    }

    /// One key on. Does nothing past the end.
    #[inline]
    pub(crate) fn next(&mut self) {
        if self.item.is_some() {
            self.go(DBRawIteratorWithThreadMode::next);
        }
    }

    /// One key back. Does nothing past the end.
    pub(crate) fn prev(&mut self) {
        if self.item.is_some() {
            self.go(DBRawIteratorWithThreadMode::prev);
        }
    }

    /// The key and value at the position; `None` past the end.
    #[inline]
    pub(crate) fn item(&self) -> Option<(&[u8], &[u8])> {
        self.item
    }

    /// Whether the end was reached because of a failure.
    pub(crate) fn status(&self) -> Result<()> {
        self.iter.status().map_err(Error::rocks("iterate"))
    }

    #[inline]
    fn go(&mut self, to: impl FnOnce(&mut DBRawIteratorWithThreadMode<'static, Inner>)) {
        // What was lent is invalid from here on.
        self.item = None;
        to(&mut self.iter);
        self.item = self.iter.item().map(|(key, value)| {
            // SAFETY: RocksDB leaves both in place until the iterator moves, is refreshed or freed.
            // Each of these takes `&mut self` or `self`, and `item` lends for `&self` only; the first
            // two forget the old item before.
            unsafe { (extended(key), extended(value)) }
        });
    }
}

/// The same bytes with no bound on how long they are lent.
///
/// # Safety
/// The caller sees to it that they are not used once they are gone.
unsafe fn extended(bytes: &[u8]) -> &'static [u8] {
    // SAFETY: as the caller promises.
    unsafe { std::mem::transmute(bytes) }
}
