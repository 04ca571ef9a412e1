//! Settings of a compaction.

use std::path::PathBuf;

use icecore_archive::{BackupSelector, ProgressFn};
use icecore_engine::Compression;

use crate::error::{Error, Result};

/// Settings of a compaction. Plain data: change fields, then run.
#[derive(Clone)]
pub struct CompactOptions {
    /// Which chain. Default: the latest full and its incrementals.
    pub backup: BackupSelector,
    /// How many of the newest incrementals are left as they are. Default 0.
    pub keep_newest: usize,
    /// Size at which a file is closed, in bytes, 1 MiB to 2 GiB. Default 128 MiB.
    pub target_file_bytes: u64,
    /// Keyspaces merged at a time, and files fetched at a time, 1 to 64. Default 2.
    pub threads: usize,
    /// Compression of the files. Default LZ4.
    pub compression: Compression,
    /// The folder in which a staging folder is made. Default: the system's folder for temporary files.
    pub staging: Option<PathBuf>,
    /// Bytes of fetched files that may lie in the staging folder, at least 64 MiB; more only where files
    /// that overlap each other are larger. Default 4 GiB.
    pub staging_bytes: u64,
    /// Called as bytes are fetched.
    pub progress: Option<ProgressFn>,
}

impl Default for CompactOptions {
    fn default() -> Self {
        Self {
            backup: BackupSelector::Latest,
            keep_newest: 0,
            target_file_bytes: 128 << 20,
            threads: 2,
            compression: Compression::Lz4,
            staging: None,
            staging_bytes: 4 << 30,
            progress: None,
        }
    }
}

impl CompactOptions {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] names the first setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let invalid = |name, reason: String| Err(Error::InvalidOption { name, reason });
        if !(1..=64).contains(&self.threads) {
            let reason = format!("{} is not within 1 to 64", self.threads);
            return invalid("threads", reason);
        }
        if !(1 << 20..=2 << 30).contains(&self.target_file_bytes) {
            let reason = format!(
                "{} bytes is not within 1 MiB to 2 GiB",
                self.target_file_bytes
            );
            return invalid("target_file_bytes", reason);
        }
        if self.staging_bytes < 64 << 20 {
            let reason = format!("{} bytes is less than 64 MiB", self.staging_bytes);
            return invalid("staging_bytes", reason);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked() {
        CompactOptions::default().validate().unwrap();
        let breaks: [fn(&mut CompactOptions); 4] = [
            |o| o.threads = 0,
            |o| o.threads = 65,
            |o| o.target_file_bytes = 1,
            |o| o.staging_bytes = 1,
        ];
        for change in breaks {
            let mut options = CompactOptions::default();
            change(&mut options);
            let error = options.validate().unwrap_err();
            assert!(matches!(error, Error::InvalidOption { .. }), "{error}");
        }
    }
}
