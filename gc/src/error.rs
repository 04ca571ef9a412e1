//! What can go wrong, and what the caller can do about it. Every text is one line.

use icecore_mvcc::Timestamp;

use crate::record::RecordId;

/// The result of every call of this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Versions that the record would need may be gone already; nothing was recorded.
    #[error(
        "protected ts verification error: cannot protect {timestamp}: the garbage-collection threshold of \
         keyspace {keyspace} is {threshold}, so older versions may be gone; protect a time at or after the \
         threshold, or take a new full backup"
    )]
    Verification {
        /// The time that was to be protected.
        timestamp: Timestamp,
        /// The first keyspace whose threshold has passed it.
        keyspace: String,
        /// That keyspace's threshold.
        threshold: Timestamp,
    },
    /// The time to protect has not come yet.
    #[error(
        "cannot protect {timestamp}: it is after the database's current time {now}; use an earlier time"
    )]
    InFuture {
        /// The time that was to be protected.
        timestamp: Timestamp,
        /// The current time of the hybrid clock.
        now: Timestamp,
    },
    /// A record only moves forward.
    #[error(
        "cannot move protected timestamp {id} back from {from} to {to}: what lies between may be gone; make a \
         new record for the earlier time"
    )]
    Backwards {
        /// The record.
        id: RecordId,
        /// What it protects.
        from: Timestamp,
        /// What was asked for.
        to: Timestamp,
    },
    /// No record has this id.
    #[error(
        "there is no protected timestamp {id}: it was released, or never made; list those that there are"
    )]
    NoSuchRecord {
        /// The id asked for.
        id: RecordId,
    },
    /// A keyspace is named that does not exist, now or at the time in question.
    #[error(
        "keyspace {name} does not exist; check the name, or use a pattern to include keyspaces to come"
    )]
    NoSuchKeyspace {
        /// The name as given.
        name: String,
    },
    /// The text is no record id.
    #[error(
        "{text:?} is not the id of a protected timestamp: write it as listed, 32 hexadecimal digits with hyphens"
    )]
    RecordIdSyntax {
        /// The text as given.
        text: String,
    },
    /// A field of a request is not what it must be.
    #[error("cannot protect: {field} {reason}")]
    InvalidRequest {
        /// Which field.
        field: &'static str,
        /// What is wrong with it, and what is allowed.
        reason: String,
    },
    /// A consumer of changes follows other keyspaces than are asked for.
    #[error(
        "consumer {name} follows {has}, not {asked}; ask for the same, forget it first, or give the new one another name"
    )]
    ConsumerKeyspaces {
        /// The consumer's name.
        name: String,
        /// What it follows.
        has: String,
        /// What was asked for.
        asked: String,
    },
    /// A setting is out of its range.
    #[error("invalid setting {name}: {reason}")]
    InvalidOption {
        /// The setting's name.
        name: &'static str,
        /// What is allowed.
        reason: String,
    },
    /// A stored record cannot be understood. Nothing is collected meanwhile: it may protect anything.
    #[error(
        "protected timestamp {id} cannot be read ({reason}), and garbage collection stands still until it can; \
         use the newer icecore that wrote it, or release it"
    )]
    UnreadableRecord {
        /// Its key among the records.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The worker's thread could not be started.
    #[error(
        "cannot start the garbage-collection worker: {source}; free some threads or memory and try again"
    )]
    Thread {
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The worker's thread ended with a panic.
    #[error(
        "the garbage-collection worker panicked ({message}); report it, and start the worker again"
    )]
    WorkerPanicked {
        /// What the panic said.
        message: String,
    },
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] icecore_engine::Error),
}

impl Error {
    /// Whether a keyspace vanished while it was worked on: another round purged it.
    pub(crate) fn is_gone(&self) -> bool {
        use icecore_engine::Error::{KeyspaceDropped, NoSuchKeyspace};
        matches!(
            self,
            Self::Engine(NoSuchKeyspace { .. } | KeyspaceDropped { .. })
        )
    }
}

#[cfg(test)]
mod tests;
