//! Going on with a layer that an earlier process began.

use icecore_mvcc::Timestamp;
use parking_lot::Mutex;

use super::{Files, LayerWriter, put};
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::ids::RunId;
use crate::manifest::{FileEntry, Manifest};
use crate::marker::LayerEntry;
use crate::path::LayerPath;

/// A layer that was begun: what its writer must remember to go on with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunLayer {
    /// Where it lies.
    pub layer: LayerPath,
    /// The attempt that claimed it.
    pub run: RunId,
    /// Its end.
    pub end: Timestamp,
    /// The layer that it continues; `None` for a full.
    pub parent: Option<LayerEntry>,
    /// The end of the chain's full: its own of a full.
    pub full_end: Timestamp,
}

impl Collection {
    /// A writer that goes on with a layer; [`LayerWriter::adopt`] gives it the files that are stored.
    /// Makes no request.
    #[must_use]
    pub fn resume_layer(&self, begun: BegunLayer) -> LayerWriter {
        let BegunLayer {
            layer,
            run,
            end,
            parent,
            full_end,
        } = begun;
        LayerWriter {
            collection: self.clone(),
            layer,
            run,
            end,
            parent,
            full_end,
            merges: Vec::new(),
            files: Mutex::new(Files::default()),
        }
    }
}

impl LayerWriter {
    /// The layer that this one continues; `None` for a full.
    #[must_use]
    pub const fn parent(&self) -> Option<&LayerEntry> {
        self.parent.as_ref()
    }

    /// Counts a file as put: one that an earlier process of the same run stored.
    /// [`LayerWriter::check`] and [`LayerWriter::commit`] look whether it is there.
    pub fn adopt(&self, file: &FileEntry) {
        let mut files = self.files.lock();
        files.written.insert(file.id, put(file));
        files.checked = 0;
    }

    /// Ends a commit that was interrupted: if the layer's manifest is there and `ours` knows it, slot and
    /// markers are written, and the layer is listed. `None` if there is no manifest yet.
    ///
    /// # Errors
    /// [`Error::LayerExists`] if the manifest is another run's, [`Error::RunRemoved`] if retention took the run
    /// for dead; otherwise as [`LayerWriter::commit`].
    pub async fn finish_commit(
        &self,
        ours: impl Fn(&Manifest) -> bool,
    ) -> Result<Option<(LayerEntry, Manifest)>> {
        let (manifest, manifest_hash) = match self.collection.read_manifest(&self.layer).await {
            Ok(read) => read,
            Err(Error::ManifestMissing { .. }) => {
                return match self.collection.is_buried(&self.layer).await? {
                    true => Err(self.removed()),
                    false => Ok(None),
                };
            }
            Err(error) => return Err(error),
        };
        let same = (manifest.start, manifest.end) == (self.start(), self.end)
            && manifest.parent_manifest == self.parent_manifest();
        if !same || !ours(&manifest) {
            return Err(self.exists().await);
        }
        let entry = LayerEntry::of(&manifest, manifest_hash);
        self.list(&entry).await?;
        Ok(Some((entry, manifest)))
    }
}
