//! A collection: many full backups and their incrementals under one URI, or several ([`places`]).
//!
//! The protocol is write-once. Every object is put if absent and never overwritten, so buckets with object
//! lock work, and an acknowledgement that is lost is harmless: the object that is there already is the one
//! that was put. What is committed is decided by who puts an object first:
//!
//! 1. data files, under random names;
//! 2. a listing checks that all are there;
//! 3. side files, then the manifest;
//! 4. for an incremental, the slot that follows its parent;
//! 5. the layer's marker;
//! 6. for a full, its marker among the latest.
//!
//! An incremental is listed from step 4 on, a full from step 5 on. What a dead writer leaves from before is
//! junk that no reader sees.
//!
//! ```
//! use icecore_archive::{BackupSelector, Collection, StoreOptions};
//!
//! # async fn example() -> icecore_archive::Result<()> {
//! let uri = "file:///var/backups/prod".parse()?;
//! let collection = Collection::open(&uri, StoreOptions::default()).await?;
//! let chain = collection.open_chain(&BackupSelector::Latest).await?;
//! for layer in chain.layers() {
//!     println!("{} covers {} to {}", layer.path, layer.start, layer.end);
//! }
//! # Ok(())
//! # }
//! ```

mod file_reader;
mod index;
mod keys;
mod places;
mod read;
mod vacant;

use std::sync::Arc;

use icecore_mvcc::Timestamp;
use object_store::path::Path;
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
use crate::ids::CollectionId;
use crate::locality::CollectionPlaces;
use crate::marker::{COLLECTION_PATH, CollectionMarker, MAX_MARKER_BYTES, Sealing, content};
use crate::options::StoreOptions;
use crate::seal::Seal;
use crate::seal::secret::CollectionKey;
use crate::seal::unlock::{self, Wrapping};
use crate::store::{self, Counters, PutOnce, RequestCounts, Root, Store};
use crate::uri::CollectionUri;

pub use file_reader::FileReader;
pub(crate) use index::SlotHolder;
pub use index::{AppendTarget, Chain, FullEntry};
pub use keys::{KeyEntry, KeyList, NewKey};
pub(crate) use places::LOCALITY_PATH;

/// An open collection. Cheap to clone; clones share limits and counters.
#[derive(Debug, Clone)]
pub struct Collection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    /// Those of the other places, where the collection has several.
    localities: places::Localities,
    marker: CollectionMarker,
    options: StoreOptions,
    seal: Seal,
    /// One permit for each byte of uploads that may be held in memory.
    upload_memory: Arc<Semaphore>,
}

impl Collection {
    /// Opens the collection at that URI. A sealed one takes keys, one that is not takes none.
    ///
    /// # Errors
    /// [`Error::NoCollection`] if there is none, [`Error::NewerFormat`] if a later version of Icecore made
    /// it, [`Error::DamagedMarker`]; [`Error::KeysNeeded`], [`Error::NotSealed`], [`Error::NoKeyWrapper`],
    /// [`Error::WrongKey`], [`Error::InvalidKey`], [`Error::Tampered`] where keys and collection do not
    /// fit; those of the store.
    pub async fn open(uri: &CollectionUri, options: StoreOptions) -> Result<Self> {
        Self::open_places(&CollectionPlaces::new(vec![uri.clone()])?, options).await
    }

    /// Opens the collection that lies in these places. Places of localities may be missing: what lies there
    /// cannot be read then.
    ///
    /// # Errors
    /// As [`Collection::open`]; [`Error::ForeignLocality`] if a place is not the collection's.
    pub async fn open_places(places: &CollectionPlaces, options: StoreOptions) -> Result<Self> {
        let counts = Arc::<Counters>::default();
        let store = store::open(&places.default, &options, Root::MustExist, counts.clone())?;
        let Some(marker) = read_marker(&store).await? else {
            return Err(Error::NoCollection {
                location: store.location().to_owned(),
            });
        };
        let seal = enter(&store, &marker, &options).await?;
        let id = marker.collection_id;
        let localities = places::open(places, id, Root::MustExist, &options, &counts).await?;
        Ok(Self::of(store, localities, marker, options, seal))
    }

    /// Opens the collection at that URI, which is made first if there is none: sealed if the options hold
    /// keys, with a wrapper for each.
    ///
    /// # Errors
    /// As [`Collection::open`], without [`Error::NoCollection`]; [`Error::NotVacant`] if it would be made where
    /// files of a backup lie.
    pub async fn create_or_open(uri: &CollectionUri, options: StoreOptions) -> Result<Self> {
        Self::create_or_open_places(&CollectionPlaces::new(vec![uri.clone()])?, options).await
    }

