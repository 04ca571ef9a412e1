//! One restore from plan to publication.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures::stream::{self, StreamExt, TryStreamExt};
use icecore_archive::plan::Target;
use icecore_archive::{Chain, Collection, FullPath, LayerEntry, Manifest, SCHEDULE_ROWS, blocking};
use icecore_engine::{Engine, Publish, RestoreScope, RestoringKeyspace};
use icecore_mvcc::{Fingerprint, Timestamp};

use crate::error::{Error, Result};
use crate::fetch::{Fetcher, Ready, forget, link_of};
use crate::options::RestoreOptions;
use crate::pinned::{self, AtWork, Before};
use crate::plan::{PlannedLayer, PlannedRestore, RestorePlan, owner_of, plan};
use crate::report::RestoreReport;
use crate::space;
use crate::work::{DryRun, Ingested, Requests, copied_tag};

/// Restores keyspaces into an engine. When it returns, they are visible and durable.
///
/// # Errors
/// [`Error`] says what failed; nothing is visible then. What was fetched stays hidden in the
/// engine: the same restore run again goes on from there, `Engine::abandon_restore` frees it.
#[tracing::instrument(skip_all)]
pub async fn restore(
    engine: &Engine,
    collection: &Collection,
    options: &RestoreOptions,
) -> Result<RestoreReport> {
    let plan = plan_restore(collection, options).await?;
    restore_planned(engine, collection, &plan, options).await
}

/// As [`restore`], of what [`plan_restore`] planned with the same collection and options. The seconds of
/// the report begin here.
///
/// # Errors
/// As [`restore`].
#[tracing::instrument(skip_all)]
pub async fn restore_planned(
    engine: &Engine,
    collection: &Collection,
    plan: &RestorePlan,
    options: &RestoreOptions,
) -> Result<RestoreReport> {
    let started = Instant::now();
    options.validate()?;
    let _at_work = AtWork::begin(engine, plan)?;
    let (report, bytes) = match pinned::find(engine, collection, plan, options).await? {
        Before::Nothing => apply(engine, collection, plan, options, started).await?,
        Before::Begun(begun) => {
            let applied = apply(engine, collection, &begun, options, started).await;
            match applied {
                // Retention was at work meanwhile; the chain of today is there.
                Err(error) if pinned::lacks_a_layer(&error) && begun.layers != plan.layers => {
                    begin_anew(engine, plan, &error.to_string()).await?;
                    apply(engine, collection, plan, options, started).await?
                }
                applied => applied?,
            }
        }
        Before::Lost => {
            let why = "the layers that it was begun with are gone";
            begin_anew(engine, plan, why).await?;
            apply(engine, collection, plan, options, started).await?
        }
    };
    metrics::counter!("icecore_restore_done_total").increment(1);
    metrics::histogram!("icecore_restore_seconds").record(report.seconds);
    tracing::info!(target = %report.target, bytes, seconds = report.seconds, "restored");
    Ok(report)
}

/// Gives up what an earlier run brought.
async fn begin_anew(engine: &Engine, plan: &RestorePlan, why: &str) -> Result<()> {
    let (engine, id) = (engine.clone(), plan.restore_id.clone());
    tracing::warn!(restore = id, why, "an interrupted restore begins anew");
    blocking(move || Ok::<_, Error>(engine.abandon_restore(&id).map(drop)?)).await
}

