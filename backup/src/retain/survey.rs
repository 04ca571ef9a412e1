//! What retention knows before it decides.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};
use icecore_archive::plan::{self, Link, Restorable, Target};
use icecore_archive::{
    Chain, Collection, ContentHash, FileId, LayerEntry, LayerPath, Manifest, RunId, Survey,
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
    /// The files of the pool that layers name which have a manifest and no marker.
    pub(super) named: Named,
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
    /// The files of the pool that its layers name.
    pub(super) named: Named,
}

/// Files of the pool that are named, as far as that is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    pub(super) files: BTreeSet<FileId>,
    /// Layers whose manifests cannot be read: what they name is not known.
    pub(super) unreadable: Vec<LayerPath>,
}

impl Named {
    /// What a layer names whose manifest was read so.
    pub(super) fn of<T>(layer: &LayerPath, read: &icecore_archive::Result<(Manifest, T)>) -> Self {
        let mut named = Self::default();
        match read {
            Ok((manifest, _)) => named.take(manifest),
            Err(icecore_archive::Error::ManifestMissing { .. }) => {}
            Err(_) => named.unreadable.push(layer.clone()),
        }
        named
    }

    fn take(&mut self, manifest: &Manifest) {
        let files = manifest.files().map(|(_, file)| file);
        let copied = files.filter(|file| file.copied.is_some());
        self.files.extend(copied.map(|file| file.id));
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.files.extend(&other.files);
        self.unreadable.extend(other.unreadable.iter().cloned());
    }
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

    /// What is wrong with it.
    pub(super) fn problems(&self) -> Vec<String> {
        let unread = self.manifests.iter().filter_map(|m| m.as_ref().err());
        let mut problems: Vec<String> = unread.cloned().collect();
        if problems.is_empty() && !self.facts.is_whole {
            problems.push("its layers do not all continue each other".to_owned());
        }
        problems
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
            chains.push(known_chain(collection, &survey, chain).await?);
        }
        let (unlisted, named) = unlisted(collection, &survey).await?;
        Ok(Self {
            collection: collection.clone(),
            survey,
            chains,
            named,
            unlisted,
            run: RunId::random(),
        })
    }
}

/// Reads a chain's manifests. A place that was not given is an error: what lies there would be taken for lost.
async fn known_chain(
    collection: &Collection,
    survey: &Survey,
    chain: &Chain,
) -> Result<KnownChain> {
    let reads = stream::iter(chain.layers().to_vec()).map(|layer| async move {
        let read = collection.read_layer(&layer).await;
        let read = read.map(|manifest| (manifest, ()));
        // Listed, it must have a manifest: without, nothing is known.
        let mut named = Named::of(&layer.path, &read);
        if read.is_err() {
            named.unreadable = vec![layer.path];
        }
        let manifest = match read {
            Ok((manifest, ())) => manifest,
            Err(error) => return Ok((Err(error.to_string()), named)),
        };
        check_places(collection, &manifest)?;
        let whole = missing(survey, &manifest).map_or(Ok(manifest), Err);
        Result::<(Read, Named)>::Ok((whole, named))
    });
    let read: Vec<(Read, Named)> = reads.buffered(READS_UNDER_WAY).try_collect().await?;
    let (manifests, each): (Vec<Read>, Vec<Named>) = read.into_iter().unzip();
    let mut named = Named::default();
    each.iter().for_each(|layer| named.add(layer));
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
        is_whole: manifests.iter().all(Read::is_ok) && is_linked(chain, &manifests),
    };
    Ok(KnownChain {
        chain: chain.clone(),
        manifests,
        facts,
        named,
    })
}

fn check_places(collection: &Collection, manifest: &Manifest) -> Result<()> {
    let files = manifest.files().map(|(_, file)| (&manifest.layer, file));
    Ok(collection.check_localities(files)?)
}

/// Whether the layers that lead to the chain's end continue each other.
fn is_linked(chain: &Chain, manifests: &[Read]) -> bool {
    let all: Vec<(&LayerEntry, Link<'_>)> = chain
        .layers()
        .iter()
        .zip(manifests)
        .filter_map(|(layer, read)| {
            let manifest = read.as_ref().ok()?;
            Some((layer, Link::of(manifest, layer.manifest_hash)))
        })
        .collect();
    let Ok(way) = plan::chain(chain.layers(), Target::Latest) else {
        return false;
    };
    let links = way.iter().filter_map(|layer| {
        let (_, link) = all.iter().find(|(known, _)| *known == layer)?;
        Some(*link)
    });
    let links: Vec<Link<'_>> = links.collect();
    let others: Vec<Link<'_>> = all.iter().map(|(_, link)| *link).collect();
    links.len() == way.len() && plan::check_links(&links, &others).is_ok()
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
) -> Result<(BTreeMap<LayerPath, Unlisted>, Named)> {
    let chains = survey.chains.iter();
    let listed: BTreeSet<&LayerPath> = chains
        .flat_map(|chain| chain.layers().iter().chain(chain.retired()))
        .map(|layer| &layer.path)
        .collect();
    let (mut found, mut named) = (BTreeMap::new(), Named::default());
    for (layer, directory) in &survey.directories {
        let has_manifest = directory.manifest().is_some();
        if !has_manifest || survey.is_expired(layer.full()) || listed.contains(layer) {
            continue;
        }
        if survey.retired.contains_key(layer) {
            continue;
        }
        let read = collection.read_manifest(layer).await;
        named.add(&Named::of(layer, &read));
        if let Ok((manifest, _)) = &read {
            check_places(collection, manifest)?;
        }
        let what = match read {
            Ok((manifest, hash)) if missing(survey, &manifest).is_none() => {
                Unlisted::Whole(Box::new(manifest), hash)
            }
            Err(icecore_archive::Error::ManifestMissing { .. }) => Unlisted::Nothing,
            Err(error) if error.is_transient() => return Err(error.into()),
            Ok(_) | Err(_) => Unlisted::Damaged,
        };
        found.insert(layer.clone(), what);
    }
    Ok((found, named))
}
