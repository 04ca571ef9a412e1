//! One run of a backup job: from its start, or from where an earlier one came.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use icecore_archive::{
    BegunLayer, Chain, Claimant, Collection, CollectionId, ContentHash, Error as ArchiveError,
    LayerEntry, LayerPath, LayerWriter, Manifest, RunId, StoreOptions, blocking,
};
use icecore_engine::{ChangeSet, Engine, Keyspace, Snapshot, Window};
use icecore_gc::ProtectedTimestamps;
use icecore_mvcc::{Fingerprint, KeyRange, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::begun::{Begun, PieceSpec};
use super::fast;
use super::hold;
use super::journal::Journal;
use super::spec::BackupSpec;
use crate::error::Result;
use crate::export::{Done, Export, Exported, Piece, Stored, Watch, localities, ranges_of, walk};
use crate::files::Rows;
use crate::jobs::again::opened_again;
use crate::jobs::handler::{JobContext, JobEnd, JobFailure};
use crate::mode::Method;
use crate::options::BackupOptions;
use crate::plan::BackupPlan;
use crate::prints::{Basis, Follow, Prints};
use crate::protection::ChainOf;
use crate::report::KeyspaceReport;
use crate::run::{ManifestOf, Onto, Prepared, manifest, prepare, recheck, system_of};
use crate::window::window_options;

pub(super) async fn run(job: &JobContext, store: &StoreOptions) -> Result<JobEnd, JobFailure> {
    let spec: BackupSpec = job.spec()?;
    let options = spec.options(job.engine().now())?;
    let of_job = job.clone();
    let noted: Option<Begun> = blocking(move || of_job.state()).await?;
    let (places, store) = (spec.into.places()?, spec.store(store));
    let collection = match (&noted, store) {
        (Some(begun), Ok(store)) => {
            let opened = Collection::open_places(&places, store).await;
            opened_again(begun.collection, opened.map_err(Into::into))?
        }
        (Some(begun), Err(error)) => opened_again(begun.collection, Err(error))?,
        (None, store) => Collection::create_or_open_places(&places, store?).await?,
    };
    let done = back_up(job, &collection, &options, noted).await?;
    Ok(done.map_or(JobEnd::Stopped, JobEnd::Done))
}

/// `None` where it was stopped.
async fn back_up(
    job: &JobContext,
    collection: &Collection,
    options: &BackupOptions,
    noted: Option<Begun>,
) -> Result<Option<Value>> {
    let (mut begun, at) = match noted {
        Some(begun) if begun.plan.method == Method::Fast => {
            return fast::go_on(job, collection, options, begun).await;
        }
        Some(begun) => {
            let at = job.engine().snapshot_at(begun.plan.end)?;
            (begun, at)
        }
        None => {
            let prepared = prepare(job.engine(), collection, options).await?;
            if prepared.plan.method == Method::Fast {
                return fast::begin(job, collection, options, prepared).await;
            }
            begin(job, collection.id(), options, prepared).await?
        }
    };
    protect(job, &mut begun).await?;
    let writer = match claim(job, collection, &mut begun).await? {
        Claimed::Writer(writer) => writer,
        Claimed::Committed(entry, manifest) => {
            return Ok(Some(
                finish(job, collection, &begun, &entry, &manifest).await,
            ));
        }
    };
    let layer = begun_layer(&begun, writer.layer().clone());
    let journal = Journal::load(job, collection, layer, begun.pieces.len()).await?;
    for piece in 0..begun.pieces.len() {
        journal
            .files_of(piece)
            .iter()
            .for_each(|file| writer.adopt(file));
    }
    let pieces = readers(job, &mut begun, &at, &journal, options).await?;
    let source = job.engine().clone();
    blocking(move || source.sync_wal().map_err(crate::Error::from)).await?;
    let fresh = fresh_prints(&begun, &pieces);
    let changes = export(job, &writer, &begun, &journal, pieces, options).await?;
    if job.is_interrupted() {
        return Ok(None);
    }
    let prints = add_up(fresh, changes);
    let system = system_of(job.engine(), &at, &begun.plan).await?;
    let of = ManifestOf {
        chain_id: begun.chain_id,
        created_at: begun.created_at,
        system,
    };
    let manifest = manifest_of(
        job.engine(),
        collection,
        &writer,
        &begun,
        &journal,
        of,
        &prints,
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

/// Plans, and notes the plan. The snapshot holds the end time until a record does.
async fn begin(
    job: &JobContext,
    id: CollectionId,
    options: &BackupOptions,
    prepared: Prepared,
) -> Result<(Begun, Snapshot)> {
    let Prepared { onto, at, plan } = prepared;
    let (chain_id, full_end) = onto.chain(plan.end)?;
    let (parent, chosen) = match &onto {
        Onto::Full(chosen) => (None, chosen.clone()),
        Onto::Chain(chain, _) => (Some(chain.head()?), None),
    };
    let prints_before = prints_before(&plan, &onto, options);
    let (job, options) = (job.clone(), options.clone());
    let begun = blocking(move || {
        let mut pieces = Vec::new();
        for (keyspace, planned) in plan.keyspaces.iter().enumerate() {
            if !planned.is_read() {
                continue;
            }
            let ranges = if planned.introduced {
                ranges_of(
                    &job.engine().keyspace_by_id(planned.descriptor.id)?,
                    &options,
                )?
            } else {
                vec![KeyRange::all()]
            };
            pieces.extend(
                ranges
                    .into_iter()
                    .map(|range| PieceSpec { keyspace, range }),
            );
        }
        let chain = ChainOf::new(id, chain_id, full_end, &plan)?;
        let records = ProtectedTimestamps::new(job.engine()).list()?;
        let begun = Begun {
            run: RunId::random(),
            collection: id,
            chain_id,
            parent,
            full_end,
            chosen,
            created_at: job.engine().now(),
            record: None,
            end_record: None,
            chain_held: chain.stands(&records),
            layer: None,
            pieces,
            revision_starts: vec![None; plan.keyspaces.len()],
            prints_before,
            plan,
            earlier: Vec::new(),
        };
        job.set_state(&begun)?;
        Ok::<_, crate::Error>(begun)
    })
    .await?;
    Ok((begun, at))
}

/// Makes sure that what is read stays there.
pub(super) async fn protect(job: &JobContext, begun: &mut Begun) -> Result<()> {
    let (of_job, mut noted) = (job.clone(), begun.clone());
    *begun = blocking(move || {
        let known = [noted.record, noted.end_record];
        let held = hold::acquire(of_job.engine(), of_job.id(), &noted.plan, known)?;
        if known != held {
            [noted.record, noted.end_record] = held;
            of_job.set_state(&noted)?;
            let shown = noted.record.or(noted.end_record);
            of_job.set_protection(shown.map(|record| record.to_string()))?;
        }
        Ok::<_, crate::Error>(noted)
    })
    .await?;
    Ok(())
}

pub(super) enum Claimed {
    Writer(LayerWriter),
    /// An earlier run came so far.
    Committed(LayerEntry, Box<Manifest>),
}

/// The layer's directory: claimed now, or by an earlier run.
async fn claim(job: &JobContext, collection: &Collection, begun: &mut Begun) -> Result<Claimed> {
    if let Some(claimed) = claimed_before(job, collection, begun).await? {
        if matches!(claimed, Claimed::Writer(_)) {
            chain_of(collection, begun).await?;
        }
        return Ok(claimed);
    }
    Ok(Claimed::Writer(claim_anew(job, collection, begun).await?))
}

/// The layer's directory, if an earlier run claimed it; a commit that it began is ended.
pub(super) async fn claimed_before(
    job: &JobContext,
    collection: &Collection,
    begun: &Begun,
) -> Result<Option<Claimed>> {
    let Some(layer) = &begun.layer else {
        return Ok(None);
    };
    let writer = collection.resume_layer(begun_layer(begun, layer.clone()));
    let (chain_id, engine) = (begun.chain_id, job.engine().id());
    let ours = |manifest: &Manifest| manifest.chain_id == chain_id && manifest.engine_id == engine;
    Ok(Some(match writer.finish_commit(ours).await? {
        Some((entry, manifest)) => Claimed::Committed(entry, Box::new(manifest)),
        None => Claimed::Writer(writer),
    }))
}

pub(super) async fn claim_anew(
    job: &JobContext,
    collection: &Collection,
    begun: &mut Begun,
) -> Result<LayerWriter> {
    let claimant = Claimant {
        run: begun.run,
        job: Some(job.id().to_string()),
    };
    let end = begun.plan.end;
    let writer = match chain_of(collection, begun).await? {
        None => {
            let chosen = begun.chosen.clone();
            collection.begin_full_as(end, chosen, &claimant).await?
        }
        Some(chain) => {
            collection
                .begin_incremental_as(&chain, end, &claimant)
                .await?
        }
    };
    begun.layer = Some(writer.layer().clone());
    begun.parent = writer.parent().cloned();
    let (of_job, noted) = (job.clone(), begun.clone());
    blocking(move || of_job.set_state(&noted)).await?;
    Ok(writer)
}

/// The chain that an incremental goes on with: an error if another layer came first.
async fn chain_of(collection: &Collection, begun: &Begun) -> Result<Option<Chain>> {
    let Some(parent) = &begun.parent else {
        return Ok(None);
    };
    let chain = collection.chain(parent.path.full()).await?;
    if chain.is_closed() {
        return Err(ArchiveError::ChainExpired {
            full: chain.full().clone(),
        }
        .into());
    }
    // By its end: the parent may have been merged with the layers before it meanwhile.
    if chain.head()?.end == parent.end {
        return Ok(Some(chain));
    }
    let next = |layer: &&LayerEntry| layer.path != parent.path && layer.start == parent.end;
    let holder = chain
        .layers()
        .iter()
        .find(next)
        .map_or_else(|| parent.path.clone(), |layer| layer.path.clone());
    let by = collection.holder(&holder).await.map(Box::new);
    Err(ArchiveError::ChainExtended {
        full: chain.full().clone(),
        end: parent.end,
        holder,
        by,
    }
    .into())
}

pub(super) fn begun_layer(begun: &Begun, layer: LayerPath) -> BegunLayer {
    BegunLayer {
        layer,
        run: begun.run,
        end: begun.plan.end,
        parent: begun.parent.clone(),
        full_end: begun.full_end,
    }
}

/// By keyspace of the plan: what its fingerprint goes on from.
fn prints_before(
    plan: &BackupPlan,
    onto: &Onto,
    options: &BackupOptions,
) -> Vec<Option<Fingerprint>> {
    let parent = match onto {
        Onto::Full(_) => None,
        Onto::Chain(_, parent) => Some(&**parent),
    };
    let prints = Prints::new(options.fingerprints, parent);
    let keyspaces = plan.keyspaces.iter().map(|planned| {
        if !planned.is_read() {
            return None;
        }
        if planned.introduced {
            return prints.of_whole().then_some(Fingerprint::EMPTY);
        }
        match prints.of_window(planned.descriptor.id) {
            Basis::Before(print) => Some(print),
            // A job makes none that would cost a scan.
            Basis::None | Basis::Anew => None,
        }
    });
    keyspaces.collect()
}

/// What the fingerprints go on from of the keyspaces of which this run reads all rows. What an earlier run
/// read of another left no trace of what it did to the fingerprint, so that one gets none.
fn fresh_prints(begun: &Begun, pieces: &VecDeque<Piece>) -> Vec<Option<Fingerprint>> {
    let followed = |keyspace: usize| {
        let cut = begun.pieces.iter().filter(|cut| cut.keyspace == keyspace);
        let read = pieces
            .iter()
            .filter(|piece| piece.keyspace == keyspace && piece.follow.is_some());
        cut.count() == read.count()
    };
    let prints = begun.prints_before.iter().enumerate();
    prints
        .map(|(keyspace, print)| print.filter(|_| followed(keyspace)))
        .collect()
}

/// The fingerprints as of the end.
fn add_up(
    mut prints: Vec<Option<Fingerprint>>,
    changes: Vec<(usize, Fingerprint)>,
) -> Vec<Option<Fingerprint>> {
    for (keyspace, change) in changes {
        if let Some(print) = prints.get_mut(keyspace) {
            *print = print.map(|print| print.plus(change));
        }
    }
    prints
}

/// Opens the readers of the pieces that are left.
async fn readers(
    job: &JobContext,
    begun: &mut Begun,
    at: &Snapshot,
    journal: &Journal,
    options: &BackupOptions,
) -> Result<VecDeque<Piece>> {
    let rests: Vec<_> = (0..begun.pieces.len())
        .map(|piece| journal.rest_of(piece))
        .collect();
    let (of_job, mut noted) = (job.clone(), begun.clone());
    let (at, options) = (at.clone(), options.clone());
    let (pieces, noted) = blocking(move || {
        let engine = of_job.engine();
        let mut pieces = VecDeque::new();
        for (number, (spec, rest)) in noted.pieces.clone().iter().zip(rests).enumerate() {
            let Some(after) = rest else { continue };
            let from = after
                .as_ref()
                .map_or(spec.range.start(), |after| after.key.as_slice());
            let range = KeyRange::new(from.to_vec(), spec.range.end().map(<[u8]>::to_vec));
            let rows = rows_of(engine, &mut noted, spec.keyspace, &range, &at, &options)?;
            let follow = match after {
                None => follow_of(engine, &noted, spec.keyspace)?,
                Some(_) => None,
            };
            pieces.push_back(Piece {
                number: u32::try_from(number).unwrap_or(u32::MAX),
                keyspace: spec.keyspace,
                rows,
                after,
                follow,
            });
        }
        // Before anything is read under it: what is promised is what all runs could see.
        of_job.set_state(&noted)?;
        Ok::<_, crate::Error>((pieces, noted))
    })
    .await?;
    *begun = noted;
    Ok(pieces)
}

/// The rows of a key range of a planned keyspace.
fn rows_of(
    engine: &Engine,
    begun: &mut Begun,
    position: usize,
    range: &KeyRange,
    at: &Snapshot,
    options: &BackupOptions,
) -> Result<Rows> {
    let history = options.revision_history;
    let missing = || icecore_engine::Error::NoSuchKeyspace {
        name: format!("number {position} of the job's plan"),
    };
    let planned = begun
        .plan
        .keyspaces
        .get(position)
        .ok_or_else(missing)?
        .clone();
    let keyspace = engine.keyspace_by_id(planned.descriptor.id)?;
    // One dropped within the window is read up to its last moment.
    let at = match planned.descriptor.dropped {
        Some(dropped) => &engine.snapshot_at(dropped.prev())?,
        None => at,
    };
    let (rows, since) = if planned.introduced {
        let floor = history.then(|| keyspace.oldest_snapshot()).transpose()?;
        let since = floor
            .as_ref()
            .map(|floor| floor.timestamp().min(at.timestamp()));
        (walk(&keyspace, range, at, floor.as_ref())?, since)
    } else {
        let rows = later(keyspace, range.clone(), planned.after, at.clone(), options);
        (rows, history.then_some(planned.after))
    };
    if let Some(start) = begun.revision_starts.get_mut(position) {
        // A run that came later may see less of the past.
        *start = since.max(*start);
    }
    Ok(rows)
}

/// How the rows of a planned keyspace lead to its fingerprint, if it gets one.
fn follow_of(engine: &Engine, begun: &Begun, position: usize) -> Result<Option<Follow>> {
    let print = begun.prints_before.get(position).copied().flatten();
    let planned = begun.plan.keyspaces.get(position);
    let Some((planned, _)) = planned.zip(print) else {
        return Ok(None);
    };
    if planned.introduced {
        return Ok(Some(Follow::Whole));
    }
    let keyspace = engine.keyspace_by_id(planned.descriptor.id)?;
    Follow::since(&keyspace, planned.after).map(Some)
}

/// The changes of a key range, found when a thread comes to read them: an open window holds keys in
/// memory. The job's record holds its beginning.
fn later(
    keyspace: Keyspace,
    range: KeyRange,
    after: Timestamp,
    until: Snapshot,
    options: &BackupOptions,
) -> Rows {
    let threads = options.threads;
    let set = if options.revision_history {
        ChangeSet::All
    } else {
        ChangeSet::Latest
    };
    Rows::Later(Box::new(move || {
        let until = until.timestamp();
        Ok(keyspace.changes(
            &range,
            Window { after, until },
            set,
            &window_options(threads),
        )?)
    }))
}

/// Tells the journal what is stored.
struct ToJournal<'a> {
    job: &'a JobContext,
    journal: &'a Journal,
}

impl ToJournal<'_> {
    fn show(&self) {
        let (_, _, done) = self.journal.totals();
        self.job.progress(|progress| progress.done_pieces = done);
    }
}

impl Watch for ToJournal<'_> {
    fn stored(&self, stored: &Stored) {
        self.journal.stored(stored);
        self.show();
    }

    fn ended(&self, piece: u32, count: u64) {
        self.journal.ended(piece, count);
        self.show();
    }
}

