//! Restores as jobs.
//!
//! The job fixes the full backup and the time before it works, so that a later run does the same restore. What
//! it fetched is kept in the staging folder, and layers that are in stay in: a later run goes on behind
//! both. Just before the keyspaces become visible their ids are noted, so that a run which died right after
//! that knows that it was done.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::future::LocalBoxFuture;
use icecore_archive::{
    BackupSelector, Collection, ContentHash, FullPath, StoreOptions, blocking, total,
};
use icecore_backup::jobs::{
    Admitted, JobContext, JobEnd, JobFailure, JobHandler, JobPlaces, check_kms, keys_of, may_pass,
};
use icecore_engine::Engine;
use icecore_mvcc::{KeyspaceId, NamePattern, Timestamp, parse_timestamp};
use icecore_restore::{History, RestoreOptions, RestoreReport};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A restore as a job. A field that is not known is refused. It holds no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreSpec {
    /// The collection, one URI or several by locality.
    pub(crate) from: JobPlaces,
    /// `LATEST` or a path.
    pub(crate) backup: String,
    /// The time to restore, in any form that times are read in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) passphrase_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) kms: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) as_of: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) keyspaces: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) renames: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) into_database: Option<String>,
    /// Whether only the newest versions come back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_history: bool,
    /// Whether the keyspaces come back without rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) schema_only: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expect_head: Option<ContentHash>,
    /// Whether what came back is compared with the manifest's fingerprints.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) check_fingerprints: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_requests_per_second: Option<NonZeroU32>,
}

/// What a restore job notes before it works.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Begun {
    full: FullPath,
    target: Timestamp,
    restore_id: String,
    /// The keyspaces, by name, once everything is in.
    publishing: Option<Vec<(String, KeyspaceId)>>,
}

/// Runs jobs of kind `restore`.
#[derive(Debug, Clone, Default)]
pub(crate) struct RestoreJobs {
    store: StoreOptions,
}

impl JobHandler for RestoreJobs {
    fn kind(&self) -> &'static str {
        "restore"
    }

    fn admit(&self, engine: &Engine, spec: Value) -> Result<Admitted, JobFailure> {
        let mut spec: RestoreSpec = serde_json::from_value(spec).map_err(|e| {
            JobFailure::lasting(format!("it is no restore that this version knows: {e}"))
        })?;
        spec.from.admit()?;
        check_kms(&spec.kms)?;
        if let Some(as_of) = spec.options(engine.now())?.as_of {
            spec.as_of = Some(as_of.nanos().to_string());
        }
        let description = format!("restore of {} from {}", spec.backup, spec.from);
        let spec = serde_json::to_value(spec).map_err(JobFailure::lasting)?;
        Ok(Admitted { description, spec })
    }

    fn run<'a>(&'a self, job: &'a JobContext) -> LocalBoxFuture<'a, Result<JobEnd, JobFailure>> {
        Box::pin(self.restore(job))
    }

    fn release<'a>(&'a self, job: &'a JobContext) -> LocalBoxFuture<'a, Result<(), JobFailure>> {
        Box::pin(async move {
            let job = job.clone();
            let abandon = move || {
                let begun: Option<Begun> = job.state()?;
                if let Some(begun) = begun {
                    job.engine().abandon_restore(&begun.restore_id)?;
                }
                Ok::<_, icecore_backup::Error>(())
            };
            Ok(blocking(abandon).await?)
        })
    }
}

impl RestoreSpec {
    fn options(&self, now: Timestamp) -> Result<RestoreOptions, JobFailure> {
        let as_of = self.as_of.as_deref().map(|text| parse_timestamp(text, now));
        let keyspaces = self.keyspaces.iter().map(|text| NamePattern::parse(text));
        let keyspaces: Result<Vec<NamePattern>, _> = keyspaces.collect();
        Ok(RestoreOptions {
            from: self.backup.parse::<BackupSelector>()?,
            as_of: as_of.transpose().map_err(JobFailure::lasting)?,
            keyspaces: keyspaces.map_err(JobFailure::lasting)?,
            renames: self.renames.clone(),
            into_database: self.into_database.clone(),
            history: if self.no_history {
                History::None
            } else {
                History::All
            },
            schema_only: self.schema_only,
            expect_head: self.expect_head,
            check_fingerprints: self.check_fingerprints,
            ..RestoreOptions::default()
        })
    }
}

