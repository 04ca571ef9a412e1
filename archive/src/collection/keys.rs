//! The keys that open a sealed collection: listed, added and removed without touching what is sealed.
//!
//! Each key has a wrapper of the collection's key; data is never written again.

use std::sync::Arc;

use icecore_mvcc::Timestamp;

use super::{Collection, read_marker};
use crate::error::{Error, Result};
use crate::ids::KeyId;
use crate::options::StoreOptions;
use crate::seal::unlock::{self, MAX_WRAPPERS, Wrappers, Wrapping};
use crate::seal::wrapper::{self, Wrapper};
use crate::seal::{KmsUri, Passphrase};
use crate::store::{self, Root};
use crate::uri::CollectionUri;

/// A key that opens a sealed collection, as its wrapper shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// Names the wrapper.
    pub id: KeyId,
    /// `passphrase`, or what kind of key.
    pub kind: &'static str,
    /// The URI that the key was given by; `None` for a passphrase.
    pub uri: Option<String>,
    /// When it was added.
    pub created: Timestamp,
}

/// The keys that open a sealed collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyList {
    /// By id.
    pub keys: Vec<KeyEntry>,
    /// What is wrong with wrappers that do not read.
    pub damage: Vec<Error>,
}

/// A key to add to a collection.
#[derive(Debug, Clone)]
pub enum NewKey {
    /// A passphrase, at the cost that [`StoreOptions::passphrase_cost`] says.
    Passphrase(Passphrase),
    /// Any other key.
    Kms(KmsUri),
}

impl From<&Wrapper> for KeyEntry {
    fn from(wrapper: &Wrapper) -> Self {
        Self {
            id: wrapper.id,
            kind: wrapper.method.kind(),
            uri: wrapper.method.uri().map(str::to_owned),
            created: wrapper.created,
        }
    }
}

impl Collection {
    /// The keys that open the collection at that URI. Takes none of them: what it tells is not sealed.
    ///
    /// # Errors
    /// [`Error::NoCollection`], [`Error::Unsealed`], [`Error::DamagedMarker`]; those of the store.
    pub async fn list_keys(uri: &CollectionUri, options: &StoreOptions) -> Result<KeyList> {
        let store = store::open(uri, options, Root::MustExist, Arc::default())?;
        let location = || store.location().to_owned();
        let marker = read_marker(&store).await?;
        let marker = marker.ok_or_else(|| Error::NoCollection {
            location: location(),
        })?;
        if marker.sealing.is_none() {
            return Err(Error::Unsealed {
                location: location(),
            });
        }
        let wrappers = unlock::read_wrappers(&store, marker.collection_id).await?;
        Ok(KeyList {
            keys: wrappers.sound.iter().map(KeyEntry::from).collect(),
            damage: wrappers.damaged,
        })
    }

    /// Makes a wrapper for another key, without storing it: what [`Collection::add_key`] would do.
    ///
    /// # Errors
    /// [`Error::Unsealed`]; [`Error::TooManyKeys`]; [`Error::InvalidKey`], [`Error::LocalFile`] and
    /// [`Error::KeyService`] for what is wrong with the key.
    pub async fn check_new_key(&self, key: &NewKey) -> Result<()> {
        self.wrap(key).await.map(|_| ())
    }

    /// Adds a key: from now on it opens the collection too.
    ///
    /// # Errors
    /// Those of [`Collection::check_new_key`]; those of the store.
    #[tracing::instrument(skip_all)]
    pub async fn add_key(&self, key: &NewKey) -> Result<KeyEntry> {
        let wrapper = self.wrap(key).await?;
        unlock::put_wrapper(self.store(), &wrapper).await?;
        tracing::info!(id = %wrapper.id, kind = wrapper.method.kind(), "added a key");
        Ok(KeyEntry::from(&wrapper))
    }

    async fn wrap(&self, key: &NewKey) -> Result<Wrapper> {
        let location = || self.location().to_owned();
        let own = self.seal().key().ok_or_else(|| Error::Unsealed {
            location: location(),
        })?;
        let there = self.wrappers().await?;
        if there.sound.len() + there.damaged.len() >= MAX_WRAPPERS {
            return Err(Error::TooManyKeys {
                location: location(),
                most: MAX_WRAPPERS,
            });
        }
        let wrapping = match key {
            NewKey::Passphrase(passphrase) => {
                Wrapping::Passphrase(passphrase.clone(), self.options().passphrase_cost)
            }
            NewKey::Kms(uri) => Wrapping::Kms(uri.clone()),
        };
        wrapping.wrap(own, self.id(), self.options()).await
    }

    /// Checks that a key may be removed: that one of the keys which this collection was opened with opens
    /// another wrapper.
    ///
    /// # Errors
    /// [`Error::NoSuchKey`]; [`Error::LastKey`] if none does; those of the store.
    pub async fn check_key_removal(&self, id: KeyId) -> Result<KeyEntry> {
        self.removable(id)
            .await
            .map(|wrapper| KeyEntry::from(&wrapper))
    }

    /// Removes a key: from now on it does not open the collection. Who had it may have kept what it opened.
    ///
    /// # Errors
    /// Those of [`Collection::check_key_removal`]. Of two who remove the last two keys at once, at least
    /// one fails, and its key stays.
    #[tracing::instrument(skip_all, fields(%id))]
    pub async fn remove_key(&self, id: KeyId) -> Result<KeyEntry> {
        let wrapper = self.removable(id).await?;
        self.store().remove(&wrapper::path(self.id(), id)).await?;
        if self
            .removable_beside(id, &self.wrappers().await?)
            .await
            .is_err()
        {
            // Someone removed the other meanwhile. Better one key too many than none.
            unlock::put_wrapper(self.store(), &wrapper).await?;
            return Err(self.last_key(id));
        }
        tracing::info!(%id, kind = wrapper.method.kind(), "removed a key");
        Ok(KeyEntry::from(&wrapper))
    }

    async fn removable(&self, id: KeyId) -> Result<Wrapper> {
        let wrappers = self.wrappers().await?;
        let wrapper = wrappers.sound.iter().find(|wrapper| wrapper.id == id);
        let wrapper = wrapper.cloned().ok_or_else(|| Error::NoSuchKey {
            id,
            location: self.location().to_owned(),
        })?;
        self.removable_beside(id, &wrappers).await?;
        Ok(wrapper)
    }

    /// Whether a wrapper beside that one opens.
    async fn removable_beside(&self, id: KeyId, wrappers: &Wrappers) -> Result<()> {
        let others: Vec<Wrapper> = wrappers
            .sound
            .iter()
            .filter(|wrapper| wrapper.id != id)
            .cloned()
            .collect();
        let opened = unlock::open_any(&others, self.options()).await?;
        match opened.is_some() {
            true => Ok(()),
            false => Err(self.last_key(id)),
        }
    }

    fn last_key(&self, id: KeyId) -> Error {
        Error::LastKey {
            id,
            location: self.location().to_owned(),
        }
    }

    async fn wrappers(&self) -> Result<Wrappers> {
        if !self.is_sealed() {
            return Err(Error::Unsealed {
                location: self.location().to_owned(),
            });
        }
        unlock::read_wrappers(self.store(), self.id()).await
    }
}