/// Does what is planned; also returns the bytes of the files.
async fn apply(
    engine: &Engine,
    collection: &Collection,
    plan: &RestorePlan,
    options: &RestoreOptions,
    started: Instant,
) -> Result<(RestoreReport, u64)> {
    preflight(engine, plan)?;
    let total_bytes = plan.stored_bytes();
    let threads = options.threads;
    // Before anything is staged: the folder of a restore that is not begun goes at the next open.
    let begun = begin(engine, plan).await?;
    pinned::note(engine, plan).await?;
    let fetcher = Arc::new(Fetcher::new(engine, collection, plan, options)?);
    let keyspaces = stream::iter(begun.iter().zip(&plan.keyspaces))
        .map(|(hidden, planned)| bring(Arc::clone(&fetcher), hidden, planned))
        .buffered(threads);
    // All of them end before this returns, whichever fails: none may be at work on the engine then.
    let brought: Vec<Result<()>> = keyspaces.collect().await;
    brought.into_iter().collect::<Result<()>>()?;
    fetcher.check_not_interrupted()?;
    let found = match options.check_fingerprints {
        true => check_fingerprints(&begun, plan, threads).await?,
        false => vec![None; begun.len()],
    };
    fetcher.check_not_interrupted()?;
    if let Some(before_publish) = options.before_publish.clone() {
        let ids = begun.iter().map(|k| (k.name().to_owned(), k.id()));
        let ids: Vec<_> = ids.collect();
        blocking(move || before_publish(&ids).map_err(Error::from)).await?;
    }
    // Before anything is visible: a run that dies from here on, or is given up, leaves schedules that rest.
    let (schedules, to) = (plan.schedules.clone(), engine.clone());
    blocking(move || bring_schedules(&to, &schedules)).await?;
    let publish: Vec<Publish> = begun
        .into_iter()
        .zip(&plan.keyspaces)
        .map(|(keyspace, planned)| Publish {
            keyspace,
            threshold: planned.threshold,
        })
        .collect();
    let (target, scope, publisher) = (plan.target, scope_of(plan), engine.clone());
    blocking(move || {
        let published = publisher.publish_restores(publish, target, scope);
        published.map(drop).map_err(refused)
    })
    .await?;
    let report = RestoreReport::new(plan, &found, started.elapsed().as_secs_f64());
    Ok((report, total_bytes))
}

/// What a restore would do: the plan, and what it takes of the store and the disk. With an engine its
/// conflicts are found too, what an interrupted run of the same restore brought already is not
/// counted again, and too little room on the disk is an error.
///
/// # Errors
/// As [`restore`], as far as planning and preflight go.
pub async fn dry_run(
    engine: Option<&Engine>,
    collection: &Collection,
    options: &RestoreOptions,
) -> Result<DryRun> {
    let plan = plan_restore(collection, options).await?;
    let Some(engine) = engine else {
        return Ok(DryRun::new(plan, &Ingested::default()));
    };
    check_names(engine, &plan)?;
    let (plan, ingested) = match pinned::find(engine, collection, &plan, options).await? {
        Before::Begun(begun) => {
            let ingested = Ingested::of(engine, &begun);
            (begun, ingested)
        }
        Before::Nothing | Before::Lost => (plan, Ingested::default()),
    };
    check_room(engine, &plan, &ingested)?;
    Ok(DryRun::new(plan, &ingested))
}

/// Chooses the layers of a restore, reads their manifests, and plans from them. Nothing is written.
///
/// # Errors
/// As [`restore`], as far as planning goes.
pub async fn plan_restore(
    collection: &Collection,
    options: &RestoreOptions,
) -> Result<RestorePlan> {
    options.validate()?;
    let before = collection.requests();
    let (full, manifests, target) = read_chain(collection, options).await?;
    let mut plan = plan(&full, &manifests, target, options)?;
    // A place that was not given is named before anything is fetched.
    let layers = plan.keyspaces.iter().flat_map(|planned| &planned.layers);
    collection.check_localities(layers.flat_map(|layer| {
        let files = layer.files.iter();
        files.map(|planned| (&layer.path, &planned.file))
    }))?;
    plan.planning = Requests::from(collection.requests() - before);
    Ok(plan)
}

