//! Sealing: a collection whose objects are encrypted and authenticated, each for its place.
//!
//! A sealed collection has one random key. It is never stored but *wrapped*: encrypted by a key of the
//! user's ([`keys`]), once for each ([`wrapper`]); any of them opens the collection ([`unlock`]). From the
//! collection's key and a fresh random id comes a key for each object ([`secret`]), with which it is
//! encrypted in chunks ([`object`], [`stream`]). The object's role and place go into its key, so that an
//! object that was moved does not open.
//!
//! `docs/format/sealing.md` describes every byte. All but [`unlock`], [`kms`] and [`aws`] is free of I/O.

mod aws;
mod keys;
pub(crate) mod kms;
pub(crate) mod object;
mod passphrase;
mod raw_key;
pub(crate) mod secret;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod unlock;
pub(crate) mod wrapper;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use object::{Broken, Role};
use secret::CollectionKey;

pub use keys::{Keys, Passphrase};
pub use kms::KmsUri;
pub use passphrase::PassphraseCost;

/// Whether a collection is sealed, and its key if it is.
#[derive(Clone, Default)]
pub(crate) struct Seal(Option<Arc<CollectionKey>>);

impl Seal {
    /// Of a collection with that key.
    pub(crate) fn with(key: CollectionKey) -> Self {
        Self(Some(Arc::new(key)))
    }

    /// The key; `None` if the collection is not sealed.
    pub(crate) const fn key(&self) -> Option<&Arc<CollectionKey>> {
        self.0.as_ref()
    }

    /// An object as it is stored: sealed for its role and place, or as it is.
    ///
    /// The place is the object's path in the collection, but for side files, whose path is made of their
    /// hash: theirs ends before it.
    pub(crate) fn seal(&self, role: Role, place: &str, plain: Vec<u8>) -> Result<Bytes> {
        match &self.0 {
            None => Ok(Bytes::from(plain)),
            Some(key) => Ok(Bytes::from(object::seal(
                key,
                rand::random(),
                role,
                place,
                &plain,
            )?)),
        }
    }

    /// What a stored object holds, once it was checked; `path` is its name in errors.
    pub(crate) fn unseal<'a>(
        &self,
        role: Role,
        place: &str,
        path: &str,
        stored: &'a [u8],
    ) -> Result<Cow<'a, [u8]>> {
        let Some(key) = &self.0 else {
            return Ok(Cow::Borrowed(stored));
        };
        let opened = object::open(key, role, place, stored);
        opened.map(Cow::Owned).map_err(|broken| broken.of(path))
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "sealed"
        } else {
            "not sealed"
        })
    }
}

impl Broken {
    /// As the error of an object.
    pub(crate) fn of(self, path: &str) -> Error {
        let path = path.to_owned();
        match self {
            Self::Newer(found) => Error::NewerFormat {
                path,
                found: u64::from(found),
                supported: u64::from(object::FORMAT_VERSION),
            },
            Self::Tampered(reason) => Error::Tampered { path, reason },
        }
    }
}
