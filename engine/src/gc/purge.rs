//! Dropping, for good, keyspaces whose past is over.

use icecore_mvcc::Descriptor;

use crate::catalog::{DESCRIPTOR_KIND, SYSTEM_KEYSPACE};
use crate::engine::Engine;
use crate::error::Result;

impl Engine {
    /// Removes dropped keyspaces that can no longer be read at any time: their own threshold and
    /// that of the system keyspace have passed the drop. Returns their descriptors.
    ///
    /// # Errors
    /// [`crate::Error::Rocks`] when the disk fails.
    pub fn purge_dropped(&self) -> Result<Vec<Descriptor>> {
        self.check_writable("remove dropped keyspaces")?;
        let _work = self.gc_work_lock().lock();
        let system = self.keyspace_by_id(SYSTEM_KEYSPACE)?.threshold();
        let _changes = self.catalog().changes.lock();
        let mut purged = Vec::new();
        for keyspace in self.all_keyspaces() {
            let Some(dropped) = keyspace.space().dropped() else {
                continue;
            };
            if keyspace.threshold() < dropped || system < dropped {
                continue;
            }
            self.meta().set_purged()?;
            // The descriptor first: a column family without one is dropped by the next open.
            self.system()
                .delete(DESCRIPTOR_KIND, &format!("{:08x}", keyspace.id().get()))?;
            self.catalog().remove(keyspace.id());
            self.drop_family(keyspace.id())?;
            tracing::info!(keyspace = keyspace.name(), "removed for good");
            purged.push(keyspace.descriptor());
        }
        Ok(purged)
    }
}
