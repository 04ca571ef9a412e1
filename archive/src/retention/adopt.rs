//! Finishing the commit of a writer that died between its manifest and its marker.
//!
//! Its layer is whole: the manifest is written when all files are there. Nothing but the markers is
//! missing, and their contents follow from the manifest, so whoever writes them writes the same bytes.

use crate::collection::{Collection, SlotHolder};
use crate::error::Result;
use crate::hash::ContentHash;
use crate::manifest::{LayerKind, Manifest};
use crate::marker::{self, LayerEntry, MAX_MARKER_BYTES, content};
use crate::store::PutOnce;

impl Collection {
    /// Lists a layer that has a manifest and no marker. `None` if it can never be listed: another layer has
    /// its slot, or its chain is closed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn adopt(
        &self,
        manifest: &Manifest,
        hash: ContentHash,
    ) -> Result<Option<LayerEntry>> {
        let entry = LayerEntry::of(manifest, hash);
        let full = entry.path.full();
        let takes_slot = manifest.kind == LayerKind::Incremental && manifest.merges.is_empty();
        if takes_slot {
            let slot = marker::slot_path(full, entry.start);
            let put = self
                .store()
                .put_once(&slot, content::encode(&entry)?, MAX_MARKER_BYTES);
            if let PutOnce::Conflict(theirs) = put.await? {
                // A slot that cannot be read is nobody's.
                let _holder: Result<SlotHolder> = self.parse_slot(full, entry.start, &theirs);
                return Ok(None);
            }
        }
        self.put_layer_marker(&entry).await?;
        if manifest.kind == LayerKind::Full {
            self.put_latest_marker(&entry).await?;
        }
        tracing::info!(layer = %entry.path, "listed a layer whose writer did not get to it");
        Ok(Some(entry))
    }

    /// Whether an incremental with a manifest and no marker can still be listed: nothing else continues the
    /// chain from where it begins. What is merged or full always can.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn is_adoptable(&self, manifest: &Manifest, hash: ContentHash) -> Result<bool> {
        if manifest.kind == LayerKind::Full || !manifest.merges.is_empty() {
            return Ok(true);
        }
        let entry = LayerEntry::of(manifest, hash);
        let slot = marker::slot_path(entry.path.full(), entry.start);
        let found = self.store().get(&slot, MAX_MARKER_BYTES).await?;
        let own = content::encode(&entry)?;
        Ok(found.is_none_or(|found| found == own))
    }
}
