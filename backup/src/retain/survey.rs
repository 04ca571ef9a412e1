//! What retention knows before it decides.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};
use icecore_archive::plan::{self, Restorable};
use icecore_archive::{
    Chain, Collection, ContentHash, LayerEntry, LayerPath, Manifest, RunId, Survey,
};

use super::policy::ChainFacts;
use crate::error::Result;

/// Manifests read at a time.
const READS_UNDER_WAY: usize = 8;

/// A layer's manifest, or why it cannot be used.
type Read = std::result::Result<Manifest, String>;

/// A collection with everything that is read of it.
pub(super) struct Known {
    pub(super) collection: Collection,
    pub(super) survey: Survey,
    /// The chains that are listed and not expired, newest first.
    pub(super) chains: Vec<KnownChain>,
    /// Layers that have a manifest and no marker, but those of expired chains.
    pub(super) unlisted: BTreeMap<LayerPath, Unlisted>,
    /// Names this run in its marks.
    pub(super) run: RunId,
}

/// A chain with its manifests.
pub(super) struct KnownChain {
    pub(super) chain: Chain,
    /// Of each layer.
    pub(super) manifests: Vec<Read>,
    pub(super) facts: ChainFacts,
}

/// What lies in place of the manifest of a layer that is not listed.
pub(super) enum Unlisted {
    /// A tombstone, or a manifest of another collection: nothing of ours.
    Nothing,
    /// A whole layer.
    Whole(Box<Manifest>, ContentHash),
    /// One that cannot be read, or whose files are not all there.
    Damaged,
}

impl KnownChain {
    /// The layers whose manifests were read, with these.
    pub(super) fn read(&self) -> (Vec<LayerEntry>, Vec<Manifest>) {
        let layers = self.chain.layers().iter().zip(&self.manifests);
        let read = layers
            .filter_map(|(layer, manifest)| Some((layer.clone(), manifest.as_ref().ok()?.clone())));
        read.unzip()
    }

    /// The times that it can restore, without some of its layers.
    pub(super) fn restorable(&self, without: &[LayerEntry]) -> Vec<Restorable> {
        let (mut layers, manifests) = self.read();
        layers.retain(|layer| !without.contains(layer));
        plan::restorable(&layers, &manifests)
    }
}

impl Known {
    pub(super) async fn look(collection: &Collection) -> Result<Self> {
        let survey = collection.survey().await?;
        let listed = survey.chains.iter();
        let listed = listed.filter(|chain| !survey.is_expired(chain.full()));
        let mut chains = Vec::new();
        for chain in listed {
            chains.push(known_chain(collection, &survey, chain).await);
        }
        let unlisted = unlisted(collection, &survey).await?;
        Ok(Self {
            collection: collection.clone(),
            survey,
            chains,
            unlisted,
            run: RunId::random(),
        })
    }
}

async fn known_chain(collection: &Collection, survey: &Survey, chain: &Chain) -> KnownChain {
    let reads = stream::iter(chain.layers().to_vec()).map(|layer| async move {
        let manifest = collection.read_layer(&layer).await;
        let manifest = manifest.map_err(|error| error.to_string())?;
        missing(survey, &manifest).map_or(Ok(manifest), Err)
    });
    let manifests: Vec<Read> = reads.buffered(READS_UNDER_WAY).collect().await;
    let full = chain.layers().iter().zip(&manifests).next();
    let source = match full.and_then(|(_, manifest)| manifest.as_ref().ok()) {
        Some(full) => source(full),
        // It is of no source that is known, so that it makes up for nothing.
        None => format!("the damaged backup {}", chain.full()),
    };
    let ends = || chain.layers().iter().map(|layer| layer.end);
    let facts = ChainFacts {
        full: chain.full().clone(),
        source,
        begins: ends().min().unwrap_or_default(),
        reaches: ends().max().unwrap_or_default(),
        is_whole: chain.head().is_ok() && manifests.iter().all(Read::is_ok),
    };
    KnownChain {
        chain: chain.clone(),
        manifests,
        facts,
    }
}

/// Whom a chain is of.
fn source(full: &Manifest) -> String {
    let scope = match full.whole_engine {
        true => "the whole engine".to_owned(),
        false => full.patterns.join(", "),
    };
    format!("{scope} of engine {}", full.engine_id)
}

/// The first file that a manifest names and that is not there in its length.
fn missing(survey: &Survey, manifest: &Manifest) -> Option<String> {
    let layer = &manifest.layer;
    let mut files = manifest.files().map(|(_, file)| file);
    let missing = files.find(|file| survey.stored_bytes(layer, file) != Some(file.stored_bytes));
    missing.map(|file| {
        let (id, layer) = (file.id, &manifest.layer);
        format!("file {id} of {layer} is missing or has another length")
    })
}

/// Reads the manifests that no marker names.
async fn unlisted(
    collection: &Collection,
    survey: &Survey,
) -> Result<BTreeMap<LayerPath, Unlisted>> {
    let chains = survey.chains.iter();
    let listed: BTreeSet<&LayerPath> = chains
        .flat_map(|chain| chain.layers().iter().chain(chain.retired()))
        .map(|layer| &layer.path)
        .collect();
    let mut found = BTreeMap::new();
    for (layer, directory) in &survey.directories {
        let has_manifest = directory.manifest().is_some();
        if !has_manifest || survey.is_expired(layer.full()) || listed.contains(layer) {
            continue;
        }
        if survey.retired.contains_key(layer) {
            continue;
        }
        let what = match collection.read_manifest(layer).await {
            Ok((manifest, hash)) if missing(survey, &manifest).is_none() => {
                Unlisted::Whole(Box::new(manifest), hash)
            }
            Err(icecore_archive::Error::ManifestMissing { .. }) => Unlisted::Nothing,
            Err(error) if error.is_transient() => return Err(error.into()),
            Ok(_) | Err(_) => Unlisted::Damaged,
        };
        found.insert(layer.clone(), what);
    }
    Ok(found)
}
