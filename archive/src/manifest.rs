//! What a layer holds: the manifest, written last, the commit point of the layer.
//!
//! [`Manifest`] is the whole of it in memory, file lists included. [`codec`] turns it into objects and
//! back; `docs/format/manifest.md` describes every byte. Fields that a reader does not know are ignored;
//! what older readers must not ignore raises the format version.

pub(crate) mod codec;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use icecore_mvcc::{Descriptor, EngineId, Fingerprint, KeyRange, Timestamp};
use serde::{Deserialize, Serialize};

use crate::hash::{ContentHash, Digest};
use crate::ids::{ChainId, CollectionId, FileId};
use crate::locality::Locality;
use crate::path::LayerPath;
use crate::seal::Seal;
use crate::total::total;

/// Whether a layer stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerKind {
    /// It covers everything up to its end time.
    Full,
    /// It covers what changed since its parent's end.
    Incremental,
}

/// Everything that is known of a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The collection it belongs to.
    pub collection_id: CollectionId,
    /// The full backup it belongs to, with all its incrementals.
    pub chain_id: ChainId,
    /// The engine it was taken of: a chain belongs to one.
    pub engine_id: EngineId,
    /// The version of the engine that exported the files.
    pub engine_version: String,
    /// The version of the program that wrote the backup.
    pub tool_version: String,
    /// Full or incremental.
    pub kind: LayerKind,
    /// Where it lies.
    pub layer: LayerPath,
    /// The BLAKE3 of the parent's manifest object; `None` for a full.
    pub parent_manifest: Option<ContentHash>,
    /// The manifests of the layers that were merged into it, in order, with all that those were merged of:
    /// a child may name any of them as its parent that ends where it does. Empty for other layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merges: Vec<ContentHash>,
    /// It covers the versions after this: the parent's end, zero for a full.
    pub start: Timestamp,
    /// It covers the versions up to and including this.
    pub end: Timestamp,
    /// When it was committed, by the writer's clock.
    pub created_at: Timestamp,
    /// Whether it holds every version of its time rather than the newest of each key.
    pub revision_history: bool,
    /// Whether it was taken of all keyspaces, system rows included.
    pub whole_engine: bool,
    /// The patterns of keyspaces it was taken of; empty if of all.
    pub patterns: Vec<String>,
    /// The keyspaces at its end time, with their files.
    pub keyspaces: Vec<ManifestKeyspace>,
    /// Rows of the engine that are no keyspace's, by kind: a list of the rows' values. There are those of
    /// [`SCHEDULE_ROWS`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub system: BTreeMap<String, serde_json::Value>,
}

/// The kind of system rows that schedules are. A backup of the whole engine carries them, each with its `label`, the
/// row's key.
pub const SCHEDULE_ROWS: &str = "schedule";

/// A keyspace in a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestKeyspace {
    /// Its descriptor as of the layer's end.
    pub descriptor: Descriptor,
    /// Whether the layers before do not cover it: its files then hold all of it up to the layer's end.
    pub introduced: bool,
    /// Where it is introduced because garbage collection had passed the layer's start: the keyspace's GC
    /// threshold then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_gap: Option<Timestamp>,
    /// The earliest time at which reads of this layer's versions are true, if it keeps history.
    pub revision_start: Option<Timestamp>,
    /// Its files. Copied ones come first, oldest first: a restore ingests them together, in this order.
    #[serde(default)]
    pub files: Vec<FileEntry>,
    /// The fingerprint of its rows at the layer's end, or just before its drop if it was dropped by then;
    /// `None` if none was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

