//! What a restore takes: requests, bytes, room on the disk, and files to rewrite. Pure, from its plan.

use std::collections::BTreeMap;
use std::ops::Add;
use std::path::Path;

use icecore_archive::{FileEntry, FileId, LayerPath, RequestCounts, total};
use icecore_engine::Engine;
use icecore_mvcc::Timestamp;
use serde::Serialize;

use crate::plan::{PlannedFile, PlannedLayer, PlannedRestore, RestorePlan};

/// Requests that read a collection, by kind. Where one fails it is made again, and counts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Requests {
    /// Reads of objects.
    pub get: u64,
    /// Reads of an object's size.
    pub head: u64,
    /// Listings. Most stores make one request of every 1,000 objects listed, and bill each.
    pub list: u64,
}

impl From<RequestCounts> for Requests {
    fn from(counts: RequestCounts) -> Self {
        Self {
            get: counts.get,
            head: counts.head,
            list: counts.list,
        }
    }
}

impl Add for Requests {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            get: self.get.saturating_add(other.get),
            head: self.head.saturating_add(other.head),
            list: self.list.saturating_add(other.list),
        }
    }
}

/// A file that cannot go in as it is: it holds versions after the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rewrite {
    /// The keyspace, as it will be named.
    pub keyspace: String,
    /// The layer that the file lies in.
    pub layer: LayerPath,
    /// The file.
    pub file: FileId,
    /// Its newest version, which lies after the target.
    pub newest: Timestamp,
    /// Bytes of the file.
    pub stored_bytes: u64,
}

/// What a restore would do and take. See [`dry_run`](crate::dry_run).
#[derive(Debug, Clone, PartialEq)]
pub struct DryRun {
    /// The plan.
    pub plan: RestorePlan,
    /// Every request that the restore makes of an open collection, planning included.
    pub requests: Requests,
    /// Files to fetch.
    pub files: u64,
    /// Bytes of those files.
    pub fetched_bytes: u64,
    /// Bytes that must be free on the file system of the database.
    pub space_bytes: u64,
    /// The files among them that will be rewritten.
    pub rewrites: Vec<Rewrite>,
}

impl DryRun {
    pub(crate) fn new(plan: RestorePlan, ingested: &Ingested) -> Self {
        let files = ingested.missing(&plan).count() as u64;
        let fetching = Requests {
            get: files,
            ..Requests::default()
        };
        Self {
            requests: plan.planning + fetching,
            files,
            fetched_bytes: total(ingested.missing(&plan).map(|step| step.stored_bytes())),
            space_bytes: ingested.space_bytes(&plan),
            rewrites: ingested
                .remaining(&plan)
                .filter(|step| step.file.rewrite)
                .map(|step| step.rewrite())
                .collect(),
            plan,
        }
    }
}

/// One file with where it goes.
struct Step<'a> {
    keyspace: &'a PlannedRestore,
    layer: &'a PlannedLayer,
    file: &'a PlannedFile,
}

impl Step<'_> {
    fn stored_bytes(&self) -> u64 {
        self.file.file.stored_bytes
    }

    fn rewrite(&self) -> Rewrite {
        Rewrite {
            keyspace: self.keyspace.name.clone(),
            layer: self.layer.path.clone(),
            file: self.file.file.id,
            newest: self.file.file.max_ts,
            stored_bytes: self.stored_bytes(),
        }
    }
}

/// What an interrupted run of a restore has brought.
#[derive(Debug, Default)]
pub(crate) struct Ingested {
    /// Tags of layers, by the keyspace's new name.
    layers: BTreeMap<String, Vec<String>>,
    /// Lengths of the files that lie in the staging folder, by their names.
    staged: BTreeMap<String, u64>,
}

impl Ingested {
    pub(crate) fn of(engine: &Engine, plan: &RestorePlan) -> Self {
        let restoring = engine.restoring();
        let ours = restoring
            .iter()
            .filter(|r| r.restore_id() == plan.restore_id);
        Self {
            layers: ours.map(|r| (r.name().to_owned(), r.ingested())).collect(),
            staged: lengths_in(&engine.restore_staging_path(&plan.restore_id)),
        }
    }

    /// Whether a file was fetched. One that turns out to be damaged is fetched again.
    fn is_staged(&self, file: &FileEntry) -> bool {
        self.staged.get(&format!("{}.sst", file.id)) == Some(&file.stored_bytes)
    }

    fn has(&self, step: &Step<'_>) -> bool {
        let Some(tags) = self.layers.get(&step.keyspace.name) else {
            return false;
        };
        let is_copied = step.file.file.copied.is_some();
        tags.contains(&step.layer.path.to_string())
            || (is_copied && tags.contains(&copied_tag(&step.layer.path)))
    }

    /// The files that are still to be fetched.
    fn missing<'a>(&'a self, plan: &'a RestorePlan) -> impl Iterator<Item = Step<'a>> {
        self.remaining(plan)
            .filter(|step| !self.is_staged(&step.file.file))
    }

    /// The files that are not in yet.
    fn remaining<'a>(&'a self, plan: &'a RestorePlan) -> impl Iterator<Item = Step<'a>> {
        let layers = plan
            .keyspaces
            .iter()
            .flat_map(|keyspace| keyspace.layers.iter().map(move |layer| (keyspace, layer)));
        let steps = layers.flat_map(|(keyspace, layer)| {
            layer.files.iter().map(move |file| Step {
                keyspace,
                layer,
                file,
            })
        });
        steps.filter(|step| !self.has(step))
    }

    /// Bytes that the rest of the restore needs on disk: see [`crate::check_space`].
    pub(crate) fn space_bytes(&self, plan: &RestorePlan) -> u64 {
        // They stay until what was written of them is in, so that no interruption costs a fetch.
        let rewritten = self.remaining(plan).filter(|step| step.file.rewrite);
        let beside = total(rewritten.map(|step| step.stored_bytes()));
        let all = total(self.missing(plan).map(|step| step.stored_bytes()));
        all.saturating_add(beside)
    }
}

/// The lengths of a folder's files; none where it cannot be read.
fn lengths_in(folder: &Path) -> BTreeMap<String, u64> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let length = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name, entry.metadata().ok()?.len()))
    };
    entries.filter_map(length).collect()
}

/// The tag of a layer's copied files, which go in before its others.
pub(crate) fn copied_tag(layer: &LayerPath) -> String {
    format!("{layer} copied files")
}

#[cfg(test)]
mod tests;
