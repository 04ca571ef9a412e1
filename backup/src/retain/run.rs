//! One run of retention.

use std::time::{Duration, Instant};

use icecore_archive::plan::{Restorable, union};
use icecore_archive::{
    Collection, ContentHash, FullPath, LayerEntry, LayerPath, ObjectKind, StoredObject, total,
};

use super::delete::Deleter;
use super::junk;
use super::options::ExpireOptions;
use super::policy::{ChainFacts, Verdict, broken_promise, judge, replaced};
use super::pool;
use super::report::{ChainReport, ExpireReport, PoolReport, RetiredReport};
use super::survey::{Known, KnownChain};
use crate::error::{Error, Result};

/// Marks the chains and layers that go, deletes what was marked a grace ago, and cleans up after dead runs.
///
/// # Errors
/// [`Error`] says what failed. Wherever it stopped, everything that is listed restores, and the next run
/// goes on. An object that the store would not delete is no error, but in the report.
#[tracing::instrument(skip_all)]
pub async fn expire(collection: &Collection, options: &ExpireOptions) -> Result<ExpireReport> {
    let started = Instant::now();
    options.validate()?;
    let known = Known::look(collection).await?;
    let facts: Vec<ChainFacts> = known.chains.iter().map(|c| c.facts.clone()).collect();
    let now = known.survey.now;
    let verdicts = judge(&facts, options.policy, now);
    if let Some(reason) = broken_promise(&facts, &verdicts, options.policy, now) {
        return Err(Error::WouldLeaveLess { reason });
    }
    let mut report = told(&known, &verdicts, options);
    let going = mark(&known, &verdicts, options, &mut report).await?;
    let mut deleter = Deleter::new(collection, &known.survey, options.dry_run);
    delete_chains(&known, &going, options.grace, &mut deleter, &mut report).await;
    delete_layers(&known, &going, options.grace, &mut deleter, &mut report).await;
    let buried = junk::clean(&known, options.grace, &mut deleter, &mut report).await?;
    let closed: Vec<&FullPath> = going
        .chains
        .iter()
        .map(|chain| chain.chain.full())
        .collect();
    pool::clean(
        &known,
        &closed,
        &buried,
        options.grace,
        &mut deleter,
        &mut report,
    )
    .await?;
    report.deleted_objects = deleter.objects;
    report.deleted_bytes = deleter.deleted_bytes;
    report.refused = deleter.refused;
    report.seconds = started.elapsed().as_secs_f64();
    if !options.dry_run {
        let (objects, bytes) = (report.deleted_objects, report.deleted_bytes);
        metrics::counter!("icecore_backup_objects_expired_total").increment(objects);
        let refused = report.refused.len() as u64;
        metrics::counter!("icecore_backup_deletes_refused_total").increment(refused);
        tracing::info!(objects, bytes, refused, "expired");
    }
    Ok(report)
}

/// What is marked by now.
struct Going<'a> {
    chains: Vec<&'a KnownChain>,
    layers: Vec<(&'a KnownChain, LayerEntry)>,
}

/// The report before anything is done.
fn told(known: &Known, verdicts: &[Verdict], options: &ExpireOptions) -> ExpireReport {
    let chains = known.chains.iter().zip(verdicts);
    let chains = chains.map(|(known, verdict)| ChainReport {
        full: known.facts.full.clone(),
        source: known.facts.source.clone(),
        begins: known.facts.begins,
        reaches: known.facts.reaches,
        layers: known.chain.layers().len() as u64,
        stored_bytes: total(known.chain.layers().iter().map(|layer| layer.stored_bytes)),
        expires: !verdict.keeps(),
        reasons: match verdict {
            Verdict::Keep(reasons) => reasons.iter().map(ToString::to_string).collect(),
            Verdict::Expire => Vec::new(),
        },
        problems: known.problems(),
    });
    ExpireReport {
        dry_run: options.dry_run,
        chains: chains.collect(),
        retired: Vec::new(),
        adopted: Vec::new(),
        junk: Vec::new(),
        damaged: Vec::new(),
        pool: PoolReport::default(),
        restorable_before: union(known.chains.iter().flat_map(|c| c.restorable(&[]))),
        restorable_after: Vec::new(),
        deleted_objects: 0,
        deleted_bytes: 0,
        pending_bytes: 0,
        refused: Vec::new(),
        seconds: 0.0,
    }
}

/// Marks what goes, unless this is a dry run.
async fn mark<'a>(
    known: &'a Known,
    verdicts: &[Verdict],
    options: &ExpireOptions,
    report: &mut ExpireReport,
) -> Result<Going<'a>> {
    let mut going = Going {
        chains: Vec::new(),
        layers: Vec::new(),
    };
    let mut after: Vec<Restorable> = Vec::new();
    for (position, (chain, verdict)) in known.chains.iter().zip(verdicts).enumerate() {
        if verdict.keeps() {
            let retired = retire(known, chain, options, report).await?;
            after.extend(chain.restorable(&retired));
            going
                .layers
                .extend(retired.into_iter().map(|layer| (chain, layer)));
        } else if close(known, chain, options).await? {
            going.chains.push(chain);
        } else {
            after.extend(chain.restorable(&[]));
            if let Some(told) = report.chains.get_mut(position) {
                told.expires = false;
                told.reasons
                    .push("it was extended just now; the next run judges it anew".to_owned());
            }
        }
    }
    report.restorable_after = union(after);
    Ok(going)
}

