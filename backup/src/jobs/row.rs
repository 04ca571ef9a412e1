//! A job as its row in the system keyspace says. `docs/format/jobs.md` describes the bytes.

use std::fmt;
use std::str::FromStr;

use icecore_archive::ContentHash;
use icecore_mvcc::{EngineId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::state::JobState;
use crate::error::{Error, Result};

/// Names a job. As text, a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Its bytes.
    pub(super) const fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for JobId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for JobId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| Error::JobIdSyntax {
                text: text.to_owned(),
            })
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRow {
    /// Its id, for ever.
    pub id: JobId,
    /// Which handler runs it: `backup`, `restore`.
    pub kind: String,
    /// What it does, for people: one line without secrets.
    pub description: String,
    /// What it is to do, as its handler reads it. Never holds a secret.
    pub spec: Value,
    /// Where it stands.
    pub state: JobState,
    /// The engine that it belongs to. A copy of the folder that is another engine does not run it.
    pub engine: EngineId,
    /// When it was made.
    pub created: Timestamp,
    /// When it was first taken up.
    pub started: Option<Timestamp>,
    /// When its state last changed: for a paused job, since when it is.
    pub changed: Timestamp,
    /// When it came to its end.
    pub finished: Option<Timestamp>,
    /// Who took it up last.
    pub owner: Option<JobOwner>,
    /// How often it was taken up.
    pub runs: u32,
    /// How far it is, as of its last checkpoint; a runner knows better of those that it runs.
    pub progress: JobProgress,
    /// Its newest checkpoint.
    pub checkpoint: Option<JobCheckpoint>,
    /// The protected timestamp that it holds, by its record's id.
    pub protection: Option<String>,
    /// Why it failed, or why it stopped.
    pub error: Option<String>,
    /// What it did, once it succeeded.
    pub result: Option<Value>,
    /// What a newer version wrote beside that; kept.
    #[serde(flatten)]
    pub(super) unknown: serde_json::Map<String, Value>,
}

/// The process that took a job up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOwner {
    /// Drawn when the runner started: tells one run of the process from the next.
    pub incarnation: Uuid,
    /// The process.
    pub pid: u32,
}

impl JobOwner {
    /// This process, from now on.
    pub(super) fn new() -> Self {
        Self {
            incarnation: Uuid::new_v4(),
            pid: std::process::id(),
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct JobProgress {
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes to do in all; 0 where that is not known before the end.
    pub total_bytes: u64,
    /// Pieces of the work that are done.
    pub done_pieces: u32,
    /// Pieces of the work.
    pub pieces: u32,
    /// Bytes a second since it was last taken up; `None` while it is not at work.
    pub bytes_per_second: Option<f64>,
}

impl JobProgress {
    /// The share that is done, 0 to 1: by bytes where their total is known, else by pieces. `None` where
    /// neither is.
    #[must_use]
    pub fn fraction(&self) -> Option<f64> {
        let share = |done: u64, of: u64| (done as f64 / of as f64).min(1.0);
        match (self.total_bytes, self.pieces) {
            (0, 0) => None,
            (0, pieces) => Some(share(u64::from(self.done_pieces), u64::from(pieces))),
            (bytes, _) => Some(share(self.done_bytes, bytes)),
        }
    }

    /// How many seconds it will take at its present rate; `None` where it is not at work, or the
    /// total is not known.
    #[must_use]
    pub fn seconds_left(&self) -> Option<f64> {
        let rate = self.bytes_per_second.filter(|rate| *rate > 0.0)?;
        let left = self.total_bytes.checked_sub(self.done_bytes)?;
        (self.total_bytes > 0).then(|| left as f64 / rate)
    }
}

/// A job's newest checkpoint: what a kill from now on does not lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCheckpoint {
    /// When it was written.
    pub at: Timestamp,
    /// Files that are done.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A checkpoint object that a job wrote: its row of kind `job-checkpoint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRow {
    /// Its number.
    pub number: u32,
    /// BLAKE3 of the object.
    pub blake3: ContentHash,
}

impl JobRow {
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| unreadable(&self.id.to_string(), e))
    }

    pub(super) fn decode(key: &str, json: &[u8]) -> Result<Self> {
        let row: Self = serde_json::from_slice(json).map_err(|e| unreadable(key, e))?;
        if row.id.to_string() == key {
            return Ok(row);
        }
        Err(unreadable(
            key,
            format!("it says that its id is {}", row.id),
        ))
    }
}

pub(super) fn unreadable(id: &str, reason: impl ToString) -> Error {
    Error::UnreadableJob {
        id: id.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_rate_and_total() {
        let mut progress = JobProgress {
            done_bytes: 25,
            total_bytes: 100,
            bytes_per_second: Some(5.0),
            ..JobProgress::default()
        };
        assert_eq!(progress.fraction(), Some(0.25));
        assert_eq!(progress.seconds_left(), Some(15.0));
        // An estimate that was too low is no reason to show more than everything.
        progress.done_bytes = 120;
        assert_eq!(progress.fraction(), Some(1.0));
        assert_eq!(progress.seconds_left(), None);
        (progress.total_bytes, progress.done_pieces, progress.pieces) = (0, 1, 4);
        assert_eq!(progress.fraction(), Some(0.25));
        assert_eq!(progress.seconds_left(), None);
        assert_eq!(JobProgress::default().fraction(), None);
    }
}
