//! The gate before commits of user data: closed while a protected timestamp holds more than its limit and
//! says that writes stop then.
//!
//! Each refusal is a row of the system keyspace, so it survives a restart, and goes in the commit that mends
//! what it is for. While there is none, a commit pays one atomic load.

use std::sync::atomic::{AtomicBool, Ordering};

use icecore_mvcc::Timestamp;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::rows::Rows;
use crate::catalog::SYSTEM_KEYSPACE;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// Kind of the system rows that refuse commits of user data; the key is that of whoever closed the gate.
pub const WRITE_REFUSAL_KIND: &str = "write-refusal";

/// Why commits of user data are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteRefusal {
    /// The protected timestamp, by its record's id.
    pub record: String,
    /// Who holds it.
    pub owner: String,
    /// What it is that went too far: `it holds back 12 GB, and its limit is 10 GB`.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// The refusals in force.
#[derive(Default)]
pub(crate) struct Gate {
    closed: AtomicBool,
    refusals: RwLock<Vec<WriteRefusal>>,
}

impl Gate {
    fn set(&self, refusals: Vec<WriteRefusal>) {
        let mut present = self.refusals.write();
        self.closed.store(!refusals.is_empty(), Ordering::Release);
        *present = refusals;
    }

    /// An error for rows of users while the gate is closed.
    #[inline]
    pub(crate) fn check(&self, rows: &Rows) -> Result<()> {
        if !self.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        let of_user = rows.iter().any(|row| row.space.id() != SYSTEM_KEYSPACE);
        match of_user {
            true => self.check_users(),
            false => Ok(()),
        }
    }

    /// An error while the gate is closed.
    pub(crate) fn check_users(&self) -> Result<()> {
        let refusals = self.refusals.read();
        refusals.first().map_or(Ok(()), |first| {
            Err(Error::WritesRefused {
                record: first.record.clone(),
                owner: first.owner.clone(),
                reason: first.reason.clone(),
            })
        })
    }
}

impl Engine {
    /// Why commits of user data are refused at present; nothing where they are not.
    pub fn write_refusals(&self) -> Vec<WriteRefusal> {
        self.gate().refusals.read().clone()
    }

    /// Puts the rows of kind [`WRITE_REFUSAL_KIND`] in force, as they are now. For whoever changed them.
    ///
    /// # Errors
    /// [`Error::Corruption`] for one that cannot be read; [`Error::Rocks`] when the disk fails.
    pub fn load_write_refusals(&self) -> Result<()> {
        let mut refusals = Vec::new();
        for (key, json) in self.system().list(WRITE_REFUSAL_KIND)? {
            let refusal: WriteRefusal = serde_json::from_slice(&json)
                .map_err(|e| Error::corrupt(format!("row {WRITE_REFUSAL_KIND}/{key}: {e}")))?;
            refusals.push(refusal);
        }
        self.gate().set(refusals);
        Ok(())
    }
}