/// The manifests of the layers to apply, in order, and the time to restore.
pub(crate) async fn read_chain(
    collection: &Collection,
    options: &RestoreOptions,
) -> Result<(FullPath, Vec<Manifest>, Timestamp)> {
    let chain = collection.open_chain(&options.from).await?;
    check_head(collection, &chain, options).await?;
    let target = options.as_of.map_or(Target::Latest, Target::At);
    let wanted = icecore_archive::plan::chain(chain.layers(), target)?;
    let layers = vouched(&chain, &wanted, options)?;
    let mut manifests: Vec<Manifest> = stream::iter(&layers)
        .map(|layer| collection.read_layer(layer))
        .buffered(options.threads.max(8))
        .try_collect()
        .await?;
    collection.check_links(&chain, &layers, &manifests).await?;
    manifests.truncate(wanted.len());
    let end = wanted.last().ok_or(icecore_archive::Error::EmptyChain)?.end;
    Ok((
        chain.full().clone(),
        manifests,
        options.as_of.unwrap_or(end),
    ))
}

/// The layers to read: those to apply, and if the head is known, what follows them up to it. By the hashes
/// of their parents it vouches for all before it, which the index does not.
fn vouched(
    chain: &Chain,
    wanted: &[LayerEntry],
    options: &RestoreOptions,
) -> Result<Vec<LayerEntry>> {
    if options.expect_head.is_some() {
        let all = icecore_archive::plan::chain(chain.layers(), Target::Latest)?;
        if all.starts_with(wanted) {
            return Ok(all);
        }
    }
    Ok(wanted.to_vec())
}

/// The head must be the layer that is expected, or one that stands for it and for nothing after it.
async fn check_head(
    collection: &Collection,
    chain: &Chain,
    options: &RestoreOptions,
) -> Result<()> {
    let Some(expected) = options.expect_head else {
        return Ok(());
    };
    let head = chain.head()?;
    let found = head.manifest_hash;
    let ends_there = |layer: &&icecore_archive::LayerEntry| layer.end == head.end;
    let mut ends = chain.layers().iter().filter(ends_there);
    if ends.any(|layer| layer.manifest_hash == expected) {
        return Ok(());
    }
    if collection.read_layer(&head).await?.merges.last() == Some(&expected) {
        return Ok(());
    }
    Err(Error::UnexpectedHead {
        chain: chain.full().to_string(),
        found,
        expected,
    })
}

const fn scope_of(plan: &RestorePlan) -> RestoreScope {
    match plan.whole_engine {
        true => RestoreScope::WholeEngine,
        false => RestoreScope::Keyspaces,
    }
}

/// The engine's refusal, told as this crate tells it.
fn refused(error: icecore_engine::Error) -> Error {
    match error {
        icecore_engine::Error::Restore { restore, name, .. } if owner_of(&restore).is_some() => {
            Error::Held {
                keyspace: name,
                owner: owner_of(&restore).unwrap_or_default().to_owned(),
            }
        }
        icecore_engine::Error::NotEmpty { path } => Error::NotEmpty {
            engine: path.display().to_string(),
        },
        other => other.into(),
    }
}

/// Finds what would make the restore fail at its end, before anything is fetched. The engine checks it
/// again under its lock, when the restore begins and when it is published.
fn preflight(engine: &Engine, plan: &RestorePlan) -> Result<()> {
    check_names(engine, plan)?;
    check_room(engine, plan, &Ingested::of(engine, plan))
}

fn check_names(engine: &Engine, plan: &RestorePlan) -> Result<()> {
    if plan.whole_engine && engine.has_ever_had_keyspaces()? {
        return Err(Error::NotEmpty {
            engine: engine.dir().display().to_string(),
        });
    }
    for planned in &plan.keyspaces {
        let restorable = engine.check_restorable(&plan.restore_id, &planned.name);
        restorable.map_err(refused)?;
    }
    Ok(())
}

fn check_room(engine: &Engine, plan: &RestorePlan, ingested: &Ingested) -> Result<()> {
    let needed = ingested.space_bytes(plan);
    space::check(engine.staging_dir(), needed)?;
    // The same again where both lie on one file system, as they mostly do.
    space::check(engine.dir(), needed)
}