impl RestoreJobs {
    async fn restore(&self, job: &JobContext) -> Result<JobEnd, JobFailure> {
        let spec: RestoreSpec = job.spec()?;
        let mut options = spec.options(job.engine().now())?;
        let store = StoreOptions {
            keys: keys_of(spec.passphrase_file.as_deref(), &spec.kms)?,
            max_requests_per_second: spec.max_requests_per_second,
            ..self.store.clone()
        };
        let collection = Collection::open_places(&spec.from.places()?, store).await?;
        let of_job = job.clone();
        let begun: Option<Begun> = blocking(move || of_job.state()).await?;
        let begun = match begun {
            Some(begun) => begun,
            None => begin(job, &collection, &options).await?,
        };
        if let Some(names) = published(job.engine(), &begun) {
            // The report was lost with the process.
            return Ok(JobEnd::Done(json!({
                "backup": begun.full,
                "target": begun.target.to_string(),
                "keyspaces": names,
            })));
        }
        // The chain may have grown since; its head was looked at when the job began.
        options.from = BackupSelector::Full(begun.full.clone());
        options.as_of = Some(begun.target);
        options.expect_head = None;
        options.interrupt = Some(job.interrupt());
        options.progress = Some(watch(job));
        let noting = job.clone();
        options.before_publish = Some(Arc::new(move |keyspaces| {
            let begun = Begun {
                publishing: Some(keyspaces.to_vec()),
                ..begun.clone()
            };
            noting.set_state(&begun).map_err(engine_error)
        }));
        match icecore_restore::restore(job.engine(), &collection, &options).await {
            Ok(report) => Ok(JobEnd::Done(result(&report))),
            Err(icecore_restore::Error::Interrupted) => Ok(JobEnd::Stopped),
            Err(error) => Err(failure(error)),
        }
    }
}

/// Plans, and notes what the plan fixes.
async fn begin(
    job: &JobContext,
    collection: &Collection,
    options: &RestoreOptions,
) -> Result<Begun, JobFailure> {
    let plan = icecore_restore::dry_run(Some(job.engine()), collection, options)
        .await
        .map_err(failure)?;
    let plan = plan.plan;
    let begun = Begun {
        full: plan.full,
        target: plan.target,
        restore_id: plan.restore_id,
        publishing: None,
    };
    let (of_job, noted) = (job.clone(), begun.clone());
    blocking(move || of_job.set_state(&noted)).await?;
    Ok(begun)
}

/// The names of the keyspaces, if an earlier run published them.
fn published(engine: &Engine, begun: &Begun) -> Option<Vec<String>> {
    let publishing = begun.publishing.as_ref()?;
    let there = |(name, id): &(String, KeyspaceId)| {
        engine
            .keyspace_by_id(*id)
            .is_ok_and(|keyspace| keyspace.name() == name)
    };
    publishing
        .iter()
        .all(there)
        .then(|| publishing.iter().map(|(name, _)| name.clone()).collect())
}

/// Shows how far it is, and writes that to the row every so often.
fn watch(job: &JobContext) -> icecore_archive::ProgressFn {
    let (job, files) = (job.clone(), AtomicU64::new(0));
    let saved = Mutex::new(Instant::now());
    Arc::new(move |reading| {
        let files = files.fetch_add(1, Ordering::Relaxed) + 1;
        job.progress(|progress| {
            progress.done_bytes = reading.done_bytes;
            progress.total_bytes = reading.total_bytes;
        });
        let mut saved = saved.lock();
        if saved.elapsed() < job.checkpoint_interval() {
            return;
        }
        *saved = Instant::now();
        if let Err(error) = job.save_progress(files, reading.done_bytes) {
            // The restore itself will meet what is in the way.
            tracing::warn!(id = %job.id(), %error, "the progress of a restore could not be noted");
        }
    })
}

fn result(report: &RestoreReport) -> Value {
    let names: Vec<&str> = report.keyspaces.iter().map(|k| k.name.as_str()).collect();
    json!({
        "backup": report.full,
        "layers": report.layers,
        "target": report.target.to_string(),
        "keyspaces": names,
        "files": total(report.keyspaces.iter().map(|k| k.files)),
        "entries": report.entries(),
        "stored_bytes": report.stored_bytes(),
    })
}

fn failure(error: icecore_restore::Error) -> JobFailure {
    JobFailure {
        may_pass: matches!(&error, icecore_restore::Error::Archive(error) if may_pass(error)),
        error: error.to_string(),
    }
}

/// What kept a job from noting something, as the engine's error that it is.
fn engine_error(error: icecore_backup::Error) -> icecore_engine::Error {
    match error {
        icecore_backup::Error::Engine(error) => error,
        other => icecore_engine::Error::io(
            "note",
            "the state of a job",
            std::io::Error::other(other.to_string()),
        ),
    }
}
