//! Restores as jobs.
//!
//! The job fixes the collection, the full backup and the time before it works, so that a later run does the same
//! restore. What it fetched is kept in the staging folder, and layers that are in stay in: a later run goes on
//! behind both, with the layers that the first one chose. The restore is the job's own: no other job and no
//! `restore` goes on with it or gives it up. What stands in its way without making that worthless, such as a full
//! disk, pauses the job. Just before the keyspaces become visible their ids are noted, so that a run which died right after
//! that knows that it was done.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::future::LocalBoxFuture;
use icecore_archive::{
    BackupSelector, Collection, CollectionId, ContentHash, FullPath, StoreOptions, blocking, total,
};
use icecore_backup::jobs::{
    Admitted, JobContext, JobEnd, JobFailure, JobHandler, JobId, JobPlaces, JobState, JobTable,
    check_kms, engine_may_pass, keys_of, may_pass, opened_again,
};
use icecore_engine::Engine;
use icecore_mvcc::{KeyspaceId, NamePattern, Timestamp, parse_timestamp};
use icecore_restore::{History, RestoreOptions, RestoreReport, owner_of};
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
    /// Where it was begun: another collection at the same place may hold another state.
    collection: CollectionId,
    full: FullPath,
    target: Timestamp,
    restore_id: String,
    /// The keyspaces, by name, once everything is in.
    publishing: Option<Vec<(String, KeyspaceId)>>,
}

/// The kind, as rows name it.
const KIND: &str = "restore";

/// Runs jobs of kind `restore`.
#[derive(Debug, Clone, Default)]
pub(crate) struct RestoreJobs {
    store: StoreOptions,
}

impl JobHandler for RestoreJobs {
    fn kind(&self) -> &'static str {
        KIND
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
        check_that_none_does_it(engine, &spec)?;
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

    fn sweep(&self, jobs: &JobTable) -> icecore_backup::Result<()> {
        for restore_id in restores_of(jobs.engine()) {
            let Some(id) = job_of(&restore_id) else {
                continue;
            };
            if holder(jobs, id)?.is_none() {
                tracing::warn!(%id, restore_id, "giving up the restore of a job that is over");
                jobs.engine().abandon_restore(&restore_id)?;
            }
        }
        Ok(())
    }
}

/// The owner that a job's restore has.
fn owner(id: JobId) -> String {
    format!("job {id}")
}

/// The job that a restore belongs to; `None` if to none.
pub(crate) fn job_of(restore_id: &str) -> Option<JobId> {
    owner_of(restore_id)?.strip_prefix("job ")?.parse().ok()
}

/// The unfinished restores of an engine.
pub(crate) fn restores_of(engine: &Engine) -> BTreeSet<String> {
    let unfinished = engine.restoring();
    unfinished.iter().map(|k| k.restore_id()).collect()
}

/// Where a job stands that may go on; `None` if it is over, or there is none.
pub(crate) fn holder(jobs: &JobTable, id: JobId) -> icecore_backup::Result<Option<JobState>> {
    match jobs.get(id) {
        Ok(row) => Ok(Some(row.state).filter(|state| !state.is_over())),
        Err(icecore_backup::Error::NoSuchJob { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refuses what a job that is not over is to do already: of the two, one could not have the names.
fn check_that_none_does_it(engine: &Engine, spec: &Value) -> Result<(), JobFailure> {
    let rows = JobTable::new(engine).list()?;
    let mut same = rows
        .iter()
        .filter(|row| row.kind == KIND && !row.state.is_over() && row.spec == *spec);
    same.next().map_or(Ok(()), |row| {
        Err(JobFailure::lasting(format!(
            "job {} is to do the same restore, and is {}; let it come to its end, or cancel it first",
            row.id, row.state
        )))
    })
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
    async fn open(&self, spec: &RestoreSpec) -> icecore_backup::Result<Collection> {
        let store = StoreOptions {
            keys: keys_of(spec.passphrase_file.as_deref(), &spec.kms)?,
            max_requests_per_second: spec.max_requests_per_second,
            ..self.store.clone()
        };
        Ok(Collection::open_places(&spec.from.places()?, store).await?)
    }

    async fn restore(&self, job: &JobContext) -> Result<JobEnd, JobFailure> {
        let spec: RestoreSpec = job.spec()?;
        let mut options = spec.options(job.engine().now())?;
        options.owner = Some(owner(job.id()));
        let of_job = job.clone();
        let noted: Option<Begun> = blocking(move || of_job.state()).await?;
        let opened = self.open(&spec).await;
        let (collection, begun) = match noted {
            Some(begun) => (opened_again(begun.collection, opened)?, begun),
            None => {
                let collection = opened?;
                let begun = begin(job, &collection, &options).await?;
                (collection, begun)
            }
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
        collection: collection.id(),
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
        may_pass: passes(&error),
        error: error.to_string(),
    }
}

/// Whether somebody can mend it without losing what the job brought: room on the disk, or what is missing or
/// damaged in the collection. Otherwise all of that is given up.
fn passes(error: &icecore_restore::Error) -> bool {
    use icecore_archive::Error as A;
    use icecore_restore::Error as E;
    match error {
        E::NoSpace { .. } => true,
        E::Engine(error) => engine_may_pass(error),
        E::Archive(
            A::NoCollection { .. }
            | A::ManifestMissing { .. }
            | A::MissingObject { .. }
            | A::CorruptFile { .. },
        ) => true,
        E::Archive(error) => may_pass(error),
        _ => false,
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
