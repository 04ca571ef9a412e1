//! A wrapper: the key of a collection, encrypted by a key of the user's; one object for each.
//!
//! Its content is that of a marker: a line of JSON, then its CRC32. Wrappers are made and opened here,
//! without I/O; the passphrase's takes its time.

use bytes::Bytes;
use icecore_mvcc::Timestamp;
use object_store::path::Path;
use ring::aead::{Aad, NONCE_LEN, Nonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::keys::Passphrase;
use super::passphrase::{PassphraseCost, SALT_BYTES};
use super::secret::{CollectionKey, KEY_BYTES, Secret, aes_key, refused};
use crate::error::Result;
use crate::ids::{CollectionId, KeyId};
use crate::marker::content;

/// Where the wrappers of a collection lie. Others who were making one there at the same time have a place of
/// their own: what they leave behind is in nobody's way.
pub(crate) fn prefix(collection: CollectionId) -> Path {
    Path::from(format!("metadata/keys/{collection}"))
}

/// The format version that is written, and the newest that is read.
const FORMAT_VERSION: u64 = 1;

const PURPOSE: &[u8] = b"icecore key wrapper v1";

/// Bytes of a wrapped key: encrypted, with its tag.
const WRAPPED_BYTES: usize = KEY_BYTES + 16;

/// A wrapper as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wrapper {
    pub(crate) format_version: u64,
    pub(crate) id: KeyId,
    pub(crate) collection_id: CollectionId,
    pub(crate) created: Timestamp,
    #[serde(flatten)]
    pub(crate) method: Method,
}

/// How the key is wrapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Method {
    /// By AES-256-GCM under a key that Argon2id makes of a passphrase.
    Passphrase {
        argon2id: PassphraseCost,
        #[serde(with = "crate::hex::array")]
        salt: [u8; SALT_BYTES],
        #[serde(flatten)]
        wrapped: Wrapped,
    },
    /// By AES-256-GCM under a key that the user keeps.
    Key {
        /// The URI it was given by.
        uri: String,
        #[serde(flatten)]
        wrapped: Wrapped,
    },
    /// By AWS Key Management Service.
    AwsKms {
        /// The URI it was given by, without credentials.
        uri: String,
        /// The key that the service used.
        key_arn: String,
        /// What the service made of the key: base64, as it gave it.
        ciphertext: String,
    },
}

/// The key, encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wrapped {
    #[serde(with = "crate::hex::array")]
    nonce: [u8; NONCE_LEN],
    #[serde(with = "crate::hex::array")]
    key: [u8; WRAPPED_BYTES],
}

impl Method {
    /// As messages and listings call it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Passphrase { .. } => PASSPHRASE_KIND,
            Self::Key { .. } => KEY_KIND,
            Self::AwsKms { .. } => AWS_KIND,
        }
    }
}

impl Method {
    /// The URI that the key was given by.
    pub(crate) fn uri(&self) -> Option<&str> {
        match self {
            Self::Passphrase { .. } => None,
            Self::Key { uri, .. } | Self::AwsKms { uri, .. } => Some(uri),
        }
    }
}

/// What messages call wrappers of passphrases.
pub(super) const PASSPHRASE_KIND: &str = "passphrase";

/// What messages call wrappers of keys in files and variables.
pub(super) const KEY_KIND: &str = "key";

/// What messages call wrappers of AWS KMS.
pub(super) const AWS_KIND: &str = "aws-kms";

/// What is wrapped for whom: authenticated with the wrapped key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) id: KeyId,
    pub(crate) collection_id: CollectionId,
}

impl Label {
    fn aad(&self) -> Aad<Vec<u8>> {
        Aad::from([PURPOSE, self.collection_id.as_bytes(), self.id.as_bytes()].concat())
    }

