//! Why a restore failed. Nothing that fails leaves anything visible behind.

use std::path::PathBuf;

use icecore_archive::ContentHash;
use icecore_mvcc::{Fingerprint, Timestamp};

/// The result of a restore call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a restore failed, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] icecore_engine::Error),
    /// The collection failed, or its bytes are not what the manifest says.
    #[error(transparent)]
    Archive(#[from] icecore_archive::Error),
    /// A whole-engine restore into an engine that is in use.
    #[error(
        "cannot restore a whole engine into {engine}: it has had keyspaces of its own; restore into a new folder, or name the keyspaces to restore"
    )]
    NotEmpty {
        /// The database folder.
        engine: String,
    },
    /// A pattern selects nothing.
    #[error(
        "the backup has no keyspace that matches {pattern} as of {target}; name one that it has ({available}), or choose another time"
    )]
    NothingMatches {
        /// The pattern.
        pattern: String,
        /// The time to restore.
        target: Timestamp,
        /// The names that there are.
        available: String,
    },
    /// No keyspace existed at the time, and one came later.
    #[error(
        "backup {full} holds no keyspace as of {target}: {keyspace} has existed only since {since}; choose a time from then until {until}"
    )]
    BeforeKeyspaces {
        /// The full backup that the chain begins with.
        full: String,
        /// The time asked for.
        target: Timestamp,
        /// The first keyspace that came later.
        keyspace: String,
        /// Since when.
        since: Timestamp,
        /// The end of the newest layer that was looked at.
        until: Timestamp,
    },
    /// A rename names a keyspace that is not restored.
    #[error(
        "cannot rename {name}: it is not among the keyspaces to restore; rename one of these: {available}"
    )]
    NothingToRename {
        /// The name given.
        name: String,
        /// The names that there are.
        available: String,
    },
    /// Two keyspaces would get one name.
    #[error("{first} and {second} would both be restored as {name}; rename one of them")]
    SameName {
        /// A keyspace.
        first: String,
        /// Another.
        second: String,
        /// The name that both would get.
        name: String,
    },
    /// The history of a keyspace does not reach back to the target.
    #[error(
        "keyspace {keyspace} cannot be restored as of {target}: layer {layer} has its history from {from} on; choose a time from then on, or the end of an earlier layer"
    )]
    NoHistory {
        /// The keyspace.
        keyspace: String,
        /// The time asked for.
        target: Timestamp,
        /// The layer that the time lies in.
        layer: String,
        /// The oldest time in that layer.
        from: Timestamp,
    },
    /// A layer goes on with a keyspace that no layer before it begins.
    #[error(
        "backup is incomplete: layer {layer} has changes of keyspace {keyspace}, which no earlier layer holds; bring the missing layer back from a copy, or restore from another full backup"
    )]
    Unfounded {
        /// The keyspace.
        keyspace: String,
        /// The layer.
        layer: String,
    },
    /// The collection does not end where the caller expects.
    #[error(
        "the newest layer of backup {chain} has hash {found}, expected {expected}: the collection is older or newer than you think; look at `show backup`"
    )]
    UnexpectedHead {
        /// The chain.
        chain: String,
        /// The hash found.
        found: ContentHash,
        /// The hash expected.
        expected: ContentHash,
    },
    /// The file system of the database has too little room.
    #[error(
        "cannot restore into {}: {needed} bytes are needed there, {available} are free; free {} bytes, restore fewer keyspaces, or restore into a folder on another file system", .folder.display(), .needed.saturating_sub(*.available)
    )]
    NoSpace {
        /// The folder whose file system was asked.
        folder: PathBuf,
        /// Bytes that the restore needs.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// Somebody's restore holds a name.
    #[error(
        "keyspace {keyspace} is being restored by {owner}; let that come to its end, or give it up first"
    )]
    Held {
        /// The keyspace.
        keyspace: String,
        /// Who restores it.
        owner: String,
    },
    /// What came back is not what was backed up.
    #[error(
        "keyspace {keyspace} as of {target} has fingerprint {found}, its manifest says {expected}: what came back is not what was backed up, and stays hidden; free it with `restore --abandon`, and restore another time or backup"
    )]
    OtherState {
        /// The keyspace.
        keyspace: String,
        /// The time restored.
        target: Timestamp,
        /// The fingerprint of what came back.
        found: Fingerprint,
        /// That of the manifest.
        expected: Fingerprint,
    },
    /// The caller asked it to stop.
    #[error(
        "the restore was stopped before its end; run it again to go on from there, or give it up with `restore --abandon`"
    )]
    Interrupted,
    /// A setting is out of its range.
    #[error("invalid restore setting {name}: {reason}")]
    InvalidOption {
        /// The setting.
        name: &'static str,
        /// What is allowed.
        reason: String,
    },
}

#[cfg(test)]
mod tests;
