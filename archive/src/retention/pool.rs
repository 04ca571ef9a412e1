//! Marks of files of the pool that nothing names.
//!
//! A writer may use a file of the pool again that an earlier full brought, while retention takes that full
//! away. So a file is marked long before it goes. Writers look at the marks, then at the pool, right before
//! they put their manifests, and name nothing that is marked. A writer that looked before the mark was put
//! claimed its directory before: as long as there is such a directory without a manifest or a tombstone,
//! the file stays.

use std::collections::BTreeSet;

use object_store::path::Path;

use crate::collection::Collection;
use crate::error::Result;
use crate::ids::{FileId, RunId};
use crate::marker::{self, MAX_MARKER_BYTES, POOL_PREFIX, UnusedMark, content::encode};

impl Collection {
    /// Marks a file of the pool: no writer that looks from now on names it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn mark_unused(&self, file: FileId, run: RunId) -> Result<()> {
        let mark = UnusedMark {
            file,
            unused: self.removal(run),
        };
        let path = marker::unused_path(file);
        // Another run's serves as well.
        let _stored = self
            .store()
            .put_once(&path, encode(&mark)?, MAX_MARKER_BYTES)
            .await?;
        Ok(())
    }

    /// The path of a file's mark.
    #[must_use]
    pub fn unused_mark(&self, file: FileId) -> String {
        marker::unused_path(file).to_string()
    }

    /// The files of the pool that are marked. One listing.
    pub(crate) async fn unused_files(&self) -> Result<BTreeSet<FileId>> {
        let listed = self.store().list(&Path::from(POOL_PREFIX)).await?;
        let marks = listed.iter();
        Ok(marks
            .filter_map(|object| marker::parse_unused(&object.location))
            .collect())
    }
}
