//! The compaction filter: drops versions that a newer one shadows at every readable time.
//!
//! RocksDB shows a filter each key of its run in order, a key's versions newest first. A version
//! goes when a newer version of the same key at or below the threshold was just seen: every
//! read at or above the threshold finds that newer one (or one newer still). A run may hold only
//! some of a key's versions; then less is dropped, never more. Tombstones stay: removing one
//! could bring back an older version that lies in another file. The sweep removes them.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use icecore_mvcc::retention::{self, Verdict};
use icecore_mvcc::{Timestamp, key, value};
use rocksdb::{
    CompactionDecision,
    compaction_filter::CompactionFilter,
    compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory},
};

/// Makes one [`ShadowFilter`] for each compaction. Stateless but for the shared threshold, since
/// RocksDB calls it from several threads.
pub(crate) struct ShadowFilterFactory {
    threshold: Arc<AtomicU64>,
}

impl ShadowFilterFactory {
    /// A factory whose filters use the threshold in force when their compaction starts.
    pub(crate) fn new(threshold: Arc<AtomicU64>) -> Self {
        Self { threshold }
    }
}

impl CompactionFilterFactory for ShadowFilterFactory {
    type Filter = ShadowFilter;

    fn create(&mut self, _context: CompactionFilterContext) -> ShadowFilter {
        ShadowFilter::new(Timestamp::from_nanos(
            self.threshold.load(Ordering::Acquire),
        ))
    }

    fn name(&self) -> &CStr {
        c"icecore.shadow.v1"
    }
}

/// The state of one compaction run.
pub(crate) struct ShadowFilter {
    rule: Option<retention::Filter>,
    dropped: u64,
}

impl ShadowFilter {
    fn new(threshold: Timestamp) -> Self {
        let rule = (threshold > Timestamp::MIN).then(|| retention::Filter::new(threshold));
        Self { rule, dropped: 0 }
    }
}

impl CompactionFilter for ShadowFilter {
    fn filter(&mut self, _level: u32, stored: &[u8], value: &[u8]) -> CompactionDecision {
        let Some((rule, (prefix, ts))) = self.rule.as_mut().zip(key::split(stored)) else {
            return CompactionDecision::Keep;
        };
        match rule.visit(prefix, ts, || value.first() == Some(&value::TAG_TOMBSTONE)) {
            Verdict::Keep => CompactionDecision::Keep,
            Verdict::Drop => {
                self.dropped += 1;
                CompactionDecision::Remove
            }
        }
    }

    fn name(&self) -> &CStr {
        c"icecore.shadow.v1"
    }
}

impl Drop for ShadowFilter {
    fn drop(&mut self) {
        if self.dropped > 0 {
            metrics::counter!("icecore_engine_gc_filtered_versions_total").increment(self.dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(threshold: u64, versions: &[(&[u8], u64, bool)]) -> Vec<(Vec<u8>, u64)> {
        let mut filter = ShadowFilter::new(Timestamp::from_nanos(threshold));
        let mut kept = Vec::new();
        for (user, ts, tombstone) in versions {
            let stored = key::encode_key(user, Timestamp::from_nanos(*ts));
            let value = if *tombstone {
                value::encode_tombstone()
            } else {
                value::encode_put(b"v")
            };
            if !matches!(
                filter.filter(0, &stored, &value),
                CompactionDecision::Remove
            ) {
                kept.push((user.to_vec(), *ts));
            }
        }
        kept
    }

    #[test]
    fn keeps_the_newest_at_or_below_the_threshold_and_all_above() {
        let kept = run(
            5,
            &[
                (b"a", 9, false),
                (b"a", 5, false),
                (b"a", 4, false),
                (b"b", 3, false),
                (b"b", 1, false),
            ],
        );
        assert_eq!(
            kept,
            vec![(b"a".to_vec(), 9), (b"a".to_vec(), 5), (b"b".to_vec(), 3)]
        );
    }

    #[test]
    fn keeps_tombstones_but_uses_them_as_evidence() {
        let kept = run(
            9,
            &[
                (b"a", 8, true),
                (b"a", 7, false),
                (b"a", 6, true),
                (b"a", 5, false),
            ],
        );
        assert_eq!(kept, vec![(b"a".to_vec(), 8), (b"a".to_vec(), 6)]);
    }

    #[test]
    fn evidence_does_not_cross_keys() {
        let kept = run(9, &[(b"a", 8, false), (b"aa", 7, false), (b"b", 6, false)]);
        assert_eq!(kept.len(), 3);
    }
}
