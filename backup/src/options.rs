//! Settings of a backup.

use icecore_archive::{BackupSelector, ProgressFn};
use icecore_engine::Compression;
use icecore_mvcc::{NamePattern, Timestamp};

use crate::error::{Error, Result};
use crate::mode::Mode;

/// What an incremental does where garbage collection took a part of a keyspace's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnGcGap {
    /// It fails with both times, and nothing is written. The default.
    #[default]
    Error,
    /// It takes that keyspace from zero, and the others' windows as ever. Times within the gap cannot be
    /// restored of it.
    Reexport,
}

/// For which keyspaces a layer tells the fingerprint of their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fingerprints {
    /// For none.
    Never,
    /// For those whose rows are read anyway, and those whose changes lead on from the layer before. The
    /// default.
    #[default]
    Auto,
    /// For all: where need be their whole state is read for it.
    Always,
}

/// Settings of a backup. Plain data: change fields, then run.
#[derive(Clone)]
pub struct BackupOptions {
    /// The time to back up; default: now.
    pub as_of: Option<Timestamp>,
    /// The chain to extend by an incremental; default: a new full backup.
    pub onto: Option<BackupSelector>,
    /// Which keyspaces. Empty: for a full the whole engine, for an incremental what its chain
    /// covers.
    pub keyspaces: Vec<NamePattern>,
    /// Keep every version in the layer's window, so that any time in it can be restored.
    /// Default `false`: the newest version of each key.
    pub revision_history: bool,
    /// What an incremental does where history is gone that it needs. Default: it fails.
    pub on_gc_gap: OnGcGap,
    /// Whether rows are read, or a full copies live files. Default: whatever is better.
    pub mode: Mode,
    /// Size at which a file is closed, in bytes, 1 MiB to 2 GiB. Default 128 MiB.
    pub target_file_bytes: u64,
    /// Threads that export, 1 to 64; as many uploads run beside them. Default 2.
    pub threads: usize,
    /// Compression of the files. Default LZ4.
    pub compression: Compression,
    /// For which keyspaces the layer tells a fingerprint, by which a restore can be proven.
    pub fingerprints: Fingerprints,
    /// Read every file of the layer back and compare its checksums, before the manifest is written. Costs
    /// as much to read as was stored. Default no: a listing checks that all are there with their lengths.
    pub recheck: bool,
    /// Called as bytes are stored.
    pub progress: Option<ProgressFn>,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self {
            as_of: None,
            onto: None,
            keyspaces: Vec::new(),
            revision_history: false,
            on_gc_gap: OnGcGap::Error,
            mode: Mode::Auto,
            target_file_bytes: 128 << 20,
            threads: 2,
            compression: Compression::Lz4,
            fingerprints: Fingerprints::Auto,
            recheck: false,
            progress: None,
        }
    }
}

impl BackupOptions {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] names the first setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        if !(1..=64).contains(&self.threads) {
            return Err(invalid(
                "threads",
                format!("{} is not within 1 to 64", self.threads),
            ));
        }
        if !(1 << 20..=2 << 30).contains(&self.target_file_bytes) {
            let reason = format!(
                "{} bytes is not within 1 MiB to 2 GiB",
                self.target_file_bytes
            );
            return Err(invalid("target_file_bytes", reason));
        }
        Ok(())
    }
}

fn invalid(name: &'static str, reason: String) -> Error {
    Error::InvalidOption { name, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked() {
        BackupOptions::default().validate().unwrap();
        let text = |o: BackupOptions| o.validate().unwrap_err().to_string();
        let threads = BackupOptions {
            threads: 0,
            ..BackupOptions::default()
        };
        assert_eq!(
            text(threads),
            "invalid backup setting threads: 0 is not within 1 to 64"
        );
        let size = BackupOptions {
            target_file_bytes: 1,
            ..BackupOptions::default()
        };
        assert_eq!(
            text(size),
            "invalid backup setting target_file_bytes: 1 bytes is not within 1 MiB to 2 GiB"
        );
    }
}
