//! Reads at a time: one key, many keys, ranges in both directions, and versions.
//!
//! A [`Snapshot`] is a timestamp and a pin that keeps garbage collection from passing it. No
//! RocksDB snapshot is needed: versions at or below the visible timestamp never change above the
//! threshold. A read below the threshold is an error, never a partial answer.

mod cursor;
mod fingerprint;
mod point;
mod reverse;
mod scan;
mod snapshot;
mod versions;

pub(crate) use cursor::successor_of;
pub use fingerprint::PointReader;
use icecore_mvcc::{Timestamp, key};
pub use scan::{Entry, EntryRef, Scan, ScanDirection};
pub use snapshot::Snapshot;
pub(crate) use snapshot::Watermark;
pub(crate) use versions::Pick;
pub use versions::{RowRef, VersionRow, Versions};

use crate::error::{Error, Result};

/// Prefix and timestamp of a stored key.
fn split(stored: &[u8]) -> Result<(&[u8], Timestamp)> {
    key::split(stored).ok_or_else(|| Error::corrupt("a stored key is shorter than its timestamp"))
}
