//! What every family is given: the scale, the settings, and a place for its data.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::scale::Scale;

/// The surroundings of a run.
#[derive(Debug)]
pub struct Bench {
    /// How much is measured.
    pub scale: Scale,
    /// Settings of ours; peers get the same.
    pub options: icecore_engine::Options,
    parent: PathBuf,
}

impl Bench {
    /// A run whose data lies under `dir`, by default under `target/` where there is one, since the
    /// system's temporary folder may be in memory, which makes syncing look free.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be made.
    pub fn new(scale: Scale, dir: Option<&Path>) -> Result<Self> {
        let parent = dir.map_or_else(default_parent, Path::to_owned);
        std::fs::create_dir_all(&parent).map_err(Error::io("create", &parent))?;
        Ok(Self {
            scale,
            options: icecore_engine::Options::default(),
            parent,
        })
    }

    /// Where the data lies.
    #[must_use]
    pub fn parent(&self) -> &Path {
        &self.parent
    }

    /// A new folder, removed when dropped.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made.
    pub fn folder(&self) -> Result<TempDir> {
        tempfile::Builder::new()
            .prefix("icecore-bench-")
            .tempdir_in(&self.parent)
            .map_err(Error::io("create a folder in", &self.parent))
    }
}

fn default_parent() -> PathBuf {
    let target = Path::new("target");
    if target.is_dir() {
        target.join("bench-data")
    } else {
        std::env::temp_dir()
    }
}
