//! Backup collections in object storage, free of RocksDB: what lies there, how it is written, read and
//! chosen.
//!
//! | concept | where |
//! |---|---|
//! | the address of a collection, without ever printing a credential | [`CollectionUri`] |
//! | several places of one collection, by locality | [`CollectionPlaces`], [`Locality`] |
//! | retries, limits, counters, the log of operations, faults put in by tests | [`StoreOptions`] |
//! | a collection: fulls, chains, `LATEST` | [`Collection`], [`Chain`], [`BackupSelector`] |
//! | writing a layer, once and for all | [`LayerWriter`] |
//! | what a layer holds | [`Manifest`] |
//! | sealed collections: what opens them, and encrypts what is in them | [`Keys`] |
//! | reading data files, verified | [`Collection::fetch`], [`FileReader`] |
//! | which layers a restore needs | [`plan`] |
//! | staging folders and blocking work, for backup and restore alike | [`StagingFolder`], [`blocking`] |
//!
//! `docs/format/collection.md`, `docs/format/manifest.md` and `docs/format/sealing.md` describe every byte that is written. Every
//! failure is an [`Error`]: its text says what happened, to what, and what to do.

#![forbid(unsafe_code)]

mod collection;
mod error;
mod fetch;
mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
mod hash;
mod hex;
mod ids;
mod layer;
mod local;
mod locality;
mod manifest;
mod marker;
mod options;
mod path;
pub mod plan;
mod pool;
mod progress;
mod retention;
mod seal;
mod store;
mod total;
mod upload;
mod uri;

/// The crate whose stores collections lie in, for what [`StoreOptions::decorate`] puts in.
pub use object_store;

pub use collection::{
    AppendTarget, Chain, Collection, FileReader, FullEntry, KeyEntry, KeyList, NewKey,
};
pub use error::{Error, Result};
pub use hash::{ContentHash, Digest, ParseHashError};
pub use ids::{ChainId, CollectionId, FileId, KeyId, ParseFileIdError, RunId};
pub use layer::{
    BegunLayer, Checkpoint, CheckpointFile, Claimant, LayerHolder, LayerWriter, MergedParts,
    Position,
};
pub use local::{StagingFolder, blocking, holds, remove_staged};
pub use locality::{CollectionPlaces, Locality};
pub use manifest::{CopiedFile, FileEntry, LayerKind, Manifest, ManifestKeyspace, SCHEDULE_ROWS};
pub use marker::{COLLECTION_FORMAT_VERSION, LayerEntry};
pub use options::{Decorate, RetryOptions, StoreOptions};
pub use path::{BackupSelector, FullPath, IncrementalPath, LayerPath, MAX_FULL_PATH_BYTES};
pub use progress::{Progress, ProgressFn};
pub use retention::{Directory, ObjectKind, Refused, StoredObject, Survey};
pub use seal::{Keys, KmsUri, Passphrase, PassphraseCost};
pub use store::{Operation, OperationLog, Outcome, RequestCounts, Verb};
pub use total::total;
pub use upload::StoredFile;
pub use uri::CollectionUri;
