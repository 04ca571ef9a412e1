//! A copy of the whole database, made of links where the file system allows.

use std::fs;
use std::path::Path;

use rocksdb::checkpoint::Checkpoint;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::folder::{Identity, data_of, sync_dir};

impl Engine {
    /// Makes a checkpoint in `dir`, which must not exist. It holds every acknowledged commit,
    /// and opens as a database of its own with an id of its own.
    ///
    /// # Errors
    /// [`Error::Io`] when `dir` exists or cannot be made, [`Error::Rocks`] when the disk fails;
    /// what was written of it stays there.
    #[tracing::instrument(skip_all, fields(dir = %dir.as_ref().display()))]
    pub fn checkpoint(&self, dir: impl AsRef<Path>) -> Result<()> {
        self.check_writable("make a checkpoint")?;
        let dir = dir.as_ref();
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent).map_err(Error::path("create", parent))?;
        }
        fs::create_dir(dir).map_err(Error::path("create", dir))?;
        Checkpoint::new(self.db().raw())
            .and_then(|checkpoint| checkpoint.create_checkpoint(data_of(dir)))
            .map_err(Error::rocks("make a checkpoint"))?;
        // RocksDB syncs the new folder, not its parents.
        sync_dir(dir)?;
        Identity::new(Some(self.id())).write(dir)?;
        match dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => sync_dir(parent),
            None => Ok(()),
        }
    }
}
