//! One backup from plan to hand-over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::stream::{self, TryStreamExt};
use icecore_archive::{
    AppendTarget, Chain, ChainId, Collection, FullPath, LayerWriter, Manifest, ManifestKeyspace,
    blocking,
};
use icecore_engine::{Engine, Snapshot};
use icecore_mvcc::{Descriptor, Timestamp};

use crate::error::{Error, Result};
use crate::export::{Exported, export, read_prints};
use crate::fast::{Copying, Source};
use crate::mode::{Facts, Method, choose};
use crate::options::{BackupOptions, Fingerprints};
use crate::plan::{BackupPlan, Inputs, Parent, plan};
use crate::prints::Prints;
use crate::protection::{ChainOf, Hold, explain_gap, thresholds};
use crate::report::BackupReport;
use crate::schedule::system_rows;

/// What the target of a backup came out as.
pub(crate) enum Onto {
    /// A new full, under the given name or one made from its end time.
    Full(Option<FullPath>),
    /// An incremental of this chain, whose newest layer has this manifest.
    Chain(Box<Chain>, Box<Manifest>),
}

impl Onto {
    /// The chain that a layer with this end is part of, with the end of its full.
    pub(crate) fn chain(&self, end: Timestamp) -> Result<(ChainId, Timestamp)> {
        match self {
            Self::Full(_) => Ok((ChainId::random(), end)),
            Self::Chain(chain, parent) => {
                let full_end = chain.full_end();
                let full_end = full_end.ok_or(icecore_archive::Error::EmptyChain)?;
                Ok((parent.chain_id, full_end))
            }
        }
    }
}

/// A backup that may begin.
pub(crate) struct Prepared {
    pub(crate) onto: Onto,
    pub(crate) at: Snapshot,
    pub(crate) plan: BackupPlan,
}

/// Takes a backup. When it returns, the layer can be restored.
///
/// # Errors
/// [`Error`] says what failed; no layer is listed then. Files that were stored already stay in
/// the collection, unreferenced.
#[tracing::instrument(skip_all)]
pub async fn backup(
    engine: &Engine,
    collection: &Collection,
    options: &BackupOptions,
) -> Result<BackupReport> {
    let started = Instant::now();
    let Prepared { onto, at, plan } = prepare(engine, collection, options).await?;
    let (source, at, plan) = match plan.method {
        Method::Logical => (None, at, plan),
        Method::Fast => {
            // The files decide the time; what there is as of then is planned anew.
            drop(at);
            let source = Source::capture(engine, options).await?;
            let at = source.at().clone();
            let again = plan_at(engine, &onto, options, at.clone(), Some(&plan)).await?;
            (Some(source), at, again)
        }
    };
    let (chain_id, full_end) = onto.chain(plan.end)?;
    let chain = ChainOf::new(collection.id(), chain_id, full_end, &plan)?;
    let (hold, plan) = acquire(engine, chain, plan, options).await?;
    let prepared = Prepared { onto, at, plan };
    let written = write_layer(engine, collection, options, &prepared, chain_id, source).await;
    let Prepared { at, plan, .. } = prepared;
    let mut report = match written {
        Ok(report) => report,
        Err(error) => {
            let abandoned = blocking(move || {
                hold.abandon();
                Result::<()>::Ok(())
            });
            // Should this fail too, the error to tell is still the first one.
            if let Err(stopped) = abandoned.await {
                tracing::error!(error = %stopped, "the protection of a failed backup was not released");
            }
            metrics::counter!("icecore_backup_failed_total").increment(1);
            return Err(error);
        }
    };
    // The layer is committed and restores. Should the hand-over fail, the older record goes on
    // holding more than is needed, and `gc status` shows it.
    let handed_over = blocking(move || hold.hand_over(&plan)).await;
    drop(at);
    if let Err(error) = handed_over {
        tracing::error!(%error, "the backup is done, but its protection could not be handed over");
    }
    if report.keyspaces.is_empty() {
        // The whole engine had none then, or all that the chain covers were dropped.
        tracing::warn!(layer = %report.layer, end = %report.end, "the backup holds no keyspace: there was none as of its end");
    }
    report.seconds = started.elapsed().as_secs_f64();
    metrics::counter!("icecore_backup_done_total").increment(1);
    metrics::histogram!("icecore_backup_seconds").record(report.seconds);
    tracing::info!(layer = %report.layer, bytes = report.stored_bytes(), seconds = report.seconds, "backed up");
    Ok(report)
}

