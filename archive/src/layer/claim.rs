//! Finding a layer's place, and mending what the writers before left unfinished.
//!
//! A writer claims its directory by putting `BACKUP-LOCK` into it, if absent. If that is taken it steps on
//! by a hundredth of a second, up to a second; a path that the user chose does not step.

use icecore_mvcc::Timestamp;
use parking_lot::Mutex;

use super::{Claimant, LayerHolder, LayerWriter};
use crate::collection::{Chain, Collection};
use crate::error::{Error, Result};
use crate::marker::{self, LatestMarker, LayerEntry, MAX_MARKER_BYTES, content};
use crate::path::{FullPath, HUNDREDTH_NANOS, IncrementalPath, LayerPath};
use crate::store::PutOnce;

/// The name of the object that claims a layer's directory.
pub(crate) const LOCK_NAME: &str = "BACKUP-LOCK";

/// How many names a layer tries.
const NAME_TRIES: u32 = 100;

impl Collection {
    /// Claims a place for a full backup: at that path, or one that is named for its end time.
    ///
    /// A path named for the end time is the writer's alone. A path of choice that a dead writer left is
    /// taken over; if the other writer lives, whoever commits first has it.
    ///
    /// # Errors
    /// [`Error::LayerExists`], [`Error::NestedSubdirectory`], [`Error::ChainExpired`] and
    /// [`Error::RunRemoved`] for a path of choice,
    /// [`Error::NoFreeSubdirectory`] for the other; those of the store.
    pub async fn begin_full(&self, end: Timestamp, at: Option<FullPath>) -> Result<LayerWriter> {
        self.begin_full_as(end, at, &Claimant::default()).await
    }

    /// As [`Collection::begin_full`], for that claimant. One that claimed the place already has it.
    ///
    /// # Errors
    /// As [`Collection::begin_full`].
    pub async fn begin_full_as(
        &self,
        end: Timestamp,
        at: Option<FullPath>,
        claimant: &Claimant,
    ) -> Result<LayerWriter> {
        let layer = match at {
            Some(full) => self.claim_chosen(full, claimant).await?,
            None => {
                self.claim_named(end, claimant, |end| LayerPath::full_at(FullPath::at(end)))
                    .await?
            }
        };
        let run = claimant.run;
        Ok(LayerWriter {
            collection: self.clone(),
            layer,
            run,
            end,
            parent: None,
            full_end: end,
            merges: Vec::new(),
            files: Mutex::default(),
        })
    }

    /// Claims a place for an incremental of that chain, from the chain's end to `end`.
    ///
    /// Markers of the chain that a dead writer did not get to write are written first.
    ///
    /// # Errors
    /// [`Error::EmptyWindow`], [`Error::ChainGap`], [`Error::ChainExpired`],
    /// [`Error::NoFreeSubdirectory`]; [`Error::DamagedMarker`] if the chain's slot cannot be read; those of the store.
    pub async fn begin_incremental(&self, chain: &Chain, end: Timestamp) -> Result<LayerWriter> {
        self.begin_incremental_as(chain, end, &Claimant::default())
            .await
    }

    /// As [`Collection::begin_incremental`], for that claimant. One that claimed the place already has it.
    ///
    /// # Errors
    /// As [`Collection::begin_incremental`].
    pub async fn begin_incremental_as(
        &self,
        chain: &Chain,
        end: Timestamp,
        claimant: &Claimant,
    ) -> Result<LayerWriter> {
        if let Some(damage) = chain.damage().first() {
            return Err(damage.clone());
        }
        let parent = chain.head()?;
        let full = chain.full();
        if chain.is_closed() {
            return Err(Error::ChainExpired { full: full.clone() });
        }
        if end <= parent.end {
            return Err(Error::EmptyWindow {
                full: full.clone(),
                end,
                chain_end: parent.end,
            });
        }
        self.heal(chain).await?;
        let name = |end| LayerPath::incremental_at(full.clone(), IncrementalPath::at(end));
        let layer = self.claim_named(end, claimant, name).await?;
        Ok(LayerWriter {
            collection: self.clone(),
            layer,
            run: claimant.run,
            end,
            parent: Some(parent),
            full_end: chain.full_end().ok_or(Error::EmptyChain)?,
            merges: Vec::new(),
            files: Mutex::default(),
        })
    }