    /// A wrapper by that method.
    pub(super) const fn wrapper(&self, created: Timestamp, method: Method) -> Wrapper {
        Wrapper {
            format_version: FORMAT_VERSION,
            id: self.id,
            collection_id: self.collection_id,
            created,
            method,
        }
    }

    /// Wraps the collection's key by a passphrase. Random: the salt and the nonce.
    pub(super) fn by_passphrase(
        &self,
        key: &CollectionKey,
        passphrase: &Passphrase,
        argon2id: PassphraseCost,
        random: ([u8; SALT_BYTES], [u8; NONCE_LEN]),
    ) -> Result<Method> {
        let (salt, nonce) = random;
        let wrapping = argon2id.derive(passphrase, &salt)?;
        Ok(Method::Passphrase {
            argon2id,
            salt,
            wrapped: self.wrap(key, &wrapping, nonce)?,
        })
    }

    /// Wraps the collection's key by a key that the user keeps. Random: the nonce.
    pub(super) fn by_key(
        &self,
        key: &CollectionKey,
        wrapping: &Secret,
        uri: String,
        nonce: [u8; NONCE_LEN],
    ) -> Result<Method> {
        let wrapped = self.wrap(key, wrapping, nonce)?;
        Ok(Method::Key { uri, wrapped })
    }

    fn wrap(
        &self,
        key: &CollectionKey,
        wrapping: &Secret,
        nonce: [u8; NONCE_LEN],
    ) -> Result<Wrapped> {
        let mut wrapped = Zeroizing::new([0; WRAPPED_BYTES]);
        let (body, tag_place) = wrapped.split_at_mut(KEY_BYTES);
        body.copy_from_slice(key.secret().as_ref());
        let unique = Nonce::assume_unique_for_key(nonce);
        let tag = aes_key(wrapping)?
            .seal_in_place_separate_tag(unique, self.aad(), body)
            .map_err(|_| refused())?;
        tag_place.copy_from_slice(tag.as_ref());
        Ok(Wrapped {
            nonce,
            key: *wrapped,
        })
    }
}

impl Wrapped {
    /// The collection's key; `None` if the wrapping key is another, or the wrapper was changed.
    pub(crate) fn unwrap(&self, label: Label, wrapping: &Secret) -> Result<Option<Secret>> {
        let mut wrapped = Zeroizing::new(self.key);
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let opened = aes_key(wrapping)?.open_in_place(nonce, label.aad(), wrapped.as_mut());
        let Ok(plain) = opened else {
            return Ok(None);
        };
        let mut key = Secret::default();
        key.copy_from_slice(plain.get(..KEY_BYTES).ok_or_else(refused)?);
        Ok(Some(key))
    }
}

impl Wrapper {
    /// What is authenticated with its key.
    pub(super) const fn label(&self) -> Label {
        Label {
            id: self.id,
            collection_id: self.collection_id,
        }
    }

    /// As it is stored.
    pub(crate) fn encode(&self) -> Result<Bytes> {
        content::encode(self)
    }

    /// Reads what lies at the path of that label.
    ///
    /// # Errors
    /// What is wrong with it, in one line. What it says of the cost of a passphrase is within bounds.
    pub(crate) fn decode(label: Label, stored: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        let Version { format_version } = content::decode(stored)?;
        if format_version != FORMAT_VERSION {
            return Err(format!(
                "it has format version {format_version}, this version of icecore reads {FORMAT_VERSION}"
            ));
        }
        let wrapper: Self = content::decode(stored)?;
        if wrapper.label() != label {
            let (id, collection) = (wrapper.id, wrapper.collection_id);
            return Err(format!("it is that of {id} of collection {collection}"));
        }
        if let Method::Passphrase { argon2id, .. } = &wrapper.method {
            argon2id.validate()?;
        }
        Ok(wrapper)
    }
}

/// Where a wrapper lies.
pub(crate) fn path(collection: CollectionId, id: KeyId) -> Path {
    Path::from(format!("metadata/keys/{collection}/{id}"))
}
