//! Looks at what a collection holds: whether its files are there, whether their bytes are right, and whether
//! its backups restore.

mod prove;
mod sample;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use futures::stream::{self, StreamExt};
use icecore_archive::{
    BackupSelector, Chain, Collection, FileEntry, FullEntry, LayerEntry, LayerPath, Manifest,
    Progress, ProgressFn, total,
};
use icecore_mvcc::{Fingerprint, Timestamp};
use serde::Serialize;

pub use sample::{ParseSampleError, Sample};

use crate::error::{Error, Result};
use crate::options::check_threads;
use prove::Prover;
use sample::Chosen;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Manifests are read; files must be there with their lengths.
    Presence,
    /// Every file is read and its checksums compared. The default.
    #[default]
    Checksum,
    /// Every chain is restored into scratch databases, and what comes back as of the end of each layer is
    /// held against the fingerprints of the manifests. Files that no restore takes are read as for
    /// [`Depth::Checksum`].
    Restore,
}

/// Settings of a verification.
#[derive(Clone)]
pub struct VerifyOptions {
    /// Which chain; none: all of the collection.
    pub backup: Option<BackupSelector>,
    /// How closely to look.
    pub depth: Depth,
    /// For [`Depth::Checksum`]: read only some of the files; the others must be there with their lengths.
    pub sample: Option<Sample>,
    /// For [`Depth::Restore`]: the folder that scratch databases are made in, and removed from. It must
    /// exist, with room for what a chain restores to. Default: the system's folder for temporary files.
    pub scratch: Option<PathBuf>,
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
            sample: None,
            scratch: None,
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
    /// Restores that were made for it.
    pub restores: u64,
    /// How long it took.
    pub seconds: f64,
}

/// What was found in one layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifiedLayer {
    /// The layer.
    pub path: LayerPath,
    /// Files that it names.
    pub files: u64,
    /// Bytes of them.
    pub stored_bytes: u64,
    /// Files that were read whole.
    pub read_files: u64,
    /// Bytes of those.
    pub read_bytes: u64,
    /// Keyspaces as they came back, for [`Depth::Restore`].
    pub states: Vec<VerifiedState>,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// A keyspace as it came back from a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedState {
    /// Its name in the backup.
    pub keyspace: String,
    /// The time of the state.
    pub at: Timestamp,
    /// The fingerprint of what came back.
    pub found: Fingerprint,
    /// What it was held against: the manifest's, or that of another restore for a time within a layer.
    /// `None` where the manifest tells none: then it is only known that the keyspace comes back.
    pub expected: Option<Fingerprint>,
}

impl VerifyReport {
    /// Whether no problem was found.
    pub fn is_ok(&self) -> bool {
        self.layers.iter().all(|layer| layer.problems.is_empty())
    }
}

impl VerifiedLayer {
    fn new(entry: &LayerEntry) -> Self {
        Self {
            path: entry.path.clone(),
            files: 0,
            stored_bytes: 0,
            read_files: 0,
            read_bytes: 0,
            states: Vec::new(),
            problems: Vec::new(),
        }
    }
}

