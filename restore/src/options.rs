//! Settings of a restore.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use icecore_archive::{BackupSelector, ContentHash, ProgressFn};
use icecore_mvcc::{KeyspaceId, NamePattern, Timestamp};

use crate::error::{Error, Result};

/// How much of the past comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum History {
    /// Every version that the backup has; reads reach back as far as they are true. The default.
    #[default]
    All,
    /// Only the state at the target: reads before it are refused, and garbage collection removes
    /// the older versions.
    None,
}

/// Settings of a restore. Plain data: change fields, then run.
#[derive(Clone)]
pub struct RestoreOptions {
    /// Which backup. Default: the latest full and its incrementals.
    pub from: BackupSelector,
    /// The time to restore; default: the chain's end.
    pub as_of: Option<Timestamp>,
    /// Which keyspaces; empty: all.
    pub keyspaces: Vec<NamePattern>,
    /// New names, by old name.
    pub renames: BTreeMap<String, String>,
    /// The database that restored keyspaces go to; their last segment stays. Renames go first.
    pub into_database: Option<String>,
    /// How much of the past comes back.
    pub history: History,
    /// Only the keyspaces with their settings come back, none of their rows. They are empty from the
    /// target on, and reads before it are refused, whatever `history` says. Default: rows too.
    pub schema_only: bool,
    /// Refuse a chain whose newest manifest has another hash. With an earlier time to restore, the manifests
    /// in between are read too: the newest vouches for them.
    pub expect_head: Option<ContentHash>,
    /// Read what came back before anyone sees it, tell its fingerprints, and refuse to publish what differs
    /// from those in the manifests. Default no.
    pub check_fingerprints: bool,
    /// Whose restore it is, if it is not anybody's: only the same owner goes on with it, and others who want one
    /// of its names are told. One line. Default: anybody's who runs the same restore.
    pub owner: Option<String>,
    /// Fetches at a time, 1 to 64. Default 2.
    pub threads: usize,
    /// Called as bytes are fetched.
    pub progress: Option<ProgressFn>,
    /// Set from anywhere to stop the restore at its next file, with [`Error::Interrupted`]; the same
    /// restore run again goes on from there. Default: nobody can.
    pub interrupt: Option<Arc<AtomicBool>>,
    /// Called once everything is in and before any of it becomes visible, with the names that the
    /// keyspaces will have and their ids. An error stops the restore. A caller that notes them can
    /// tell after a crash whether they were published.
    pub before_publish: Option<BeforePublish>,
}

/// See [`RestoreOptions::before_publish`].
pub type BeforePublish =
    Arc<dyn Fn(&[(String, KeyspaceId)]) -> icecore_engine::Result<()> + Send + Sync>;

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            from: BackupSelector::Latest,
            as_of: None,
            keyspaces: Vec::new(),
            renames: BTreeMap::new(),
            into_database: None,
            history: History::All,
            schema_only: false,
            expect_head: None,
            check_fingerprints: false,
            owner: None,
            threads: 2,
            progress: None,
            interrupt: None,
            before_publish: None,
        }
    }
}

impl RestoreOptions {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] names the first setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        check_threads(self.threads)
    }
}

/// Checks a number of threads.
pub(crate) fn check_threads(threads: usize) -> Result<()> {
    if (1..=64).contains(&threads) {
        return Ok(());
    }
    Err(Error::InvalidOption {
        name: "threads",
        reason: format!("{threads} is not within 1 to 64"),
    })
}