/// What a backup would do, without writing anything.
///
/// # Errors
/// As [`backup`], as far as planning goes.
pub async fn dry_run(
    engine: &Engine,
    collection: &Collection,
    options: &BackupOptions,
) -> Result<BackupPlan> {
    Ok(prepare(engine, collection, options).await?.plan)
}

pub(crate) async fn prepare(
    engine: &Engine,
    collection: &Collection,
    options: &BackupOptions,
) -> Result<Prepared> {
    options.validate()?;
    let onto = match &options.onto {
        None => Onto::Full(None),
        Some(selector) => match collection.append_target(selector).await? {
            AppendTarget::NewFull(path) => Onto::Full(Some(path)),
            AppendTarget::Chain(chain) => {
                let manifest = collection.read_layer(&chain.head()?).await?;
                Onto::Chain(Box::new(chain), Box::new(manifest))
            }
        },
    };
    let (source, as_of) = (engine.clone(), options.as_of);
    let at = blocking(move || {
        source
            .snapshot_at(as_of.unwrap_or_else(|| source.now()))
            .map_err(Error::from)
    })
    .await?;
    let plan = plan_at(engine, &onto, options, at.clone(), None).await?;
    Ok(Prepared { onto, at, plan })
}

/// Plans a backup as of a time. The method is chosen, or that of an earlier plan.
pub(crate) async fn plan_at(
    engine: &Engine,
    onto: &Onto,
    options: &BackupOptions,
    at: Snapshot,
    chosen: Option<&BackupPlan>,
) -> Result<BackupPlan> {
    let chosen = chosen.map(|plan| (plan.method, plan.method_reason.clone()));
    let parent = match onto {
        Onto::Full(_) => None,
        Onto::Chain(chain, manifest) => Some((chain.full().to_string(), manifest.clone())),
    };
    let (engine, options) = (engine.clone(), options.clone());
    blocking(move || {
        // Before those that live: what is restored in between is then no reason to refuse.
        let present = engine.all_keyspaces().into_iter();
        let present: Vec<_> = present.map(|keyspace| keyspace.descriptor()).collect();
        let mut live = engine.descriptors_at(at.timestamp())?;
        let mut lost = BTreeSet::new();
        if options.revision_history {
            let after = parent
                .as_ref()
                .map_or(Timestamp::MIN, |(_, manifest)| manifest.end);
            for (descriptor, collected) in dropped_within(&engine, after, at.timestamp()) {
                lost.extend(collected.then_some(descriptor.id));
                live.push(descriptor);
            }
        }
        let inputs = Inputs {
            engine_id: engine.id(),
            parent: parent
                .as_ref()
                .map(|(chain, manifest)| Parent { chain, manifest }),
            end: at.timestamp(),
            live: &live,
            lost: &lost,
            present: &present,
            patterns: &options.keyspaces,
            revision_history: options.revision_history,
            thresholds: &thresholds(&engine),
            on_gc_gap: options.on_gc_gap,
        };
        let mut plan = plan(&inputs).map_err(|error| match &parent {
            Some((_, onto)) => explain_gap(&engine, onto.collection_id, onto.chain_id, error),
            None => error,
        })?;
        for later in plan.restored_later(&present) {
            tracing::warn!(keyspace = later.name, end = %plan.end, restored = %later.created,
                "not in the backup: it was restored here only after its end");
        }
        estimate(&engine, &mut plan)?;
        (plan.method, plan.method_reason) = match chosen {
            Some(chosen) => chosen,
            None => choose(options.mode, facts(&plan, &options))?,
        };
        Ok(plan)
    })
    .await
}

