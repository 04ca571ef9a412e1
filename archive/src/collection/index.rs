//! What a collection lists: its fulls, their chains, and how users choose among them.
//!
//! Everything comes from the names of markers, in one listing each. Only a slot whose layer has no marker
//! yet is read: its writer died, or is just between the two; the layer counts all the same.

use std::collections::{BTreeMap, BTreeSet};

use icecore_mvcc::Timestamp;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::Collection;
use crate::error::{Error, Result};
use crate::marker::{
    self, CHAIN_PREFIX, ChainMarker, ClosedSlot, LATEST_PREFIX, LatestName, LayerEntry,
    MAX_MARKER_BYTES, parse_chain_marker, parse_latest_name,
};
use crate::path::{BackupSelector, FullPath};

/// A full backup in the listing of fulls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullEntry {
    /// Where it lies.
    pub path: FullPath,
    /// Its end time.
    pub end: Timestamp,
}

/// A full backup and its incrementals, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    full: FullPath,
    /// By start, then end; the full first.
    layers: Vec<LayerEntry>,
    /// Those of the layers whose markers are missing.
    unmarked: Vec<LayerEntry>,
    damage: Vec<Error>,
    /// Listed still, and no longer part of the chain.
    retired: Vec<LayerEntry>,
    /// The ends from which no layer can go on any more.
    closed: Vec<Timestamp>,
    /// The starts of the slots that there are.
    slots: Vec<Timestamp>,
}

/// What holds a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SlotHolder {
    /// The layer that goes on from there.
    Layer(LayerEntry),
    /// Nothing goes on from there any more.
    Closed,
}

impl Chain {
    /// The path of its full backup, by which it is named.
    #[must_use]
    pub const fn full(&self) -> &FullPath {
        &self.full
    }

    /// Its layers, by start and end; the full first. [`plan::chain`](crate::plan::chain) chooses among them.
    #[must_use]
    pub fn layers(&self) -> &[LayerEntry] {
        &self.layers
    }

    /// The layer that an incremental continues: the last of those that join without gap.
    ///
    /// # Errors
    /// [`Error::ChainGap`] if layers lie beyond a gap: an incremental would fork the chain.
    pub fn head(&self) -> Result<LayerEntry> {
        let plan = crate::plan::chain(&self.layers, crate::plan::Target::Latest)?;
        plan.into_iter().next_back().ok_or(Error::EmptyChain)
    }

    /// The markers that could not be read, as errors: slots whose writers never finished.
    ///
    /// No layer is missing for them: a backup is reported done only once its layer has a marker of its
    /// own. But the chain cannot be continued from there.
    #[must_use]
    pub fn damage(&self) -> &[Error] {
        &self.damage
    }

    /// Whether retention closed the chain: no incremental can extend it any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.head()
            .is_ok_and(|head| self.closed.contains(&head.end))
    }

    /// Layers that are marked retired: their markers may still be there, but restores pass them over.
    #[must_use]
    pub fn retired(&self) -> &[LayerEntry] {
        &self.retired
    }

    /// The ends of layers that no slot continues.
    pub(crate) fn open_ends(&self) -> Vec<Timestamp> {
        let ends: BTreeSet<Timestamp> = self.layers.iter().map(|layer| layer.end).collect();
        let open = ends.into_iter().filter(|end| !self.slots.contains(end));
        open.collect()
    }

    /// The order of listings: by the full's end, then against that of their paths.
    pub(crate) fn newer(&self, other: &Self) -> std::cmp::Ordering {
        let end = |chain: &Self| chain.layers.first().map(|full| full.end);
        let by_end = end(self).cmp(&end(other));
        by_end.then_with(|| other.full.cmp(&self.full))
    }

    /// The end of the full.
    #[must_use]
    pub fn full_end(&self) -> Option<Timestamp> {
        let mut layers = self.layers.iter();
        let full = layers.find(|layer| layer.path.incremental().is_none());
        full.map(|full| full.end)
    }

    /// The layers whose markers are missing from the index.
    pub(crate) fn unmarked(&self) -> &[LayerEntry] {
        &self.unmarked
    }
}

