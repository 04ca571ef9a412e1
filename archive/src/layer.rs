//! Writing a layer: claim a place, put files, check them, commit.
//!
//! [`claim`] finds a directory of the layer's own; [`LayerWriter::commit`] runs the protocol that
//! [`Collection`] describes. A writer that is dropped leaves junk that no reader sees.

mod checkpoint;
mod claim;
mod holder;
mod merged;
mod resume;

pub use checkpoint::{Checkpoint, CheckpointFile, Position};
pub(crate) use claim::LOCK_NAME;
pub(crate) use holder::in_brackets;
pub use holder::{Claimant, LayerHolder};
pub use merged::MergedParts;
pub use resume::BegunLayer;

use std::collections::BTreeMap;
use std::path::Path;

use icecore_mvcc::Timestamp;
use parking_lot::Mutex;

use crate::collection::{Collection, SlotHolder};
use crate::error::{Error, Result};
use crate::hash::ContentHash;
use crate::ids::{FileId, RunId};
use crate::locality::Locality;
use crate::manifest::codec::{self, EncodedManifest, ListLimits};
use crate::manifest::{FileEntry, LayerKind, Manifest};
use crate::marker::{self, LayerEntry, MAX_MARKER_BYTES, Tombstone, content};
use crate::path::{FullPath, LayerPath};
use crate::pool::Place;
use crate::store::PutOnce;
use crate::upload::{self, StoredFile};

/// The manifest's name within its layer.
pub(crate) const MANIFEST_NAME: &str = "BACKUP_MANIFEST";

/// A layer that is being written.
#[derive(Debug)]
pub struct LayerWriter {
    collection: Collection,
    layer: LayerPath,
    run: RunId,
    end: Timestamp,
    parent: Option<LayerEntry>,
    /// The end of the chain's full: its own for a full.
    full_end: Timestamp,
    /// The manifests that it stands for: a merged layer takes no slot.
    merges: Vec<ContentHash>,
    files: Mutex<Files>,
}

/// A file that was put, and the locality whose place it was put into.
type Put = (StoredFile, Option<Locality>);

/// What a manifest says of a file that was put.
fn put(file: &FileEntry) -> Put {
    (StoredFile::of(file), file.locality.clone())
}

/// What was put into the layer.
#[derive(Debug, Default)]
struct Files {
    written: BTreeMap<FileId, Put>,
    /// What was put into the pool, or lies there already and is used again.
    pooled: BTreeMap<FileId, Put>,
    /// How many of both the last check saw.
    checked: usize,
}

impl Files {
    fn count(&self) -> usize {
        self.written.len() + self.pooled.len()
    }
}

impl LayerWriter {
    /// Where the layer lies.
    #[must_use]
    pub const fn layer(&self) -> &LayerPath {
        &self.layer
    }

    /// What names this attempt.
    #[must_use]
    pub const fn run_id(&self) -> RunId {
        self.run
    }

