//! One compaction from plan to the last layer.

use std::sync::Arc;
use std::time::Instant;

use futures::stream::{self, StreamExt, TryStreamExt};
use icecore_archive::plan::Target;
use icecore_archive::{
    Chain, Collection, FileEntry, Manifest, ManifestKeyspace, StagingFolder, total,
};
use icecore_engine::SstFiles;

use super::merge::Merger;
use super::options::CompactOptions;
use super::plan::{CompactionPlan, Part, PlannedMerge, plan};
use super::report::{CompactReport, MergedLayer};
use crate::error::Result;

/// Manifests read at a time.
const READS_UNDER_WAY: usize = 8;

/// Merges incrementals of a chain. A chain with fewer than two that can be merged is left as it is.
///
/// # Errors
/// [`Error`](crate::Error) says what failed. Layers that were made before are listed and whole; what was
/// stored of the one that failed stays in the collection, unreferenced.
#[tracing::instrument(skip_all)]
pub async fn compact(collection: &Collection, options: &CompactOptions) -> Result<CompactReport> {
    let started = Instant::now();
    let (chain, plan) = prepare(collection, options).await?;
    let mut report = CompactReport {
        full: plan.full.clone(),
        merged: Vec::new(),
        left: plan.left.clone(),
        seconds: 0.0,
    };
    if !plan.merges.is_empty() {
        let temporary = std::env::temp_dir();
        let parent = options.staging.as_deref().unwrap_or(&temporary);
        let merger = Merger {
            collection: collection.clone(),
            options: options.clone(),
            files: SstFiles::new(&icecore_engine::Options::default())?,
            staging: Arc::new(StagingFolder::new(parent, "compact")?),
            total_bytes: plan.stored_bytes(),
            done_bytes: Arc::default(),
        };
        for planned in &plan.merges {
            report.merged.push(make(&merger, &chain, planned).await?);
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    tracing::info!(full = %report.full, layers = report.merged.len(), bytes = report.stored_bytes(), seconds = report.seconds, "compacted");
    Ok(report)
}

/// What a compaction would do, without writing anything.
///
/// # Errors
/// As [`compact`], as far as planning goes.
pub async fn plan_compaction(
    collection: &Collection,
    options: &CompactOptions,
) -> Result<CompactionPlan> {
    Ok(prepare(collection, options).await?.1)
}

async fn prepare(
    collection: &Collection,
    options: &CompactOptions,
) -> Result<(Chain, CompactionPlan)> {
    options.validate()?;
    let chain = collection.open_chain(&options.backup).await?;
    let way = icecore_archive::plan::chain(chain.layers(), Target::Latest)?;
    let manifests: Vec<Manifest> = stream::iter(way.clone())
        .map(|entry| async move { collection.read_layer(&entry).await })
        .buffered(READS_UNDER_WAY)
        .try_collect()
        .await?;
    // What is merged can be told apart no more.
    collection.check_links(&chain, &way, &manifests).await?;
    let parts = way.into_iter().zip(manifests);
    let parts: Vec<Part> = parts
        .map(|(entry, manifest)| Part { entry, manifest })
        .collect();
    let plan = plan(chain.full(), &parts, options.keep_newest);
    // A place that was not given is named before anything is read.
    let keyspaces = plan.merges.iter().flat_map(|merge| &merge.keyspaces);
    collection.check_localities(keyspaces.flat_map(|keyspace| {
        let inputs = keyspace.inputs.iter();
        inputs.flat_map(|(layer, files)| files.iter().map(move |file| (layer, file)))
    }))?;
    Ok((chain, plan))
}

/// Makes one layer.
async fn make(merger: &Merger, chain: &Chain, planned: &PlannedMerge) -> Result<MergedLayer> {
    let collection = &merger.collection;
    let writer = collection
        .begin_merged(chain, planned.merged.clone())
        .await?;
    let merged = merger.merge(&writer, planned).await?;
    let keyspaces = planned.keyspaces.iter().zip(merged);
    let keyspaces: Vec<ManifestKeyspace> = keyspaces
        .map(|(planned, files)| ManifestKeyspace {
            files,
            ..planned.keyspace.clone()
        })
        .collect();
    let files = || keyspaces.iter().flat_map(|k| &k.files);
    let (count, entries) = (files().count() as u64, total(files().map(entries_of)));
    let manifest = Manifest {
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        layer: writer.layer().clone(),
        parent_manifest: writer.parent_manifest(),
        merges: writer.merges().to_vec(),
        start: planned.start,
        end: planned.end,
        created_at: collection.options().clock.now(),
        keyspaces,
        ..(*planned.newest).clone()
    };
    writer.check().await?;
    let entry = writer.commit(manifest).await?;
    metrics::counter!("icecore_backup_layers_merged_total").increment(planned.parts.len() as u64);
    Ok(MergedLayer {
        layer: entry.path,
        start: entry.start,
        end: entry.end,
        revision_history: planned.revision_history,
        parts: planned.parts.clone(),
        read_bytes: planned.stored_bytes(),
        files: count,
        entries,
        stored_bytes: entry.stored_bytes,
        manifest_hash: entry.manifest_hash,
    })
}

const fn entries_of(file: &FileEntry) -> u64 {
    file.entries
}

/// Servers run it beside other work: its future must be able to move between threads.
#[cfg(test)]
fn _is_sendable(collection: &Collection, options: &CompactOptions) -> impl Send {
    compact(collection, options)
}
