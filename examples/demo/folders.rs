//! Where the demo keeps its databases and its backups.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use icecore_examples::text;
use tempfile::TempDir;

use crate::error::{Result, ensure};

/// One folder for everything.
pub(crate) struct Folders {
    root: PathBuf,
    /// Removes the folder at the end, unless it was asked for.
    _temporary: Option<TempDir>,
}

impl Folders {
    /// In `dir`, which must be new or empty; else in a temporary folder.
    pub(crate) fn new(dir: Option<&Path>) -> Result<Self> {
        let Some(dir) = dir else {
            let temporary = tempfile::Builder::new().prefix("icecore-demo-").tempdir()?;
            return Ok(Self {
                root: temporary.path().to_owned(),
                _temporary: Some(temporary),
            });
        };
        let root = std::path::absolute(dir)?;
        fs::create_dir_all(&root)?;
        ensure(fs::read_dir(&root)?.next().is_none(), || {
            format!("{} is not empty; name a new folder", root.display())
        })?;
        Ok(Self {
            root,
            _temporary: None,
        })
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The database that is going to be lost.
    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("database")
    }

    /// The collection of backups.
    pub(crate) fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }

    /// Where the latest state is restored.
    pub(crate) fn restored_latest(&self) -> PathBuf {
        self.root.join("restored-latest")
    }

    /// Where the moment of 16 December is restored.
    pub(crate) fn restored_december_16(&self) -> PathBuf {
        self.root.join("restored-december-16")
    }

    /// Deletes the database folder.
    pub(crate) fn lose_database(&self) -> Result<()> {
        let database = self.database();
        let bytes = bytes_in(&database)?;
        let begun = Instant::now();
        fs::remove_dir_all(&database)?;
        ensure(!database.exists(), || {
            format!("{} is still there", database.display())
        })?;
        println!(
            "the database folder is deleted: {} MB gone in {} s; what is left are {} MB of backups",
            text::megabytes(bytes),
            text::seconds(begun.elapsed()),
            text::megabytes(bytes_in(&self.backups())?),
        );
        Ok(())
    }
}

/// Bytes of all files in a folder.
fn bytes_in(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            bytes_in(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}
