//! Which layers of a chain a restore needs: pure, shared by backup, restore and show.
//!
//! A layer covers the versions in `(start, end]`; a full starts at zero. A restore applies layers whose
//! windows join without gap from zero on; only the last may hold more than the target time asks for, and
//! then it must keep history. Several layers may cover the same window (merged incrementals beside the
//! originals): of all ways, the one with the fewest layers is taken.
//!
//! The index, which chose the layers, is not authenticated; manifests name their parents. [`check_links`]
//! makes sure that the layers chosen are one chain.

mod restorable;

use std::collections::BTreeMap;

use icecore_mvcc::Timestamp;

use crate::error::{Error, Result};
use crate::hash::ContentHash;
use crate::ids::ChainId;
use crate::manifest::Manifest;
use crate::marker::LayerEntry;
use crate::path::LayerPath;

pub use restorable::{Restorable, restorable, union};

/// The time to restore to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The end of the chain.
    Latest,
    /// That time.
    At(Timestamp),
}

/// The layers to apply, oldest first, for the state at the target time.
///
/// `Latest` is the newest end of any layer: if a gap lies before it, that is an error, not an older state.
///
/// # Errors
/// [`Error::EmptyChain`] without a full; [`Error::OutsideCoverage`] before or after everything;
/// [`Error::ChainGap`] where a layer between is missing; [`Error::NotInHistory`] inside a layer that keeps
/// only its end state. Each names the times.
pub fn chain(layers: &[LayerEntry], target: Target) -> Result<Vec<LayerEntry>> {
    let spine = Spine::build(layers);
    let newest = layers
        .iter()
        .map(|layer| layer.end)
        .max()
        .ok_or(Error::EmptyChain)?;
    let reached = *spine.ways.keys().next_back().ok_or(Error::EmptyChain)?;
    let time = match target {
        Target::Latest => newest,
        Target::At(time) => time,
    };
    match spine.last_layer(layers, time) {
        Some(last) => Ok(spine.path_to(last).into_iter().cloned().collect()),
        None => Err(spine.explain(layers, time, reached, newest)),
    }
}

/// What of a layer's manifest places it in its chain.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The layer.
    pub layer: &'a LayerPath,
    /// The full backup and the incrementals that belong together.
    pub chain_id: ChainId,
    /// It covers the versions after this.
    pub start: Timestamp,
    /// It covers the versions up to and including this.
    pub end: Timestamp,
    /// The hash of its manifest.
    pub hash: ContentHash,
    /// The hash of the manifest that it continues; `None` for a full.
    pub parent: Option<ContentHash>,
    /// The hashes of the manifests that it was merged of and stands for; none for one that was not merged.
    pub merges: &'a [ContentHash],
}

impl<'a> Link<'a> {
    /// Of a layer whose manifest has that hash.
    #[must_use]
    pub fn of(manifest: &'a Manifest, hash: ContentHash) -> Self {
        Self {
            layer: &manifest.layer,
            chain_id: manifest.chain_id,
            start: manifest.start,
            end: manifest.end,
            hash,
            parent: manifest.parent_manifest,
            merges: manifest.merges.as_slice(),
        }
    }
}

/// The layers to read besides those to apply, oldest first, before [`check_links`] can tell: those that a layer
/// continues, and that the layer before it neither is nor was merged of.
///
/// Two compactions of the same window leave two merged layers. What was taken after the one names it, and a
/// restore may come through the other.
#[must_use]
pub fn named_besides<'l>(links: &[Link<'_>], layers: &'l [LayerEntry]) -> Vec<&'l LayerEntry> {
    let pairs = links.iter().zip(links.iter().skip(1));
    let missed: Vec<ContentHash> = pairs
        .filter(|(before, link)| !before.is_named_by(link))
        .filter_map(|(_, link)| link.parent)
        .collect();
    let is_missed = |layer: &&LayerEntry| missed.contains(&layer.manifest_hash);
    layers.iter().filter(is_missed).collect()
}

impl Link<'_> {
    /// Whether the other continues it, or one of those that it was merged of.
    fn is_named_by(&self, other: &Link<'_>) -> bool {
        other
            .parent
            .is_some_and(|parent| self.hash == parent || self.merges.contains(&parent))
    }

    /// Whether it stands for all that the other, a merged layer, was made of, and ends where that does.
    fn stands_for(&self, other: &Link<'_>) -> bool {
        let has = |part: &ContentHash| self.hash == *part || self.merges.contains(part);
        self.end == other.end
            && self.chain_id == other.chain_id
            && !other.merges.is_empty()
            && other.merges.iter().all(has)
    }
}

