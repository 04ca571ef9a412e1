//! One version of a key.

use crate::timestamp::Timestamp;

/// What a key was set to at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    /// When it was written; no other version of the key has this timestamp.
    pub ts: Timestamp,
    /// The bytes, which may be none; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
}

impl Version {
    /// Whether the key was deleted at this time.
    #[must_use]
    pub const fn is_tombstone(&self) -> bool {
        self.value.is_none()
    }
}
