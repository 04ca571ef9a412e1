//! The sweep: removes deleted keys for good.
//!
//! The compaction filter never drops a tombstone, since it cannot know what lies in other files.
//! The sweep can: it reads the merged view of a key, and deletes the tombstone and every older
//! version in one batch. Its work list is the commit index between the last sweep and the
//! threshold, so each deleted key is visited once. Rows that a restore brought are not in the
//! index; for those one pass over the whole keyspace is made, once the threshold has passed the
//! restore.

use std::collections::BTreeSet;

use icecore_mvcc::retention::{Sweep, Verdict};
use icecore_mvcc::{KeyRange, Timestamp, key, value};
use rocksdb::WriteBatch;

use crate::changes::IndexReader;
use crate::commit::Durability;
use crate::commit::index::Change;
use crate::engine::Engine;
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::meta::Mark;
use crate::read::successor_of;
use crate::rocks::RawIter;

/// A batch of deletes is written once it holds this many.
const BATCH_DELETES: usize = 1000;

/// How much one call may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepBudget {
    /// Stop after about this many keys, at the end of a commit. The one pass over a restored
    /// keyspace is not cut short. Default 100,000.
    pub max_keys: usize,
}

impl Default for SweepBudget {
    fn default() -> Self {
        Self { max_keys: 100_000 }
    }
}

/// What one call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepReport {
    /// Keys looked at.
    pub visited_keys: u64,
    /// Versions deleted.
    pub removed_versions: u64,
    /// Tombstones at or below this time are gone.
    pub swept_to: Timestamp,
    /// Whether nothing is left to do at the present threshold.
    pub done: bool,
}

/// Collects deletes and writes them key by key.
struct Sweeper<'a> {
    engine: &'a Engine,
    keyspace: &'a Keyspace,
    threshold: Timestamp,
    iter: RawIter,
    batch: WriteBatch,
    report: SweepReport,
}

impl Engine {
    /// Removes the deleted keys of a keyspace that its threshold has passed, within a budget.
    ///
    /// # Errors
    /// [`crate::Error::KeyspaceDropped`] when it was purged meanwhile; [`crate::Error::Rocks`] when the
    /// disk fails; what was removed stays removed.
    #[tracing::instrument(level = "debug", skip_all, fields(keyspace = keyspace.name()))]
    pub fn sweep(&self, keyspace: &Keyspace, budget: SweepBudget) -> Result<SweepReport> {
        self.check_writable("sweep a keyspace")?;
        let _work = self.gc_work_lock().lock();
        self.check_present(keyspace)?;
        let threshold = keyspace.space().durable_threshold();
        let swept = self.meta().mark(Mark::Swept, keyspace.id())?;
        let index_since = keyspace.space().index_since();
        let idle = SweepReport {
            swept_to: swept,
            done: true,
            ..SweepReport::default()
        };
        if swept >= threshold || (swept < index_since && threshold < index_since) {
            return Ok(idle);
        }
        let options = RawIter::scan_options(Vec::new(), None);
        let mut sweeper = Sweeper {
            engine: self,
            keyspace,
            threshold,
            iter: RawIter::new(keyspace.space().cf(), options),
            batch: WriteBatch::default(),
            report: idle,
        };
        let to = if swept < index_since {
            sweeper.everything()?;
            threshold
        } else {
            sweeper.indexed(swept, budget)?
        };
        sweeper.write()?;
        // The deletes first, then the mark: a crash in between sweeps some keys again.
        self.sync_wal()?;
        self.meta().set_mark(Mark::Swept, keyspace.id(), to)?;
        let report = SweepReport {
            swept_to: to,
            done: to >= threshold,
            ..sweeper.report
        };
        metrics::counter!("icecore_engine_gc_swept_keys_total").increment(report.visited_keys);
        metrics::counter!("icecore_engine_gc_swept_versions_total")
            .increment(report.removed_versions);
        Ok(report)
    }
}

impl Sweeper<'_> {
    /// Visits the keys deleted in the commits after `swept`; returns how far it came.
    fn indexed(&mut self, swept: Timestamp, budget: SweepBudget) -> Result<Timestamp> {
        let id = self.keyspace.id();
        let mut deleted = BTreeSet::new();
        let mut reader = IndexReader::new(self.engine, swept, self.threshold);
        let mut reached = self.threshold;
        let mut last = swept;
        while let Some((ts, record)) = reader.next()? {
            if deleted.len() >= budget.max_keys && ts > last {
                reached = last;
                break;
            }
            last = ts;
            crate::commit::index::decode(record, |change| {
                if let Change::Key {
                    keyspace,
                    key,
                    put: None,
                } = change
                    && keyspace == id
                {
                    deleted.insert(key.to_vec());
                }
                Ok(())
            })?;
        }
        for user in &deleted {
            self.visit(user)?;
        }
        Ok(reached)
    }

    /// Visits every key that has a tombstone at or below the threshold.
    fn everything(&mut self) -> Result<()> {
        let (lower, upper) = key::range_bounds(&KeyRange::all());
        let mut walk = RawIter::new(
            self.keyspace.space().cf(),
            RawIter::scan_options(lower, upper),
        );
        let mut next = Vec::new();
        walk.seek_to_first();
        while let Some((stored, bytes)) = walk.item() {
            let (user, ts) = key::decode_key(stored)?;
            if ts > self.threshold || bytes.first() != Some(&value::TAG_TOMBSTONE) {
                walk.next();
                continue;
            }
            let prefix = key::split(stored)
                .map(|(prefix, _)| prefix)
                .unwrap_or_default();
            successor_of(prefix, &mut next);
            self.visit(&user)?;
            walk.seek(&next);
        }
        walk.status()
    }

    /// Deletes what no read at or above the threshold can see of one key, in one batch.
    fn visit(&mut self, user: &[u8]) -> Result<()> {
        let seek = key::encode_key(user, self.threshold);
        let mut rule = Sweep::new(self.threshold);
        let mut removed = 0_u64;
        self.report.visited_keys += 1;
        self.iter.refresh()?;
        self.iter.seek(&seek);
        while let Some((stored, bytes)) = self.iter.item() {
            let Some((prefix, ts)) = key::split(stored) else {
                break;
            };
            if seek.get(..prefix.len()) != Some(prefix) {
                break;
            }
            if rule.visit(ts, bytes.first() == Some(&value::TAG_TOMBSTONE)) == Verdict::Drop {
                self.batch
                    .delete_cf(self.keyspace.space().cf().handle(), stored);
                removed += 1;
            }
            self.iter.next();
        }
        self.iter.status()?;
        self.report.removed_versions += removed;
        if self.batch.len() >= BATCH_DELETES {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        self.engine.write(batch, Durability::Buffered)
    }
}
