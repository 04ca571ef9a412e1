//! The protected timestamps of a backup job: its own from its start to its end, however often it is
//! interrupted, and exchanged for its chain's once the layer is there.

use icecore_archive::CollectionId;
use icecore_engine::{Engine, SYSTEM_KEYSPACE};
use icecore_gc::{
    Error as GcError, Holder, ProtectRequest, ProtectedTimestamps, Purpose, Record, RecordId,
    Target,
};
use icecore_mvcc::Timestamp;

use super::begun::Begun;
use crate::error::Result;
use crate::jobs::orphans::{job_of, owner_of, release_of};
use crate::jobs::row::JobId;
use crate::options::OnGcGap;
use crate::plan::BackupPlan;
use crate::protection::{ChainOf, Committed, introduced_target, run_target, thresholds};

/// What a job holds: what it reads from where its layer begins, or of a full from its end; and of an
/// incremental that takes keyspaces from zero, these from the layer's end on.
type Held = [Option<RecordId>; 2];

/// Makes sure that records hold what the job reads, or fails with both times; other records of the job are
/// released.
pub(super) fn acquire(engine: &Engine, id: JobId, plan: &BackupPlan, known: Held) -> Result<Held> {
    let records = ProtectedTimestamps::new(engine);
    let [from_start, from_end] = known;
    let held = [
        match (still(&records, from_start)?, run_target(plan)?) {
            (None, Some(target)) => Some(protect(engine, id, plan, target)?.id),
            (held, _) => held,
        },
        match (still(&records, from_end)?, introduced_target(plan)?) {
            (None, Some(target)) => Some(protect_introduced(engine, id, plan, target)?.id),
            (held, _) => held,
        },
    ];
    let keep: Vec<RecordId> = held.iter().flatten().copied().collect();
    release_of(engine, id, &keep)?;
    // With the records in place: what no threshold has passed by now, none will.
    let _guard = engine.gc_guard();
    plan.clone()
        .close_gaps(&thresholds(engine), OnGcGap::Error)?;
    Ok(held)
}

fn still(records: &ProtectedTimestamps, known: Option<RecordId>) -> Result<Option<RecordId>> {
    let Some(known) = known else { return Ok(None) };
    Ok(records.get(&known)?.map(|record| record.id))
}

fn hold(engine: &Engine, id: JobId, at: Timestamp, target: &Target) -> icecore_gc::Result<Record> {
    let request = ProtectRequest::new(at, target.clone(), owner_of(id));
    let request = request.held_by(Holder::Job { id: id.uuid() });
    ProtectedTimestamps::new(engine).protect_for(Purpose::Backups, request)
}

/// Holds an earlier time, or a later one where a threshold has passed the earlier.
fn hold_from(
    engine: &Engine,
    id: JobId,
    (early, late): (Timestamp, Timestamp),
    target: &Target,
) -> Result<Record> {
    match hold(engine, id, early, target) {
        Err(GcError::Verification { .. }) if early < late => Ok(hold(engine, id, late, target)?),
        held => Ok(held?),
    }
}

fn protect(engine: &Engine, id: JobId, plan: &BackupPlan, target: Target) -> Result<Record> {
    if plan.onto.is_some() {
        return Ok(hold(engine, id, plan.start, &target)?);
    }
    // With history, as much of the past as all of them have, so that a pause does not cost it.
    let past = match plan.revision_history {
        true => common_past(engine, plan)?,
        false => plan.end,
    };
    hold_from(engine, id, (past, plan.end), &target)
}

/// One that was dropped within the window is read as of its last moment.
fn protect_introduced(
    engine: &Engine,
    id: JobId,
    plan: &BackupPlan,
    target: Target,
) -> Result<Record> {
    let introduced = plan.keyspaces.iter().filter(|k| k.is_introduced());
    let last_moments = introduced.filter_map(|k| Some(k.descriptor.dropped?.prev()));
    let early = last_moments.fold(plan.end, Timestamp::min);
    hold_from(engine, id, (early, plan.end), &target)
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

/// Gives the chain a record at its new end and releases the job's, in one step. Run again, it changes
/// nothing.
pub(super) fn hand_over(
    engine: &Engine,
    id: JobId,
    collection: CollectionId,
    begun: &Begun,
) -> Result<()> {
    let plan = &begun.plan;
    let chain = ChainOf::new(collection, begun.chain_id, begun.full_end, plan)?;
    let layer = Committed {
        full: plan.onto.is_none(),
        start: plan.start,
        end: plan.end,
        stood: begun.chain_held,
        session: engine.session(),
    };
    let mine = |record: &Record| job_of(record) == Some(id);
    ProtectedTimestamps::new(engine).exchange(|records| chain.settle(records, layer, mine))?;
    Ok(())
}
