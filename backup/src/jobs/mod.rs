//! Jobs: long work that survives the process that does it.
//!
//! A job is a row of the system keyspace. A [`JobRunner`] in the process that has the database open runs
//! it; it can be paused, resumed and cancelled, and when the process dies, the next one goes on from its last
//! checkpoint.
//!
//! | concept | where |
//! |---|---|
//! | where a job stands, and what moves it | [`JobState`], [`JobEvent`] |
//! | what is known of a job | [`JobRow`], [`JobTable`] |
//! | running jobs | [`JobRunner`] |
//! | a kind of job | [`JobHandler`]; this crate has [`BackupJobs`], restores are registered by who links both |
//!
//! ```no_run
//! # fn example(engine: icecore_engine::Engine) -> Result<(), icecore_backup::Error> {
//! use std::sync::Arc;
//! use icecore_backup::jobs::{BackupJobs, BackupSpec, JobRunner, RunnerOptions};
//!
//! let runner = JobRunner::start(&engine, vec![Arc::new(BackupJobs::default())], RunnerOptions::default())?;
//! let job = runner.submit("backup", BackupSpec::into("s3://bucket/prefix").to_json()?)?;
//! println!("{}: {}", job.id, runner.get(job.id)?.state);
//! runner.stop()?;
//! # Ok(())
//! # }
//! ```

mod again;
mod backup;
mod handler;
mod orphans;
mod places;
mod row;
mod runner;
mod state;
mod table;

pub use again::opened_again;
pub use backup::{BackupJobs, BackupSpec, check_kms, keys_of};
pub use handler::{
    Admitted, JobContext, JobEnd, JobFailure, JobHandler, engine_may_pass, may_pass,
};
pub use places::JobPlaces;
pub use row::{CheckpointRow, JobCheckpoint, JobId, JobOwner, JobProgress, JobRow};
pub use runner::{JobHandle, JobRunner, RunnerOptions};
pub use state::{JobEvent, JobState};
pub use table::{JobTable, KeepJobs};
