//! Layers that stand for several incrementals of a chain.
//!
//! A merged layer is an incremental like any other, from where its first part begins to where its last one
//! ends, but it competes for nothing: the slots of its window stay those of its parts, and readers know it
//! by its marker alone. Two compactions at once give two layers that hold the same; a reader takes either.

use icecore_mvcc::Timestamp;
use parking_lot::Mutex;

use super::{Claimant, LayerWriter};
use crate::collection::{Chain, Collection};
use crate::error::{Error, Result};
use crate::hash::ContentHash;
use crate::marker::LayerEntry;
use crate::path::{IncrementalPath, LayerPath};

/// What a merged layer is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedParts {
    /// The parent that the first part names.
    pub parent: ContentHash,
    /// Where the first part begins: the parent's end.
    pub start: Timestamp,
    /// Where the last part ends.
    pub end: Timestamp,
    /// The manifests of the parts in order, each after those that it was itself merged of.
    pub merges: Vec<ContentHash>,
}

impl Collection {
    /// Claims a place for a layer that stands for parts of that chain.
    ///
    /// Markers of the chain that a dead writer did not get to write are written first: a slot inside a merged
    /// layer's window is not looked at any more.
    ///
    /// # Errors
    /// [`Error::EmptyWindow`], [`Error::NoFreeSubdirectory`]; [`Error::DamagedMarker`] if a slot of the
    /// chain cannot be read; those of the store.
    pub async fn begin_merged(&self, chain: &Chain, parts: MergedParts) -> Result<LayerWriter> {
        if let Some(damage) = chain.damage().first() {
            return Err(damage.clone());
        }
        let full = chain.full();
        if parts.end <= parts.start || parts.merges.is_empty() {
            return Err(Error::EmptyWindow {
                full: full.clone(),
                end: parts.end,
                chain_end: parts.start,
            });
        }
        self.heal(chain).await?;
        let claimant = Claimant::default();
        let name = |end| LayerPath::incremental_at(full.clone(), IncrementalPath::at(end));
        let layer = self.claim_named(parts.end, &claimant, name).await?;
        // Of the parent only its end and its hash matter to a writer.
        let parent = LayerEntry {
            path: LayerPath::full_at(full.clone()),
            start: Timestamp::MIN,
            end: parts.start,
            history_from: None,
            stored_bytes: 0,
            entries: 0,
            manifest_hash: parts.parent,
        };
        Ok(LayerWriter {
            collection: self.clone(),
            layer,
            run: claimant.run,
            end: parts.end,
            parent: Some(parent),
            full_end: chain.full_end().ok_or(Error::EmptyChain)?,
            merges: parts.merges,
            files: Mutex::default(),
        })
    }
}
