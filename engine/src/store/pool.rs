//! Idle point-read iterators.
//!
//! Making an iterator costs more than a read does; refreshing one does not. An idle iterator pins
//! the memtables and files it saw, so the housekeeper gives back those not used for a while.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::Result;
use crate::rocks::{Cf, RawIter};

/// A stack of idle iterators: the one used last is used next, so the rest can age.
pub(crate) struct IteratorPool {
    idle: Mutex<Vec<Idle>>,
    capacity: usize,
}

struct Idle {
    iter: RawIter,
    since: Instant,
}

/// An iterator on loan; it goes back when dropped.
pub(crate) struct PooledIter<'a> {
    pool: &'a IteratorPool,
    iter: Option<RawIter>,
}

impl IteratorPool {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            idle: Mutex::new(Vec::new()),
            capacity,
        }
    }

    /// An iterator that sees the database as it is now.
    pub(crate) fn take(&self, cf: &Cf) -> Result<PooledIter<'_>> {
        let idle = self.idle.lock().pop();
        let iter = match idle {
            Some(mut idle) => {
                idle.iter.refresh()?;
                idle.iter
            }
            None => RawIter::new(cf, RawIter::point_options()),
        };
        Ok(PooledIter {
            pool: self,
            iter: Some(iter),
        })
    }

    /// Gives back iterators that have been idle for longer than `age`.
    pub(crate) fn evict_idle(&self, age: Duration) {
        let old: Vec<Idle> = {
            let mut idle = self.idle.lock();
            let fresh = idle
                .iter()
                .position(|i| i.since.elapsed() < age)
                .unwrap_or(idle.len());
            idle.drain(..fresh).collect()
        };
        // Dropped outside the lock: freeing an iterator may delete files.
        drop(old);
    }
}

impl PooledIter<'_> {
    /// Seeks and returns the item there, if any.
    pub(crate) fn seek(&mut self, stored: &[u8]) -> Result<Option<(&[u8], &[u8])>> {
        let Some(iter) = self.iter.as_mut() else {
            return Ok(None);
        };
        iter.seek(stored);
        match iter.item() {
            Some(item) => Ok(Some(item)),
            None => iter.status().map(|()| None),
        }
    }
}

impl Drop for PooledIter<'_> {
    fn drop(&mut self) {
        let Some(iter) = self.iter.take() else {
            return;
        };
        let mut idle = self.pool.idle.lock();
        if idle.len() < self.pool.capacity {
            idle.push(Idle {
                iter,
                since: Instant::now(),
            });
        }
    }
}
