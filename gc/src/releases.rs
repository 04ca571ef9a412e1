//! Notes on records that were released without anybody asking.
//!
//! One system row of kind `gc` and key `released`: a JSON list, the oldest first, of the last
//! [`MAX_NOTES`]. It changes in the commit that releases the record, so there is no release without a note.

use icecore_engine::Engine;
use icecore_mvcc::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::holder::Holder;
use crate::record::{Record, RecordId};
use crate::target::Target;

pub(crate) const KIND: &str = "gc";
pub(crate) const KEY: &str = "released";

/// So many notes are kept.
const MAX_NOTES: usize = 32;

/// A record that was released without anybody asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The record.
    pub id: RecordId,
    /// What it protected.
    pub timestamp: Timestamp,
    /// In which keyspaces.
    pub target: Target,
    /// Who wanted it.
    pub owner: String,
    /// Whose it was, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// When it was released.
    pub released: Timestamp,
    /// Why, in one sentence without an end.
    pub reason: String,
}

impl Release {
    pub(crate) fn of(record: &Record, released: Timestamp, reason: String) -> Self {
        Self {
            id: record.id,
            timestamp: record.timestamp,
            target: record.target.clone(),
            owner: record.owner.clone(),
            holder: record.holder.clone(),
            released,
            reason,
        }
    }
}

/// The notes, the oldest first.
pub(crate) fn list(engine: &Engine) -> Result<Vec<Release>> {
    let Some(json) = engine.system().get(KIND, KEY)? else {
        return Ok(Vec::new());
    };
    serde_json::from_slice(&json).map_err(unreadable)
}

/// The row with more notes.
pub(crate) fn encode_with(mut notes: Vec<Release>, more: &[Release]) -> Result<Vec<u8>> {
    notes.extend_from_slice(more);
    let surplus = notes.len().saturating_sub(MAX_NOTES);
    notes.drain(..surplus);
    serde_json::to_vec(&notes).map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::UnreadableRecord {
        id: format!("{KIND}/{KEY}"),
        reason: error.to_string(),
    }
}
