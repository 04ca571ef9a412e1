//! The job table: rows of the system keyspace, changed one at a time.

use std::time::Duration;

use icecore_engine::{Engine, SystemRows};
use icecore_mvcc::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::row::{CheckpointRow, JobId, JobProgress, JobRow, unreadable};
use super::state::{JobEvent, JobState};
use crate::error::{Error, Result};

/// Kind of the rows that say what jobs there are.
const JOB: &str = "job";

/// Kind of the rows in which handlers keep what they need to go on.
const STATE: &str = "job-state";

/// Kind of the rows that name checkpoints.
const CHECKPOINT: &str = "job-checkpoint";

/// How long, and how many, jobs that are over are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepJobs {
    /// At most so many; the newest stay. Default 200.
    pub count: usize,
    /// At most so long. Default 30 days.
    pub age: Duration,
}

impl Default for KeepJobs {
    fn default() -> Self {
        Self {
            count: 200,
            age: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// The jobs of an engine. Cheap to clone; keeps the engine open. All calls may come from any thread and
/// wait for the disk; what returned `Ok` survives a crash.
#[derive(Debug, Clone)]
pub struct JobTable {
    engine: Engine,
}

impl JobTable {
    /// Those of this engine.
    pub fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn rows(&self) -> SystemRows {
        self.engine.system()
    }

    /// Makes a job, which waits for a runner.
    pub(super) fn create(
        &self,
        id: JobId,
        kind: &str,
        description: String,
        spec: Value,
    ) -> Result<JobRow> {
        let now = self.engine.now();
        let row = JobRow {
            id,
            kind: kind.to_owned(),
            description,
            spec,
            state: JobState::Pending,
            engine: self.engine.id(),
            created: now,
            started: None,
            changed: now,
            finished: None,
            owner: None,
            runs: 0,
            progress: JobProgress::default(),
            checkpoint: None,
            protection: None,
            error: None,
            result: None,
            unknown: serde_json::Map::new(),
        };
        self.rows().put(JOB, &row.id.to_string(), row.encode()?)?;
        tracing::info!(id = %row.id, kind, description = row.description, "job made");
        Ok(row)
    }

    /// All jobs, the newest first.
    ///
    /// # Errors
    /// [`Error::UnreadableJob`]; [`Error::Engine`] when the disk fails.
    pub fn list(&self) -> Result<Vec<JobRow>> {
        let rows = self.rows().list(JOB)?;
        let rows: Result<Vec<JobRow>> = rows
            .iter()
            .map(|(key, json)| JobRow::decode(key, json))
            .collect();
        let mut rows = rows?;
        rows.sort_by_key(|row| (std::cmp::Reverse(row.created), row.id));
        Ok(rows)
    }

    /// One job.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`], [`Error::UnreadableJob`]; [`Error::Engine`] when the disk fails.
    pub fn get(&self, id: JobId) -> Result<JobRow> {
        let key = id.to_string();
        let json = self.rows().get(JOB, &key)?;
        JobRow::decode(&key, &json.ok_or(Error::NoSuchJob { id })?)
    }

    /// Changes a job's row, as one step. `change` says whether there is something to write.
    pub(super) fn update(
        &self,
        id: JobId,
        mut change: impl FnMut(&mut JobRow) -> Result<()>,
    ) -> Result<JobRow> {
        let (key, mut updated) = (id.to_string(), None);
        self.rows().update(JOB, &key, |json| {
            let mut row = JobRow::decode(&key, json.ok_or(Error::NoSuchJob { id })?)?;
            change(&mut row)?;
            let json = row.encode()?;
            updated = Some(row);
            Ok::<_, Error>(Some(json))
        })?;
        updated.ok_or(Error::NoSuchJob { id })
    }

    /// Moves a job to the state after an event, and changes its row with it.
    ///
    /// # Errors
    /// [`Error::JobState`] where the event has no place; as [`JobTable::get`].
    pub(super) fn apply(
        &self,
        id: JobId,
        event: JobEvent,
        mut change: impl FnMut(&mut JobRow),
    ) -> Result<JobRow> {
        let now = self.engine.now();
        let row = self.update(id, |row| {
            let state = row.state;
            let next = state.after(event).ok_or(Error::JobState {
                id,
                state,
                wanted: event.as_verb(),
            })?;
            if next != state {
                (row.state, row.changed) = (next, now);
            }
            if next.is_over() {
                row.finished = Some(now);
                row.progress.bytes_per_second = None;
                row.protection = None;
            }
            change(row);
            Ok(())
        })?;
        tracing::info!(%id, state = %row.state, "job moved");
        if row.state.is_over() {
            self.forget_state(id)?;
        }
        Ok(row)
    }

    /// Removes what only a job that goes on needs.
    fn forget_state(&self, id: JobId) -> Result<()> {
        let (rows, key) = (self.rows(), id.to_string());
        if rows.get(STATE, &key)?.is_some() {
            rows.delete(STATE, &key)?;
        }
        for row in self.checkpoints(id)? {
            self.forget_checkpoint(id, row.number)?;
        }
        Ok(())
    }

    /// Removes jobs that are over and too old or too many.
    ///
    /// # Errors
    /// As [`JobTable::list`].
    pub(super) fn trim(&self, keep: KeepJobs) -> Result<()> {
        let now = self.engine.now();
        let over = self.list()?.into_iter().filter(|row| row.state.is_over());
        for (place, row) in over.enumerate() {
            let age = now.since(row.finished.unwrap_or(row.created));
            if place >= keep.count || age > keep.age {
                // A crash between the end of a job and this may have left them.
                self.forget_state(row.id)?;
                self.rows().delete(JOB, &row.id.to_string())?;
            }
        }
        Ok(())
    }

    /// What a handler keeps of a job to go on with it.
    pub(super) fn state<T: DeserializeOwned>(&self, id: JobId) -> Result<Option<T>> {
        let key = id.to_string();
        let json = self.rows().get(STATE, &key)?;
        let read = json.map(|json| serde_json::from_slice(&json));
        read.transpose().map_err(|e| unreadable(&key, e))
    }

    pub(super) fn set_state<T: Serialize>(&self, id: JobId, state: &T) -> Result<()> {
        let key = id.to_string();
        let json = serde_json::to_vec(state).map_err(|e| unreadable(&key, e))?;
        self.rows().put(STATE, &key, json)?;
        Ok(())
    }

    /// A job's checkpoints, by number.
    pub(super) fn checkpoints(&self, id: JobId) -> Result<Vec<CheckpointRow>> {
        let rows = self.rows().list(&format!("{CHECKPOINT}/{id}"))?;
        let read = |(key, json): &(String, Vec<u8>)| {
            serde_json::from_slice(json).map_err(|e| unreadable(&format!("{id}/{key}"), e))
        };
        rows.iter().map(read).collect()
    }

    pub(super) fn add_checkpoint(&self, id: JobId, row: CheckpointRow) -> Result<()> {
        let key = checkpoint_key(id, row.number);
        let json = serde_json::to_vec(&row).map_err(|e| unreadable(&key, e))?;
        self.rows().put(CHECKPOINT, &key, json)?;
        Ok(())
    }

    pub(super) fn forget_checkpoint(&self, id: JobId, number: u32) -> Result<()> {
        self.rows()
            .delete(CHECKPOINT, &checkpoint_key(id, number))?;
        Ok(())
    }

    /// When the engine thinks it is.
    pub(super) fn now(&self) -> Timestamp {
        self.engine.now()
    }
}

/// Sorts as the numbers do.
fn checkpoint_key(id: JobId, number: u32) -> String {
    format!("{id}/{number:010}")
}