/// Exports what is left, with a checkpoint every so often and one at the end. By what the pieces that were
/// followed change the fingerprints of their keyspaces.
async fn export(
    job: &JobContext,
    writer: &LayerWriter,
    begun: &Begun,
    journal: &Journal,
    pieces: VecDeque<Piece>,
    options: &BackupOptions,
) -> Result<Vec<(usize, Fingerprint)>> {
    let (_, done_bytes, done_pieces) = journal.totals();
    let windows = begun
        .plan
        .keyspaces
        .iter()
        .any(|k| !k.introduced && k.is_read());
    // What a window holds is not known before it is read.
    let estimated = begun.plan.keyspaces.iter().map(|k| k.estimated_bytes);
    let total_bytes = if windows { 0 } else { estimated.sum() };
    job.progress(|progress| {
        progress.done_bytes = done_bytes;
        progress.total_bytes = total_bytes;
        progress.done_pieces = done_pieces;
        progress.pieces = u32::try_from(begun.pieces.len()).unwrap_or(u32::MAX);
    });
    let of_job = job.clone();
    let options = BackupOptions {
        progress: Some(Arc::new(move |reading| {
            of_job.progress(|progress| progress.done_bytes = reading.done_bytes);
        })),
        ..options.clone()
    };
    let watch = ToJournal { job, journal };
    let export = Export {
        engine: job.engine(),
        writer,
        localities: localities(writer, &begun.plan),
        options: &options,
        watch: &watch,
        stop: job.interrupt(),
        total_bytes,
        done_bytes: AtomicU64::new(done_bytes),
    };
    let ended = Notify::new();
    let work = async {
        let worked = export.run(pieces).await;
        ended.notify_one();
        worked
    };
    let saves = async {
        let saved = save_often(job, writer, journal, &ended).await;
        if saved.is_err() {
            // Nothing that is done from here on would be kept.
            export.stop.store(true, Ordering::Release);
        }
        saved
    };
    let (worked, saved) = tokio::join!(work, saves);
    saved?;
    // What is stored counts, even if another file could not be.
    let last = journal.save(job, writer).await;
    let Done { changes, .. } = worked?;
    last.map(|()| changes)
}

