//! What a commit writes.

use std::sync::Arc;

use icecore_mvcc::{key, value};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::store::Space;

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
    pub(crate) ops: Vec<Op>,
    /// The engine of the rows; a second one only if handles were mixed up.
    owners: Vec<Engine>,
}

/// One put (`Some`) or delete (`None`).
pub(crate) struct Op {
    pub(crate) space: Arc<Space>,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.value.is_some() {
            "put"
        } else {
            "delete"
        };
        write!(
            f,
            "{what} {} {}",
            self.space.name(),
            icecore_mvcc::text::to_text(&self.key)
        )
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a put. Keys are up to 64 KiB, values up to 1 GiB, either may be empty; the limits
    /// are checked by the commit.
    pub fn put(
        &mut self,
        keyspace: &Keyspace,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
    ) -> &mut Self {
        self.push(keyspace, key.into(), Some(value.into()))
    }

    /// Adds a delete.
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl Into<Vec<u8>>) -> &mut Self {
        self.push(keyspace, key.into(), None)
    }

    pub(crate) fn push(
        &mut self,
        keyspace: &Keyspace,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
    ) -> &mut Self {
        if !self
            .owners
            .last()
            .is_some_and(|last| last.same(keyspace.engine()))
        {
            self.owners.push(keyspace.engine().clone());
        }
        self.ops.push(Op {
            space: Arc::clone(keyspace.space()),
            key,
            value,
        });
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
        self.ops.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Checks the limits, sorts by keyspace and key, and keeps the last write of each key.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        for op in &self.ops {
            key::check_key(&op.key)?;
            op.value.as_deref().map_or(Ok(()), value::check_value)?;
        }
        if self.ops.len() > 1 {
            // Stable, so equal keys stay in the order they were added; keep the last of each run.
            self.ops
                .sort_by(|a, b| (a.space.id(), &a.key).cmp(&(b.space.id(), &b.key)));
            self.ops.reverse();
            self.ops
                .dedup_by(|a, b| a.space.id() == b.space.id() && a.key == b.key);
            self.ops.reverse();
        }
        Ok(())
    }
}
