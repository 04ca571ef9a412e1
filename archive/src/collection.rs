//! A collection: many full backups and their incrementals under one URI.
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

mod index;
mod read;

use std::sync::Arc;

use icecore_mvcc::Timestamp;
use object_store::path::Path;
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
use crate::ids::CollectionId;
use crate::marker::{COLLECTION_PATH, CollectionMarker, MAX_MARKER_BYTES, content};
use crate::options::StoreOptions;
use crate::store::{self, PutOnce, RequestCounts, Root, Store};
use crate::uri::CollectionUri;

pub use index::{AppendTarget, Chain, FullEntry};

/// An open collection. Cheap to clone; clones share limits and counters.
#[derive(Debug, Clone)]
pub struct Collection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    marker: CollectionMarker,
    options: StoreOptions,
    /// One permit for each byte of uploads that may be held in memory.
    upload_memory: Arc<Semaphore>,
}

impl Collection {
    /// Opens the collection at that URI.
    ///
    /// # Errors
    /// [`Error::NoCollection`] if there is none, [`Error::NewerFormat`] if a later version of Icecore made
    /// it, [`Error::DamagedMarker`]; those of the store.
    pub async fn open(uri: &CollectionUri, options: StoreOptions) -> Result<Self> {
        let store = store::open(uri, &options, Root::MustExist)?;
        match read_marker(&store).await? {
            Some(marker) => Ok(Self::of(store, marker, options)),
            None => Err(Error::NoCollection {
                location: store.location().to_owned(),
            }),
        }
    }

    /// Opens the collection at that URI, which is made first if there is none.
    ///
    /// # Errors
    /// As [`Collection::open`], without [`Error::NoCollection`].
    pub async fn create_or_open(uri: &CollectionUri, options: StoreOptions) -> Result<Self> {
        let store = store::open(uri, &options, Root::MayBeCreated)?;
        if let Some(marker) = read_marker(&store).await? {
            return Ok(Self::of(store, marker, options));
        }
        let marker = CollectionMarker::new(options.clock.now());
        let path = Path::from(COLLECTION_PATH);
        let marker = match store
            .put_once(&path, content::encode(&marker)?, MAX_MARKER_BYTES)
            .await?
        {
            PutOnce::Stored => marker,
            // Someone else made it in between; then it is theirs that counts.
            PutOnce::Conflict(theirs) => CollectionMarker::read(&theirs, store.location())?,
        };
        Ok(Self::of(store, marker, options))
    }

    fn of(store: Store, marker: CollectionMarker, options: StoreOptions) -> Self {
        let permits = options.upload_memory_bytes.min(Semaphore::MAX_PERMITS);
        let upload_memory = Arc::new(Semaphore::new(permits));
        Self(Arc::new(Inner {
            store,
            marker,
            options,
            upload_memory,
        }))
    }

    /// What names the collection, wherever it is copied to.
    #[must_use]
    pub fn id(&self) -> CollectionId {
        self.0.marker.collection_id
    }

    /// When it was made.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.0.marker.created
    }

    /// Its URI, without credentials.
    #[must_use]
    pub fn location(&self) -> &str {
        self.0.store.location()
    }

    /// The requests made of its store since it was opened, over all clones.
    #[must_use]
    pub fn requests(&self) -> RequestCounts {
        self.0.store.counts()
    }

    /// The settings it was opened with.
    #[must_use]
    pub fn options(&self) -> &StoreOptions {
        &self.0.options
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn upload_memory(&self) -> &Arc<Semaphore> {
        &self.0.upload_memory
    }
}

async fn read_marker(store: &Store) -> Result<Option<CollectionMarker>> {
    let parse = |content: &[u8]| CollectionMarker::read(content, store.location());
    store
        .read(&Path::from(COLLECTION_PATH), MAX_MARKER_BYTES, parse)
        .await
}