/// A data file: a sorted SST of stored keys and values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name.
    pub id: FileId,
    /// A span of user keys that holds every key in it.
    #[serde(with = "crate::hex::key_range")]
    pub span: KeyRange,
    /// The oldest version in it.
    pub min_ts: Timestamp,
    /// The newest version in it.
    pub max_ts: Timestamp,
    /// Versions in it, tombstones included.
    pub entries: u64,
    /// Tombstones in it.
    pub tombstones: u64,
    /// Bytes of the user keys and values in it.
    pub logical_bytes: u64,
    /// Bytes of the object, as it is stored: sealed, where the collection is.
    pub stored_bytes: u64,
    /// CRC32 (IEEE) of the object's bytes, likewise: finds damage in transfer.
    pub crc32: u32,
    /// BLAKE3 of the object's bytes, likewise: identifies the content.
    pub blake3: ContentHash,
    /// Set for a live file of the source database that was copied as it was.
    ///
    /// It lies in the collection's pool, and may hold physical deletes that hide rows of files before it
    /// in its keyspace's list: a keyspace's copied files mean something only together. `min_ts` and
    /// `max_ts` are bounds that may not be reached; `entries` and `logical_bytes` count what later files
    /// may hide; `tombstones` is not known, and 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied: Option<CopiedFile>,
    /// The locality in whose place the object lies; `None` for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
}

/// What is known of a copied file's original.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedFile {
    /// Identifies its content, whichever database it lies in: a hash over its length and its last bytes,
    /// which hold the random identity that RocksDB gives each file.
    pub source: ContentHash,
    /// The level of the source's tree that it lay in.
    pub level: u32,
}

impl FileEntry {
    /// What its bytes must come to.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        Digest {
            bytes: self.stored_bytes,
            crc32: self.crc32,
            blake3: self.blake3,
        }
    }

    /// The span from the first to the last user key of a file, both inclusive.
    #[must_use]
    pub fn span_of(first_key: &[u8], last_key: &[u8]) -> KeyRange {
        let through_last = KeyRange::single(last_key);
        KeyRange::new(first_key.to_vec(), through_last.end().map(<[u8]>::to_vec))
    }
}

impl Manifest {
    /// Every file with its keyspace.
    pub fn files(&self) -> impl Iterator<Item = (&ManifestKeyspace, &FileEntry)> {
        self.keyspaces
            .iter()
            .flat_map(|keyspace| keyspace.files.iter().map(move |file| (keyspace, file)))
    }

    /// The localities that its files lie in, the default not among them.
    #[must_use]
    pub fn localities(&self) -> BTreeSet<Locality> {
        self.files()
            .filter_map(|(_, file)| file.locality.clone())
            .collect()
    }

