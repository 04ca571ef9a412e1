//! What can go wrong in a benchmark run.

use std::path::{Path, PathBuf};

/// Result of the harness.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a run stopped. A missed bar is not an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine failed.
    #[error("icecore: {0}")]
    Engine(#[from] icecore_engine::Error),
    /// A collection could not be used.
    #[error("archive: {0}")]
    Archive(#[source] Box<icecore_archive::Error>),
    /// A backup failed.
    #[error("backup: {0}")]
    Backup(#[source] Box<icecore_backup::Error>),
    /// A restore failed.
    #[error("restore: {0}")]
    Restore(#[source] Box<icecore_restore::Error>),
    /// A plain copy failed; `cp` said why on standard error.
    #[error("cp -r of {} failed: {status}", from.display())]
    CopyFailed {
        /// What was copied.
        from: PathBuf,
        /// How `cp` ended.
        status: std::process::ExitStatus,
    },
    /// The peer failed.
    #[error("rocksdb: {0}")]
    Rocks(#[from] rocksdb::Error),
    /// A file or folder could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A measured operation gave a wrong answer, so its time means nothing.
    #[error("{figure}: {system} gave {found}, not {expected}; its time means nothing")]
    WrongAnswer {
        /// The figure being taken.
        figure: &'static str,
        /// Who gave it.
        system: &'static str,
        /// What it gave.
        found: String,
        /// What it should have given.
        expected: String,
    },
    /// A family was asked for that the suite does not have.
    #[error("the suite has no family {name}; it has {known}")]
    NoSuchFamily {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

impl From<icecore_archive::Error> for Error {
    fn from(error: icecore_archive::Error) -> Self {
        Self::Archive(Box::new(error))
    }
}

impl From<icecore_backup::Error> for Error {
    fn from(error: icecore_backup::Error) -> Self {
        Self::Backup(Box::new(error))
    }
}

impl From<icecore_restore::Error> for Error {
    fn from(error: icecore_restore::Error) -> Self {
        Self::Restore(Box::new(error))
    }
}

impl Error {
    /// For `map_err`, with what was tried.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// An error unless the answer is the right one.
    pub(crate) fn check<T: PartialEq + std::fmt::Debug>(
        figure: &'static str,
        system: &'static str,
        found: &T,
        expected: &T,
    ) -> Result<()> {
        if found == expected {
            return Ok(());
        }
        let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
        Err(Self::WrongAnswer {
            figure,
            system,
            found,
            expected,
        })
    }
}
