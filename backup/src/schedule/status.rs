//! How a schedule stands, for people and programs that list schedules.

use std::time::Duration;

use icecore_engine::Engine;
use icecore_gc::{Holder, ProtectedTimestamps, Record};
use icecore_mvcc::Timestamp;
use serde::{Deserialize, Serialize};

use super::plan::Kind;
use super::row::{LastRun, ScheduleRow};
use crate::error::Result;

/// How a schedule stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleStatus {
    /// Its row.
    pub row: ScheduleRow,
    /// Why it rests; `None` if it is active.
    pub rests: Option<String>,
    /// The next backup that falls due; `None` while it rests.
    pub next: Option<(Kind, Timestamp)>,
    /// What came of the newest backup that is over.
    pub last: Option<(Kind, LastRun)>,
    /// When a backup last succeeded.
    pub succeeded: Option<Timestamp>,
    /// How far back the history lies that its chain holds; `None` where it holds none.
    pub protected_age: Option<Duration>,
}

impl ScheduleStatus {
    /// How a schedule of an engine stands now.
    ///
    /// # Errors
    /// [`crate::Error::Protection`], [`crate::Error::Engine`] when the disk fails.
    pub fn of(engine: &Engine, row: ScheduleRow) -> Result<Self> {
        let rests = row.rests_in(engine.id());
        let tracks = [
            (Kind::Full, &row.fulls),
            (Kind::Incremental, &row.incrementals),
        ];
        let next = tracks
            .iter()
            .filter_map(|(kind, track)| Some((*kind, track.next?)));
        let next = next.min_by_key(|(_, at)| *at).filter(|_| rests.is_none());
        let last = tracks
            .iter()
            .filter_map(|(kind, track)| Some((*kind, track.last.clone()?)));
        let last = last.max_by_key(|(_, last)| last.finished);
        let succeeded = row.fulls.succeeded.max(row.incrementals.succeeded);
        let protected_age = protected_age(engine, &row, engine.now())?;
        Ok(Self {
            row,
            rests,
            next,
            last,
            succeeded,
            protected_age,
        })
    }
}

/// How far back the history lies that a schedule's chain holds.
pub(super) fn protected_age(
    engine: &Engine,
    row: &ScheduleRow,
    now: Timestamp,
) -> Result<Option<Duration>> {
    let records = records_of(engine, row)?;
    let ages = records.iter().map(|record| now.since(record.timestamp));
    Ok(ages.max())
}

/// The records that hold a schedule's chain: one, if it is held.
pub(super) fn records_of(engine: &Engine, row: &ScheduleRow) -> Result<Vec<Record>> {
    let Some(chain) = row.chain.as_ref().filter(|_| row.engine == engine.id()) else {
        return Ok(Vec::new());
    };
    let of_chain = |record: &Record| match &record.holder {
        Some(Holder::Chain {
            collection, full, ..
        }) => *collection == chain.collection.to_string() && *full == chain.begins,
        _ => false,
    };
    let mut records = ProtectedTimestamps::new(engine).list()?;
    records.retain(of_chain);
    Ok(records)
}
