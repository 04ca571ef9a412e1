//! Files of the pool that nothing names any more: marked, and deleted by a later run.
//!
//! What happens to which file is decided by [`steps`], which is pure. `docs/format/collection.md` says why
//! nothing that a listed layer names goes, whoever is at work.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{self, TryStreamExt};
use icecore_archive::{FileId, FullPath, LayerPath, StoredObject, total};
use icecore_mvcc::Timestamp;

use super::delete::Deleter;
use super::report::{ExpireReport, PoolReport};
use super::survey::{Known, Named};
use crate::error::Result;

/// Marks put at a time.
const MARKS_UNDER_WAY: usize = 8;

/// A directory that was claimed so shortly after a mark may have been claimed before: the store's machines
/// need not agree on the time.
const SAME_TIME: Duration = Duration::from_secs(60);

/// What the steps depend on.
struct Facts<'a> {
    now: Timestamp,
    grace: Duration,
    /// What is in the pool, and when it was written.
    files: BTreeMap<FileId, Timestamp>,
    /// What is marked, and since when.
    marks: &'a BTreeMap<FileId, Timestamp>,
    /// What layers name that are listed, or can be.
    named: &'a BTreeSet<FileId>,
    /// What chains name that were marked expired less than a grace ago.
    held: &'a BTreeSet<FileId>,
    /// When those claimed their directories who may still put a manifest.
    writers: Vec<Timestamp>,
}

/// What becomes of the pool.
#[derive(Debug, Default, PartialEq, Eq)]
struct Steps {
    /// Nothing names them: marked.
    mark: Vec<FileId>,
    /// Marked a grace ago: deleted.
    delete: Vec<FileId>,
    /// Marked, and named since, or gone: their marks go.
    unmark: Vec<FileId>,
    /// Marked, and not due yet, or somebody may not have seen the mark.
    wait: Vec<FileId>,
    /// Whether any waits for somebody.
    blocked: bool,
}

impl Facts<'_> {
    fn is_due(&self, since: Timestamp) -> bool {
        let age = self.now.nanos().saturating_sub(since.nanos());
        u128::from(age) >= self.grace.as_nanos()
    }

    /// Whether a writer may have looked for marks before this one was put.
    fn may_be_unseen(&self, mark: Timestamp) -> bool {
        let slack = u64::try_from(SAME_TIME.as_nanos()).unwrap_or(u64::MAX);
        let until = Timestamp::from_nanos(mark.nanos().saturating_add(slack));
        self.writers.iter().any(|claimed| *claimed <= until)
    }
}

fn steps(facts: &Facts<'_>) -> Steps {
    let mut steps = Steps::default();
    for (&id, &written) in &facts.files {
        let mark = facts.marks.get(&id);
        let is_held = facts.held.contains(&id);
        match mark {
            Some(_) if facts.named.contains(&id) => steps.unmark.push(id),
            None if facts.named.contains(&id) => {}
            // One that is young may be of a backup that is under way.
            None if is_held || facts.is_due(written) => steps.mark.push(id),
            None => {}
            Some(&at) if is_held || !facts.is_due(at) => steps.wait.push(id),
            Some(&at) if facts.may_be_unseen(at) => {
                steps.blocked = true;
                steps.wait.push(id);
            }
            Some(_) => steps.delete.push(id),
        }
    }
    let gone = facts.marks.keys();
    let gone = gone.filter(|id| !facts.files.contains_key(id));
    steps.unmark.extend(gone.copied());
    steps
}

/// Marks files of the pool that nothing names, and deletes those that were marked a grace ago. Comes after
/// all else: `buried` are the directories in which no manifest can come any more since this run.
pub(super) async fn clean(
    known: &Known,
    just_closed: &[&FullPath],
    buried: &BTreeSet<LayerPath>,
    grace: Duration,
    deleter: &mut Deleter<'_>,
    report: &mut ExpireReport,
) -> Result<()> {
    let survey = &known.survey;
    if survey.pool.is_empty() && survey.unused.is_empty() {
        return Ok(());
    }
    let (mut named, mut held) = (known.named.clone(), Named::default());
    for chain in &known.chains {
        match just_closed.contains(&chain.chain.full()) {
            true => held.add(&chain.named),
            false => named.add(&chain.named),
        }
    }
    held.add(&held_by_expired(known, grace, deleter).await);
    let unreadable = named.unreadable.iter().chain(&held.unreadable);
    report.pool.unreadable = unreadable.cloned().collect();
    if !report.pool.unreadable.is_empty() {
        // What these name is not known.
        return Ok(());
    }
    let writers: BTreeMap<&LayerPath, Timestamp> = survey
        .directories
        .iter()
        .filter(|(layer, directory)| {
            let is_open = directory.manifest().is_none() && !buried.contains(layer);
            is_open && !survey.is_expired(layer.full())
        })
        .map(|(layer, directory)| (layer, directory.claimed()))
        .collect();
    let files = survey.pool.iter();
    let steps = steps(&Facts {
        now: survey.now,
        grace,
        files: files.map(|(id, object)| (*id, object.modified)).collect(),
        marks: &survey.unused,
        named: &named.files,
        held: &held.files,
        writers: writers.values().copied().collect(),
    });
    if steps.blocked {
        report.pool.waits_for = writers.into_keys().cloned().collect();
    }
    take(known, steps, deleter, report).await
}

