//! A fast full as a job.
//!
//! Live files are as of the moment of their capture, and a capture does not outlive its process: the files
//! of a database that goes on are compacted away. So every run captures anew, plans as of that moment, and
//! takes a layer of its own; a layer never names files of two captures. Nothing is lost by that. Which files
//! a run put into the pool is in its checkpoints, with the identity of the live file that each is a copy of.
//! A later run names those that are still live, whatever layer their checkpoint lies in, and copies the
//! others.
//!
//! Checkpoints name only what the job put there itself. What it used again is looked for anew: the full
//! that named it may be gone.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use icecore_archive::{
    ChainId, Collection, CollectionId, Error as ArchiveError, FileEntry, FullPath, LayerWriter,
    RunId, blocking,
};
use icecore_engine::Snapshot;
use serde_json::Value;
use tokio::sync::Notify;

use super::begun::{Begun, EarlierLayer};
use super::journal::{Journal, read_one};
use super::run::{Claimed, begun_layer, claim_anew, claimed_before, finish, protect, save_often};
use crate::error::{Error, Result};
use crate::export::Exported;
use crate::fast::{Copying, Source};
use crate::jobs::handler::JobContext;
use crate::options::BackupOptions;
use crate::plan::BackupPlan;
use crate::run::{ManifestOf, Onto, Prepared, manifest, plan_at, recheck, system_of};

/// What earlier runs leave to the next.
#[derive(Default)]
struct Inherited {
    /// What they put into the pool.
    files: Vec<FileEntry>,
    /// The layers in which the checkpoints lie that name it.
    layers: Vec<EarlierLayer>,
    /// The first number that no checkpoint has.
    next_number: u32,
}

/// Takes a fast full that is planned. `None` where it was stopped.
pub(super) async fn begin(
    job: &JobContext,
    collection: &Collection,
    options: &BackupOptions,
    prepared: Prepared,
) -> Result<Option<Value>> {
    let Prepared { onto, at, plan } = prepared;
    // The files decide the time.
    drop(at);
    let chosen = match onto {
        Onto::Full(chosen) => chosen,
        Onto::Chain(..) => None,
    };
    take(
        job,
        collection,
        options,
        chosen,
        &plan,
        Inherited::default(),
    )
    .await
}

/// Ends the fast full that an earlier run began, or takes it anew with what that run put into the pool.
pub(super) async fn go_on(
    job: &JobContext,
    collection: &Collection,
    options: &BackupOptions,
    begun: Begun,
) -> Result<Option<Value>> {
    match claimed_before(job, collection, &begun).await {
        Ok(Some(Claimed::Committed(entry, manifest))) => {
            return Ok(Some(
                finish(job, collection, &begun, &entry, &manifest).await,
            ));
        }
        Ok(_) => {}
        // The next one has a place of its own, unless it must be the same.
        Err(Error::Archive(ArchiveError::RunRemoved { .. })) if begun.chosen.is_none() => {}
        Err(error) => return Err(error),
    }
    let inherited = inherit(job, collection, &begun).await?;
    let Begun { chosen, plan, .. } = begun;
    take(job, collection, options, chosen, &plan, inherited).await
}

/// Reads the checkpoints. One that is gone or damaged is not believed: what it named is copied again.
async fn inherit(job: &JobContext, collection: &Collection, begun: &Begun) -> Result<Inherited> {
    let mut layers = begun.earlier.clone();
    layers.extend(begun.layer.clone().map(|layer| EarlierLayer {
        layer,
        run: begun.run,
        end: begun.plan.end,
    }));
    let of_job = job.clone();
    let rows = blocking(move || of_job.checkpoints()).await?;
    let mut inherited = Inherited {
        next_number: rows.last().map_or(0, |row| row.number + 1),
        ..Inherited::default()
    };
    let mut doubted = Vec::new();
    for row in &rows {
        let mut found = None;
        for earlier in layers.iter().rev() {
            let layer = begun_layer(begun, earlier.layer.clone());
            let layer = icecore_archive::BegunLayer {
                run: earlier.run,
                end: earlier.end,
                ..layer
            };
            if let Some(read) = read_one(job, collection, &layer, row).await? {
                found = Some((earlier, read));
                break;
            }
        }
        let Some((earlier, read)) = found else {
            doubted.push(row.number);
            continue;
        };
        if !inherited.layers.contains(earlier) {
            inherited.layers.push(earlier.clone());
        }
        let files = read.files.into_iter().map(|file| file.file);
        inherited.files.extend(files);
    }
    if !doubted.is_empty() {
        tracing::warn!(id = %job.id(), checkpoints = ?doubted,
            "these checkpoints are not there any more: what they named is copied again");
        let of_job = job.clone();
        let forget = move || {
            let mut numbers = doubted.iter();
            numbers.try_for_each(|number| of_job.forget_checkpoint(*number))
        };
        blocking(forget).await?;
    }
    Ok(inherited)
}