/// Checks that the layers to apply, oldest first, are one chain: each continues the one before it, by its end
/// and its hash.
///
/// What continues a layer that was merged may name one of those that it was merged of, or another that was
/// merged of no others: that one is among the `besides`, which are the [`named_besides`].
///
/// # Errors
/// [`Error::BrokenChain`] for the first layer that does not.
pub fn check_links(links: &[Link<'_>], besides: &[Link<'_>]) -> Result<()> {
    let mut before: Option<&Link<'_>> = None;
    for link in links {
        let continues = match (before, link.parent) {
            (None, None) => true,
            (Some(before), Some(parent)) => {
                let mut same = besides.iter().filter(|other| other.hash == parent);
                let names = before.is_named_by(link) || same.any(|other| before.stands_for(other));
                names && before.end == link.start && before.chain_id == link.chain_id
            }
            _ => false,
        };
        if !continues {
            let text = |hash: Option<ContentHash>| {
                hash.map_or_else(|| "none".to_owned(), |hash| hash.to_string())
            };
            return Err(Error::BrokenChain {
                layer: link.layer.clone(),
                parent: text(link.parent),
                before: text(before.map(|before| before.hash)),
            });
        }
        before = Some(link);
    }
    Ok(())
}

/// How each time that layers join up to is reached with the fewest of them, by that time.
struct Spine<'a> {
    ways: BTreeMap<Timestamp, Way<'a>>,
}

/// One way to a time.
struct Way<'a> {
    /// How many layers it takes.
    layers: usize,
    /// The last of them.
    last: &'a LayerEntry,
}

impl<'a> Spine<'a> {
    fn build(layers: &'a [LayerEntry]) -> Self {
        let mut by_start: Vec<&LayerEntry> = layers.iter().collect();
        // An incremental ends after it starts, so every way to its start is known before it is taken.
        by_start.sort_by_key(|layer| (layer.start, layer.end, layer.manifest_hash));
        let mut spine = Self {
            ways: BTreeMap::new(),
        };
        for layer in by_start {
            let Some(before) = spine.layers_before(layer) else {
                continue;
            };
            let known = spine.ways.get(&layer.end);
            if known.is_none_or(|known| before + 1 < known.layers) {
                spine.ways.insert(
                    layer.end,
                    Way {
                        layers: before + 1,
                        last: layer,
                    },
                );
            }
        }
        spine
    }

    /// How many layers come before this one; `None` if it joins no others.
    fn layers_before(&self, layer: &LayerEntry) -> Option<usize> {
        if is_full(layer) {
            return (layer.start == Timestamp::MIN).then_some(0);
        }
        let joins = Timestamp::MIN < layer.start && layer.start < layer.end;
        joins
            .then(|| self.ways.get(&layer.start))
            .flatten()
            .map(|way| way.layers)
    }

    /// The layer that ends the best way to that time: the fewest layers, then the one that ends soonest.
    fn last_layer<'l>(&self, layers: &'l [LayerEntry], time: Timestamp) -> Option<&'l LayerEntry> {
        layers
            .iter()
            .filter(|layer| first_time(layer) <= time && time <= layer.end)
            .filter_map(|layer| Some((self.layers_before(layer)?, layer)))
            .min_by_key(|(before, layer)| (*before, layer.end, layer.manifest_hash))
            .map(|(_, layer)| layer)
    }

    /// The layers from the full to this one.
    fn path_to<'l>(&self, last: &'l LayerEntry) -> Vec<&'l LayerEntry>
    where
        'a: 'l,
    {
        let mut path = vec![last];
        let mut first = last;
        while !is_full(first) {
            let Some(way) = self.ways.get(&first.start) else {
                break;
            };
            path.push(way.last);
            first = way.last;
        }
        path.reverse();
        path
    }

    /// Why that time cannot be restored.
    fn explain(
        &self,
        layers: &[LayerEntry],
        time: Timestamp,
        reached: Timestamp,
        newest: Timestamp,
    ) -> Error {
        let first_times = || {
            layers
                .iter()
                .filter(|layer| self.layers_before(layer).is_some())
                .map(first_time)
        };
        let from = first_times().min().unwrap_or(reached);
        if time < from || time > newest {
            return Error::OutsideCoverage {
                target: time,
                from,
                until: reached,
            };
        }
        if time > reached {
            let before = layers
                .iter()
                .map(|layer| layer.start)
                .filter(|start| *start > reached)
                .min()
                .unwrap_or(newest);
            return Error::ChainGap {
                target: time,
                after: reached,
                before,
            };
        }
        let before = self
            .ways
            .keys()
            .copied()
            .filter(|end| *end < time)
            .max()
            .unwrap_or(from);
        let after = first_times()
            .filter(|first| *first > time)
            .min()
            .unwrap_or(reached);
        Error::NotInHistory {
            target: time,
            before,
            after,
        }
    }
}

fn is_full(layer: &LayerEntry) -> bool {
    layer.path.incremental().is_none()
}

/// The earliest time that the layer can end a restore at.
fn first_time(layer: &LayerEntry) -> Timestamp {
    match layer.history_from {
        None => layer.end,
        Some(from) if is_full(layer) => from.min(layer.end),
        Some(from) => from.max(layer.start.next()).min(layer.end),
    }
}

#[cfg(test)]
mod tests;
