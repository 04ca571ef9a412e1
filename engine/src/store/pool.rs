//! Idle point-read iterators.
//!
//! Making an iterator costs more than a read does. Refreshing one costs less, and mostly is not needed:
//! versions at or below a timestamp that was visible when the iterator's view was taken never change
//! where they can be read, so the view serves every read at or below it. (A bulk load holds `visible`
//! back until its files are in; a keyspace that is being restored is read by nobody.)
//!
//! An iterator pins the memtables and files it saw. So the housekeeper makes rounds: a view is not
//! used beyond the round it was taken in, and iterators that no read took for a while go.

use std::sync::atomic::{AtomicU64, Ordering};

use icecore_mvcc::{Timestamp, key};
use parking_lot::Mutex;

use crate::error::Result;
use crate::rocks::{Cf, RawIter};

/// A stack of idle iterators: the one used last is used next, so the rest can age.
pub(crate) struct IteratorPool {
    idle: Mutex<Vec<Reader>>,
    capacity: usize,
    /// The housekeeper's rounds so far.
    round: AtomicU64,
}

/// An iterator with what is known of its view.
struct Reader {
    iter: RawIter,
    /// Versions at or below this are all in its view.
    sees: Timestamp,
    /// The round in which its view was taken.
    viewed: u64,
    /// The round in which it was used last.
    used: u64,
    /// Room for a stored key.
    target: Vec<u8>,
}

/// An iterator on loan; it goes back when dropped.
pub(crate) struct PooledIter<'a> {
    pool: &'a IteratorPool,
    reader: Option<Reader>,
}

impl IteratorPool {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            idle: Mutex::new(Vec::new()),
            capacity,
            round: AtomicU64::new(0),
        }
    }

    /// An iterator that sees all versions at or below `ts`, which must be visible. `visible` tells
    /// the newest timestamp that is.
    pub(crate) fn take(
        &self,
        cf: &Cf,
        ts: Timestamp,
        visible: impl Fn() -> Timestamp,
    ) -> Result<PooledIter<'_>> {
        let round = self.round.load(Ordering::Relaxed);
        let idle = self.idle.lock().pop();
        let reader = match idle {
            Some(mut reader) => {
                if reader.sees < ts || reader.viewed != round {
                    // Asked first: what becomes visible later may be missing from the view.
                    reader.sees = visible();
                    reader.viewed = round;
                    reader.iter.refresh()?;
                }
                reader.used = round;
                reader
            }
            None => Reader {
                sees: visible(),
                iter: RawIter::new(cf, RawIter::point_options()),
                viewed: round,
                used: round,
                target: Vec::new(),
            },
        };
        Ok(PooledIter {
            pool: self,
            reader: Some(reader),
        })
    }

    /// Begins a round, and gives back the iterators that were not used for this many.
    pub(crate) fn begin_round(&self, rounds_idle: u64) {
        let round = self.round.fetch_add(1, Ordering::Relaxed) + 1;
        let old: Vec<Reader> = {
            let mut idle = self.idle.lock();
            let fresh = idle
                .iter()
                .position(|reader| reader.used.saturating_add(rounds_idle) > round)
                .unwrap_or(idle.len());
            idle.drain(..fresh).collect()
        };
        // Dropped outside the lock: freeing an iterator may delete files.
        drop(old);
    }
}

impl PooledIter<'_> {
    /// The stored value of the key's newest version at or before `ts`; `None` where there is none.
    pub(crate) fn find(&mut self, user: &[u8], ts: Timestamp) -> Result<Option<&[u8]>> {
        self.seek(user, ts)?;
        let found = self.reader.as_ref().and_then(|reader| {
            let (stored, value) = reader.iter.item()?;
            let prefix = key::split(stored)?.0;
            let wanted = key::split(&reader.target)?.0;
            (prefix == wanted).then_some(value)
        });
        Ok(found)
    }

    /// Goes to the key's newest version at or before `ts`, or behind where it would be.
    fn seek(&mut self, user: &[u8], ts: Timestamp) -> Result<()> {
        let Some(reader) = self.reader.as_mut() else {
            return Ok(());
        };
        reader.target.clear();
        key::encode_into(&mut reader.target, user, ts);
        reader.iter.seek(&reader.target);
        if reader.iter.item().is_some() {
            return Ok(());
        }
        // One that failed does not go back to the pool.
        reader.iter.status().inspect_err(|_| self.reader = None)
    }
}

impl Drop for PooledIter<'_> {
    fn drop(&mut self) {
        let Some(reader) = self.reader.take() else {
            return;
        };
        let mut idle = self.pool.idle.lock();
        if idle.len() < self.pool.capacity {
            idle.push(reader);
        }
    }
}

#[cfg(test)]
mod tests {
    use icecore_mvcc::KeyspaceSettings;

    use crate::{Durability, Engine, Options};

    /// A commit that comes between the question what is visible and the view must be in the view, or
    /// count as not in it.
    #[test]
    fn what_becomes_visible_while_a_view_is_taken_is_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path().join("db"), &Options::default()).unwrap();
        let keyspace = engine
            .create_keyspace("a", KeyspaceSettings::default())
            .unwrap();
        let put = |value: &str| keyspace.put("k", value, Durability::Buffered).unwrap();
        let space = keyspace.space();
        let (cf, pool) = (space.cf(), space.pool());
        put("1");
        for round in 2..6_u32 {
            let value = round.to_string();
            let visible = || {
                put(&value);
                engine.visible()
            };
            // In the first round the iterator is made, later it is refreshed.
            drop(pool.take(cf, engine.visible().next(), visible).unwrap());
            let ts = engine.visible();
            let mut reader = pool.take(cf, ts, || engine.visible()).unwrap();
            let found = reader.find(b"k", ts).unwrap().unwrap().to_vec();
            assert_eq!(found.get(1..), Some(value.as_bytes()));
        }
    }
}
