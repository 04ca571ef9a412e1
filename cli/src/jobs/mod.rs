//! Jobs from the command line: the process that runs them, and how other processes reach it.
//!
//! `icecore serve-jobs` holds the database and runs its jobs and schedules, and so does `icecore schedule run`. Since no other process can open the database
//! meanwhile, it listens at a socket in the database folder ([`socket`]), where `icecore jobs`, `icecore schedule` and
//! `--detached` speak the protocol of [`protocol`]. `docs/guide/jobs.md` describes both.

pub(crate) mod client;
pub(crate) mod protocol;
pub(crate) mod restore;
pub(crate) mod schedules;
pub(crate) mod server;
pub(crate) mod socket;

use std::sync::Arc;

use icecore_backup::jobs::{BackupJobs, JobHandler};

/// The kinds of jobs that this program runs.
pub(crate) fn handlers() -> Vec<Arc<dyn JobHandler>> {
    vec![
        Arc::new(BackupJobs::default()),
        Arc::new(restore::RestoreJobs::default()),
    ]
}
