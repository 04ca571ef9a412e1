//! Looks at what a collection holds without restoring it.

use std::time::Instant;

use futures::stream::{self, StreamExt};
use icecore_archive::{
    BackupSelector, Chain, Collection, FileEntry, LayerEntry, LayerPath, ProgressFn, total,
};
use serde::Serialize;

use crate::error::Result;
use crate::options::check_threads;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Manifests are read; files must be there with their lengths.
    Presence,
    /// Every file is read and its checksums compared. The default.
    #[default]
    Checksum,
}

/// Settings of a verification.
#[derive(Clone)]
pub struct VerifyOptions {
    /// Which chain; none: all of the collection.
    pub backup: Option<BackupSelector>,
    /// How closely to look.
    pub depth: Depth,
    /// Requests at a time, 1 to 64. Default 4.
    pub threads: usize,
    /// Called as bytes are read.
    pub progress: Option<ProgressFn>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            backup: None,
            depth: Depth::Checksum,
            threads: 4,
            progress: None,
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifyReport {
    /// How closely it was looked at.
    pub depth: Depth,
    /// The layers, by chain, oldest first.
    pub layers: Vec<VerifiedLayer>,
    /// How long it took.
    pub seconds: f64,
}

/// What was found in one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedLayer {
    /// The layer.
    pub path: LayerPath,
    /// Files that its manifest names.
    pub files: u64,
    /// Bytes of those files.
    pub stored_bytes: u64,
    /// What is wrong; empty when all is well.
    pub problems: Vec<String>,
}

impl VerifyReport {
    /// Whether no problem was found.
    pub fn is_ok(&self) -> bool {
        self.layers.iter().all(|layer| layer.problems.is_empty())
    }
}

/// Verifies chains of a collection. What is wrong with a layer is in the report.
///
/// # Errors
/// When the collection cannot be read at all.
#[tracing::instrument(skip_all, fields(depth = ?options.depth))]
pub async fn verify(collection: &Collection, options: &VerifyOptions) -> Result<VerifyReport> {
    check_threads(options.threads)?;
    let started = Instant::now();
    let chains: Vec<Chain> = match &options.backup {
        Some(selector) => vec![collection.open_chain(selector).await?],
        None => collection.chains().await?,
    };
    let mut layers = Vec::new();
    let each = chains.iter().flat_map(Chain::layers);
    let total_bytes = total(each.map(|layer| layer.stored_bytes));
    let mut done_bytes = 0_u64;
    for chain in &chains {
        for layer in chain.layers() {
            layers.push(verify_layer(collection, layer, options).await);
            done_bytes = done_bytes.saturating_add(layer.stored_bytes);
            if let Some(progress) = &options.progress {
                progress(icecore_archive::Progress {
                    done_bytes,
                    total_bytes,
                });
            }
        }
        // A gap in the chain is a problem of the layer after it.
        if let (Err(gap), Some(last)) = (chain.head(), layers.last_mut()) {
            last.problems.push(gap.to_string());
        }
    }
    Ok(VerifyReport {
        depth: options.depth,
        layers,
        seconds: started.elapsed().as_secs_f64(),
    })
}

async fn verify_layer(
    collection: &Collection,
    layer: &LayerEntry,
    options: &VerifyOptions,
) -> VerifiedLayer {
    let mut verified = VerifiedLayer {
        path: layer.path.clone(),
        files: 0,
        stored_bytes: 0,
        problems: Vec::new(),
    };
    let manifest = match collection.read_layer(layer).await {
        Ok(manifest) => manifest,
        Err(error) => {
            verified.problems.push(error.to_string());
            return verified;
        }
    };
    let files: Vec<&FileEntry> = manifest.keyspaces.iter().flat_map(|k| &k.files).collect();
    verified.files = files.len() as u64;
    verified.stored_bytes = total(files.iter().map(|file| file.stored_bytes));
    verified.problems = match options.depth {
        Depth::Presence => missing(collection, layer, &files).await,
        Depth::Checksum => {
            let checks = stream::iter(files).map(|file| collection.verify_file(&layer.path, file));
            let outcomes = checks.buffered(options.threads);
            outcomes
                .filter_map(|outcome| async { outcome.err().map(|e| e.to_string()) })
                .collect()
                .await
        }
    };
    verified
}

async fn missing(collection: &Collection, layer: &LayerEntry, files: &[&FileEntry]) -> Vec<String> {
    let stored = match collection.stored_files(&layer.path).await {
        Ok(stored) => stored,
        Err(error) => return vec![error.to_string()],
    };
    let problem = |file: &&FileEntry| match stored.get(&file.id) {
        None => Some(format!("file {} of {} is missing", file.id, layer.path)),
        Some(bytes) if *bytes != file.stored_bytes => {
            let (id, path, expected) = (file.id, &layer.path, file.stored_bytes);
            Some(format!(
                "file {id} of {path} has {bytes} bytes, its manifest says {expected}"
            ))
        }
        Some(_) => None,
    };
    files.iter().filter_map(problem).collect()
}
