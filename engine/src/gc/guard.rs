//! Raising thresholds.
//!
//! A threshold only rises, in three steps: reads below it are refused, it is made durable, and
//! then the compaction filter may use it. A crash in between loses nothing that was readable.
//! The guard is the one lock under which thresholds rise; protection is verified under it too,
//! so that it holds from then on or fails.

use icecore_mvcc::{KeyspaceId, Timestamp};
use parking_lot::MutexGuard;

use crate::catalog::SYSTEM_KEYSPACE;
use crate::engine::Engine;
use crate::error::Result;
use crate::meta::Mark;

/// While it lives, no threshold rises but through it.
pub struct GcGuard<'a> {
    engine: &'a Engine,
    _lock: MutexGuard<'a, ()>,
}

impl Engine {
    /// Locks the thresholds.
    pub fn gc_guard(&self) -> GcGuard<'_> {
        GcGuard {
            engine: self,
            _lock: self.gc_lock().lock(),
        }
    }

    /// The oldest time that a snapshot or a running scan holds.
    pub fn oldest_reader(&self) -> Option<Timestamp> {
        self.watermark().oldest()
    }
}

impl GcGuard<'_> {
    /// The threshold in force of a keyspace.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchKeyspace`].
    pub fn threshold(&self, id: KeyspaceId) -> Result<Timestamp> {
        Ok(self.engine.keyspace_by_id(id)?.threshold())
    }

    /// Raises the threshold of a keyspace towards `to`, as far as the visible timestamp, the
    /// oldest reader and (for the system keyspace) the other keyspaces' thresholds allow.
    /// Returns the threshold then in force; asking for less than that changes nothing.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchKeyspace`]; [`crate::Error::Rocks`] when it cannot be made durable,
    /// which stops the engine.
    pub fn raise(&self, id: KeyspaceId, to: Timestamp) -> Result<Timestamp> {
        self.engine.check_writable("raise a threshold")?;
        let keyspace = self.engine.keyspace_by_id(id)?;
        let space = keyspace.space();
        let mut limit = to.min(self.engine.visible());
        if id == SYSTEM_KEYSPACE {
            // Whenever a keyspace can be read, so can its descriptor.
            let others = self.engine.all_keyspaces();
            limit = others
                .iter()
                .map(|k| k.threshold())
                .fold(limit, Timestamp::min);
        }
        let raised = self.engine.watermark().with_oldest(|oldest| {
            let target = oldest.map_or(limit, |oldest| limit.min(oldest));
            (target > space.threshold())
                .then(|| space.raise_read_floor(target))
                .map(|()| target)
        });
        let Some(target) = raised else {
            return Ok(space.threshold());
        };
        self.engine
            .meta()
            .set_mark(Mark::Threshold, id, target)
            .inspect_err(|e| {
                self.engine
                    .sequencer()
                    .poison(format!("a threshold could not be made durable: {e}"));
            })?;
        space.raise_filter_threshold(target);
        tracing::debug!(keyspace = space.name(), threshold = %target, "threshold raised");
        Ok(target)
    }
}
