//! What `restore --dry-run` tells.

use icecore_archive::{FileId, LayerPath, total};
use icecore_mvcc::Timestamp;
use icecore_restore::plan::PlannedFile;
use icecore_restore::{DryRun, Requests};
use serde::Serialize;

use super::Restored;
use crate::output::{Record, human_bytes, human_count, plural, since_epoch, time};

/// What a restore would do.
#[derive(Serialize)]
pub(super) struct Plan {
    dry_run: bool,
    backup: String,
    pub(super) layers: Vec<Layer>,
    #[serde(serialize_with = "time")]
    target: Timestamp,
    whole_engine: bool,
    schema_only: bool,
    files: u64,
    bytes: u64,
    /// Bytes that must be free on the file system of the database.
    space_bytes: u64,
    /// Requests of the store from the opening of the collection to the end.
    requests: Requests,
    pub(super) rewrites: Vec<Rewrite>,
    pub(super) keyspaces: Vec<Restored>,
}

impl Plan {
    pub(super) fn new(told: &DryRun, requests: Requests) -> Self {
        let plan = &told.plan;
        let keyspaces = plan.keyspaces.iter().map(|keyspace| Restored {
            name: keyspace.name.clone(),
            source: keyspace.source.name.clone(),
            threshold: since_epoch(keyspace.threshold),
            files: keyspace.files().count() as u64,
            rewritten_files: keyspace.files().filter(|file| file.rewrite).count() as u64,
            entries: total(keyspace.files().map(|file| file.file.entries)),
            stored_bytes: keyspace.stored_bytes(),
            fingerprint: keyspace.fingerprint,
            proven: None,
        });
        Self {
            dry_run: true,
            backup: plan.full.to_string(),
            layers: plan
                .layers
                .iter()
                .map(|path| Layer::of(path, told))
                .collect(),
            target: plan.target,
            whole_engine: plan.whole_engine,
            schema_only: plan.schema_only,
            files: told.files,
            bytes: told.fetched_bytes,
            space_bytes: told.space_bytes,
            requests,
            rewrites: told
                .rewrites
                .iter()
                .map(|r| Rewrite::of(r, plan.target))
                .collect(),
            keyspaces: keyspaces.collect(),
        }
    }

    pub(super) fn sentence(&self, without_rows: &str) -> String {
        let Requests { get, head, list } = self.requests;
        format!(
            "would restore {}{without_rows} as of {} from {}: {} in {} by {} ({get} GET, {list} LIST, {head} HEAD), \
             {} rewritten, {} of disk space; nothing was written",
            plural(self.keyspaces.len() as u64, "keyspace"),
            self.target,
            plural(self.layers.len() as u64, "layer"),
            human_bytes(self.bytes),
            plural(self.files, "file"),
            plural(get + head + list, "request"),
            plural(self.rewrites.len() as u64, "file"),
            human_bytes(self.space_bytes),
        )
    }
}

/// What a layer brings.
#[derive(Serialize)]
pub(super) struct Layer {
    layer: String,
    files: u64,
    rewritten_files: u64,
    stored_bytes: u64,
}

impl Layer {
    fn of(path: &LayerPath, told: &DryRun) -> Self {
        let planned = told.plan.keyspaces.iter().flat_map(|k| &k.layers);
        let files: Vec<&PlannedFile> = planned
            .filter(|layer| layer.path == *path)
            .flat_map(|layer| &layer.files)
            .collect();
        Self {
            layer: path.to_string(),
            files: files.len() as u64,
            rewritten_files: files.iter().filter(|f| f.rewrite).count() as u64,
            stored_bytes: total(files.iter().map(|f| f.file.stored_bytes)),
        }
    }
}

impl Record for &Layer {
    const HEADER: &'static [&'static str] = &["layer", "files", "rewritten", "bytes"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.layer.clone(),
            human_count(self.files),
            human_count(self.rewritten_files),
            human_bytes(self.stored_bytes),
        ]
    }
}

/// A file that will be rewritten, and why.
#[derive(Serialize)]
pub(super) struct Rewrite {
    keyspace: String,
    layer: String,
    file: FileId,
    reason: String,
    stored_bytes: u64,
}

impl Rewrite {
    fn of(rewrite: &icecore_restore::Rewrite, target: Timestamp) -> Self {
        let newest = rewrite.newest;
        Self {
            keyspace: rewrite.keyspace.clone(),
            layer: rewrite.layer.to_string(),
            file: rewrite.file,
            reason: format!("has versions until {newest}, after {target}"),
            stored_bytes: rewrite.stored_bytes,
        }
    }
}

impl Record for &Rewrite {
    const HEADER: &'static [&'static str] =
        &["to rewrite", "of layer", "for", "because it", "bytes"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.file.to_string(),
            self.layer.clone(),
            self.keyspace.clone(),
            self.reason.clone(),
            human_bytes(self.stored_bytes),
        ]
    }
}
