//! The state of one keyspace that all its handles share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use icecore_mvcc::{Descriptor, KeyspaceId, Timestamp};
use parking_lot::RwLock;

use super::pool::IteratorPool;
use crate::error::{Error, Result};
use crate::rocks::Cf;

/// A keyspace's storage.
pub(crate) struct Space {
    id: KeyspaceId,
    name: String,
    cf: Cf,
    descriptor: RwLock<Descriptor>,
    /// When it was dropped, in nanoseconds; 0 while it lives. Set under the sequencer's lock.
    dropped: AtomicU64,
    /// Reads below this fail (nanoseconds). Raised before the filter's threshold.
    read_floor: AtomicU64,
    /// What the compaction filter uses (nanoseconds). Raised once the new value is durable.
    filter_threshold: Arc<AtomicU64>,
    pool: IteratorPool,
}

impl Space {
    /// A keyspace whose threshold (given in `filter_threshold`) is in force already.
    pub(crate) fn new(
        descriptor: Descriptor,
        cf: Cf,
        filter_threshold: Arc<AtomicU64>,
        pooled: usize,
    ) -> Self {
        Self {
            id: descriptor.id,
            name: descriptor.name.clone(),
            cf,
            dropped: AtomicU64::new(descriptor.dropped.map_or(0, Timestamp::nanos)),
            read_floor: AtomicU64::new(filter_threshold.load(Ordering::Acquire)),
            descriptor: RwLock::new(descriptor),
            filter_threshold,
            pool: IteratorPool::new(pooled),
        }
    }

    pub(crate) fn id(&self) -> KeyspaceId {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn cf(&self) -> &Cf {
        &self.cf
    }

    pub(crate) fn pool(&self) -> &IteratorPool {
        &self.pool
    }

    pub(crate) fn descriptor(&self) -> Descriptor {
        self.descriptor.read().clone()
    }

    pub(crate) fn set_descriptor(&self, descriptor: Descriptor) {
        *self.descriptor.write() = descriptor;
    }

    /// When the commit index begins to cover this keyspace.
    pub(crate) fn index_since(&self) -> Timestamp {
        self.descriptor.read().index_since
    }

    /// When it was dropped.
    pub(crate) fn dropped(&self) -> Option<Timestamp> {
        match self.dropped.load(Ordering::Acquire) {
            0 => None,
            nanos => Some(Timestamp::from_nanos(nanos)),
        }
    }

    /// Marks it dropped. Only under the sequencer's lock, so that no later commit is admitted.
    pub(crate) fn set_dropped(&self, at: Timestamp) {
        self.dropped.store(at.nanos(), Ordering::Release);
    }

    /// An error once it was dropped.
    pub(crate) fn check_live(&self) -> Result<()> {
        self.check_exists_at(Timestamp::MAX)
    }

    /// An error if it was dropped at or before `at`.
    pub(crate) fn check_exists_at(&self, at: Timestamp) -> Result<()> {
        match self.dropped() {
            Some(dropped) if dropped <= at => Err(Error::KeyspaceDropped {
                name: self.name.clone(),
                dropped,
            }),
            _ => Ok(()),
        }
    }

    /// Reads below this are refused.
    pub(crate) fn threshold(&self) -> Timestamp {
        Timestamp::from_nanos(self.read_floor.load(Ordering::Acquire))
    }

    /// What is durable of the threshold: only what lies below it may be deleted.
    pub(crate) fn durable_threshold(&self) -> Timestamp {
        Timestamp::from_nanos(self.filter_threshold.load(Ordering::Acquire))
    }

    /// Refuses reads below `to` from now on.
    pub(crate) fn raise_read_floor(&self, to: Timestamp) {
        self.read_floor.fetch_max(to.nanos(), Ordering::AcqRel);
    }

    /// Lets the compaction filter drop what `to` makes unreadable. Only once `to` is durable.
    pub(crate) fn raise_filter_threshold(&self, to: Timestamp) {
        self.filter_threshold
            .fetch_max(to.nanos(), Ordering::AcqRel);
    }

    /// An error if a read at `at` may be incomplete.
    pub(crate) fn check_readable(&self, at: Timestamp) -> Result<()> {
        let threshold = self.threshold();
        if at < threshold {
            return Err(Error::BelowThreshold {
                keyspace: self.name.clone(),
                requested: at,
                threshold,
            });
        }
        self.check_exists_at(at)
    }
}