    /// Bytes of all its files as stored.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        total(self.files().map(|(_, file)| file.stored_bytes))
    }

    /// Versions in all its files, tombstones included.
    #[must_use]
    pub fn entries(&self) -> u64 {
        total(self.files().map(|(_, file)| file.entries))
    }

    /// The earliest time inside the layer that can be restored for some keyspace; `None` if only its end.
    #[must_use]
    pub fn history_from(&self) -> Option<Timestamp> {
        if !self.revision_history {
            return None;
        }
        match self.kind {
            // What the layers before cover is readable throughout.
            LayerKind::Incremental => Some(self.start),
            LayerKind::Full => {
                let earliest = self
                    .keyspaces
                    .iter()
                    .filter_map(|keyspace| keyspace.revision_start)
                    .min();
                Some(earliest.unwrap_or(self.end))
            }
        }
    }

    /// Reads the bytes of a manifest object, whose name in errors is `path`.
    ///
    /// For tools that have the object alone, of a collection that is not sealed: file lists in side files are left out, as
    /// [`Collection::read_manifest`](crate::Collection::read_manifest) does not.
    ///
    /// # Errors
    /// Those of [`Collection::read_manifest`](crate::Collection::read_manifest) for what is wrong with it.
    pub fn from_object(path: &str, object: &[u8]) -> crate::Result<Self> {
        codec::decode(path, object, &Seal::default())?.finish(path)
    }

    /// Whether files of it are copies of the source's live files.
    #[must_use]
    pub fn is_fast(&self) -> bool {
        self.files().any(|(_, file)| file.copied.is_some())
    }

    /// Says what in it cannot be, in one line.
    ///
    /// # Errors
    /// The reason, for [`Error::InvalidManifest`](crate::Error::InvalidManifest).
    pub fn validate(&self) -> Result<(), String> {
        self.validate_chain()?;
        let mut ids = HashSet::new();
        let mut keyspaces = HashSet::new();
        for keyspace in &self.keyspaces {
            if !keyspaces.insert(keyspace.descriptor.id) {
                return Err(format!(
                    "keyspace id {} appears twice",
                    keyspace.descriptor.id
                ));
            }
            keyspace.validate(self.start, self.end)?;
            self.validate_copied(keyspace)?;
            if let Some(twice) = keyspace.files.iter().find(|file| !ids.insert(file.id)) {
                return Err(format!("file {} appears twice", twice.id));
            }
        }
        Ok(())
    }

    /// Copied files hold every version there was, and stand at the beginning of what is applied.
    fn validate_copied(&self, keyspace: &ManifestKeyspace) -> Result<(), String> {
        let name = &keyspace.descriptor.name;
        let copied = keyspace.copied_files().len();
        if keyspace
            .files
            .iter()
            .skip(copied)
            .any(|file| file.copied.is_some())
        {
            return Err(format!(
                "copied files of keyspace '{name}' come after others"
            ));
        }
        if copied > 0 && (self.kind != LayerKind::Full || !self.revision_history) {
            return Err(format!(
                "keyspace '{name}' has copied files, and the layer is not a full backup with history"
            ));
        }
        Ok(())
    }

    /// The fields that place the layer in its chain.
    fn validate_chain(&self) -> Result<(), String> {
        match self.kind {
            LayerKind::Full => {
                if self.start != Timestamp::MIN
                    || self.parent_manifest.is_some()
                    || self.layer.incremental().is_some()
                {
                    return Err(
                        "a full backup has no start, no parent and no incremental path".to_owned(),
                    );
                }
                if !self.merges.is_empty() {
                    return Err("a full backup is merged of no others".to_owned());
                }
            }
            LayerKind::Incremental => {
                if self.parent_manifest.is_none() || self.layer.incremental().is_none() {
                    return Err("an incremental has a parent and a path of its own".to_owned());
                }
                if self.start >= self.end {
                    return Err(format!(
                        "it ends at {}, not after its start {}",
                        self.end, self.start
                    ));
                }
            }
        }
        Ok(())
    }
}

impl ManifestKeyspace {
    /// Its copied files, oldest first. They must be read together.
    #[must_use]
    pub fn copied_files(&self) -> &[FileEntry] {
        let copied = self.files.iter().take_while(|file| file.copied.is_some());
        self.files.get(..copied.count()).unwrap_or_default()
    }

    fn validate(&self, start: Timestamp, end: Timestamp) -> Result<(), String> {
        let name = &self.descriptor.name;
        if self.revision_start.is_some_and(|start| start > end) {
            return Err(format!(
                "the history of keyspace '{name}' begins after the layer's end"
            ));
        }
        if let Some(threshold) = self.gc_gap
            && (!self.introduced || threshold <= start)
        {
            return Err(format!(
                "keyspace '{name}' is not taken from zero, or garbage collection stood at {threshold}, not \
                 after the layer's start"
            ));
        }
        for file in &self.files {
            if file.span.is_empty()
                || file.min_ts > file.max_ts
                || file.tombstones > file.entries
                || (file.entries == 0 && file.copied.is_none())
            {
                return Err(format!(
                    "file {} of keyspace '{name}' has bounds that exclude each other",
                    file.id
                ));
            }
            // What is introduced comes from zero, and so does a full; its oldest version may be at zero.
            let from_zero = self.introduced || start == Timestamp::MIN;
            if file.max_ts > end || (file.min_ts <= start && !from_zero) {
                return Err(format!(
                    "file {} of keyspace '{name}' holds versions from {} to {}, the layer covers {start} to {end}",
                    file.id, file.min_ts, file.max_ts
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod copied_tests;
#[cfg(test)]
pub(crate) mod tests;
