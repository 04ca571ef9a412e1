//! Several changes of records as one step.

use icecore_engine::{RowChange, WRITE_REFUSAL_KIND};
use icecore_mvcc::Timestamp;

use crate::error::{Error, Result};
use crate::protect::{KIND, ProtectedTimestamps, check_past};
use crate::record::{ProtectRequest, Purpose, Record, RecordId};
use crate::upkeep;

/// What becomes of the records in one step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exchange {
    /// New records.
    pub protect: Vec<(Purpose, ProtectRequest)>,
    /// Records to move forward, in place.
    pub advance: Vec<(RecordId, Timestamp)>,
    /// Records to release. One that is gone already is no error.
    pub release: Vec<RecordId>,
}

impl ProtectedTimestamps {
    /// Whether commits are refused for a record.
    pub(crate) fn is_refused_for(&self, id: &RecordId) -> bool {
        let refusals = self.engine().write_refusals();
        refusals.iter().any(|r| r.record == id.to_string())
    }

    /// Changes records as one step: `decide` sees all that there are, the oldest timestamp first, and what
    /// it decides is done in one commit, before anybody else can change a record or raise a threshold.
    /// Everything is done, or nothing: neither in between nor after a crash is there a moment without
    /// the old record and the new. What is released still holds while the new ones are verified.
    ///
    /// Returns the records that were made, then those that were moved.
    ///
    /// # Errors
    /// As [`ProtectedTimestamps::protect_for`] and [`ProtectedTimestamps::advance`].
    pub fn exchange(&self, decide: impl FnOnce(&[Record]) -> Exchange) -> Result<Vec<Record>> {
        let guard = self.engine().gc_guard();
        let present = self.list()?;
        let exchange = decide(&present);
        let now = self.engine().now();
        let mut written = Vec::new();
        for (purpose, request) in exchange.protect {
            request.validate()?;
            let record = Record::new(RecordId::random(), request, purpose, now);
            check_past(record.timestamp, now)?;
            self.verify(&record)?;
            written.push(record);
        }
        let made = written.len();
        for (id, to) in exchange.advance {
            let record = present.iter().find(|record| record.id == id);
            let record = record.ok_or(Error::NoSuchRecord { id })?;
            check_past(to, now)?;
            if let Some(moved) = record.moved(to)? {
                written.push(moved);
            }
        }
        let mut changes = Vec::new();
        for record in &written {
            changes.push(RowChange::put(KIND, record.id, record.encode()?));
        }
        let released = exchange.release.iter();
        let released = released.filter(|id| present.iter().any(|record| record.id == **id));
        let released: Vec<&RecordId> = released.collect();
        for id in &released {
            changes.push(RowChange::delete(KIND, id));
            if self.is_refused_for(id) {
                changes.push(RowChange::delete(WRITE_REFUSAL_KIND, id));
            }
        }
        if changes.is_empty() {
            return Ok(written);
        }
        self.engine().system().change(changes)?;
        if !self.engine().write_refusals().is_empty() {
            self.engine().load_write_refusals()?;
        }
        drop(guard);
        upkeep::reopen(self.engine())?;
        metrics::counter!("icecore_gc_protect_granted_total").increment(made as u64);
        for record in &written {
            tracing::info!(id = %record.id, timestamp = %record.timestamp, target = %record.target,
                owner = record.owner, "protected");
        }
        for id in released {
            tracing::info!(%id, "protection released");
        }
        Ok(written)
    }
}
