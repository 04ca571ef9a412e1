//! Why a backup failed. Nothing that fails leaves a layer behind that could be listed.

use icecore_archive::CollectionId;
use icecore_mvcc::{EngineId, Timestamp};

use crate::jobs::{JobId, JobState};

/// The result of a backup call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a backup failed, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] icecore_engine::Error),
    /// The collection failed.
    #[error(transparent)]
    Archive(#[from] icecore_archive::Error),
    /// The history that the backup needs is not protected, or not there any more.
    #[error(transparent)]
    Protection(#[from] icecore_gc::Error),
    /// The chain was made by another engine.
    #[error(
        "backup {chain} belongs to engine {theirs}, this is engine {ours}: an incremental would mix two histories; take a full backup of this engine instead"
    )]
    OtherEngine {
        /// The full backup that the chain begins with.
        chain: String,
        /// The engine that made it.
        theirs: EngineId,
        /// This engine.
        ours: EngineId,
    },
    /// At the place where a job was begun lies another collection.
    #[error(
        "{location} holds collection {found}; the job was begun in collection {begun}: \
         bring that back, say by mounting its disk, or cancel the job"
    )]
    OtherCollection {
        /// The place, redacted.
        location: String,
        /// What is there.
        found: CollectionId,
        /// What was there.
        begun: CollectionId,
    },
    /// The end time is not after the chain's end.
    #[error(
        "backup {chain} reaches {chain_end} already, which is not before {end}; use a later time"
    )]
    NotAfterChain {
        /// The full backup that the chain begins with.
        chain: String,
        /// The chain's end.
        chain_end: Timestamp,
        /// The end asked for.
        end: Timestamp,
    },
    /// An incremental names other keyspaces than its chain.
    #[error(
        "backup {chain} covers {theirs}, the incremental asks for {ours}; leave the keyspaces out to take the chain's, or take a full backup of the new selection"
    )]
    OtherScope {
        /// The full backup that the chain begins with.
        chain: String,
        /// What the chain covers.
        theirs: String,
        /// What was asked for.
        ours: String,
    },
    /// A pattern selects nothing.
    #[error("no keyspace matches {pattern} as of {end}; `keyspace list` shows those that exist")]
    NothingMatches {
        /// The pattern.
        pattern: String,
        /// The backup's end time.
        end: Timestamp,
    },
    /// What is selected was restored here only after the end.
    #[error(
        "no keyspace as of {end}: {keyspace} was restored here only at {restored}, and what it was before belongs to the database it came from; back up as of {restored} or later, with --revision-history to take that past along"
    )]
    RestoredLater {
        /// The keyspace.
        keyspace: String,
        /// The backup's end time.
        end: Timestamp,
        /// When it was restored.
        restored: Timestamp,
    },
    /// A window of history is gone.
    #[error(
        "protected ts verification error: the incremental needs keyspace {keyspace} from {start} on, but its garbage-collection threshold is {threshold}{}; take that keyspace from zero with --on-gc-gap reexport (`OnGcGap::Reexport`), or take a full backup",
        .released.as_ref().map(|why| format!("; {why}")).unwrap_or_default()
    )]
    GcGap {
        /// The keyspace.
        keyspace: String,
        /// Where the incremental begins.
        start: Timestamp,
        /// The keyspace's threshold.
        threshold: Timestamp,
        /// That the chain's protection was released without anybody asking, when and why.
        released: Option<String>,
    },
    /// A compaction did not write what it read.
    #[error(
        "merging keyspace {keyspace} gave {found} versions, the layers hold {expected}; nothing of the merged layer is listed; run `icecore verify` on the chain, and report this if it finds nothing"
    )]
    MergeMismatch {
        /// The keyspace.
        keyspace: String,
        /// Versions in the files that were merged.
        expected: u64,
        /// Versions written.
        found: u64,
    },
    /// Retention would not keep what it promises.
    #[error(
        "retention would leave less than promised: {reason}; nothing was changed; this is a fault of icecore: report it"
    )]
    WouldLeaveLess {
        /// What would be missing.
        reason: String,
    },
    /// Live files cannot be what was asked for.
    #[error("cannot take a fast full: {reason}; leave the mode to `auto`, or take `logical`")]
    NotFast {
        /// Why not.
        reason: &'static str,
    },
    /// No job has this id.
    #[error("there is no job {id}; `jobs list` shows those that there are")]
    NoSuchJob {
        /// The id asked for.
        id: JobId,
    },
    /// A text is no job's id.
    #[error("{text:?} is no job's id; `jobs list` shows them")]
    JobIdSyntax {
        /// The text.
        text: String,
    },
    /// The job is in a state in which this cannot be done to it.
    #[error("job {id} is {state} and cannot be {wanted}; `jobs show {id}` tells more")]
    JobState {
        /// The job.
        id: JobId,
        /// Its state.
        state: JobState,
        /// What was to be done to it.
        wanted: &'static str,
    },
    /// Nobody here runs jobs of this kind.
    #[error("there are no jobs of kind {kind:?} here; known are {known}")]
    UnknownKind {
        /// The kind asked for.
        kind: String,
        /// Those that there are.
        known: String,
    },
    /// A job that may not be.
    #[error("the job is refused: {reason}")]
    JobRefused {
        /// Why, and what to do.
        reason: String,
    },
    /// A job's row is not what it must be.
    #[error("job {id} cannot be read ({reason}); use the version that wrote it, or a newer one")]
    UnreadableJob {
        /// The key of its row.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// No schedule has this label.
    #[error("there is no schedule {label:?}; `schedule list` shows those that there are")]
    NoSuchSchedule {
        /// The label asked for.
        label: String,
    },
    /// A schedule has this label already.
    #[error(
        "there is a schedule {label:?} already; choose another label, or change that one with `schedule alter`"
    )]
    ScheduleExists {
        /// The label.
        label: String,
    },
    /// A schedule that may not be.
    #[error("the schedule is refused: {reason}")]
    ScheduleRefused {
        /// Why, and what to do.
        reason: String,
    },
    /// A schedule's row is not what it must be.
    #[error(
        "schedule {label:?} cannot be read ({reason}); use the version that wrote it, or a newer one, or drop the schedule and make it anew"
    )]
    UnreadableSchedule {
        /// The key of its row.
        label: String,
        /// What is wrong.
        reason: String,
    },
    /// A text does not say when something comes.
    #[error(
        "{text:?} is no cron expression: {reason}; write five fields (minute, hour, day of month, month, day of week; UTC), or @hourly, @daily, @weekly, @monthly, @yearly"
    )]
    CronSyntax {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gave no thread.
    #[error("cannot start a runner: {source}; free memory or threads, then try again")]
    Thread {
        /// The system's answer.
        source: std::io::Error,
    },
    /// The runner is gone.
    #[error(
        "a runner had stopped with a panic ({message}); report it, and start it again: jobs go on from their checkpoints, schedules with what is due"
    )]
    RunnerPanicked {
        /// What the panic said.
        message: String,
    },
    /// A setting is out of its range.
    #[error("invalid backup setting {name}: {reason}")]
    InvalidOption {
        /// The setting.
        name: &'static str,
        /// What is allowed.
        reason: String,
    },
}

#[cfg(test)]
mod tests;
