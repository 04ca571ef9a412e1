//! What a run of retention did, or would do.

use icecore_archive::plan::Restorable;
use icecore_archive::{FullPath, LayerPath};
use icecore_mvcc::Timestamp;
use serde::Serialize;

/// What a run of retention did, or with [`dry_run`](ExpireReport::dry_run) would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExpireReport {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Every chain that was listed, newest first, and what becomes of it.
    pub chains: Vec<ChainReport>,
    /// Layers that merged ones stand for, marked by this run.
    pub retired: Vec<RetiredReport>,
    /// Layers whose writers had died before they listed them, listed now.
    pub adopted: Vec<LayerPath>,
    /// What dead runs left, and other objects that nothing refers to.
    pub junk: Vec<JunkReport>,
    /// Layers without a marker that are damaged: left for a person to look at.
    pub damaged: Vec<LayerPath>,
    /// What becomes of the files that fast fulls share.
    pub pool: PoolReport,
    /// The times that could be restored before, by keyspace.
    pub restorable_before: Vec<Restorable>,
    /// The times that can be restored after.
    pub restorable_after: Vec<Restorable>,
    /// Objects deleted: of chains and layers that were marked a grace ago, and junk.
    pub deleted_objects: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Bytes of what is marked, and is deleted once the grace is over.
    pub pending_bytes: u64,
    /// Objects that the store would not delete. Later runs try again.
    pub refused: Vec<RefusedDelete>,
    /// How long it took.
    pub seconds: f64,
}

/// What becomes of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// The full.
    pub full: FullPath,
    /// Whom it is of.
    pub source: String,
    /// The end of its full.
    pub begins: Timestamp,
    /// The end of its last incremental.
    pub reaches: Timestamp,
    /// Its layers.
    pub layers: u64,
    /// Bytes of its files.
    pub stored_bytes: u64,
    /// Whether it goes.
    pub expires: bool,
    /// Why it stays, or why it does not go yet.
    pub reasons: Vec<String>,
    /// What is wrong with it.
    pub problems: Vec<String>,
}

/// A layer that is no longer part of its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetiredReport {
    /// The layer.
    pub layer: LayerPath,
    /// Bytes of its files.
    pub stored_bytes: u64,
}

/// Files of the pool that no listed backup names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PoolReport {
    /// Marked by this run: no backup uses them again.
    pub marked_files: u64,
    /// Their bytes.
    pub marked_bytes: u64,
    /// Marked before, and not deleted yet.
    pub waiting_files: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Deleted.
    pub deleted_files: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Directories of backups under way that some wait for, though their grace is over: these may have looked
    /// for marks before there were any.
    pub waits_for: Vec<LayerPath>,
    /// Layers whose manifests cannot be read. As long as there are any, nothing of the pool is marked or
    /// deleted: what they name is not known.
    pub unreadable: Vec<LayerPath>,
}

/// Objects that nothing refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JunkReport {
    /// The directory that they lie in.
    pub directory: LayerPath,
    /// Where they come from.
    pub what: &'static str,
    /// How many.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// An object that the store would not delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedDelete {
    /// Where it lies in the collection.
    pub path: String,
    /// Why not.
    pub reason: String,
}