/// Where a backup goes that was asked to go onto something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendTarget {
    /// An incremental of this chain.
    Chain(Chain),
    /// A full backup at this path: nothing is there yet.
    NewFull(FullPath),
}

impl Collection {
    /// The full backups, newest first; expired ones are left out. One listing.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn fulls(&self) -> Result<Vec<FullEntry>> {
        Ok(self.fulls_and_expired().await?.0)
    }

    /// The full backups, newest first, and beside them those that are marked expired. One listing.
    pub(crate) async fn fulls_and_expired(&self) -> Result<(Vec<FullEntry>, BTreeSet<FullPath>)> {
        let listed = self.store().list(&Path::from(LATEST_PREFIX)).await?;
        let (mut fulls, mut expired) = (Vec::new(), BTreeSet::new());
        let names = listed
            .iter()
            .filter_map(|object| object.location.filename());
        for name in names.filter_map(parse_latest_name) {
            match name {
                LatestName::Full(marker) => fulls.push(FullEntry {
                    path: marker.full,
                    end: marker.end,
                }),
                LatestName::Expired(marker) => {
                    expired.insert(marker.full);
                }
            }
        }
        fulls.retain(|full| !expired.contains(&full.path));
        Ok((fulls, expired))
    }

    /// The newest full backup. One listing.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn latest(&self) -> Result<Option<FullEntry>> {
        Ok(self.fulls().await?.into_iter().next())
    }

    /// The full backup at that path and its incrementals. One listing.
    ///
    /// # Errors
    /// [`Error::NoSuchBackup`] if there is none; those of the store.
    pub async fn chain(&self, full: &FullPath) -> Result<Chain> {
        let listed = self.store().list(&marker::chain_prefix(full)).await?;
        let chain = self.read_chain(full, &listed).await?;
        chain.ok_or_else(|| Error::NoSuchBackup {
            full: full.clone(),
            location: self.location().to_owned(),
        })
    }

    /// Every full backup with its incrementals, newest full first; expired ones are left out. Two listings.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn chains(&self) -> Result<Vec<Chain>> {
        Ok(self.fulls_and_chains().await?.1)
    }

    /// [`Collection::fulls`] and then [`Collection::chains`], in two listings. A full that is among the former alone
    /// lost its marker, or was taken by retention in between.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn fulls_and_chains(&self) -> Result<(Vec<FullEntry>, Vec<Chain>)> {
        let (fulls, expired) = self.fulls_and_expired().await?;
        let prefix = Path::from(CHAIN_PREFIX);
        let mut by_full: BTreeMap<FullPath, Vec<ObjectMeta>> = BTreeMap::new();
        for object in self.store().list(&prefix).await? {
            let flat = object
                .location
                .prefix_match(&prefix)
                .and_then(|mut parts| parts.next());
            let full = flat.and_then(|flat| FullPath::from_flat(flat.as_ref()));
            if let Some(full) = full.filter(|full| !expired.contains(full)) {
                by_full.entry(full).or_default().push(object);
            }
        }
        let mut chains = Vec::with_capacity(by_full.len());
        for (full, objects) in by_full {
            chains.extend(self.read_chain(&full, &objects).await?);
        }
        chains.sort_by(|a, b| b.newer(a));
        Ok((fulls, chains))
    }

    /// The chain that a restore was asked to read. One or two listings.
    ///
    /// # Errors
    /// [`Error::NoBackups`] for `LATEST` where there is none, [`Error::NoSuchBackup`]; those of the store.
    pub async fn open_chain(&self, selector: &BackupSelector) -> Result<Chain> {
        match selector {
            BackupSelector::Full(full) => self.chain(full).await,
            BackupSelector::Latest => {
                let latest = self.latest().await?;
                let latest = latest.ok_or_else(|| Error::NoBackups {
                    location: self.location().to_owned(),
                })?;
                self.chain(&latest.path).await
            }
        }
    }

    /// Where a backup goes that was asked to go onto something: a path where nothing is takes a full.
    ///
    /// # Errors
    /// [`Error::NoBackups`] for `LATEST` where there is none; those of the store.
    pub async fn append_target(&self, selector: &BackupSelector) -> Result<AppendTarget> {
        match (self.open_chain(selector).await, selector) {
            (Ok(chain), _) => Ok(AppendTarget::Chain(chain)),
            (Err(Error::NoSuchBackup { .. }), BackupSelector::Full(full)) => {
                Ok(AppendTarget::NewFull(full.clone()))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The chain that these markers describe; `None` without a full.
    pub(crate) async fn read_chain(
        &self,
        full: &FullPath,
        listed: &[ObjectMeta],
    ) -> Result<Option<Chain>> {
        let (mut layers, mut slots, mut hashes) = (Vec::new(), Vec::new(), BTreeSet::new());
        for object in listed {
            match object
                .location
                .filename()
                .and_then(|name| parse_chain_marker(full, name))
            {
                Some(ChainMarker::Layer(entry)) => layers.push(entry),
                Some(ChainMarker::Slot(start)) => slots.push(start),
                Some(ChainMarker::Retired(hash, _)) => {
                    hashes.insert(hash);
                }
                // Of a kind that came later: no layer.
                None => {}
            }
        }
        if !layers
            .iter()
            .any(|layer| layer.path.incremental().is_none())
        {
            return Ok(None);
        }
        let (mut unmarked, mut damage, mut closed) = (Vec::new(), Vec::new(), Vec::new());
        for &start in &slots {
            // What begins inside a layer was merged into it; its own layer may be gone since. Markers that
            // were missing then were written before.
            let holds = |layer: &LayerEntry| {
                layer.path.incremental().is_some() && layer.start <= start && start < layer.end
            };
            if layers.iter().any(holds) {
                continue;
            }
            match self.read_slot(full, start).await {
                Ok(SlotHolder::Layer(entry)) => unmarked.push(entry),
                Ok(SlotHolder::Closed) => closed.push(start),
                Err(error @ Error::DamagedMarker { .. }) => damage.push(error),
                Err(error) => return Err(error),
            }
        }
        layers.extend(unmarked.iter().cloned());
        layers.sort_by(|a, b| (a.start, a.end, &a.path).cmp(&(b.start, b.end, &b.path)));
        let is_retired = |layer: &LayerEntry| hashes.contains(&layer.manifest_hash);
        let (retired, layers) = layers.into_iter().partition(is_retired);
        Ok(Some(Chain {
            full: full.clone(),
            layers,
            unmarked,
            damage,
            retired,
            closed,
            slots,
        }))
    }

    /// What holds a slot.
    async fn read_slot(&self, full: &FullPath, start: Timestamp) -> Result<SlotHolder> {
        let path = marker::slot_path(full, start);
        let parse = |content: &[u8]| self.parse_slot(full, start, content);
        let entry = self.store().read(&path, MAX_MARKER_BYTES, parse).await?;
        let (path, location) = (path.to_string(), self.location().to_owned());
        entry.ok_or(Error::MissingObject { path, location })
    }

    /// What a slot's content names.
    pub(crate) fn parse_slot(
        &self,
        full: &FullPath,
        start: Timestamp,
        content: &[u8],
    ) -> Result<SlotHolder> {
        let damaged = |reason: String| Error::DamagedMarker {
            path: marker::slot_path(full, start).to_string(),
            location: self.location().to_owned(),
            reason,
        };
        let entry: LayerEntry = match marker::content::decode(content) {
            Ok(entry) => entry,
            Err(_) if marker::content::decode::<ClosedSlot>(content).is_ok() => {
                return Ok(SlotHolder::Closed);
            }
            Err(reason) => return Err(damaged(reason)),
        };
        if entry.path.full() != full || entry.path.incremental().is_none() || entry.start != start {
            return Err(damaged(
                "it names a layer that does not belong there".to_owned(),
            ));
        }
        Ok(SlotHolder::Layer(entry))
    }
}
