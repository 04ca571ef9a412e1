//! Trimming the commit index.
//!
//! Nothing reads the index at or below every keyspace's threshold and sweep. The low-water mark
//! is made durable first, every reader clamps to it, and then whole files below it are deleted;
//! records that share a file with newer ones stay until that file's turn.

use icecore_mvcc::Timestamp;

use crate::commit::index::record_key;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::meta::Mark;

impl Engine {
    /// Deletes the part of the commit index that nothing reads any more. Returns the low-water
    /// mark: records at or below it count as gone.
    ///
    /// # Errors
    /// [`Error::Rocks`] when the disk fails.
    pub fn trim_commit_index(&self) -> Result<Timestamp> {
        self.check_writable("trim the commit index")?;
        let mut needed = self.visible();
        let system = self.system_keyspace();
        for keyspace in self.all_keyspaces().iter().chain([&system]) {
            needed = needed.min(self.index_needed_after(keyspace)?);
        }
        let mark = self.meta().index_low_water()?;
        if needed <= mark {
            return Ok(mark);
        }
        self.meta().set_index_low_water(needed)?;
        let (from, to) = (record_key(Timestamp::MIN, 0), record_key(needed, u32::MAX));
        self.commits()
            .db()
            .delete_file_in_range_cf(self.commits().handle(), &from[..], &to[..])
            .map_err(Error::rocks("trim the commit index"))?;
        Ok(needed)
    }

    /// Records at or below this time are of no use to a keyspace.
    fn index_needed_after(&self, keyspace: &Keyspace) -> Result<Timestamp> {
        let descriptor = keyspace.descriptor();
        let swept = self.meta().mark(Mark::Swept, keyspace.id())?;
        Ok(keyspace
            .threshold()
            .min(swept)
            .max(descriptor.index_since)
            .max(descriptor.created.prev()))
    }
}
