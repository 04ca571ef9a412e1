//! What a kind of job is made of: its handler, and what a handler gets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use icecore_engine::Engine;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::row::{CheckpointRow, JobCheckpoint, JobId, JobProgress, JobRow};
use super::table::JobTable;
use crate::error::Result;

/// Runs the jobs of one kind.
pub trait JobHandler: Send + Sync {
    /// The kind, as rows name it.
    fn kind(&self) -> &'static str;

    /// Looks at a new job before there is one: what is wrong with it is told to whoever asks for it.
    ///
    /// # Errors
    /// Why there cannot be such a job.
    fn admit(&self, engine: &Engine, spec: Value) -> Result<Admitted, JobFailure>;

    /// Runs a job, from its start or from where an earlier run came. It should look at
    /// [`JobContext::interrupt`] often and then return [`JobEnd::Stopped`], with all noted that a later
    /// run needs. Nothing may go on in the background when it returns.
    fn run<'a>(&'a self, job: &'a JobContext) -> LocalBoxFuture<'a, Result<JobEnd, JobFailure>>;

    /// Frees what a job holds that will not go on. May be called again after a crash.
    fn release<'a>(&'a self, job: &'a JobContext) -> LocalBoxFuture<'a, Result<(), JobFailure>>;

    /// Frees what jobs of this kind hold that are over, or that there are not any more: what could not be
    /// released when they ended. Called as the runner starts and whenever a job came to rest. Does nothing
    /// unless a kind needs it.
    ///
    /// # Errors
    /// What could not be freed; it is tried again.
    fn sweep(&self, _jobs: &JobTable) -> Result<()> {
        Ok(())
    }
}

/// A job that may be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// What it does, for people.
    pub description: String,
    /// What it is to do; relative times, for example, are resolved.
    pub spec: Value,
}

/// How a run came to its end without failing.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEnd {
    /// The job is done; what it did, for its row.
    Done(Value),
    /// It was asked to stop, and can go on from where it is.
    Stopped,
}

/// Why a run failed.
#[derive(Debug)]
pub struct JobFailure {
    /// What happened, in one line.
    pub error: String,
    /// Whether it may pass: then the job is paused, keeps what it has, and can be resumed.
    pub may_pass: bool,
}

impl JobFailure {
    /// A failure that will come again.
    pub fn lasting(error: impl fmt::Display) -> Self {
        Self {
            error: error.to_string(),
            may_pass: false,
        }
    }

    /// A failure that somebody can mend.
    pub fn passing(error: impl fmt::Display) -> Self {
        Self {
            error: error.to_string(),
            may_pass: true,
        }
    }
}

impl From<crate::Error> for JobFailure {
    fn from(error: crate::Error) -> Self {
        let may_pass = match &error {
            crate::Error::Archive(error) => may_pass(error),
            crate::Error::Engine(error) => engine_may_pass(error),
            _ => false,
        };
        Self {
            error: error.to_string(),
            may_pass,
        }
    }
}

impl From<icecore_archive::Error> for JobFailure {
    fn from(error: icecore_archive::Error) -> Self {
        Self {
            may_pass: may_pass(&error),
            error: error.to_string(),
        }
    }
}

/// Whether a failure of a store is one that somebody can mend without losing what the job did.
#[must_use]
pub fn may_pass(error: &icecore_archive::Error) -> bool {
    use icecore_archive::Error as E;
    matches!(
        error,
        E::StoreUnavailable { .. }
            | E::AccessDenied { .. }
            | E::LocalFile { .. }
            // The next run stores that file anew.
            | E::FileExpired { .. }
    )
}

/// Whether a failure of the engine is one that somebody can mend without losing what the job did: the disk is
/// full, or fails.
#[must_use]
pub fn engine_may_pass(error: &icecore_engine::Error) -> bool {
    use icecore_engine::Error as E;
    matches!(error, E::Io { .. } | E::Rocks { .. } | E::Poisoned { .. })
}

/// What a runner knows of a job that it runs.
#[derive(Debug)]
pub(super) struct Live {
    /// Set when the job is to stop.
    pub(super) interrupt: Arc<AtomicBool>,
    progress: Mutex<Reading>,
}

/// Guarded by `Live::progress`.
#[derive(Debug)]
struct Reading {
    progress: JobProgress,
    /// What was done already when this run began to work.
    base: Option<(Instant, u64)>,
}

