//! The key of a collection, and what is derived from it: by HKDF-SHA256, for one purpose each.

use std::fmt;

use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use super::object::Role;
use crate::error::{Error, Result};
use crate::ids::CollectionId;

/// Bytes of a collection's key, and of each key derived from it.
pub(crate) const KEY_BYTES: usize = 32;

/// Bytes of the random id that an object's key is derived with.
pub(crate) const OBJECT_ID_BYTES: usize = 16;

const OBJECT_PURPOSE: &[u8] = b"icecore sealed object v1";
const CHECK_PURPOSE: &[u8] = b"icecore key check v1";

/// A key in memory, cleared when it is dropped.
pub(crate) type Secret = Zeroizing<[u8; KEY_BYTES]>;

/// The key of a sealed collection.
pub(crate) struct CollectionKey {
    collection: CollectionId,
    key: Secret,
}

impl CollectionKey {
    /// The key of that collection.
    pub(crate) const fn new(collection: CollectionId, key: Secret) -> Self {
        Self { collection, key }
    }

    /// A new one.
    pub(crate) fn random(collection: CollectionId) -> Self {
        Self::new(collection, Zeroizing::new(rand::random()))
    }

    /// The bytes, to be wrapped.
    pub(crate) const fn secret(&self) -> &Secret {
        &self.key
    }

    /// What the collection's marker says of the key, so that a wrong one is told at once. It does not
    /// tell the key.
    pub(crate) fn check(&self) -> Result<[u8; 16]> {
        let mut check = [0; 16];
        derive(
            &self.key,
            self.collection.as_bytes(),
            &[CHECK_PURPOSE],
            &mut check,
        )?;
        Ok(check)
    }

    /// The key of one object.
    pub(crate) fn object_key(
        &self,
        id: &[u8; OBJECT_ID_BYTES],
        role: Role,
        place: &str,
    ) -> Result<LessSafeKey> {
        let mut key = Secret::default();
        let role = [role.code()];
        // Every part but the last has a fixed length: no two lists of parts spell the same.
        let parts = [
            OBJECT_PURPOSE,
            &role,
            self.collection.as_bytes(),
            place.as_bytes(),
        ];
        derive(&self.key, id, &parts, &mut *key)?;
        aes_key(&key)
    }
}

impl fmt::Debug for CollectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CollectionKey(of {})", self.collection)
    }
}

/// AES-256-GCM with that key.
pub(crate) fn aes_key(key: &Secret) -> Result<LessSafeKey> {
    let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).map_err(|_| refused())?;
    Ok(LessSafeKey::new(key))
}

/// HKDF-SHA256: extracts with the salt, expands for the purpose that the parts, one after another, name.
fn derive(key: &Secret, salt: &[u8], purpose: &[&[u8]], out: &mut [u8]) -> Result<()> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let extracted = Salt::new(HKDF_SHA256, salt).extract(key.as_ref());
    let expanded = extracted
        .expand(purpose, Length(out.len()))
        .map_err(|_| refused())?;
    expanded.fill(out).map_err(|_| refused())
}

/// The library refuses lengths alone, and those are all fixed.
pub(crate) fn refused() -> Error {
    Error::Stopped {
        cause: "the cryptographic library refused a key of fixed length".to_owned(),
    }
}
