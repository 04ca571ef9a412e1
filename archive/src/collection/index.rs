//! What a collection lists: its fulls, their chains, and how users choose among them.
//!
//! Everything comes from the names of markers, in one listing each. Only a slot whose layer has no marker
//! yet is read: its writer died, or is just between the two; the layer counts all the same.

use std::collections::BTreeMap;

use icecore_mvcc::Timestamp;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::Collection;
use crate::error::{Error, Result};
use crate::marker::{
    self, CHAIN_PREFIX, ChainMarker, LATEST_PREFIX, LayerEntry, MAX_MARKER_BYTES,
    parse_chain_marker, parse_latest,
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
    /// The full backups, newest first. One listing.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn fulls(&self) -> Result<Vec<FullEntry>> {
        let listed = self.store().list(&Path::from(LATEST_PREFIX)).await?;
        let markers = listed
            .iter()
            .filter_map(|object| parse_latest(object.location.filename()?));
        Ok(markers
            .map(|marker| FullEntry {
                path: marker.full,
                end: marker.end,
            })
            .collect())
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

    /// Every full backup with its incrementals, newest full first. One listing.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn chains(&self) -> Result<Vec<Chain>> {
        let prefix = Path::from(CHAIN_PREFIX);
        let mut by_full: BTreeMap<FullPath, Vec<ObjectMeta>> = BTreeMap::new();
        for object in self.store().list(&prefix).await? {
            let flat = object
                .location
                .prefix_match(&prefix)
                .and_then(|mut parts| parts.next());
            if let Some(full) = flat.and_then(|flat| FullPath::from_flat(flat.as_ref())) {
                by_full.entry(full).or_default().push(object);
            }
        }
        let mut chains = Vec::with_capacity(by_full.len());
        for (full, objects) in by_full {
            chains.extend(self.read_chain(&full, &objects).await?);
        }
        let end = |chain: &Chain| chain.layers.first().map(|full| full.end);
        chains.sort_by(|a, b| end(b).cmp(&end(a)).then_with(|| a.full.cmp(&b.full)));
        Ok(chains)
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
    async fn read_chain(&self, full: &FullPath, listed: &[ObjectMeta]) -> Result<Option<Chain>> {
        let (mut layers, mut slots) = (Vec::new(), Vec::new());
        for object in listed {
            match object
                .location
                .filename()
                .and_then(|name| parse_chain_marker(full, name))
            {
                Some(ChainMarker::Layer(entry)) => layers.push(entry),
                Some(ChainMarker::Slot(start)) => slots.push(start),
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
        let (mut unmarked, mut damage) = (Vec::new(), Vec::new());
        for start in slots {
            // What begins inside a layer was merged into it; its own layer may be gone since. Markers that
            // were missing then were written before.
            let holds = |layer: &LayerEntry| {
                layer.path.incremental().is_some() && layer.start <= start && start < layer.end
            };
            if layers.iter().any(holds) {
                continue;
            }
            match self.read_slot(full, start).await {
                Ok(entry) => unmarked.push(entry),
                Err(error @ Error::DamagedMarker { .. }) => damage.push(error),
                Err(error) => return Err(error),
            }
        }
        layers.extend(unmarked.iter().cloned());
        layers.sort_by(|a, b| (a.start, a.end, &a.path).cmp(&(b.start, b.end, &b.path)));
        Ok(Some(Chain {
            full: full.clone(),
            layers,
            unmarked,
            damage,
        }))
    }

    /// The layer that holds a slot.
    async fn read_slot(&self, full: &FullPath, start: Timestamp) -> Result<LayerEntry> {
        let path = marker::slot_path(full, start);
        let parse = |content: &[u8]| self.parse_slot(full, start, content);
        let entry = self.store().read(&path, MAX_MARKER_BYTES, parse).await?;
        let (path, location) = (path.to_string(), self.location().to_owned());
        entry.ok_or(Error::MissingObject { path, location })
    }

    /// The layer that a slot's content names.
    pub(crate) fn parse_slot(
        &self,
        full: &FullPath,
        start: Timestamp,
        content: &[u8],
    ) -> Result<LayerEntry> {
        let damaged = |reason: String| Error::DamagedMarker {
            path: marker::slot_path(full, start).to_string(),
            location: self.location().to_owned(),
            reason,
        };
        let entry: LayerEntry = marker::content::decode(content).map_err(damaged)?;
        if entry.path.full() != full || entry.path.incremental().is_none() || entry.start != start {
            return Err(damaged(
                "it names a layer that does not belong there".to_owned(),
            ));
        }
        Ok(entry)
    }
}
