//! What a commit writes.

use super::rows::Rows;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Once it is on disk: it survives a power failure. The default.
    #[default]
    Sync,
    /// Once the operating system has it: it survives a crash of the process; a later synced
    /// commit or [`crate::Engine::sync_wal`] makes it survive a power failure.
    Buffered,
}

/// Puts and deletes that take effect together, at one timestamp. When a key is written more
/// than once, the last write counts. Keeps the engine of its keyspaces open.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) rows: Rows,
    /// The engine of the rows; a second one only if handles were mixed up.
    owners: Vec<Engine>,
    added: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a put. Keys are up to 64 KiB, values up to 1 GiB, either may be empty; what is over
    /// a limit fails the commit.
    pub fn put(
        &mut self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> &mut Self {
        self.push(keyspace, key.as_ref(), Some(value.as_ref()))
    }

    /// Adds a delete.
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> &mut Self {
        self.push(keyspace, key.as_ref(), None)
    }

    pub(crate) fn push(
        &mut self,
        keyspace: &Keyspace,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> &mut Self {
        if !self
            .owners
            .last()
            .is_some_and(|last| last.same(keyspace.engine()))
        {
            self.owners.push(keyspace.engine().clone());
        }
        self.added += 1;
        self.rows.push(keyspace.space(), key, value);
        self
    }

    /// Checks that every row is one of `engine`: column families are told apart by numbers, which
    /// mean others in another database.
    pub(crate) fn check_owner(&self, engine: &Engine) -> Result<()> {
        if self.owners.iter().all(|owner| owner.same(engine)) {
            return Ok(());
        }
        Err(Error::ForeignHandle {
            what: "a keyspace in the batch".to_owned(),
        })
    }

    /// How many puts and deletes were added.
    pub fn len(&self) -> usize {
        self.added
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.added == 0
    }
}