    /// The layer covers the versions after this: the parent's end, zero for a full.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.parent
            .as_ref()
            .map_or(Timestamp::MIN, |parent| parent.end)
    }

    /// The layer covers the versions up to and including this.
    #[must_use]
    pub const fn end(&self) -> Timestamp {
        self.end
    }

    /// The hash of the parent's manifest; `None` for a full.
    #[must_use]
    pub fn parent_manifest(&self) -> Option<ContentHash> {
        self.parent.as_ref().map(|parent| parent.manifest_hash)
    }

    /// The manifests of the layers that are merged into it; none unless it was begun by
    /// [`Collection::begin_merged`].
    #[must_use]
    pub fn merges(&self) -> &[ContentHash] {
        &self.merges
    }

    /// Uploads a local file as a data file of the layer, under a new random name.
    ///
    /// The file must not change meanwhile. Several may be put at once; together they hold no more than
    /// [`StoreOptions::upload_memory_bytes`](crate::StoreOptions::upload_memory_bytes) in memory.
    ///
    /// # Errors
    /// [`Error::LocalFile`]; those of the store.
    pub async fn put_file(&self, local: &Path) -> Result<StoredFile> {
        self.put_file_at(None, local).await
    }

    /// [`LayerWriter::put_file`] into the place of a locality, which the file's entry in the manifest must
    /// name; `None` is the default. [`Collection::locality_of`] chooses it by a keyspace's tags.
    ///
    /// # Errors
    /// [`Error::MissingLocality`] if that place was not given; those of [`LayerWriter::put_file`].
    #[tracing::instrument(level = "debug", skip_all, fields(layer = %self.layer, file = %local.display()))]
    pub async fn put_file_at(
        &self,
        locality: Option<&Locality>,
        local: &Path,
    ) -> Result<StoredFile> {
        let put = self
            .upload(Place::Layer(&self.layer), locality, local)
            .await?;
        self.files.lock().written.insert(put.0.id, put.clone());
        Ok(put.0)
    }

    /// As [`LayerWriter::put_file_at`], into that place's pool, which fast fulls share. The manifest must name
    /// it as copied.
    ///
    /// # Errors
    /// As [`LayerWriter::put_file_at`].
    #[tracing::instrument(level = "debug", skip_all, fields(layer = %self.layer, file = %local.display()))]
    pub async fn put_pooled(
        &self,
        locality: Option<&Locality>,
        local: &Path,
    ) -> Result<StoredFile> {
        let put = self.upload(Place::Pool, locality, local).await?;
        self.files.lock().pooled.insert(put.0.id, put.clone());
        Ok(put.0)
    }

    async fn upload(
        &self,
        place: Place<'_>,
        locality: Option<&Locality>,
        local: &Path,
    ) -> Result<Put> {
        let store = self.collection.store_of(&self.layer, locality)?;
        let stored = upload::upload(&self.collection, store, place, local).await?;
        Ok((stored, locality.cloned()))
    }

    /// The collection that the layer is of.
    #[must_use]
    pub const fn collection(&self) -> &Collection {
        &self.collection
    }

    /// Uses a file of the pool again, one of those that
    /// [`Collection::reusable_files`](crate::Collection::reusable_files) found. That it is still there is
    /// looked at by every check and once more by the commit.
    pub fn reuse(&self, file: &FileEntry) {
        self.files.lock().pooled.insert(file.id, put(file));
    }

    /// Checks, in one listing of each place, that the store holds every file put or used again so far in
    /// its full size, and in one of the marks, that none in the pool is about to go.
    ///
    /// # Errors
    /// [`Error::WriteLost`] for the first that it does not, [`Error::FileExpired`] for one that goes; those
    /// of the store.
    pub async fn check(&self) -> Result<()> {
        let written = self.files.lock().written.clone();
        self.check_at(Place::Layer(&self.layer), &written).await?;
        let pooled = self.check_pool().await?;
        self.files.lock().checked = written.len() + pooled;
        Ok(())
    }

    /// Checks the files in the pool; returns how many there are.
    async fn check_pool(&self) -> Result<usize> {
        let pooled = self.files.lock().pooled.clone();
        if !pooled.is_empty() {
            // The marks first: a mark goes after its file, so that one or the other is seen.
            let unused = self.collection.unused_files().await?;
            if let Some(id) = pooled.keys().find(|id| unused.contains(id)) {
                return Err(Error::FileExpired {
                    path: Place::Pool.object(*id).to_string(),
                    location: self.collection.location().to_owned(),
                });
            }
            self.check_at(Place::Pool, &pooled).await?;
        }
        Ok(pooled.len())
    }

    async fn check_at(&self, place: Place<'_>, expected: &BTreeMap<FileId, Put>) -> Result<()> {
        let stored = self.collection.files_at(place).await?;
        for (file, locality) in expected.values() {
            let actual = stored.get(&file.id);
            if actual != Some(&file.stored_bytes) {
                let store = self.collection.store_of(&self.layer, locality.as_ref())?;
                return Err(Error::WriteLost {
                    path: place.object(file.id).to_string(),
                    location: store.location().to_owned(),
                    expected: file.stored_bytes,
                    actual: actual.map_or_else(|| "none".to_owned(), u64::to_string),
                });
            }
        }
        Ok(())
    }

    /// Commits the layer: checks its files unless that was done since the last was put, then writes side
    /// files, manifest, slot (unless it is merged of others) and markers.
    ///
    /// The manifest must be this layer's and name files that this writer put; files that it does not name
    /// are left as junk.
    ///
    /// # Errors
    /// [`Error::ChainExtended`] if another incremental was first, [`Error::LayerExists`] if another full
    /// was; [`Error::ChainExpired`] and [`Error::RunRemoved`] if retention took the chain, or this run for
    /// dead, [`Error::FileExpired`] if it is about to take a file of the pool; then nothing of this layer is listed. [`Error::InvalidManifest`], [`Error::WriteLost`]; those
    /// of the store: then the layer may be listed or not, and is whole if it is.
    #[tracing::instrument(skip_all, fields(layer = %self.layer))]
    pub async fn commit(self, manifest: Manifest) -> Result<LayerEntry> {
        let path = self.layer.object(MANIFEST_NAME);
        self.validate(&manifest)
            .map_err(|reason| Error::InvalidManifest {
                path: path.to_string(),
                reason,
            })?;
        let encoded = codec::encode(
            &manifest,
            path.as_ref(),
            ListLimits::default(),
            self.collection.seal(),
        )?;
        let all_checked = {
            let files = self.files.lock();
            files.checked == files.count()
        };
        if all_checked {
            // Others may remove files from the pool: as late as possible.
            self.check_pool().await?;
        } else {
            self.check().await?;
        }
        self.put_manifest(&encoded).await?;
        let entry = LayerEntry::of(&manifest, encoded.hash);
        self.list(&entry).await?;
        let kind = match &self.parent {
            Some(_) if !self.merges.is_empty() => "merged",
            Some(_) => "incremental",
            None => "full",
        };
        metrics::counter!("icecore_archive_layers_committed_total", "kind" => kind).increment(1);
        let (bytes, entries) = (entry.stored_bytes, entry.entries);
        tracing::info!(kind, start = %entry.start, end = %entry.end, bytes, entries, "committed a layer");
        Ok(entry)
    }

    /// Another run's layer lies here.
    async fn exists(&self) -> Error {
        let holder = self.collection.holder(&self.layer).await;
        Error::LayerExists {
            layer: self.layer.clone(),
            location: self.collection.location().to_owned(),
            // Its own lock tells nothing of who came first.
            holder: holder.filter(|holder| holder.run != self.run).map(Box::new),
        }
    }

    /// Retention took the run for dead.
    fn removed(&self) -> Error {
        Error::RunRemoved {
            layer: self.layer.clone(),
            location: self.collection.location().to_owned(),
        }
    }

    /// Says what in the manifest is not of this layer.
    fn validate(&self, manifest: &Manifest) -> Result<(), String> {
        let kind = if self.parent.is_some() {
            LayerKind::Incremental
        } else {
            LayerKind::Full
        };
        let same = manifest.collection_id == self.collection.id()
            && manifest.kind == kind
            && manifest.layer == self.layer
            && manifest.parent_manifest == self.parent_manifest()
            && manifest.merges == self.merges
            && (manifest.start, manifest.end) == (self.start(), self.end);
        if !same {
            return Err(
                "its collection, kind, place, parent, parts, start or end is not the layer's"
                    .to_owned(),
            );
        }
        let files = self.files.lock();
        for (_, file) in manifest.files() {
            let found = match file.copied {
                Some(_) => files.pooled.get(&file.id),
                None => files.written.get(&file.id),
            };
            if found != Some(&put(file)) {
                return Err(format!("file {} was not put as it says", file.id));
            }
        }
        Ok(())
    }

    /// Writes the side files, then the manifest.
    async fn put_manifest(&self, encoded: &EncodedManifest) -> Result<()> {
        let store = self.collection.store();
        for (name, object) in &encoded.side_files {
            store
                .put_mine(
                    &self.layer.object(name),
                    object.clone(),
                    codec::MAX_OBJECT_BYTES,
                )
                .await?;
        }
        let path = self.layer.object(MANIFEST_NAME);
        match store
            .put_once(&path, encoded.object.clone(), codec::MAX_OBJECT_BYTES)
            .await?
        {
            PutOnce::Stored => Ok(()),
            PutOnce::Conflict(theirs) if Tombstone::is(&theirs) => Err(self.removed()),
            PutOnce::Conflict(_) => Err(self.exists().await),
        }
    }

    /// Makes the layer visible: slot and markers.
    async fn list(&self, entry: &LayerEntry) -> Result<()> {
        let full = self.layer.full();
        if self.parent.is_none() {
            self.check_path_not_expired(entry).await?;
        }
        // The slots of a merged layer's window stay those of the layers that it stands for.
        if let Some(parent) = self.parent.as_ref().filter(|_| self.merges.is_empty()) {
            let slot = marker::slot_path(full, parent.end);
            if let PutOnce::Conflict(theirs) = self
                .collection
                .store()
                .put_once(&slot, content::encode(entry)?, MAX_MARKER_BYTES)
                .await?
            {
                let holder = match self.collection.parse_slot(full, parent.end, &theirs)? {
                    SlotHolder::Layer(holder) => holder.path,
                    SlotHolder::Closed => {
                        return Err(Error::ChainExpired { full: full.clone() });
                    }
                };
                let by = self.collection.holder(&holder).await.map(Box::new);
                return Err(Error::ChainExtended {
                    full: full.clone(),
                    end: parent.end,
                    holder,
                    by,
                });
            }
            // An expired chain's slots go in the end; its mark stays.
            self.check_not_expired().await?;
        }
        self.collection.put_layer_marker(entry).await?;
        if !self.merges.is_empty() {
            self.check_not_expired().await?;
        }
        if self.parent.is_none() {
            self.collection.put_latest_marker(entry).await?;
        }
        Ok(())
    }

    /// Fails if an earlier chain at a full's chosen path was expired since it was claimed: the mark hides
    /// whatever comes to that path, and takes it away. A path that is named by the full's end is its own.
    async fn check_path_not_expired(&self, entry: &LayerEntry) -> Result<()> {
        let full = self.layer.full();
        if *full == FullPath::at(entry.end) {
            return Ok(());
        }
        let (_, expired) = self.collection.fulls_and_expired().await?;
        match expired.contains(full) {
            true => Err(Error::ChainExpired { full: full.clone() }),
            false => Ok(()),
        }
    }

    /// Fails if retention marked the chain meanwhile.
    async fn check_not_expired(&self) -> Result<()> {
        let full = self.layer.full();
        match self
            .collection
            .is_marked_expired(full, self.full_end)
            .await?
        {
            true => Err(Error::ChainExpired { full: full.clone() }),
            false => Ok(()),
        }
    }
}