/// Writes checkpoints until the work has ended.
pub(super) async fn save_often(
    job: &JobContext,
    writer: &LayerWriter,
    journal: &Journal,
    ended: &Notify,
) -> Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(job.checkpoint_interval()) => journal.save(job, writer).await?,
            () = ended.notified() => return Ok(()),
        }
    }
}

fn manifest_of(
    engine: &Engine,
    collection: &Collection,
    writer: &LayerWriter,
    begun: &Begun,
    journal: &Journal,
    of: ManifestOf,
    prints: &[Option<Fingerprint>],
) -> Manifest {
    let mut exported: Vec<Exported> = Vec::new();
    for (position, planned) in begun.plan.keyspaces.iter().enumerate() {
        let start = begun.revision_starts.get(position).copied().flatten();
        exported.push(Exported {
            report: KeyspaceReport {
                name: planned.descriptor.name.clone(),
                introduced: planned.introduced,
                gc_gap: planned.gc_gap,
                fingerprint: prints.get(position).copied().flatten(),
                ..KeyspaceReport::default()
            },
            files: Vec::new(),
            how: Arc::default(),
            revision_start: if planned.lost {
                planned.descriptor.dropped
            } else {
                start
            },
        });
    }
    for (number, piece) in begun.pieces.iter().enumerate() {
        if let Some(exported) = exported.get_mut(piece.keyspace) {
            journal
                .files_of(number)
                .into_iter()
                .for_each(|file| exported.add(file, false));
        }
    }
    exported.iter_mut().for_each(Exported::sort);
    manifest(engine, collection, writer, of, &begun.plan, &exported)
}

