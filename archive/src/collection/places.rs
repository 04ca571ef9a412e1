//! The places of a collection: the default, and one for each locality.
//!
//! A place of a locality holds data files, at the same paths as the default would, and one object that says
//! whose it is: `metadata/LOCALITY`, put if absent. So another collection's place is refused, and so are two
//! that were mixed up.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore_mvcc::Timestamp;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::{Collection, vacant};
use crate::error::{Error, Result};
use crate::ids::CollectionId;
use crate::locality::{CollectionPlaces, Locality};
use crate::manifest::FileEntry;
use crate::marker::{
    COLLECTION_FORMAT_VERSION, COLLECTION_PATH, MAX_MARKER_BYTES, content, read_versioned,
};
use crate::options::StoreOptions;
use crate::path::LayerPath;
use crate::store::{self, Counters, PutOnce, Root, Store};

/// Where the marker of a locality's place lies.
pub(crate) const LOCALITY_PATH: &str = "metadata/LOCALITY";

/// Its content.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LocalityMarker {
    format_version: u64,
    collection_id: CollectionId,
    locality: Locality,
    created: Timestamp,
}

/// The stores of the localities.
pub(super) type Localities = BTreeMap<Locality, Store>;

/// Opens the places of the localities, each of which must be the collection's; where they may be created, one
/// that nobody has is made the collection's.
pub(super) async fn open(
    places: &CollectionPlaces,
    id: CollectionId,
    root: Root,
    options: &StoreOptions,
    counts: &Arc<Counters>,
) -> Result<Localities> {
    let mut localities = Localities::new();
    for (locality, uri) in &places.others {
        let store = store::open(uri, options, root, counts.clone())?;
        match (read(&store).await?, root) {
            (Some(marker), _) => marker.check(id, locality, &store)?,
            (None, Root::MayBeCreated) => claim(&store, id, locality, options).await?,
            (None, Root::MustExist) => {
                return Err(foreign(&store, locality, "nothing there says that it is"));
            }
        }
        localities.insert(locality.clone(), store);
    }
    Ok(localities)
}

async fn claim(
    store: &Store,
    id: CollectionId,
    locality: &Locality,
    options: &StoreOptions,
) -> Result<()> {
    if store.size(&Path::from(COLLECTION_PATH)).await?.is_some() {
        return Err(foreign(store, locality, "a collection lies there"));
    }
    if let Err(refused) = vacant::check(store).await {
        // They may be those of somebody who made it the collection's meanwhile.
        return match read(store).await? {
            Some(marker) => marker.check(id, locality, store),
            None => Err(refused),
        };
    }
    let marker = LocalityMarker {
        format_version: COLLECTION_FORMAT_VERSION,
        collection_id: id,
        locality: locality.clone(),
        created: options.clock.now(),
    };
    let path = Path::from(LOCALITY_PATH);
    let bytes = content::encode(&marker)?;
    match store.put_once(&path, bytes, MAX_MARKER_BYTES).await? {
        PutOnce::Stored => Ok(()),
        // Someone else did in between, perhaps for the same collection.
        PutOnce::Conflict(theirs) => {
            LocalityMarker::parse(&theirs, store.location())?.check(id, locality, store)
        }
    }
}

async fn read(store: &Store) -> Result<Option<LocalityMarker>> {
    let parse = |content: &[u8]| LocalityMarker::parse(content, store.location());
    let path = Path::from(LOCALITY_PATH);
    store.read(&path, MAX_MARKER_BYTES, parse).await
}

impl LocalityMarker {
    fn parse(bytes: &[u8], location: &str) -> Result<Self> {
        read_versioned(bytes, LOCALITY_PATH, location)
    }

    /// Whether it says what was asked for.
    fn check(&self, id: CollectionId, locality: &Locality, store: &Store) -> Result<()> {
        if self.collection_id != id {
            let other = format!("it belongs to collection {}", self.collection_id);
            return Err(foreign(store, locality, &other));
        }
        if self.locality != *locality {
            let other = format!("it is that of {}", self.locality);
            return Err(foreign(store, locality, &other));
        }
        Ok(())
    }
}

fn foreign(store: &Store, locality: &Locality, reason: &str) -> Error {
    Error::ForeignLocality {
        location: store.location().to_owned(),
        locality: locality.clone(),
        reason: reason.to_owned(),
    }
}

impl Collection {
    /// The locality that the files of a keyspace with these tags go to; `None` for the default.
    #[must_use]
    pub fn locality_of(&self, tags: &BTreeMap<String, String>) -> Option<Locality> {
        Locality::choose(self.localities().keys(), tags).cloned()
    }

    /// Checks that the place of each of these files was given.
    ///
    /// # Errors
    /// [`Error::MissingLocality`] for the first whose was not.
    pub fn check_localities<'a>(
        &self,
        files: impl IntoIterator<Item = (&'a LayerPath, &'a FileEntry)>,
    ) -> Result<()> {
        let mut files = files.into_iter();
        files.try_for_each(|(layer, file)| self.store_of(layer, file.locality.as_ref()).map(drop))
    }

    /// The store of a locality's files: the one place that knows where which files lie.
    pub(crate) fn store_of(
        &self,
        layer: &LayerPath,
        locality: Option<&Locality>,
    ) -> Result<&Store> {
        let Some(locality) = locality else {
            return Ok(self.store());
        };
        let store = self.localities().get(locality);
        store.ok_or_else(|| Error::MissingLocality {
            locality: locality.clone(),
            layer: layer.clone(),
        })
    }

    /// The store of a place; `None` if it was not given.
    pub(crate) fn store_at(&self, locality: Option<&Locality>) -> Option<&Store> {
        match locality {
            None => Some(self.store()),
            Some(locality) => self.localities().get(locality),
        }
    }

    /// The stores that a layer's files may lie in.
    pub(crate) fn stores(&self) -> impl Iterator<Item = &Store> {
        std::iter::once(self.store()).chain(self.localities().values())
    }
}
