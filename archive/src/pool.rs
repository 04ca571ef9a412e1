//! Where data files lie: in their layer's directory, or in the pool that fast fulls share. Where a collection
//! lies in several places, each has both.
//!
//! A fast full is made of live files of the source database, copied as they are. They lie in the
//! collection's own `data/` directory, the *pool*, so that the next fast full names those that are still
//! live instead of uploading them again. `docs/format/collection.md` says what writers and removers of
//! pool files owe each other.

use std::collections::BTreeMap;

use object_store::path::Path;

use crate::collection::Collection;
use crate::error::Result;
use crate::hash::ContentHash;
use crate::ids::FileId;
use crate::manifest::{FileEntry, Manifest};
use crate::path::LayerPath;

/// The directory of data files: of a layer within the layer's, of the pool within the collection's. No
/// path of a layer has a segment of this name.
const DATA_DIR: &str = "data";

/// How many of the newest fulls are asked which files the pool has.
const FULLS_ASKED: usize = 4;

/// Where a data file lies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// In this layer's directory.
    Layer(&'a LayerPath),
    /// In the pool.
    Pool,
}

impl<'a> Place<'a> {
    /// Where a file of that layer lies.
    pub(crate) const fn of(layer: &'a LayerPath, file: &FileEntry) -> Self {
        if file.copied.is_some() {
            Self::Pool
        } else {
            Self::Layer(layer)
        }
    }

    /// The directory of the files there.
    pub(crate) fn directory(self) -> Path {
        match self {
            Self::Layer(layer) => layer.object(DATA_DIR),
            Self::Pool => Path::from(DATA_DIR),
        }
    }

    /// The object of the file of that name. The one place that knows.
    pub(crate) fn object(self, id: FileId) -> Path {
        self.directory().join(format!("{id}.sst"))
    }

    /// The file that an object is; `None` if it is none of this place.
    pub(crate) fn id_of(self, object: &Path) -> Option<FileId> {
        let id = object.filename()?.strip_suffix(".sst")?.parse().ok()?;
        (self.object(id) == *object).then_some(id)
    }
}

impl LayerPath {
    /// The path of one of the layer's data files, from the collection's root.
    #[must_use]
    pub fn file_path(&self, file: &FileEntry) -> String {
        self.file_object(file).to_string()
    }

    pub(crate) fn file_object(&self, file: &FileEntry) -> Path {
        Place::of(self, file).object(file.id)
    }
}

impl Collection {
    /// The data files in a layer's directory, named by its manifest or not, with their sizes. One listing of
    /// each place that the collection was opened with, as for all of these.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn stored_files(&self, layer: &LayerPath) -> Result<BTreeMap<FileId, u64>> {
        self.files_at(Place::Layer(layer)).await
    }

    /// The files in the pool, named by a manifest or not, with their sizes. One listing.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn pool_files(&self) -> Result<BTreeMap<FileId, u64>> {
        self.files_at(Place::Pool).await
    }

    /// The files in the places where those of a layer lie, with their sizes. One listing, and one of the
    /// pool if the layer has files there.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn stored_files_of(&self, manifest: &Manifest) -> Result<BTreeMap<FileId, u64>> {
        let mut stored = self.stored_files(&manifest.layer).await?;
        if manifest.files().any(|(_, file)| file.copied.is_some()) {
            stored.extend(self.pool_files().await?);
        }
        Ok(stored)
    }

    pub(crate) async fn files_at(&self, place: Place<'_>) -> Result<BTreeMap<FileId, u64>> {
        let mut files = BTreeMap::new();
        for store in self.stores() {
            let listed = store.list(&place.directory()).await?;
            files.extend(listed.iter().filter_map(|object| {
                let id = place.id_of(&object.location)?;
                Some((id, object.size))
            }));
        }
        Ok(files)
    }

    /// The pool's files that the newest fulls name, and of `ours`, by the identity of the file that each is
    /// a copy of, as far as they are there and not marked. A listing of the fulls, the manifests of at most
    /// four, a listing of the marks and one of the pool. `ours` are files that the caller put into the pool, and that no manifest names yet.
    ///
    /// A manifest that cannot be read brings nothing: its files are uploaded again.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn reusable_files(
        &self,
        ours: &[FileEntry],
    ) -> Result<BTreeMap<ContentHash, Vec<FileEntry>>> {
        let ours = ours.iter().filter(|file| file.copied.is_some());
        let mut named: BTreeMap<_, _> = ours.map(|file| (file.id, file.clone())).collect();
        for full in self.fulls().await?.into_iter().take(FULLS_ASKED) {
            let layer = LayerPath::full_at(full.path);
            let manifest = match self.read_manifest(&layer).await {
                Ok((manifest, _)) => manifest,
                Err(error) => {
                    tracing::warn!(%layer, %error, "its files are not used again");
                    continue;
                }
            };
            let files = manifest.files().filter(|(_, file)| file.copied.is_some());
            named.extend(files.map(|(_, file)| (file.id, file.clone())));
        }
        let mut reusable: BTreeMap<ContentHash, Vec<FileEntry>> = BTreeMap::new();
        if named.is_empty() {
            return Ok(reusable);
        }
        let (unused, stored) = (self.unused_files().await?, self.pool_files().await?);
        for (id, file) in named {
            let source = file.copied.as_ref().map(|copied| copied.source);
            if let Some(source) = source
                && stored.get(&id) == Some(&file.stored_bytes)
                && !unused.contains(&id)
            {
                reusable.entry(source).or_default().push(file);
            }
        }
        Ok(reusable)
    }
}