/// Hands the protection over, and sums up. The layer is there: nothing here can make the job fail.
pub(super) async fn finish(
    job: &JobContext,
    collection: &Collection,
    begun: &Begun,
    entry: &LayerEntry,
    manifest: &Manifest,
) -> Value {
    let (engine, id, collection_id) = (job.engine().clone(), job.id(), collection.id());
    let of_begun = begun.clone();
    let handed = blocking(move || hold::hand_over(&engine, id, collection_id, &of_begun)).await;
    if let Err(error) = handed {
        tracing::error!(%id, %error, "the backup is done, but its protection could not be handed over");
    }
    job.progress(|progress| {
        progress.done_bytes = entry.stored_bytes;
        progress.total_bytes = entry.stored_bytes;
        progress.done_pieces = progress.pieces;
    });
    metrics::counter!("icecore_backup_done_total").increment(1);
    tracing::info!(%id, layer = %entry.path, bytes = entry.stored_bytes, "backed up");
    result(begun, entry.manifest_hash, manifest)
}

fn result(begun: &Begun, manifest_hash: ContentHash, manifest: &Manifest) -> Value {
    let start = (manifest.start > Timestamp::MIN).then(|| manifest.start.to_string());
    json!({
        "backup": manifest.layer.to_string(),
        "full": manifest.layer.full(),
        "collection": manifest.collection_id,
        "kind": manifest.kind,
        "start": start,
        "end": manifest.end.to_string(),
        "revision_history": manifest.revision_history,
        "method": begun.plan.method,
        "manifest_hash": manifest_hash,
        "files": manifest.files().count(),
        "entries": manifest.entries(),
        "stored_bytes": manifest.stored_bytes(),
    })
}
