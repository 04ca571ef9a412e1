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
use crate::locality::Locality;
use crate::marker::content::{self, encode};
use crate::marker::{self, MAX_MARKER_BYTES, POOL_PREFIX, UnusedMark};

impl Collection {
    /// Marks a file of the pool, or of that of a locality's place: no writer that looks from now on names it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn mark_unused(
        &self,
        file: FileId,
        locality: Option<&Locality>,
        run: RunId,
    ) -> Result<()> {
        let mark = UnusedMark {
            file,
            locality: locality.cloned(),
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

    /// Whether a file that is marked lay in one of the places that the collection was opened with, as its mark
    /// says. `true` if the mark is gone, `false` if it cannot be read: then it stays, which does no harm.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn is_mark_of_given_place(&self, file: FileId) -> Result<bool> {
        let path = marker::unused_path(file);
        let found = self.store().get(&path, MAX_MARKER_BYTES).await?;
        let is_given = |mark: UnusedMark| self.store_at(mark.locality.as_ref()).is_some();
        Ok(found.is_none_or(|found| content::decode(&found).is_ok_and(is_given)))
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
