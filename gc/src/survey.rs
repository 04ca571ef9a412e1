//! Gathers what the policy needs to know of an engine.

use std::time::Duration;

use icecore_engine::{Engine, Keyspace, SYSTEM_KEYSPACE};
use icecore_mvcc::{DEFAULT_GC_TTL, Timestamp};

use crate::error::Result;
use crate::policy::{Decision, Situation, decide};
use crate::protect::ProtectedTimestamps;
use crate::record::Record;

/// The time and the records that decisions are made by. A threshold may rise by a survey taken under
/// the GC guard that is still held; otherwise it tells what would be.
pub(crate) struct Survey {
    pub(crate) now: Timestamp,
    pub(crate) records: Vec<Record>,
}

impl Survey {
    /// `now` is the caller's, so that one round decides by one time.
    pub(crate) fn take(engine: &Engine, now: Timestamp) -> Result<Self> {
        let records = ProtectedTimestamps::new(engine).list()?;
        Ok(Self { now, records })
    }

    /// How long the oldest record has been held; a leaked one makes this grow without end.
    pub(crate) fn publish(&self) {
        let oldest = self
            .records
            .iter()
            .map(|r| self.now.since(r.timestamp))
            .max();
        metrics::gauge!("icecore_gc_oldest_protected_age_seconds")
            .set(oldest.unwrap_or_default().as_secs_f64());
        metrics::gauge!("icecore_gc_protected_records").set(self.records.len() as f64);
    }

    /// What the policy says of a keyspace's threshold.
    pub(crate) fn decide(&self, keyspace: &Keyspace, ttl: Duration) -> Decision {
        let engine = keyspace.engine();
        let is_system = keyspace.id() == SYSTEM_KEYSPACE;
        let descriptor = keyspace.descriptor();
        let records: Vec<&Record> = self
            .records
            .iter()
            .filter(|r| is_system || r.applies_to(&descriptor))
            .collect();
        let others = if is_system {
            engine.all_keyspaces()
        } else {
            Vec::new()
        };
        decide(&Situation {
            present: keyspace.threshold(),
            now: self.now,
            ttl,
            records: &records,
            oldest_reader: engine.oldest_reader(),
            newest_commit: engine.visible(),
            lowest_other: others
                .iter()
                .map(|k| (k.threshold(), k.name()))
                .min_by_key(|(threshold, _)| *threshold),
        })
    }
}

/// TTL of the system keyspace: the longest of all others, dropped ones too; the default if none.
pub(crate) fn system_ttl(others: impl IntoIterator<Item = Duration>) -> Duration {
    others.into_iter().max().unwrap_or(DEFAULT_GC_TTL)
}

/// A keyspace's own TTL.
pub(crate) fn ttl_of(keyspace: &Keyspace) -> Duration {
    keyspace.descriptor().settings.gc_ttl
}

/// What it occupies, on disk and in memtables.
pub(crate) fn bytes_of(keyspace: &Keyspace) -> u64 {
    let stats = keyspace.stats();
    stats.sst_bytes + stats.memtable_bytes
}
