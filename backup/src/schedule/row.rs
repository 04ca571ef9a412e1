//! A schedule as its row in the system keyspace says. `docs/format/schedules.md` describes the bytes.

use icecore_archive::{CollectionId, FullPath};
use icecore_mvcc::{EngineId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::spec::ScheduleSpec;
use crate::error::{Error, Result};
use crate::jobs::JobId;

/// A schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleRow {
    /// Its name, the row's key.
    pub label: String,
    /// The engine that runs it. In a copy of the folder, or where a restore brought it, it is another one: the
    /// schedule then rests until somebody resumes it there.
    pub engine: EngineId,
    /// When it was made.
    pub created: Timestamp,
    /// What it is to do.
    pub spec: ScheduleSpec,
    /// Since when it is paused, and why; `None` while it is not.
    #[serde(default)]
    pub paused: Option<Paused>,
    /// The chain that its incrementals go on with: that of its newest full.
    #[serde(default)]
    pub chain: Option<ScheduleChain>,
    /// How its fulls stand.
    pub fulls: Track,
    /// How its incrementals stand.
    pub incrementals: Track,
    /// How retention and compaction stand.
    #[serde(default)]
    pub upkeep: Upkeep,
    /// What a newer version wrote beside that; kept.
    #[serde(flatten)]
    pub(super) unknown: Map<String, Value>,
}

/// Why a schedule rests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Since when.
    pub at: Timestamp,
    /// What made it so.
    pub reason: String,
}

/// The chain of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleChain {
    /// Its full.
    pub full: FullPath,
    /// The collection.
    pub collection: CollectionId,
    /// The end of its full.
    pub begins: Timestamp,
    /// Its end, as far as the schedule knows.
    pub end: Timestamp,
    /// Incrementals that were added since the full, or since they were merged.
    pub incrementals: u32,
}

/// How one kind of backup of a schedule stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// When it is to begin; `None` once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// When it falls due next.
    #[serde(default)]
    pub next: Option<Timestamp>,
    /// What fell due and did not begin yet.
    #[serde(default)]
    pub due: Option<Due>,
    /// Times that fell due, the newest last; as many as are remembered, for a clock that goes back.
    #[serde(default)]
    pub taken: Vec<Timestamp>,
    /// Backups under way.
    #[serde(default)]
    pub running: Vec<Run>,
    /// Failures since the last success.
    #[serde(default)]
    pub failures: u32,
    /// What came of the newest that is over.
    #[serde(default)]
    pub last: Option<LastRun>,
    /// When one last succeeded.
    #[serde(default)]
    pub succeeded: Option<Timestamp>,
}

/// A backup that fell due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// For which time: the state of then is backed up, if the calendar asked for it.
    pub at: Timestamp,
    /// Whether somebody asked for it, and not the calendar.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
    /// Not before this: it has failed, and is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

/// A backup under way. It is written before its job is made, with the job's id: a job that is not there is
/// made by whoever reads this next, so that none is lost and none is made twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its job.
    pub job: JobId,
    /// The time for which it fell due.
    pub at: Timestamp,
    /// The state that it takes; `None` for a fast full, which is as of its end.
    pub as_of: Option<Timestamp>,
    /// The chain that it continues; `None` for a full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onto: Option<FullPath>,
    /// When it began.
    pub started: Timestamp,
    /// Set while its job is paused by something that may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<Stuck>,
    /// Why `as_of` is not `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A job that cannot go on for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Since when.
    pub at: Timestamp,
    /// When it is tried again; `None`: with the next that falls due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

/// How a backup ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// The time for which it fell due.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
    /// When it was over.
    pub finished: Timestamp,
    /// Its job; `None` where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The layer that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// The error, or why it was not what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What came of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is there.
    Succeeded,
    /// It is not, or not yet: its job waits.
    Failed,
    /// Somebody cancelled its job.
    Cancelled,
    /// It did not begin, since the one before was still at work.
    Skipped,
}

impl Outcome {
    /// As it is written and printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

/// How retention and compaction stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upkeep {
    /// Whether a backup succeeded since they last ran.
    #[serde(default)]
    pub due: bool,
    /// When they last ended.
    #[serde(default)]
    pub last: Option<Timestamp>,
    /// What failed then.
    #[serde(default)]
    pub error: Option<String>,
}

impl ScheduleRow {
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| unreadable(&self.label, e))
    }

    pub(super) fn decode(key: &str, json: &[u8]) -> Result<Self> {
        let row: Self = serde_json::from_slice(json).map_err(|e| unreadable(key, e))?;
        if row.label == key {
            return Ok(row);
        }
        let reason = format!("it says that its label is {:?}", row.label);
        Err(unreadable(key, reason))
    }

    /// Why it rests in that engine; `None` if it does not.
    #[must_use]
    pub fn rests_in(&self, engine: EngineId) -> Option<String> {
        if self.engine != engine {
            return Some(format!(
                "it came here from engine {}; resume it to have this one run it, from a new full on",
                self.engine
            ));
        }
        self.paused.as_ref().map(|paused| paused.reason.clone())
    }

    /// Backups under way, of both kinds.
    pub fn running(&self) -> impl Iterator<Item = &Run> {
        self.fulls.running.iter().chain(&self.incrementals.running)
    }
}

pub(super) fn unreadable(label: &str, reason: impl ToString) -> Error {
    Error::UnreadableSchedule {
        label: label.to_owned(),
        reason: reason.to_string(),
    }
}
