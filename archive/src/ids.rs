//! The random identities in a collection: its own, its chains', its data files', its writers'.
//!
//! Two writers never choose the same one, so no object is ever overwritten.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Defines an identity that is spelled as a UUID's text.
macro_rules! uuid_identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// A random UUID; displays, parses and serialises as its text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identity.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// The identity of these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::try_parse(text).map(Self)
            }
        }
    };
}

uuid_identity! {
    /// Names a collection for its life, wherever it is copied to.
    CollectionId
}
uuid_identity! {
    /// Names a full backup and its incrementals together.
    ChainId
}
uuid_identity! {
    /// Names one attempt to write a layer.
    RunId
}
uuid_identity! {
    /// Names a wrapper of a sealed collection's key.
    KeyId
}

impl CollectionId {
    /// Its 16 bytes.
    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl KeyId {
    /// Its 16 bytes.
    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl RunId {
    /// As 32 hex digits, for the names of objects.
    pub(crate) fn simple(self) -> String {
        self.0.as_simple().to_string()
    }
}

/// Names a data file: 128 random bits, chosen anew for every upload.
///
/// Displays and serialises as 32 lower-case hex digits, the file's name without `.sst`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct FileId(Uuid);

impl FileId {
    /// A new identity.
    #[must_use]
    pub fn random() -> Self {
        Self::from_bytes(rand::random())
    }

    /// The identity of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_simple().fmt(f)
    }
}

/// The text is not 32 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a file id is 32 lower-case hex digits")]
pub struct ParseFileIdError;

impl FromStr for FileId {
    type Err = ParseFileIdError;

    fn from_str(text: &str) -> Result<Self, ParseFileIdError> {
        let bytes = crate::hex::decode(text).ok_or(ParseFileIdError)?;
        bytes
            .try_into()
            .map(Self::from_bytes)
            .map_err(|_| ParseFileIdError)
    }
}

impl From<FileId> for String {
    fn from(id: FileId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for FileId {
    type Error = ParseFileIdError;

    fn try_from(text: String) -> Result<Self, ParseFileIdError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_texts() {
        let bytes = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef";
        let file = FileId::from_bytes(bytes);
        assert_eq!(file.to_string(), "0123456789abcdef0123456789abcdef");
        assert_eq!(
            serde_json::to_string(&file).unwrap(),
            "\"0123456789abcdef0123456789abcdef\""
        );
        assert_eq!("0123456789abcdef0123456789abcdef".parse(), Ok(file));
        let chain = ChainId::from_bytes(bytes);
        assert_eq!(
            serde_json::to_string(&chain).unwrap(),
            "\"01234567-89ab-cdef-0123-456789abcdef\""
        );
        assert_eq!(chain.to_string().parse(), Ok(chain));
    }

    #[test]
    fn a_file_id_has_one_spelling() {
        for text in [
            "0123456789ABCDEF0123456789abcdef",
            "01234567-89ab-cdef-0123-456789abcdef",
            "01",
            "",
        ] {
            assert_eq!(text.parse::<FileId>(), Err(ParseFileIdError), "{text}");
        }
    }
}