    /// Opens the collection that lies in these places, each of which is made its if nobody has it: places
    /// may be added to a collection at any time.
    ///
    /// # Errors
    /// As [`Collection::open_places`], without [`Error::NoCollection`].
    pub async fn create_or_open_places(
        places: &CollectionPlaces,
        options: StoreOptions,
    ) -> Result<Self> {
        let counts = Arc::<Counters>::default();
        let store = store::open(
            &places.default,
            &options,
            Root::MayBeCreated,
            counts.clone(),
        )?;
        let (marker, seal) = match read_marker(&store).await? {
            Some(marker) => {
                let seal = enter(&store, &marker, &options).await?;
                (marker, seal)
            }
            None => create(&store, &options).await?,
        };
        let id = marker.collection_id;
        let localities = places::open(places, id, Root::MayBeCreated, &options, &counts).await?;
        Ok(Self::of(store, localities, marker, options, seal))
    }

    fn of(
        store: Store,
        localities: places::Localities,
        marker: CollectionMarker,
        options: StoreOptions,
        seal: Seal,
    ) -> Self {
        let permits = options.upload_memory_bytes.min(Semaphore::MAX_PERMITS);
        let upload_memory = Arc::new(Semaphore::new(permits));
        Self(Arc::new(Inner {
            store,
            localities,
            marker,
            options,
            seal,
            upload_memory,
        }))
    }

    /// What names the collection, wherever it is copied to.
    #[must_use]
    pub fn id(&self) -> CollectionId {
        self.0.marker.collection_id
    }

    /// Whether what is in it is encrypted.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.seal().key().is_some()
    }

    /// When it was made.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.0.marker.created
    }

    /// The URI of its default place, without credentials.
    #[must_use]
    pub fn location(&self) -> &str {
        self.0.store.location()
    }

    /// The requests made of its stores since it was opened, over all of them and all clones.
    #[must_use]
    pub fn requests(&self) -> RequestCounts {
        self.0.store.counts()
    }

    /// The settings it was opened with.
    #[must_use]
    pub fn options(&self) -> &StoreOptions {
        &self.0.options
    }

    pub(crate) fn seal(&self) -> &Seal {
        &self.0.seal
    }

    /// The store of the default place: of everything but the files of localities.
    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn localities(&self) -> &places::Localities {
        &self.0.localities
    }

    pub(crate) fn upload_memory(&self) -> &Arc<Semaphore> {
        &self.0.upload_memory
    }
}

/// Makes the collection, unless files of another one lie there.
async fn create(store: &Store, options: &StoreOptions) -> Result<(CollectionMarker, Seal)> {
    let Err(refused) = vacant::check(store).await else {
        return create_marker(store, options).await;
    };
    // They may be those of somebody who made it meanwhile.
    match read_marker(store).await? {
        Some(marker) => {
            let seal = enter(store, &marker, options).await?;
            Ok((marker, seal))
        }
        None => Err(refused),
    }
}

/// Puts its marker: sealed if the options hold keys.
async fn create_marker(store: &Store, options: &StoreOptions) -> Result<(CollectionMarker, Seal)> {
    let mut marker = CollectionMarker::new(options.clock.now());
    let mut seal = Seal::default();
    if !options.keys.is_empty() {
        let key = CollectionKey::random(marker.collection_id);
        marker.sealing = Some(Sealing {
            key_check: key.check()?,
        });
        // Before the marker: a sealed collection has a key that opens it from its first moment.
        for wrapping in Wrapping::all(&options.keys, options.passphrase_cost) {
            let wrapper = wrapping.wrap(&key, marker.collection_id, options).await?;
            unlock::put_wrapper(store, &wrapper).await?;
        }
        seal = Seal::with(key);
    }
    let path = Path::from(COLLECTION_PATH);
    match store
        .put_once(&path, content::encode(&marker)?, MAX_MARKER_BYTES)
        .await?
    {
        PutOnce::Stored => Ok((marker, seal)),
        // Someone else made it in between; then it is theirs that counts.
        PutOnce::Conflict(theirs) => {
            let theirs = CollectionMarker::read(&theirs, store.location())?;
            let seal = enter(store, &theirs, options).await?;
            Ok((theirs, seal))
        }
    }
}

/// Opens what is there with the keys that were given.
async fn enter(store: &Store, marker: &CollectionMarker, options: &StoreOptions) -> Result<Seal> {
    let location = || store.location().to_owned();
    match (&marker.sealing, options.keys.is_empty()) {
        (None, true) => Ok(Seal::default()),
        (None, false) => Err(Error::NotSealed {
            location: location(),
        }),
        (Some(_), true) => Err(Error::KeysNeeded {
            location: location(),
        }),
        (Some(sealing), false) => {
            let key = unlock::unlock(store, marker.collection_id, sealing, options).await?;
            Ok(Seal::with(key))
        }
    }
}

async fn read_marker(store: &Store) -> Result<Option<CollectionMarker>> {
    let parse = |content: &[u8]| CollectionMarker::read(content, store.location());
    store
        .read(&Path::from(COLLECTION_PATH), MAX_MARKER_BYTES, parse)
        .await
}