/// Captures, copies, commits. `None` where it was stopped.
async fn take(
    job: &JobContext,
    collection: &Collection,
    options: &BackupOptions,
    chosen: Option<FullPath>,
    planned: &BackupPlan,
    inherited: Inherited,
) -> Result<Option<Value>> {
    let source = Source::capture(job.engine(), options).await?;
    let at: Snapshot = source.at().clone();
    let onto = Onto::Full(chosen.clone());
    let plan = plan_at(job.engine(), &onto, options, at, Some(planned)).await?;
    let mut begun = note(job, collection.id(), chosen, plan, inherited.layers).await?;
    protect(job, &mut begun).await?;
    let writer = claim_anew(job, collection, &mut begun).await?;
    let layer = begun_layer(&begun, writer.layer().clone());
    let journal = Journal::new(layer, inherited.next_number, &inherited.files);
    let engine = job.engine().clone();
    blocking(move || engine.sync_wal().map_err(Error::from)).await?;
    let options = watched(job, options);
    let stop = job.interrupt();
    let copying = Copying {
        collection,
        writer: &writer,
        options: &options,
        ours: inherited.files,
        put: &|keyspace, file| journal.copied(keyspace, file),
        stop: &stop,
        total: &|total_bytes| {
            job.progress(|progress| {
                progress.done_bytes = 0;
                progress.total_bytes = total_bytes;
            });
        },
    };
    let copied = copy(job, &writer, &journal, &copying, &source, &begun.plan).await?;
    let Some(exported) = copied.filter(|_| !job.is_interrupted()) else {
        return Ok(None);
    };
    let of = ManifestOf {
        chain_id: begun.chain_id,
        created_at: begun.created_at,
        system: system_of(job.engine(), source.at(), &begun.plan).await?,
    };
    let manifest = manifest(
        job.engine(),
        collection,
        &writer,
        of,
        &begun.plan,
        &exported,
    );
    writer.check().await?;
    if options.recheck {
        recheck(collection, &manifest, options.threads).await?;
    }
    let entry = writer.commit(manifest.clone()).await?;
    Ok(Some(
        finish(job, collection, &begun, &entry, &manifest).await,
    ))
}

/// Notes the plan, before anything is left behind.
async fn note(
    job: &JobContext,
    collection: CollectionId,
    chosen: Option<FullPath>,
    plan: BackupPlan,
    earlier: Vec<EarlierLayer>,
) -> Result<Begun> {
    let job = job.clone();
    blocking(move || {
        let begun = Begun {
            run: RunId::random(),
            collection,
            chain_id: ChainId::random(),
            parent: None,
            full_end: plan.end,
            chosen,
            created_at: job.engine().now(),
            record: None,
            end_record: None,
            chain_held: false,
            layer: None,
            pieces: Vec::new(),
            revision_starts: Vec::new(),
            prints_before: Vec::new(),
            earlier,
            plan,
        };
        job.set_state(&begun)?;
        Ok(begun)
    })
    .await
}

/// The options, with the job's progress.
fn watched(job: &JobContext, options: &BackupOptions) -> BackupOptions {
    let of_job = job.clone();
    BackupOptions {
        progress: Some(Arc::new(move |reading| {
            of_job.progress(|progress| progress.done_bytes = reading.done_bytes);
        })),
        ..options.clone()
    }
}

/// Copies, with a checkpoint every so often and one at the end.
async fn copy(
    job: &JobContext,
    writer: &LayerWriter,
    journal: &Journal,
    copying: &Copying<'_>,
    source: &Source,
    plan: &BackupPlan,
) -> Result<Option<Vec<Exported>>> {
    let ended = Notify::new();
    let work = async {
        let worked = copying.run(source, plan).await;
        ended.notify_one();
        worked
    };
    let saves = async {
        let saved = save_often(job, writer, journal, &ended).await;
        if saved.is_err() {
            // Nothing that is done from here on would be kept.
            copying.stop.store(true, Ordering::Release);
        }
        saved
    };
    let (worked, saved) = tokio::join!(work, saves);
    saved?;
    // What is stored counts, even if another file could not be.
    let last = journal.save(job, writer).await;
    let worked = worked?;
    last.map(|()| worked)
}
