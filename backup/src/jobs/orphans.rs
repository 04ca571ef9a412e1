//! Protection that belongs to jobs, and what is left of it when a process dies.

use icecore_engine::Engine;
use icecore_gc::{Holder, ProtectedTimestamps, Record, RecordId};

use super::row::JobId;
use super::table::JobTable;
use crate::error::{Error, Result};

/// What the owner of a job's record begins with.
const OWNER: &str = "backup job ";

/// The owner that a job's record is listed under.
pub(super) fn owner_of(id: JobId) -> String {
    format!("{OWNER}{id}")
}

/// The job that a record belongs to. Versions that knew no holders named it as the owner only.
pub(super) fn job_of(record: &Record) -> Option<JobId> {
    match &record.holder {
        Some(Holder::Job { id }) => Some(JobId::from(*id)),
        Some(_) => None,
        None => record.owner.strip_prefix(OWNER)?.parse().ok(),
    }
}

/// Releases the records of a job but for these.
pub(super) fn release_of(engine: &Engine, id: JobId, keep: &[RecordId]) -> Result<()> {
    release_where(engine, |owner, record| {
        owner == id && !keep.contains(&record)
    })
}

/// Releases the records of jobs that are over, or that there are not: a process died before it could.
/// Other records are not touched.
pub(super) fn release_orphans(table: &JobTable) -> Result<()> {
    let engine = table.engine();
    for record in ProtectedTimestamps::new(engine).list()? {
        let Some(id) = job_of(&record) else {
            continue;
        };
        let gone = match table.get(id) {
            Ok(row) => row.state.is_over(),
            Err(Error::NoSuchJob { .. }) => true,
            Err(error) => return Err(error),
        };
        if gone {
            tracing::warn!(%id, record = %record.id, "releasing the protection of a job that is over");
            release_of(engine, id, &[])?;
        }
    }
    Ok(())
}

fn release_where(engine: &Engine, wanted: impl Fn(JobId, RecordId) -> bool) -> Result<()> {
    let records = ProtectedTimestamps::new(engine);
    for record in records.list()? {
        if job_of(&record).is_some_and(|id| wanted(id, record.id)) {
            match records.release(&record.id) {
                Ok(()) | Err(icecore_gc::Error::NoSuchRecord { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
