//! Backups as jobs.
//!
//! The job fixes its end time, its plan, its pieces and its layer's directory before it works, and holds a
//! protected timestamp of its own until it is over, paused or not. What is stored goes to checkpoints in the
//! layer's directory. A later run does the pieces that are left, each from behind the last version that is
//! stored, and commits the layer as [`crate::backup`] does.
//!
//! A fast full is as of the run that ends it: `fast` tells why.

mod begun;
mod fast;
mod hold;
mod journal;
mod run;
mod spec;

use futures::future::LocalBoxFuture;
use icecore_archive::{StoreOptions, blocking};
use icecore_engine::Engine;
use serde_json::Value;

pub use spec::{BackupSpec, check_kms, keys_of};

use super::handler::{Admitted, JobContext, JobEnd, JobFailure, JobHandler};
use super::orphans::release_of;

/// Runs jobs of kind `backup`, whose spec is a [`BackupSpec`].
#[derive(Debug, Clone, Default)]
pub struct BackupJobs {
    store: StoreOptions,
}

impl BackupJobs {
    /// Backups whose collections are opened with these settings.
    #[must_use]
    pub fn new(store: StoreOptions) -> Self {
        Self { store }
    }
}

impl JobHandler for BackupJobs {
    fn kind(&self) -> &'static str {
        "backup"
    }

    fn admit(&self, engine: &Engine, spec: Value) -> Result<Admitted, JobFailure> {
        let spec: BackupSpec = serde_json::from_value(spec).map_err(|e| {
            JobFailure::lasting(format!("it is no backup that this version knows: {e}"))
        })?;
        let spec = spec.admit(engine)?;
        Ok(Admitted {
            description: spec.description(),
            spec: spec.to_json()?,
        })
    }

    fn run<'a>(&'a self, job: &'a JobContext) -> LocalBoxFuture<'a, Result<JobEnd, JobFailure>> {
        Box::pin(run::run(job, &self.store))
    }

    fn release<'a>(&'a self, job: &'a JobContext) -> LocalBoxFuture<'a, Result<(), JobFailure>> {
        Box::pin(async move {
            let (engine, id) = (job.engine().clone(), job.id());
            Ok(blocking(move || release_of(&engine, id, &[])).await?)
        })
    }
}
