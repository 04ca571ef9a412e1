//! The protected timestamp of a backup job: its own from its start to its end, however often it is
//! interrupted, and handed to its chain once the layer is there.

use icecore_archive::CollectionId;
use icecore_engine::{Engine, SYSTEM_KEYSPACE};
use icecore_gc::{ProtectRequest, ProtectedTimestamps, Purpose, Record, RecordId, Target};
use icecore_mvcc::Timestamp;

use crate::error::Result;
use crate::jobs::orphans::{owner_of, release_of};
use crate::jobs::row::JobId;
use crate::options::OnGcGap;
use crate::plan::BackupPlan;
use crate::protection::{chain_owner, chain_target, run_target, thresholds};

/// Makes sure that a record holds what the job reads, or fails with both times; other records of the
/// job are released.
pub(super) fn acquire(
    engine: &Engine,
    id: JobId,
    plan: &BackupPlan,
    known: Option<RecordId>,
) -> Result<Option<RecordId>> {
    let records = ProtectedTimestamps::new(engine);
    let held = match known {
        Some(known) => records.get(&known)?.map(|record| record.id),
        None => None,
    };
    let held = match (held, run_target(plan)?) {
        (Some(held), _) => Some(held),
        (None, Some(target)) => Some(protect(engine, id, plan, target)?.id),
        (None, None) => None,
    };
    release_of(engine, id, held)?;
    // With the record in place: what no threshold has passed by now, none will.
    let _guard = engine.gc_guard();
    plan.clone()
        .close_gaps(&thresholds(engine), OnGcGap::Error)?;
    Ok(held)
}

fn protect(engine: &Engine, id: JobId, plan: &BackupPlan, target: Target) -> Result<Record> {
    let records = ProtectedTimestamps::new(engine);
    let from = |timestamp| ProtectRequest {
        timestamp,
        target: target.clone(),
        owner: owner_of(id),
    };
    if plan.onto.is_some() {
        return Ok(records.protect_for(Purpose::Backups, from(plan.start))?);
    }
    if plan.revision_history {
        // As much of the past as all of them have, so that a pause does not cost it.
        let past = common_past(engine, plan)?;
        match records.protect_for(Purpose::Backups, from(past)) {
            // A threshold rose in between.
            Err(icecore_gc::Error::Verification { .. }) => {}
            held => return Ok(held?),
        }
    }
    Ok(records.protect_for(Purpose::Backups, from(plan.end))?)
}

/// The oldest time that can be read in all keyspaces of a plan.
fn common_past(engine: &Engine, plan: &BackupPlan) -> Result<Timestamp> {
    let mut past = engine.keyspace_by_id(SYSTEM_KEYSPACE)?.threshold();
    for planned in plan.keyspaces.iter().filter(|k| k.is_read()) {
        let threshold = engine.keyspace_by_id(planned.descriptor.id)?.threshold();
        past = past.max(threshold);
    }
    Ok(past.min(plan.end))
}

/// Gives the chain a record at its new end, then releases the job's. A record of the chain that is there
/// already, of this run before it died or of a later backup, stays. The caller still holds the snapshot of
/// the end.
pub(super) fn hand_over(
    engine: &Engine,
    id: JobId,
    collection: CollectionId,
    plan: &BackupPlan,
) -> Result<()> {
    let records = ProtectedTimestamps::new(engine);
    let owner = chain_owner(collection, &plan.patterns);
    let target = chain_target(plan)?;
    let mut of_owner = records.list()?;
    of_owner.retain(|record| record.owner == owner);
    let standing = of_owner.iter().rfind(|record| record.target == target);
    let kept = match standing {
        Some(standing) if standing.timestamp >= plan.end => standing.id,
        Some(standing) if plan.onto.is_some() => records.advance(&standing.id, plan.end)?.id,
        _ => {
            let request = ProtectRequest {
                timestamp: plan.end,
                target,
                owner,
            };
            records.protect_for(Purpose::Backups, request)?.id
        }
    };
    for record in of_owner.iter().filter(|record| record.id != kept) {
        records.release(&record.id)?;
    }
    release_of(engine, id, None)
}
