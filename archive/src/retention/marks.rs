//! The marks that retention puts, each once.

use icecore_mvcc::Timestamp;

use crate::collection::{Chain, Collection, SlotHolder};
use crate::error::Result;
use crate::ids::RunId;
use crate::layer::MANIFEST_NAME;
use crate::manifest::codec;
use crate::marker::content::encode;
use crate::marker::{
    self, ClosedSlot, ExpiredMark, LayerEntry, MAX_MARKER_BYTES, Removal, RetiredMark, Tombstone,
};
use crate::path::LayerPath;
use crate::store::PutOnce;

impl Collection {
    /// What a run of retention signs its marks with.
    pub(super) fn removal(&self, run: RunId) -> Removal {
        Removal {
            run,
            at: self.options().clock.now(),
        }
    }

    /// Closes a chain: no layer can extend it from any of its ends that nothing continues. `false` if one
    /// did meanwhile; then the chain is not the one that was looked at.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn close_chain(&self, chain: &Chain, run: RunId) -> Result<bool> {
        let slot = encode(&ClosedSlot {
            closed: self.removal(run),
        })?;
        for end in chain.open_ends() {
            let path = marker::slot_path(chain.full(), end);
            let put = self.store().put_once(&path, slot.clone(), MAX_MARKER_BYTES);
            let PutOnce::Conflict(theirs) = put.await? else {
                continue;
            };
            // One that cannot be read is closed to all.
            if let Ok(SlotHolder::Layer(_)) = self.parse_slot(chain.full(), end, &theirs) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The paths of the slots that closing a chain takes.
    #[must_use]
    pub fn open_slots(&self, chain: &Chain) -> Vec<String> {
        let slots = chain.open_ends().into_iter();
        slots
            .map(|end| marker::slot_path(chain.full(), end).to_string())
            .collect()
    }

    /// Marks a chain expired: it is no longer among the fulls. Close it first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn mark_expired(&self, full: &LayerEntry, run: RunId) -> Result<()> {
        let mark = ExpiredMark {
            full: full.path.full().clone(),
            end: full.end,
            expired: self.removal(run),
        };
        let path = marker::expired_path(&mark.full, mark.end);
        // Another run's serves as well.
        let _stored = self
            .store()
            .put_once(&path, encode(&mark)?, MAX_MARKER_BYTES)
            .await?;
        Ok(())
    }

    /// Marks a layer retired: it is no longer part of its chain. A full is left as it is.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn mark_retired(&self, layer: &LayerEntry, run: RunId) -> Result<()> {
        let Some(incremental) = layer.path.incremental() else {
            return Ok(());
        };
        let mark = RetiredMark {
            layer: layer.path.clone(),
            retired: self.removal(run),
        };
        let path = marker::retired_path(layer.path.full(), layer.manifest_hash, incremental);
        let _stored = self
            .store()
            .put_once(&path, encode(&mark)?, MAX_MARKER_BYTES)
            .await?;
        Ok(())
    }

    /// Puts a tombstone where a layer's manifest would be. `false` if a manifest is there by now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn bury(&self, layer: &LayerPath, run: RunId) -> Result<bool> {
        let tombstone = encode(&Tombstone {
            removed: self.removal(run),
        })?;
        let path = layer.object(MANIFEST_NAME);
        let put = self
            .store()
            .put_once(&path, tombstone, codec::MAX_OBJECT_BYTES);
        Ok(match put.await? {
            PutOnce::Stored => true,
            PutOnce::Conflict(theirs) => Tombstone::is(&theirs),
        })
    }

    /// Whether what lies in place of a layer's manifest is a tombstone.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn is_buried(&self, layer: &LayerPath) -> Result<bool> {
        let path = layer.object(MANIFEST_NAME);
        let content = self.store().get(&path, codec::MAX_OBJECT_BYTES).await?;
        Ok(content.is_some_and(|content| Tombstone::is(&content)))
    }

    /// Whether a chain was marked expired. One look, for writers that are about to say that they are done.
    pub(crate) async fn is_marked_expired(
        &self,
        full: &crate::path::FullPath,
        end: Timestamp,
    ) -> Result<bool> {
        let path = marker::expired_path(full, end);
        Ok(self.store().size(&path).await?.is_some())
    }
}