/// Protects what the plan reads; the plan comes back with what has changed since it was made.
async fn acquire(
    engine: &Engine,
    chain: ChainOf,
    mut plan: BackupPlan,
    options: &BackupOptions,
) -> Result<(Hold, BackupPlan)> {
    let (engine, on_gc_gap) = (engine.clone(), options.on_gc_gap);
    blocking(move || {
        let hold = Hold::acquire(&engine, chain, &mut plan, on_gc_gap)?;
        let estimated = estimate(&engine, &mut plan);
        estimated.inspect_err(|_| hold.abandon())?;
        let gaps = plan.keyspaces.iter();
        for (planned, threshold) in gaps.filter_map(|k| k.gc_gap.map(|threshold| (k, threshold))) {
            metrics::counter!("icecore_backup_gc_gaps_total").increment(1);
            tracing::warn!(keyspace = planned.descriptor.name, chain_end = %plan.start, %threshold,
                "taken from zero: garbage collection had passed the chain's end");
        }
        Ok((hold, plan))
    })
    .await
}

/// How much there is to read of keyspaces that are taken whole.
fn estimate(engine: &Engine, plan: &mut BackupPlan) -> Result<()> {
    let keyspaces = plan.keyspaces.iter_mut();
    for keyspace in keyspaces.filter(|k| k.introduced && k.is_read()) {
        let stats = engine.keyspace_by_id(keyspace.descriptor.id)?.stats();
        keyspace.estimated_bytes = stats.sst_bytes + stats.memtable_bytes;
    }
    Ok(())
}

/// What the choice of a method depends on.
fn facts(plan: &BackupPlan, options: &BackupOptions) -> Facts {
    let bytes = plan.keyspaces.iter().map(|k| k.estimated_bytes);
    Facts {
        incremental: plan.onto.is_some(),
        as_of: options.as_of.is_some(),
        revision_history: plan.revision_history,
        bytes: icecore_archive::total(bytes),
    }
}

/// Keyspaces that were dropped in a window: with history, times before their drop can be restored. With
/// each, whether all of it was collected already: then the layer only tells that it was there.
fn dropped_within(
    engine: &Engine,
    after: Timestamp,
    until: Timestamp,
) -> impl Iterator<Item = (Descriptor, bool)> {
    engine
        .all_keyspaces()
        .into_iter()
        .filter_map(move |keyspace| {
            let descriptor = keyspace.descriptor();
            let dropped = descriptor.dropped?;
            let within = after < dropped && dropped <= until;
            within.then(|| (descriptor, dropped <= keyspace.threshold()))
        })
}

async fn write_layer(
    engine: &Engine,
    collection: &Collection,
    options: &BackupOptions,
    prepared: &Prepared,
    chain_id: ChainId,
    fast: Option<Source>,
) -> Result<BackupReport> {
    let Prepared { onto, at, plan } = prepared;
    let writer = match onto {
        Onto::Full(path) => collection.begin_full(plan.end, path.clone()).await?,
        Onto::Chain(chain, _) => collection.begin_incremental(chain, plan.end).await?,
    };
    let source = engine.clone();
    blocking(move || source.sync_wal().map_err(Error::from)).await?;
    let parent = match onto {
        Onto::Full(_) => None,
        Onto::Chain(_, manifest) => Some(&**manifest),
    };
    let prints = Prints::new(options.fingerprints, parent);
    let exported = match fast {
        Some(source) => copy(engine, collection, &writer, &source, plan, options).await?,
        None => export(engine, at, &writer, plan, options, prints).await?,
    };
    let of = ManifestOf {
        chain_id,
        created_at: engine.now(),
        system: system_of(engine, at, plan).await?,
    };
    let manifest = manifest(engine, collection, &writer, of, plan, &exported);
    writer.check().await?;
    if options.recheck {
        recheck(collection, &manifest, options.threads).await?;
    }
    let entry = writer.commit(manifest).await?;
    Ok(BackupReport {
        layer: entry.path,
        kind: plan.kind,
        start: entry.start,
        end: entry.end,
        revision_history: plan.revision_history,
        method: plan.method,
        method_reason: plan.method_reason.clone(),
        manifest_hash: entry.manifest_hash,
        keyspaces: exported.into_iter().map(|e| e.report).collect(),
        seconds: 0.0,
    })
}

