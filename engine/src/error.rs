//! What can go wrong, and what the caller can do about it.
//!
//! Every text is one line that says what happened, to what, and the way out. Errors that a
//! caller may simply try again answer `true` to [`Error::is_retryable`].

use std::path::{Path, PathBuf};

use icecore_mvcc::Timestamp;

/// The result of every engine call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an engine call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process has the folder open.
    #[error(
        "database {} is in use by another process; stop that process or open a checkpoint or a restored copy instead",
        .path.display()
    )]
    Locked {
        /// The database folder.
        path: PathBuf,
    },
    /// The folder exists but was not made by Icecore.
    #[error("{} is not an Icecore database ({reason}); name another folder", .path.display())]
    NotADatabase {
        /// The folder.
        path: PathBuf,
        /// What was found there.
        reason: String,
    },
    /// There is nothing at the path and creating was not asked for.
    #[error("there is no database at {}; check the path, or create one first", .path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The database was written by a newer version.
    #[error(
        "database {} has format version {found}, this program reads up to {supported}; use a newer Icecore",
        .path.display()
    )]
    NewerFormat {
        /// The database folder.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version this program knows.
        supported: u32,
    },
    /// A persisted structure is not what it must be.
    #[error("database is corrupt: {what}; restore it from a backup")]
    Corruption {
        /// What is wrong, and where.
        what: String,
    },
    /// A setting is out of its range.
    #[error("invalid setting {name}: {reason}")]
    InvalidOption {
        /// The setting's name.
        name: &'static str,
        /// What is allowed.
        reason: String,
    },
    /// A key, value, name or setting that the data model does not allow.
    #[error(transparent)]
    Invalid(#[from] icecore_mvcc::Error),
    /// No keyspace has this name now.
    #[error("keyspace {name} does not exist; `keyspace list` shows those that do")]
    NoSuchKeyspace {
        /// The name asked for.
        name: String,
    },
    /// What is restored as a whole engine goes only into one that never had a keyspace.
    #[error(
        "cannot restore a whole engine into {}: it has had keyspaces of its own; restore into a new folder, or name the keyspaces to restore",
        .path.display()
    )]
    NotEmpty {
        /// The database folder.
        path: PathBuf,
    },
    /// The name is taken.
    #[error("keyspace {name} exists already; drop it first or choose another name")]
    KeyspaceExists {
        /// The name asked for.
        name: String,
    },
    /// The keyspace was dropped before the time asked for.
    #[error(
        "keyspace {name} was dropped at {dropped}; read it as of an earlier time, or create it anew"
    )]
    KeyspaceDropped {
        /// The keyspace's name.
        name: String,
        /// When it was dropped.
        dropped: Timestamp,
    },
    /// A read at a time whose versions may be gone.
    #[error(
        "cannot read keyspace {keyspace} as of {requested}: its garbage-collection threshold is {threshold}; read at or after the threshold, or restore a backup that covers the time"
    )]
    BelowThreshold {
        /// The keyspace's name.
        keyspace: String,
        /// The time of the read.
        requested: Timestamp,
        /// The keyspace's threshold.
        threshold: Timestamp,
    },
    /// A change feed needs history that is gone.
    #[error(
        "change feed cannot go on after {position}: {what} is gone up to {floor}; copy the keyspaces as of now, and subscribe from then"
    )]
    FeedGap {
        /// Where the feed stands.
        position: Timestamp,
        /// What is gone.
        what: String,
        /// Up to which time.
        floor: Timestamp,
    },
    /// A resume token says nothing here.
    #[error(
        "resume token {token:?} cannot be used: {reason}; give the last token of a feed of this database, or copy the keyspaces as of now and subscribe from then"
    )]
    ResumeToken {
        /// The token.
        token: String,
        /// Why not.
        reason: String,
    },
    /// A read at a time that has not come yet.
    #[error(
        "cannot read as of {requested}: it is after the database's current time {now}; use an earlier time"
    )]
    InFuture {
        /// The time of the read.
        requested: Timestamp,
        /// The current time of the hybrid clock.
        now: Timestamp,
    },
    /// A protected timestamp holds more than it may, and says that writes stop then.
    #[error(
        "writes are refused: of protected timestamp {record} of {owner}, {reason}; release it, move it forward or raise its limit (`icecore protect release` or `alter`)"
    )]
    WritesRefused {
        /// The record's id.
        record: String,
        /// Who holds it.
        owner: String,
        /// What went too far.
        reason: String,
    },
    /// A transaction lost against another commit.
    #[error(
        "transaction conflict on key {key} of keyspace {keyspace}: another commit changed it at {at}; run the transaction again"
    )]
    Conflict {
        /// The keyspace's name.
        keyspace: String,
        /// The key, escaped for printing.
        key: String,
        /// When the other commit changed it.
        at: Timestamp,
    },
    /// A write to a database opened read-only.
    #[error("database is open read-only; open it for writing to {action}")]
    ReadOnly {
        /// What was tried.
        action: &'static str,
    },
    /// A transaction stayed open for so long that what it could conflict with is no longer known.
    #[error(
        "transaction that began at {start} is older than the commits kept for conflict checks; run the transaction again, and keep it shorter"
    )]
    TransactionTooOld {
        /// The time that it reads.
        start: Timestamp,
    },
    /// A keyspace, snapshot or restore was given to an engine that it does not come from.
    #[error("{what} belongs to another database; use the handles of the database that is called")]
    ForeignHandle {
        /// What was given.
        what: String,
    },
    /// The clock cannot go so far.
    #[error(
        "the clock cannot pass {requested}, the end of time as it is counted here; correct the wall clock"
    )]
    ClockExhausted {
        /// The time that it should have shown.
        requested: Timestamp,
    },
    /// Input to a bulk load or an SST file is out of order.
    #[error(
        "{what} is out of order: key {key} does not come after its predecessor; sort the input first"
    )]
    OutOfOrder {
        /// Which input.
        what: &'static str,
        /// The offending key, escaped for printing.
        key: String,
    },
    /// The database stopped after a failure it cannot repair while running.
    #[error(
        "database stopped after a failure ({cause}); close it, mend the cause and open it again"
    )]
    Poisoned {
        /// The first failure.
        cause: String,
    },
    /// A restore is not in the state that the call needs.
    #[error("restore {restore} of keyspace {name} is {state}; {way_out}")]
    Restore {
        /// The restore's id.
        restore: String,
        /// The keyspace's name.
        name: String,
        /// What is the matter.
        state: String,
        /// What to do.
        way_out: &'static str,
    },
    /// The operating system refused.
    #[error("cannot {action} {subject}: {source}; mend what the system reports, then try again")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        subject: String,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// RocksDB refused.
    #[error(
        "cannot {action}: {source}; data/LOG in the database folder says more: mend the disk and try again, or restore from a backup"
    )]
    Rocks {
        /// What was tried, as a verb.
        action: &'static str,
        /// RocksDB's answer.
        source: rocksdb::Error,
    },
}

impl Error {
    /// An I/O failure while doing `action` to `subject`.
    pub fn io(action: &'static str, subject: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io {
            action,
            subject: subject.into(),
            source,
        }
    }

    /// An I/O failure on a path.
    pub(crate) fn path(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let subject = path.display().to_string();
        move |source| Self::Io {
            action,
            subject,
            source,
        }
    }

    /// A RocksDB failure while doing `action`.
    pub(crate) fn rocks(action: &'static str) -> impl FnOnce(rocksdb::Error) -> Self {
        move |source| Self::Rocks { action, source }
    }

    /// A user key as errors show it: short, and seen even if it is empty.
    pub(crate) fn key_text(user: &[u8]) -> String {
        match user {
            [] => "\"\"".to_owned(),
            _ => icecore_mvcc::text::preview(user),
        }
    }

    /// A structure on disk that breaks its format.
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corruption { what: what.into() }
    }

    /// Whether the same call, made again from the start, may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::TransactionTooOld { .. })
    }
}

#[cfg(test)]
mod tests;
