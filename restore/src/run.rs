//! One restore from plan to publication.

use std::sync::Arc;
use std::time::Instant;

use futures::stream::{self, StreamExt, TryStreamExt};
use icecore_archive::plan::Target;
use icecore_archive::{Chain, Collection, blocking};
use icecore_engine::{Engine, Publish, RestoringKeyspace};

use crate::error::{Error, Result};
use crate::fetch::Fetcher;
use crate::options::RestoreOptions;
use crate::plan::{PlannedRestore, RestorePlan, plan};
use crate::report::RestoreReport;

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
    let started = Instant::now();
    let plan = plan_from(collection, options).await?;
    preflight(engine, &plan)?;
    let total_bytes = plan.stored_bytes();
    let (threads, progress) = (options.threads, options.progress.clone());
    let fetcher = Arc::new(Fetcher::new(
        engine,
        collection,
        plan.target,
        threads,
        progress,
        total_bytes,
    )?);
    let keyspaces = stream::iter(&plan.keyspaces)
        .map(|planned| bring(Arc::clone(&fetcher), &plan.restore_id, planned))
        .buffered(threads);
    // All of them end before this returns, whichever fails: none may be at work on the engine then.
    let restored: Vec<Result<Option<RestoringKeyspace>>> = keyspaces.collect().await;
    let restored: Result<Vec<Option<RestoringKeyspace>>> = restored.into_iter().collect();
    let publish: Vec<Publish> = restored?
        .into_iter()
        .zip(&plan.keyspaces)
        .filter_map(|(keyspace, planned)| {
            keyspace.map(|keyspace| Publish {
                keyspace,
                threshold: planned.threshold,
            })
        })
        .collect();
    let (target, publisher) = (plan.target, engine.clone());
    blocking(move || {
        publisher
            .publish_restore(publish, target)
            .map_err(Error::from)
    })
    .await?;
    let report = RestoreReport::new(&plan, started.elapsed().as_secs_f64());
    metrics::counter!("icecore_restore_done_total").increment(1);
    metrics::histogram!("icecore_restore_seconds").record(report.seconds);
    tracing::info!(target = %report.target, bytes = total_bytes, seconds = report.seconds, "restored");
    Ok(report)
}

/// What a restore would do. With an engine, its conflicts are found too.
///
/// # Errors
/// As [`restore`], as far as planning goes.
pub async fn dry_run(
    engine: Option<&Engine>,
    collection: &Collection,
    options: &RestoreOptions,
) -> Result<RestorePlan> {
    let plan = plan_from(collection, options).await?;
    if let Some(engine) = engine {
        preflight(engine, &plan)?;
    }
    Ok(plan)
}

async fn plan_from(collection: &Collection, options: &RestoreOptions) -> Result<RestorePlan> {
    options.validate()?;
    let chain = collection.open_chain(&options.from).await?;
    check_head(&chain, options)?;
    let target = options.as_of.map_or(Target::Latest, Target::At);
    let layers = icecore_archive::plan::chain(chain.layers(), target)?;
    let manifests: Vec<_> = stream::iter(&layers)
        .map(|layer| collection.read_layer(layer))
        .buffered(options.threads.max(8))
        .try_collect()
        .await?;
    let end = layers.last().ok_or(icecore_archive::Error::EmptyChain)?.end;
    plan(
        chain.full(),
        &manifests,
        options.as_of.unwrap_or(end),
        options,
    )
}

fn check_head(chain: &Chain, options: &RestoreOptions) -> Result<()> {
    let Some(expected) = options.expect_head else {
        return Ok(());
    };
    let found = chain.head()?.manifest_hash;
    if found == expected {
        return Ok(());
    }
    Err(Error::UnexpectedHead {
        chain: chain.full().to_string(),
        found,
        expected,
    })
}

/// Finds what would make the restore fail at its end, before anything is fetched.
fn preflight(engine: &Engine, plan: &RestorePlan) -> Result<()> {
    let resumed = engine
        .restoring()
        .iter()
        .any(|r| r.restore_id() == plan.restore_id);
    if plan.whole_engine && !resumed && engine.has_ever_had_keyspaces()? {
        return Err(Error::NotEmpty {
            engine: engine.dir().display().to_string(),
        });
    }
    for planned in &plan.keyspaces {
        if engine.keyspace(&planned.name).is_ok() {
            return Err(icecore_engine::Error::KeyspaceExists {
                name: planned.name.clone(),
            }
            .into());
        }
    }
    Ok(())
}

/// Fetches and ingests one keyspace's layers, oldest first. `None` when another one failed.
async fn bring(
    fetcher: Arc<Fetcher>,
    restore_id: &str,
    planned: &PlannedRestore,
) -> Result<Option<RestoringKeyspace>> {
    let brought = bring_layers(&fetcher, restore_id, planned).await;
    brought.inspect_err(|_| fetcher.stop())
}

async fn bring_layers(
    fetcher: &Fetcher,
    restore_id: &str,
    planned: &PlannedRestore,
) -> Result<Option<RestoringKeyspace>> {
    let (engine, id) = (fetcher.engine.clone(), restore_id.to_owned());
    let (name, settings) = (planned.name.clone(), planned.source.settings.clone());
    if fetcher.stopped() {
        return Ok(None);
    }
    let hidden = blocking(move || {
        engine
            .begin_restore(&id, &name, settings)
            .map_err(Error::from)
    })
    .await?;
    let ingested = hidden.ingested();
    for layer in &planned.layers {
        let tag = layer.path.to_string();
        if ingested.contains(&tag) {
            fetcher.skip(layer);
            continue;
        }
        let Some(files) = fetcher.layer(layer).await? else {
            return Ok(None);
        };
        let keyspace = hidden.clone();
        blocking(move || keyspace.ingest(&tag, &files).map_err(Error::from)).await?;
    }
    Ok(Some(hidden))
}
