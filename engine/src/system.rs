//! Rows of the system keyspace: what the engine and the crates above keep about themselves.
//!
//! They are ordinary versioned rows, so a backup as of a time sees them as they were then. A row
//! is named by its kind (`keyspace`, `protected`, …) and a key within the kind; its value is JSON.

use icecore_mvcc::{KeyRange, Timestamp};

use crate::commit::{Batch, Durability};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::read::{ScanDirection, Snapshot};
use crate::txn::Isolation;

/// Access to the rows of the system keyspace; from [`Engine::system`].
#[derive(Debug, Clone)]
pub struct SystemRows {
    keyspace: Keyspace,
}

/// A change of one row of the system keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    row: Vec<u8>,
    json: Option<Vec<u8>>,
}

impl RowChange {
    /// Writes a row.
    pub fn put(kind: &str, key: impl ToString, json: Vec<u8>) -> Self {
        Self {
            row: row_key(kind, &key.to_string()),
            json: Some(json),
        }
    }

    /// Removes a row.
    pub fn delete(kind: &str, key: impl ToString) -> Self {
        Self {
            row: row_key(kind, &key.to_string()),
            json: None,
        }
    }
}

impl SystemRows {
    pub(crate) fn new(keyspace: Keyspace) -> Self {
        Self { keyspace }
    }

    /// The keyspace that holds the rows.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Writes a row, durably.
    ///
    /// # Errors
    /// As [`Engine::commit`].
    pub fn put(&self, kind: &str, key: &str, json: Vec<u8>) -> Result<Timestamp> {
        let mut batch = Batch::new();
        batch.put(&self.keyspace, row_key(kind, key), json);
        self.keyspace.engine().commit(batch, Durability::Sync)
    }

    /// Removes a row, durably.
    ///
    /// # Errors
    /// As [`Engine::commit`].
    pub fn delete(&self, kind: &str, key: &str) -> Result<Timestamp> {
        let mut batch = Batch::new();
        batch.delete(&self.keyspace, row_key(kind, key));
        self.keyspace.engine().commit(batch, Durability::Sync)
    }

    /// Changes several rows in one commit, durably: all of them or none.
    ///
    /// # Errors
    /// As [`Engine::commit`].
    pub fn change(&self, changes: Vec<RowChange>) -> Result<Timestamp> {
        let mut batch = Batch::new();
        for RowChange { row, json } in changes {
            match json {
                Some(json) => batch.put(&self.keyspace, row, json),
                None => batch.delete(&self.keyspace, row),
            };
        }
        self.keyspace.engine().commit(batch, Durability::Sync)
    }

    /// Reads a row and writes what `change` makes of it, as one step: where another writer came between,
    /// `change` is called again with what that one wrote. Nothing is written when it fails or returns
    /// `None`.
    ///
    /// # Errors
    /// Those of `change`; otherwise as [`Engine::commit`].
    pub fn update<E: From<Error>>(
        &self,
        kind: &str,
        key: &str,
        mut change: impl FnMut(Option<&[u8]>) -> std::result::Result<Option<Vec<u8>>, E>,
    ) -> std::result::Result<(), E> {
        let row = row_key(kind, key);
        loop {
            let mut transaction = self.keyspace.engine().begin(Isolation::Snapshot)?;
            let found = transaction.get(&self.keyspace, &row)?;
            let Some(json) = change(found.as_deref())? else {
                return Ok(());
            };
            transaction.put(&self.keyspace, row.clone(), json);
            match transaction.commit(Durability::Sync) {
                Ok(_) => return Ok(()),
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A row as it is now.
    ///
    /// # Errors
    /// When RocksDB cannot read.
    pub fn get(&self, kind: &str, key: &str) -> Result<Option<Vec<u8>>> {
        self.keyspace.get(&row_key(kind, key))
    }

    /// All rows of a kind as they are now, by key.
    ///
    /// # Errors
    /// When RocksDB cannot read.
    pub fn list(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>> {
        self.list_at(&self.keyspace.engine().snapshot(), kind)
    }

    /// All rows of a kind as they were, by key.
    ///
    /// # Errors
    /// As [`Keyspace::scan`].
    pub fn list_at(&self, at: &Snapshot, kind: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let prefix = row_key(kind, "");
        let mut rows = Vec::new();
        for entry in self
            .keyspace
            .scan(at, &KeyRange::prefix(&prefix), ScanDirection::Forward)?
        {
            let entry = entry?;
            let key = entry.key.get(prefix.len()..).unwrap_or_default();
            rows.push((String::from_utf8_lossy(key).into_owned(), entry.value));
        }
        Ok(rows)
    }
}

/// The user key of a system row.
pub(crate) fn row_key(kind: &str, key: &str) -> Vec<u8> {
    format!("{kind}/{key}").into_bytes()
}

impl Engine {
    /// The rows that the engine and the crates above keep about themselves.
    pub fn system(&self) -> SystemRows {
        SystemRows::new(self.system_keyspace())
    }
}