impl Live {
    pub(super) fn new(progress: JobProgress) -> Arc<Self> {
        Arc::new(Self {
            interrupt: Arc::default(),
            progress: Mutex::new(Reading {
                progress: JobProgress {
                    bytes_per_second: None,
                    ..progress
                },
                base: None,
            }),
        })
    }

    /// How far the job is now.
    pub(super) fn progress(&self) -> JobProgress {
        self.progress.lock().progress
    }

    fn set(&self, change: impl FnOnce(&mut JobProgress)) {
        let mut reading = self.progress.lock();
        change(&mut reading.progress);
        let done = reading.progress.done_bytes;
        let (since, base) = *reading.base.get_or_insert((Instant::now(), done));
        let seconds = since.elapsed().as_secs_f64();
        if seconds > 0.0 && done > base {
            reading.progress.bytes_per_second = Some((done - base) as f64 / seconds);
        }
    }
}

/// A job at work.
#[derive(Debug, Clone)]
pub struct JobContext {
    pub(super) table: JobTable,
    pub(super) row: JobRow,
    pub(super) live: Arc<Live>,
    pub(super) checkpoint_interval: Duration,
}

impl JobContext {
    /// The engine.
    pub fn engine(&self) -> &Engine {
        self.table.engine()
    }

    /// The job.
    pub fn id(&self) -> JobId {
        self.row.id
    }

    /// What it is to do.
    ///
    /// # Errors
    /// When the row does not hold such a thing.
    pub fn spec<T: DeserializeOwned>(&self) -> Result<T, JobFailure> {
        T::deserialize(&self.row.spec).map_err(|e| {
            JobFailure::lasting(format!(
                "job {} cannot be read by this version: {e}; cancel it and start it anew",
                self.row.id
            ))
        })
    }

    /// How often it should note what it did.
    pub fn checkpoint_interval(&self) -> Duration {
        self.checkpoint_interval
    }

    /// Set when the job is to stop.
    pub fn interrupt(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.live.interrupt)
    }

    /// Whether the job is to stop.
    pub fn is_interrupted(&self) -> bool {
        self.live.interrupt.load(Ordering::Acquire)
    }

    /// What an earlier run noted with [`JobContext::set_state`].
    ///
    /// # Errors
    /// [`crate::Error::UnreadableJob`]; [`crate::Error::Engine`] when the disk fails.
    pub fn state<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.table.state(self.row.id)
    }

    /// Notes what a later run needs, durably. Meant for what seldom changes. Waits for the disk.
    ///
    /// # Errors
    /// [`crate::Error::Engine`] when the disk fails.
    pub fn set_state<T: Serialize>(&self, state: &T) -> Result<()> {
        self.table.set_state(self.row.id, state)
    }

    /// Shows how far the job is. Costs nothing.
    pub fn progress(&self, change: impl FnOnce(&mut JobProgress)) {
        self.live.set(change);
    }

    /// Writes how far the job is into its row.
    ///
    /// # Errors
    /// [`crate::Error::Engine`] when the disk fails.
    pub fn save_progress(&self, files: u64, bytes: u64) -> Result<()> {
        let (at, progress) = (self.table.now(), self.live.progress());
        self.table.update(self.row.id, |row| {
            row.progress = progress;
            row.checkpoint = Some(JobCheckpoint { at, files, bytes });
            Ok(())
        })?;
        Ok(())
    }

    /// Names the protected timestamp that the job holds.
    ///
    /// # Errors
    /// [`crate::Error::Engine`] when the disk fails.
    pub fn set_protection(&self, record: Option<String>) -> Result<()> {
        self.table.update(self.row.id, |row| {
            row.protection.clone_from(&record);
            Ok(())
        })?;
        Ok(())
    }

    /// The checkpoint objects that it wrote, by number.
    pub(super) fn checkpoints(&self) -> Result<Vec<CheckpointRow>> {
        self.table.checkpoints(self.row.id)
    }

    pub(super) fn add_checkpoint(&self, row: CheckpointRow) -> Result<()> {
        self.table.add_checkpoint(self.row.id, row)
    }

    pub(super) fn forget_checkpoint(&self, number: u32) -> Result<()> {
        self.table.forget_checkpoint(self.row.id, number)
    }
}
