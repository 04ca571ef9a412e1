//! Reads at a time: one key, many keys, ranges in both directions, and versions.
//!
//! A [`Snapshot`] is a timestamp and a pin that keeps garbage collection from passing it. No
//! RocksDB snapshot is needed: versions at or below the visible timestamp never change above the
//! threshold. A read below the threshold is an error, never a partial answer.

mod point;
mod scan;
mod snapshot;
mod versions;

pub use scan::{Entry, EntryRef, Scan, ScanDirection};
pub use snapshot::Snapshot;
pub(crate) use snapshot::Watermark;
pub(crate) use versions::Pick;
pub use versions::{RowRef, VersionRow, Versions};

/// Steps before a seek is cheaper than going on, when walking over versions that do not count.
pub(crate) const STEPS_BEFORE_SEEK: u32 = 6;

/// Changes `prefix` (escaped key and terminator) into the first stored key after all its versions.
pub(crate) fn successor_of(prefix: &[u8], out: &mut Vec<u8>) {
    out.clear();
    if let Some((_terminator, rest)) = prefix.split_last() {
        out.extend_from_slice(rest);
        // The terminator is 00 01; a longer key goes on with 00 FF or a higher byte than 00.
        out.push(0x02);
    }
}