/// Writes the rows of schedules as they are. One that is here already stays.
fn bring_schedules(engine: &Engine, schedules: &BTreeMap<String, serde_json::Value>) -> Result<()> {
    for (label, row) in schedules {
        let json = row.to_string().into_bytes();
        engine.system().update(SCHEDULE_ROWS, label, |found| {
            if found.is_some_and(|found| found != json) {
                tracing::warn!(label, "a schedule of this label is here already, and stays");
            }
            Ok::<_, Error>(found.is_none().then(|| json.clone()))
        })?;
    }
    Ok(())
}

/// Begins all keyspaces at once, before anything is fetched: where a name is held, none is begun.
async fn begin(engine: &Engine, plan: &RestorePlan) -> Result<Vec<RestoringKeyspace>> {
    let (engine, id, scope) = (engine.clone(), plan.restore_id.clone(), scope_of(plan));
    let wanted: Vec<_> = plan
        .keyspaces
        .iter()
        .map(|planned| (planned.name.clone(), planned.source.settings.clone()))
        .collect();
    blocking(move || engine.begin_restores(&id, &wanted, scope).map_err(refused)).await
}

/// Reads what came back, and compares it with what the manifests say.
async fn check_fingerprints(
    begun: &[RestoringKeyspace],
    plan: &RestorePlan,
    threads: usize,
) -> Result<Vec<Option<Fingerprint>>> {
    let (target, mut prints) = (plan.target, Vec::new());
    for (hidden, planned) in begun.iter().zip(&plan.keyspaces) {
        let hidden = hidden.clone();
        let found =
            blocking(move || Ok::<_, Error>(hidden.fingerprint_at(target, threads)?)).await?;
        if let Some(expected) = planned.fingerprint.filter(|expected| *expected != found) {
            return Err(Error::OtherState {
                keyspace: planned.source.name.clone(),
                target,
                found,
                expected,
            });
        }
        prints.push(Some(found));
    }
    Ok(prints)
}

/// Fetches and ingests one keyspace's layers, oldest first. Ends early when another one failed.
async fn bring(
    fetcher: Arc<Fetcher>,
    hidden: &RestoringKeyspace,
    planned: &PlannedRestore,
) -> Result<()> {
    let brought = bring_layers(&fetcher, hidden, planned).await;
    brought.inspect_err(|_| fetcher.stop())
}

async fn bring_layers(
    fetcher: &Fetcher,
    hidden: &RestoringKeyspace,
    planned: &PlannedRestore,
) -> Result<()> {
    let ingested = hidden.ingested();
    for layer in &planned.layers {
        let tag = layer.path.to_string();
        if ingested.contains(&tag) {
            fetcher.skip(layer);
            continue;
        }
        let copied_are_in = ingested.contains(&copied_tag(&layer.path));
        // The one that failed tells why.
        let Some(files) = fetcher.layer(layer, copied_are_in).await? else {
            return Ok(());
        };
        let (keyspace, layer) = (hidden.clone(), layer.clone());
        let dir = fetcher.dir().to_owned();
        blocking(move || ingest(&keyspace, &layer, &files, &dir)).await?;
    }
    Ok(())
}

/// Ingests a layer's files by links of their own, so that they are still there should the process die
/// before it is noted that the layer is in; they go once it is.
fn ingest(
    keyspace: &RestoringKeyspace,
    layer: &PlannedLayer,
    files: &Ready,
    dir: &Path,
) -> Result<()> {
    let links = |files: &[PathBuf]| -> Vec<PathBuf> { files.iter().map(|f| link_of(f)).collect() };
    // In a step of their own, which is noted: they must not go in a second time.
    if !files.live.is_empty() {
        keyspace.ingest_live(&copied_tag(&layer.path), &links(&files.live))?;
    }
    if !files.flat.is_empty() {
        keyspace.ingest(&copied_tag(&layer.path), &links(&files.flat))?;
    }
    keyspace.ingest(&layer.path.to_string(), &links(&files.plain))?;
    for file in layer.files.iter().map(|planned| &planned.file) {
        forget(dir, file.id);
    }
    Ok(())
}