/// Closes a chain and marks it; `false` if it was extended meanwhile.
async fn close(known: &Known, chain: &KnownChain, options: &ExpireOptions) -> Result<bool> {
    if options.dry_run {
        return Ok(true);
    }
    let collection = &known.collection;
    if !collection.close_chain(&chain.chain, known.run).await? {
        return Ok(false);
    }
    let mut layers = chain.chain.layers().iter();
    if let Some(full) = layers.find(|layer| layer.path.incremental().is_none()) {
        collection.mark_expired(full, known.run).await?;
    }
    Ok(true)
}

/// Marks the layers of a chain that others stand for.
async fn retire(
    known: &Known,
    chain: &KnownChain,
    options: &ExpireOptions,
    report: &mut ExpireReport,
) -> Result<Vec<LayerEntry>> {
    // A layer whose replacement may be damaged stays.
    if !chain.facts.is_whole {
        return Ok(Vec::new());
    }
    let (layers, manifests) = chain.read();
    let retired = replaced(&layers, &manifests);
    for layer in &retired {
        if !options.dry_run {
            known.collection.mark_retired(layer, known.run).await?;
        }
        report.retired.push(RetiredReport {
            layer: layer.path.clone(),
            stored_bytes: layer.stored_bytes,
        });
    }
    Ok(retired)
}

/// Deletes the chains that were marked a grace ago.
async fn delete_chains(
    known: &Known,
    going: &Going<'_>,
    grace: Duration,
    deleter: &mut Deleter<'_>,
    report: &mut ExpireReport,
) {
    let survey = &known.survey;
    let just_marked = going.chains.iter().map(|chain| chain.chain.full());
    let marked = survey
        .expired
        .iter()
        .map(|(full, (_, at))| (full, survey.is_due(*at, grace)));
    let all: Vec<(&FullPath, bool)> = just_marked
        .map(|full| (full, grace.is_zero()))
        .chain(marked)
        .collect();
    for (full, is_due) in all {
        match is_due {
            true => delete_chain(known, full, deleter).await,
            false => {
                let directories = survey.directories_of(full);
                let objects = directories.flat_map(|(_, directory)| &directory.objects);
                report.pending_bytes += total(objects.map(|object| object.bytes));
            }
        }
    }
}

async fn delete_chain(known: &Known, full: &FullPath, deleter: &mut Deleter<'_>) {
    let survey = &known.survey;
    let chain = survey.chains.iter().find(|chain| chain.full() == full);
    let closed = chain.map(|chain| known.collection.open_slots(chain));
    let listed = chain.into_iter().flat_map(|chain| chain.layers());
    let marker = listed
        .filter(|layer| layer.path.incremental().is_none())
        .map(|layer| known.collection.layer_marker(layer));
    let marker: Vec<String> = marker.collect();
    // Without its full a chain is not there. As long as it is, all of it must be.
    if !deleter.delete(marker.clone()).await {
        return;
    }
    let mut markers = survey.markers_of(full);
    markers.retain(|path| !marker.contains(path));
    markers.extend(closed.unwrap_or_default());
    deleter.delete(markers).await;
    let directories = survey
        .directories_of(full)
        .map(|(layer, directory)| (layer, directory.objects.as_slice()));
    // The lock keeps the name from being used again: the mark that stays would hide the new backup.
    let stays = |layer: &LayerPath, kind| kind == ObjectKind::Lock && layer.incremental().is_none();
    deleter
        .directories(directories, |layer, kind| !stays(layer, kind))
        .await;
}

/// Deletes the layers that were marked a grace ago.
async fn delete_layers(
    known: &Known,
    going: &Going<'_>,
    grace: Duration,
    deleter: &mut Deleter<'_>,
    report: &mut ExpireReport,
) {
    let survey = &known.survey;
    let just_marked = going.layers.iter().map(|(_, layer)| {
        let key = (&layer.path, layer.manifest_hash);
        (key, grace.is_zero())
    });
    let marked = survey.retired.iter().map(|(layer, (hash, at))| {
        let key = (layer, *hash);
        (key, survey.is_due(*at, grace))
    });
    let all: Vec<_> = just_marked.chain(marked).collect();
    for ((layer, hash), is_due) in all {
        if survey.is_expired(layer.full()) {
            continue;
        }
        let directory = survey.directories.get(layer);
        let objects = directory.map_or(&[][..], |directory| directory.objects.as_slice());
        match is_due {
            true => delete_layer(known, layer, hash, objects, deleter).await,
            false => report.pending_bytes += total(objects.iter().map(|object| object.bytes)),
        }
    }
}

async fn delete_layer(
    known: &Known,
    layer: &LayerPath,
    hash: ContentHash,
    objects: &[StoredObject],
    deleter: &mut Deleter<'_>,
) {
    let collection = &known.collection;
    let chains = known.survey.chains.iter();
    let listed = chains.flat_map(|chain| chain.layers().iter().chain(chain.retired()));
    let marker = listed
        .filter(|listed| listed.path == *layer && listed.manifest_hash == hash)
        .map(|listed| collection.layer_marker(listed));
    let marker: Vec<String> = marker.collect();
    if !deleter.delete(marker).await {
        return;
    }
    // The mark stays, as that of an expired chain does: a writer that sleeps before its marker may still put it.
    let directory = std::iter::once((layer, objects));
    deleter.directories(directory, |_, _| true).await;
}

/// Servers run it beside other work: its future must be able to move between threads.
#[cfg(test)]
fn _is_sendable(collection: &Collection, options: &ExpireOptions) -> impl Send {
    expire(collection, options)
}
