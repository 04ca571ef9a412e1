//! What a feed delivers.

use std::sync::Arc;

use icecore_mvcc::{Descriptor, KeyspaceId, Timestamp};

use super::token::ResumeToken;

/// A committed transaction, or one of the parts of a large one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedTransaction {
    /// When it was committed; no two transactions have the same time.
    pub timestamp: Timestamp,
    /// Which part of it this is, counted from 0.
    pub part: u32,
    /// Whether it is whole with this part.
    pub last: bool,
    /// What it did to the catalog. Comes before its rows, in the first part.
    pub catalog: Vec<CatalogChange>,
    /// The rows that it wrote, by keyspace id and key; each key once.
    pub changes: Vec<FeedChange>,
    /// With its last part, the token to go on with after it.
    pub token: Option<ResumeToken>,
}

/// A put or a delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedChange {
    /// The keyspace's id: another one has another id, even if it has the name of one that was dropped.
    pub keyspace: KeyspaceId,
    /// The keyspace's name.
    pub name: Arc<str>,
    /// The user key.
    pub key: Vec<u8>,
    /// The value; `None` where the key was deleted.
    pub value: Option<Vec<u8>>,
}

/// What became of a keyspace, with its descriptor from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogChange {
    /// It was created, empty.
    Created(Descriptor),
    /// A restore brought it, with rows that the feed does not deliver: copy it whole as of the
    /// transaction's time. That can be read until the feed is asked for the next transaction.
    Restored(Descriptor),
    /// Its settings changed.
    Altered(Descriptor),
    /// It was dropped, with all its rows.
    Dropped(Descriptor),
}

impl CatalogChange {
    /// The keyspace as it is described from then on.
    pub fn descriptor(&self) -> &Descriptor {
        match self {
            Self::Created(descriptor)
            | Self::Restored(descriptor)
            | Self::Altered(descriptor)
            | Self::Dropped(descriptor) => descriptor,
        }
    }
}