/// Verifies chains of a collection. What is wrong with a layer is in the report.
///
/// # Errors
/// [`Error::InvalidOption`]; when the collection cannot be read at all; for [`Depth::Restore`] when there is
/// no scratch folder.
#[tracing::instrument(skip_all, fields(depth = ?options.depth))]
pub async fn verify(collection: &Collection, options: &VerifyOptions) -> Result<VerifyReport> {
    check(options)?;
    let started = Instant::now();
    let (chains, lost) = match &options.backup {
        Some(selector) => (vec![collection.open_chain(selector).await?], Vec::new()),
        None => chains_and_lost(collection).await?,
    };
    let mut read = Vec::new();
    for chain in &chains {
        read.push(ReadChain::new(collection, chain, options).await);
    }
    let all_files = || read.iter().flat_map(ReadChain::files);
    let chosen = options
        .sample
        .map(|sample| Chosen::new(sample, all_files()));
    let mut meter = Meter {
        done_bytes: 0,
        total_bytes: total(all_files().map(|file| file.stored_bytes)),
        progress: options.progress.clone(),
    };
    let (mut layers, mut restores) = (Vec::new(), 0);
    for chain in read {
        let mut of_chain = chain.verified();
        let mut left = chain.all_to_read(chosen.as_ref());
        if options.depth == Depth::Restore {
            let mut prover = Prover::new(collection, chain.chain, &chain.manifests, options)?;
            restores += prover.prove(&mut of_chain, &mut meter).await?;
            prover.leave_out(&mut left, &mut of_chain);
        }
        for ((manifest, layer), left) in chain.manifests.iter().zip(&mut of_chain).zip(&left) {
            let Some(manifest) = manifest else { continue };
            check_files(collection, manifest, layer, left, options).await;
            meter.advance(left.iter().map(|file| file.stored_bytes));
        }
        // A gap in the chain is a problem of the layer after it.
        if let (Err(gap), Some(last)) = (chain.chain.head(), of_chain.last_mut()) {
            last.problems.push(gap.to_string());
        }
        layers.extend(of_chain);
    }
    layers.extend(lost);
    Ok(VerifyReport {
        depth: options.depth,
        layers,
        restores,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Every chain, and the fulls that are listed and have none: their own markers are lost, so that restores find
/// nothing.
async fn chains_and_lost(collection: &Collection) -> Result<(Vec<Chain>, Vec<VerifiedLayer>)> {
    let (before, chains) = collection.fulls_and_chains().await?;
    let has_chain = |full: &FullEntry| chains.iter().any(|chain| *chain.full() == full.path);
    if before.iter().all(has_chain) {
        return Ok((chains, Vec::new()));
    }
    // Retention may have taken them meanwhile.
    let now = collection.fulls().await?;
    let lost = before
        .iter()
        .filter(|full| !has_chain(full) && now.contains(full));
    let lost = lost.map(|full| VerifiedLayer {
        path: LayerPath::full_at(full.path.clone()),
        files: 0,
        stored_bytes: 0,
        read_files: 0,
        read_bytes: 0,
        states: Vec::new(),
        problems: vec![
            "it is listed, and its chain has no marker: restores do not find it; where its manifest is \
             whole, `collection expire` writes the marker again once the grace is over"
                .to_owned(),
        ],
    });
    let lost = lost.collect();
    Ok((chains, lost))
}

fn check(options: &VerifyOptions) -> Result<()> {
    check_threads(options.threads)?;
    let refuse = |name, reason: &str| {
        let reason = reason.to_owned();
        Err(Error::InvalidOption { name, reason })
    };
    match options.depth {
        Depth::Presence | Depth::Restore if options.sample.is_some() => refuse(
            "sample",
            "only checksums can be sampled; choose depth checksum, or leave the sample out",
        ),
        Depth::Presence | Depth::Checksum if options.scratch.is_some() => refuse(
            "scratch",
            "only depth restore makes scratch databases; choose it, or leave the folder out",
        ),
        _ => Ok(()),
    }
}

/// Counts bytes for the progress bar.
pub(crate) struct Meter {
    done_bytes: u64,
    total_bytes: u64,
    progress: Option<ProgressFn>,
}

impl Meter {
    fn advance(&mut self, bytes: impl Iterator<Item = u64>) {
        self.done_bytes = self.done_bytes.saturating_add(total(bytes));
        if let Some(progress) = &self.progress {
            progress(Progress {
                done_bytes: self.done_bytes,
                total_bytes: self.total_bytes,
            });
        }
    }
}

/// A chain with its manifests; `None` for those that do not read.
struct ReadChain<'a> {
    chain: &'a Chain,
    manifests: Vec<Option<Manifest>>,
    problems: Vec<Option<String>>,
    depth: Depth,
}

impl<'a> ReadChain<'a> {
    async fn new(collection: &Collection, chain: &'a Chain, options: &VerifyOptions) -> Self {
        let reads = stream::iter(chain.layers()).map(|layer| collection.read_layer(layer));
        let read: Vec<_> = reads.buffered(options.threads).collect().await;
        let (mut manifests, mut problems) = (Vec::new(), Vec::new());
        for outcome in read {
            problems.push(outcome.as_ref().err().map(ToString::to_string));
            manifests.push(outcome.ok());
        }
        Self {
            chain,
            manifests,
            problems,
            depth: options.depth,
        }
    }

    fn files(&self) -> impl Iterator<Item = &FileEntry> {
        let manifests = self.manifests.iter().flatten();
        manifests.flat_map(Manifest::files).map(|(_, file)| file)
    }

    /// Its layers, with what is known before any file is looked at.
    fn verified(&self) -> Vec<VerifiedLayer> {
        let layers = self.chain.layers().iter().zip(&self.manifests);
        layers
            .zip(&self.problems)
            .map(|((entry, manifest), problem)| {
                let mut layer = VerifiedLayer::new(entry);
                if let Some(manifest) = manifest {
                    layer.files = manifest.files().count() as u64;
                    layer.stored_bytes = manifest.stored_bytes();
                }
                layer.problems.extend(problem.clone());
                layer
            })
            .collect()
    }

    /// The files to read whole, by layer.
    fn all_to_read(&self, chosen: Option<&Chosen>) -> Vec<Vec<FileEntry>> {
        let is_chosen = |file: &&FileEntry| chosen.is_none_or(|chosen| chosen.has(file));
        let of_layer = |manifest: &Option<Manifest>| match manifest {
            Some(manifest) if self.depth != Depth::Presence => {
                let files = manifest.files().map(|(_, file)| file);
                files.filter(is_chosen).cloned().collect()
            }
            _ => Vec::new(),
        };
        self.manifests.iter().map(of_layer).collect()
    }
}

/// Looks at the files of a layer: those that are to be read whole, and where the others are not, whether
/// they are there.
async fn check_files(
    collection: &Collection,
    manifest: &Manifest,
    layer: &mut VerifiedLayer,
    to_read: &[FileEntry],
    options: &VerifyOptions,
) {
    let all = manifest.files().count();
    if options.depth == Depth::Presence || (options.sample.is_some() && to_read.len() < all) {
        let missing = missing(collection, manifest).await;
        layer.problems.extend(missing);
    }
    let path = layer.path.clone();
    let checks = stream::iter(to_read).map(|file| collection.verify_file(&path, file));
    let outcomes: Vec<_> = checks.buffered(options.threads).collect().await;
    layer.read_files = layer.read_files.saturating_add(to_read.len() as u64);
    let bytes = total(to_read.iter().map(|file| file.stored_bytes));
    layer.read_bytes = layer.read_bytes.saturating_add(bytes);
    for problem in outcomes.into_iter().filter_map(|outcome| outcome.err()) {
        let problem = problem.to_string();
        if !layer.problems.contains(&problem) {
            layer.problems.push(problem);
        }
    }
}

async fn missing(collection: &Collection, manifest: &Manifest) -> Vec<String> {
    let path = &manifest.layer;
    let stored = match collection.stored_files_of(manifest).await {
        Ok(stored) => stored,
        Err(error) => return vec![error.to_string()],
    };
    let problem = |file: &FileEntry| match stored.get(&file.id) {
        None => Some(format!("file {} of {path} is missing", file.id)),
        Some(bytes) if *bytes != file.stored_bytes => {
            let (id, expected) = (file.id, file.stored_bytes);
            Some(format!(
                "file {id} of {path} has {bytes} bytes, its manifest says {expected}"
            ))
        }
        Some(_) => None,
    };
    // A place that was not given is told once, and not that its files are missing.
    let problem = |(_, file)| match collection.check_localities([(path, file)]) {
        Ok(()) => problem(file),
        Err(missing) => Some(missing.to_string()),
    };
    let problems: BTreeSet<String> = manifest.files().filter_map(problem).collect();
    problems.into_iter().collect()
}