/// What expired chains name that can still be restored by their paths.
async fn held_by_expired(known: &Known, grace: Duration, deleter: &Deleter<'_>) -> Named {
    let (survey, collection) = (&known.survey, &known.collection);
    let is_there = |full: &FullPath, marked: Timestamp| {
        let chain = survey.chains.iter().find(|chain| chain.full() == full);
        let layers = chain.into_iter().flat_map(icecore_archive::Chain::layers);
        let markers = layers.map(|layer| collection.layer_marker(layer));
        // The store may not have deleted it.
        let is_kept = markers
            .into_iter()
            .any(|marker| deleter.refused.iter().any(|refused| refused.path == marker));
        is_kept || !survey.is_due(marked, grace)
    };
    let mut held = Named::default();
    for (full, (_, marked)) in &survey.expired {
        if !is_there(full, *marked) {
            continue;
        }
        for (layer, directory) in survey.directories_of(full) {
            if directory.manifest().is_some() {
                held.add(&Named::of(layer, &collection.read_manifest(layer).await));
            }
        }
    }
    held
}

async fn take(
    known: &Known,
    steps: Steps,
    deleter: &mut Deleter<'_>,
    report: &mut ExpireReport,
) -> Result<()> {
    let Known {
        collection,
        survey,
        run,
        ..
    } = known;
    let objects = |ids: &[FileId]| -> Vec<StoredObject> {
        let found = ids.iter().filter_map(|id| survey.pool.get(id));
        found.cloned().collect()
    };
    let bytes = |ids: &[FileId]| total(objects(ids).iter().map(|object| object.bytes));
    report.pool = PoolReport {
        marked_files: steps.mark.len() as u64,
        marked_bytes: bytes(&steps.mark),
        waiting_files: steps.wait.len() as u64,
        waiting_bytes: bytes(&steps.wait),
        deleted_files: steps.delete.len() as u64,
        deleted_bytes: bytes(&steps.delete),
        ..std::mem::take(&mut report.pool)
    };
    report.pending_bytes += report.pool.marked_bytes + report.pool.waiting_bytes;
    if !report.dry_run {
        stream::iter(steps.mark.iter().map(Ok))
            .try_for_each_concurrent(MARKS_UNDER_WAY, |id| {
                let object = survey.pool.get(id);
                let locality = object.and_then(|object| object.locality.as_ref());
                collection.mark_unused(*id, locality, *run)
            })
            .await?;
    }
    let going = objects(&steps.delete);
    deleter.pooled(&going).await;
    // A mark goes after its file: whoever does not see it any more does not see the file either.
    let is_gone = |id: &FileId| {
        let path = survey.pool.get(id).map(|object| &object.path);
        !deleter
            .refused
            .iter()
            .any(|refused| Some(&refused.path) == path)
    };
    let (gone, kept): (Vec<FileId>, Vec<FileId>) = steps.delete.into_iter().partition(is_gone);
    report.pool.deleted_files -= kept.len() as u64;
    report.pool.deleted_bytes -= bytes(&kept);
    let unmark = placed(known, steps.unmark).await?;
    let marks = gone.iter().chain(&unmark);
    let marks: Vec<String> = marks.map(|id| collection.unused_mark(*id)).collect();
    deleter.delete(marks).await;
    Ok(())
}

/// Of the files whose marks are to go, those that are there, or that lay in a place which was looked at. One in
/// a place that was not given only seems to be gone: another run may be about to delete it.
async fn placed(known: &Known, files: Vec<FileId>) -> Result<Vec<FileId>> {
    let mut placed = Vec::new();
    for id in files {
        let is_there = known.survey.pool.contains_key(&id);
        if is_there || known.collection.is_mark_of_given_place(id).await? {
            placed.push(id);
        }
    }
    Ok(placed)
}

#[cfg(test)]
mod tests;