    /// Claims the first free name from the end time on.
    pub(super) async fn claim_named(
        &self,
        end: Timestamp,
        claimant: &Claimant,
        name: impl Fn(Timestamp) -> LayerPath,
    ) -> Result<LayerPath> {
        for step in 0..u64::from(NAME_TRIES) {
            let layer = name(Timestamp::from_nanos(
                end.nanos().saturating_add(step * HUNDREDTH_NANOS),
            ));
            if self.claim(&layer, LOCK_NAME, claimant).await? {
                return Ok(layer);
            }
        }
        Err(Error::NoFreeSubdirectory {
            first: name(end),
            tries: NAME_TRIES - 1,
            location: self.location().to_owned(),
        })
    }

    /// Claims a path of the user's choosing, or joins those who did before.
    async fn claim_chosen(&self, full: FullPath, claimant: &Claimant) -> Result<LayerPath> {
        let layer = LayerPath::full_at(full.clone());
        let (fulls, expired) = self.fulls_and_expired().await?;
        let fulls = fulls.into_iter().map(|full| full.path);
        for existing in fulls.chain(expired.iter().cloned()) {
            if existing == full && expired.contains(&existing) {
                return Err(Error::ChainExpired { full });
            }
            if existing == full {
                let holder = self.holder(&layer).await.map(Box::new);
                return Err(Error::LayerExists {
                    layer,
                    location: self.location().to_owned(),
                    holder,
                });
            }
            if existing.nests_with(&full) {
                return Err(Error::NestedSubdirectory {
                    wanted: full,
                    existing,
                });
            }
        }
        if !self.claim(&layer, LOCK_NAME, claimant).await? {
            // Each writer leaves its own trace, so that cleaning up can tell who may be alive.
            let name = format!("{LOCK_NAME}-{}", claimant.run.simple());
            self.claim(&layer, &name, claimant).await?;
            if self.is_buried(&layer).await? {
                return Err(Error::RunRemoved {
                    layer,
                    location: self.location().to_owned(),
                });
            }
        }
        Ok(layer)
    }

    /// Puts a lock; `false` if another run's is there.
    async fn claim(&self, layer: &LayerPath, name: &str, claimant: &Claimant) -> Result<bool> {
        let holder = LayerHolder::new(claimant, self.options().clock.now());
        let lock = content::encode(&holder)?;
        let put = self
            .store()
            .put_once(&layer.object(name), lock, MAX_MARKER_BYTES)
            .await?;
        Ok(match put {
            PutOnce::Stored => true,
            // The same run's, of a process that died before it could tell.
            PutOnce::Conflict(theirs) => content::decode::<LayerHolder>(&theirs)
                .is_ok_and(|theirs| theirs.run == claimant.run),
        })
    }

    /// Writes the markers that a writer which died did not get to.
    pub(super) async fn heal(&self, chain: &Chain) -> Result<()> {
        for entry in chain.unmarked() {
            tracing::info!(layer = %entry.path, "writing the missing marker of a layer");
            self.put_layer_marker(entry).await?;
        }
        let full = chain
            .layers()
            .iter()
            .find(|layer| layer.path.incremental().is_none());
        let Some(full) = full else { return Ok(()) };
        let marker = marker::latest_path(full.path.full(), full.end);
        if self.store().size(&marker).await?.is_none() {
            tracing::info!(full = %full.path, "writing the missing marker of a full backup");
            self.put_latest_marker(full).await?;
        }
        Ok(())
    }

    pub(crate) async fn put_layer_marker(&self, entry: &LayerEntry) -> Result<()> {
        let layer = content::encode(entry)?;
        self.store()
            .put_mine(&marker::layer_path(entry), layer, MAX_MARKER_BYTES)
            .await
    }

    pub(crate) async fn put_latest_marker(&self, full: &LayerEntry) -> Result<()> {
        let (path, end) = (full.path.full().clone(), full.end);
        let marker = marker::latest_path(&path, end);
        let latest = content::encode(&LatestMarker { full: path, end })?;
        self.store()
            .put_mine(&marker, latest, MAX_MARKER_BYTES)
            .await
    }
}