/// Brings the live files of a source into the collection, to the last one, and reads the state beside it
/// where its fingerprints are asked for.
async fn copy(
    engine: &Engine,
    collection: &Collection,
    writer: &LayerWriter,
    source: &Source,
    plan: &BackupPlan,
    options: &BackupOptions,
) -> Result<Vec<Exported>> {
    let stop = Arc::new(AtomicBool::new(false));
    let copying = Copying {
        collection,
        writer,
        options,
        ours: Vec::new(),
        put: &|_, _| (),
        stop: &stop,
        total: &|_| (),
    };
    let copying = async {
        let copied = copying.run(source, plan).await;
        stop.fetch_or(copied.is_err(), Ordering::AcqRel);
        copied
    };
    let reading = async {
        if options.fingerprints != Fingerprints::Always {
            return Ok(vec![None; plan.keyspaces.len()]);
        }
        let state = source.at();
        let prints = read_prints(engine, writer, state, plan, options, Arc::clone(&stop)).await;
        stop.fetch_or(prints.is_err(), Ordering::AcqRel);
        prints
    };
    // Both end before this returns: neither may be at work on the engine then.
    let (copied, prints) = tokio::join!(copying, reading);
    let (copied, prints) = (copied?, prints?);
    let stopped = || icecore_archive::Error::Stopped {
        cause: "the copying ended early".to_owned(),
    };
    let mut exported = copied.ok_or_else(stopped)?;
    for (exported, print) in exported.iter_mut().zip(prints) {
        exported.report.fingerprint = print;
    }
    Ok(exported)
}

/// Reads everything back that the layer names, before anyone relies on it.
pub(crate) async fn recheck(
    collection: &Collection,
    manifest: &Manifest,
    threads: usize,
) -> Result<()> {
    let files = stream::iter(manifest.files().map(|(_, file)| Ok(file)));
    files
        .try_for_each_concurrent(threads, |file| {
            collection.verify_file(&manifest.layer, file)
        })
        .await?;
    Ok(())
}

/// What of a manifest neither the plan nor the layer says.
pub(crate) struct ManifestOf {
    pub(crate) chain_id: ChainId,
    pub(crate) created_at: Timestamp,
    pub(crate) system: BTreeMap<String, serde_json::Value>,
}

/// The rows that belong to no keyspace and go with the whole engine.
pub(crate) async fn system_of(
    engine: &Engine,
    at: &Snapshot,
    plan: &BackupPlan,
) -> Result<BTreeMap<String, serde_json::Value>> {
    if !plan.whole_engine {
        return Ok(BTreeMap::new());
    }
    let (engine, at) = (engine.clone(), at.clone());
    blocking(move || system_rows(&engine, &at)).await
}

pub(crate) fn manifest(
    engine: &Engine,
    collection: &Collection,
    writer: &LayerWriter,
    of: ManifestOf,
    plan: &BackupPlan,
    exported: &[Exported],
) -> Manifest {
    let keyspaces = plan
        .keyspaces
        .iter()
        .zip(exported)
        .map(|(planned, exported)| ManifestKeyspace {
            descriptor: planned.descriptor.clone(),
            introduced: planned.introduced,
            gc_gap: planned.gc_gap,
            revision_start: exported.revision_start,
            files: exported.files.clone(),
            fingerprint: exported.report.fingerprint,
        });
    Manifest {
        collection_id: collection.id(),
        chain_id: of.chain_id,
        engine_id: engine.id(),
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        kind: plan.kind,
        layer: writer.layer().clone(),
        parent_manifest: writer.parent_manifest(),
        merges: Vec::new(),
        start: plan.start,
        end: plan.end,
        created_at: of.created_at,
        revision_history: plan.revision_history,
        whole_engine: plan.whole_engine,
        patterns: plan.patterns.clone(),
        keyspaces: keyspaces.collect(),
        system: of.system,
    }
}

const _: () = {
    // Backups are driven from async servers: their future must be able to move between threads.
    const fn sendable<T: Send>() {}
    sendable::<Error>();
};

#[cfg(test)]
mod tests;
