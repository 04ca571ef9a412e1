//! What can go wrong in a command, and with which code the program then ends.

use std::io;
use std::path::PathBuf;

use icecore_backup::jobs::{JobId, JobState};

/// The result of what this crate does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command failed. Each text is one line that says what happened, to what, and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command needs a database and none was named.
    #[error("no database is named; give --db DIR or set ICECORE_DB")]
    NoDatabase,
    /// A command that writes was given a backup.
    #[error(
        "a backup is only read: name a database folder with --db to write to, or restore the backup into one"
    )]
    BackupIsReadOnly,
    /// A command that needs a database was given a backup.
    #[error(
        "this command needs a database, and --db names a backup: of that, get, scan, dump, versions and keyspace list read in place; restore it to do more"
    )]
    NotOfABackup,
    /// An argument is not what it must be.
    #[error("{0}")]
    Usage(String),
    /// The key has no value at that time.
    #[error(
        "key {key} does not exist in keyspace {keyspace}{as_of}; `icecore versions` shows its history"
    )]
    NoSuchKey {
        /// The keyspace's name.
        keyspace: String,
        /// The key, escaped for printing.
        key: String,
        /// ` as of TIME`, or nothing for now.
        as_of: String,
    },
    /// The name of a file to load does not tell its format.
    #[error(
        "cannot tell the format of {} from its name; give --format csv or --format jsonl", .path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A file to load as a whole is not what it must be.
    #[error("cannot load {file}: {reason}")]
    Input {
        /// The file.
        file: String,
        /// What is wrong with it, and the way out.
        reason: String,
    },
    /// A row of a file to load is not what it must be.
    #[error("cannot load {file}, line {line}: {reason}")]
    Row {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A load stopped after some rows were committed.
    #[error(
        "{cause}; what comes before that is committed ({}), and may be loaded again",
        crate::output::plural(*rows, "row")
    )]
    Stopped {
        /// Rows committed.
        rows: u64,
        /// Why.
        cause: Box<Error>,
    },
    /// Nobody is there to run a job.
    #[error(
        "no process runs the jobs of database {}; start `icecore serve-jobs` for it, or leave out --detached", .path.display()
    )]
    Unserved {
        /// The database folder.
        path: PathBuf,
    },
    /// The process that runs the jobs has the database.
    #[error(
        "database {} is held by the `icecore serve-jobs` that runs its jobs; give backups and restores --detached, or stop that process", .path.display()
    )]
    HeldByServer {
        /// The database folder.
        path: PathBuf,
    },
    /// What the process that runs the jobs answered.
    #[error("{0}")]
    Server(String),
    /// A job that was waited for did not succeed.
    #[error("job {id} is {state}{error}; `icecore jobs show {id}` tells more")]
    JobEnded {
        /// The job.
        id: JobId,
        /// Its state.
        state: JobState,
        /// `: ` and why, or nothing.
        error: String,
    },
    /// Backups of schedules that were waited for did not succeed.
    #[error("{failed} of {runs} failed; `icecore schedule list` tells why", runs = crate::output::plural(*runs, "backup"))]
    SchedulesFailed {
        /// How many failed.
        failed: u64,
        /// How many there were.
        runs: u64,
    },
    /// Something that was examined is not sound.
    #[error("{0}")]
    Unsound(String),
    /// A key, name, time or other text that the data model does not allow.
    #[error(transparent)]
    Invalid(#[from] icecore_mvcc::Error),
    /// The database refused.
    #[error(transparent)]
    Engine(#[from] icecore_engine::Error),
    /// Garbage collection or protection failed.
    #[error(transparent)]
    Gc(#[from] icecore_gc::Error),
    /// The collection failed.
    #[error(transparent)]
    Archive(#[from] icecore_archive::Error),
    /// The backup failed.
    #[error(transparent)]
    Backup(#[from] icecore_backup::Error),
    /// The restore or the verification failed.
    #[error(transparent)]
    Restore(#[from] icecore_restore::Error),
    /// The operating system refused.
    #[error("cannot {action} {subject}: {source}; mend what the system reports, then run it again")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        subject: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Standard output is gone or full.
    #[error("cannot write the output: {0}; check the file or the program that it goes to")]
    Output(io::Error),
}

impl Error {
    /// A failure of the operating system while doing `action` to `subject`.
    pub(crate) fn io(
        action: &'static str,
        subject: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> Self {
        let subject = subject.into();
        move |source| Self::Io {
            action,
            subject,
            source,
        }
    }

    /// With which code the program ends: 2 where the command line is wrong, 1 where the work failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoDatabase
            | Self::BackupIsReadOnly
            | Self::NotOfABackup
            | Self::Usage(_)
            | Self::UnknownFormat { .. }
            | Self::Invalid(_)
            | Self::Archive(icecore_archive::Error::InvalidPlaces { .. }) => 2,
            _ => 1,
        }
    }

    /// Whether the reader of the output went away, as `icecore dump | head` does: no failure of ours.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The text as the one line that is printed.
    pub fn line(&self) -> String {
        // What object stores and operating systems say may have several lines.
        let text = self.to_string();
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        lines.join("; ")
    }
}

#[cfg(test)]
mod tests;
