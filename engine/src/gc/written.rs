//! How much was written when, as the commit index tells.

use icecore_mvcc::{KeyspaceId, Timestamp};

use crate::changes::IndexReader;
use crate::commit::index::{Change, decode};
use crate::engine::Engine;
use crate::error::Result;

impl Engine {
    /// Tells of the commits in `(after, until]`, in their order, about how many bytes each wrote to each
    /// keyspace: keys are known, of values only the power of two that they are below, so three quarters of it
    /// is taken. Of a bulk load nothing is known. Reads the commit index, no data; what is trimmed of it is
    /// not told.
    ///
    /// # Errors
    /// [`crate::Error::Rocks`] or [`crate::Error::Corruption`].
    pub fn written(
        &self,
        after: Timestamp,
        until: Timestamp,
        mut tell: impl FnMut(Timestamp, KeyspaceId, u64),
    ) -> Result<()> {
        let mut reader = IndexReader::new(self, after, until);
        while let Some((ts, record)) = reader.next()? {
            decode(record, |change| {
                if let Change::Key { keyspace, key, put } = change {
                    let value = put.map_or(0, |class| class.max_bytes() / 4 * 3);
                    tell(ts, keyspace, (key.len() + value) as u64);
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}
