//! The time-bounded iterator: every version committed in a window of time.
//!
//! Two plans give the same answer. The *index* plan reads the window of the commit index, sorts
//! the exact stored keys it names, and fetches their values in sorted batches: its cost follows
//! what changed. The *scan* plan walks the whole range and filters: its cost follows what is
//! stored. [`ChangePlan::Auto`] takes the index where it covers the window and the number of
//! changes makes it the cheaper, and tells which it took.
//!
//! A window `(after, until]` must begin at or above the keyspace's threshold: below it versions
//! may be gone, and an incomplete answer is worse than none.

mod collect;
mod fetch;
mod index_reader;
mod runs;

use icecore_mvcc::{KeyRange, Timestamp};
pub(crate) use index_reader::IndexReader;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::read::{Pick, Snapshot, VersionRow, Versions};
use collect::Collected;
use fetch::Fetch;

/// A window of time: after (excluded) to until (included).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Versions at or before this are left out.
    pub after: Timestamp,
    /// The newest time that is in.
    pub until: Timestamp,
}

/// Which versions of a key in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChangeSet {
    /// All of them.
    #[default]
    All,
    /// The newest only.
    Latest,
}

/// How to find them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChangePlan {
    /// Whichever is cheaper.
    #[default]
    Auto,
    /// Through the commit index; an error where it does not cover the window.
    Index,
    /// By a scan of the whole range.
    Scan,
}

/// How they were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanTaken {
    /// Through the commit index.
    Index {
        /// Exact versions that it named.
        changes: u64,
        /// Whether they were more than fit in memory, and were sorted on disk.
        spilled: bool,
    },
    /// By a scan.
    Scan {
        /// Why not the index.
        reason: &'static str,
    },
}

/// Settings of a time-bounded read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeOptions {
    /// How to find the versions. Default: whichever is cheaper.
    pub plan: ChangePlan,
    /// Memory for the keys of the index plan, in bytes, of all parts together; beyond it they are
    /// sorted in files in the staging folder. Held until the parts are dropped, or read to their
    /// ends. Default 64 MiB.
    pub memory_bytes: usize,
    /// About how many changes a part has at least, where the index plan cuts them; 0 counts as 1.
    /// Fewer are not worth the file that each part of a backup makes. Default 20,000.
    pub min_part_changes: u64,
}

impl Default for ChangeOptions {
    fn default() -> Self {
        Self {
            plan: ChangePlan::Auto,
            memory_bytes: 64 << 20,
            min_part_changes: 20_000,
        }
    }
}

/// Above this share of the stored versions a scan is cheaper than sorted fetches. Measured: the
/// two cross between 40 % and 60 %.
const SCAN_SHARE: f64 = 0.4;

/// With fewer changes than this the index is taken whatever the estimate of stored versions.
const FEW_CHANGES: u64 = 1000;

/// The versions of a window: keys ascending, each key's versions newest first.
pub struct Changes {
    source: Source,
    plan: PlanTaken,
}

enum Source {
    Index(Box<Fetch>),
    Scan(Box<Versions>, KeyRange),
}

impl Keyspace {
    /// The versions of a range that were committed in a window, tombstones included.
    ///
    /// # Errors
    /// [`Error::BelowThreshold`] when the window begins below the threshold,
    /// [`Error::InFuture`] when it ends after now, [`Error::KeyspaceDropped`];
    /// [`Error::InvalidOption`] when the index is demanded and does not cover the window.
    pub fn changes(
        &self,
        range: &KeyRange,
        window: Window,
        set: ChangeSet,
        options: &ChangeOptions,
    ) -> Result<Changes> {
        self.changes_parts(range, window, set, options, 1)?
            .pop()
            .ok_or_else(|| Error::corrupt("a time-bounded read came out in no parts"))
    }

    /// As [`Keyspace::changes`], cut by key into up to `parts` pieces of similar cost that
    /// different threads can read; in key order, at least one.
    ///
    /// # Errors
    /// As [`Keyspace::changes`].
    #[tracing::instrument(level = "debug", skip_all, fields(keyspace = self.name(), ?window))]
    pub fn changes_parts(
        &self,
        range: &KeyRange,
        window: Window,
        set: ChangeSet,
        options: &ChangeOptions,
        parts: usize,
    ) -> Result<Vec<Changes>> {
        let pin = self.pin_window(window)?;
        let scan = |reason| self.scan_parts(range, window, set, &pin, parts, reason);
        if options.plan == ChangePlan::Scan {
            return scan("a scan was asked for");
        }
        if !self.index_covers(window.after)? {
            if options.plan == ChangePlan::Index {
                let reason =
                    "the commit index does not cover the window; use the scan plan".to_owned();
                return Err(Error::InvalidOption {
                    name: "plan",
                    reason,
                });
            }
            return scan("the commit index does not cover the window");
        }
        let limit = match options.plan {
            ChangePlan::Index => u64::MAX,
            _ => ((self.stats().estimated_versions as f64 * SCAN_SHARE) as u64).max(FEW_CHANGES),
        };
        let Some(collected) =
            Collected::read(self, range, window, set, options.memory_bytes, limit)?
        else {
            return scan("most of the stored versions are in the window");
        };
        let plan = PlanTaken::Index {
            changes: collected.len(),
            spilled: collected.spilled(),
        };
        let worth = collected.len() / options.min_part_changes.max(1) + 1;
        let worth = usize::try_from(worth).unwrap_or(usize::MAX);
        let pieces = collected.split(parts.min(worth))?;
        metrics::counter!("icecore_engine_windows_total", "plan" => "index").increment(1);
        Ok(pieces
            .into_iter()
            .map(|piece| Changes {
                source: Source::Index(Box::new(Fetch::new(self, piece, pin.clone()))),
                plan,
            })
            .collect())
    }

    /// Pins the beginning of the window against garbage collection, and settles its end.
    fn pin_window(&self, window: Window) -> Result<Snapshot> {
        let engine = self.engine();
        engine.sequencer().settle(window.until)?;
        let pin = engine.snapshot_at(window.after)?;
        let threshold = self.threshold();
        if window.after < threshold {
            let keyspace = self.name().to_owned();
            return Err(Error::BelowThreshold {
                keyspace,
                requested: window.after,
                threshold,
            });
        }
        self.space().check_exists_at(window.until)?;
        Ok(pin)
    }

    /// Whether the commit index has every version after this time.
    fn index_covers(&self, after: Timestamp) -> Result<bool> {
        let descriptor = self.descriptor();
        let low_water = self.engine().meta().index_low_water()?;
        // Nothing was written into a keyspace before it was created here.
        let from = after.max(if descriptor.index_since == Timestamp::MIN {
            descriptor.created.prev()
        } else {
            after
        });
        Ok(after >= descriptor.index_since && from >= low_water)
    }

    fn scan_parts(
        &self,
        range: &KeyRange,
        window: Window,
        set: ChangeSet,
        pin: &Snapshot,
        parts: usize,
        reason: &'static str,
    ) -> Result<Vec<Changes>> {
        tracing::debug!(reason, "the window is found by a scan");
        metrics::counter!("icecore_engine_windows_total", "plan" => "scan").increment(1);
        let pick = Pick::Window {
            after: window.after,
            until: window.until,
            latest: set == ChangeSet::Latest,
        };
        let mut pieces = range.split_at(&self.split_points(range, parts)?);
        if pieces.is_empty() {
            pieces.push(range.clone());
        }
        Ok(pieces
            .iter()
            .map(|piece| {
                let versions = Versions::new(self, piece, pick, pin.clone());
                Changes {
                    source: Source::Scan(Box::new(versions), piece.clone()),
                    plan: PlanTaken::Scan { reason },
                }
            })
            .collect())
    }
}

impl Engine {
    /// Commit-index records at or below this time are trimmed.
    ///
    /// # Errors
    /// [`Error::Rocks`] when it cannot be read.
    pub fn commit_index_low_water(&self) -> Result<Timestamp> {
        self.meta().index_low_water()
    }
}

impl Changes {
    /// Which plan was taken.
    pub fn plan(&self) -> PlanTaken {
        self.plan
    }

    /// The range that is scanned for them; `None` where the commit index names them.
    pub fn scanned(&self) -> Option<&KeyRange> {
        match &self.source {
            Source::Index(_) => None,
            Source::Scan(_, range) => Some(range),
        }
    }
}

impl Iterator for Changes {
    type Item = Result<VersionRow>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            Source::Index(fetch) => fetch.next_row().transpose(),
            Source::Scan(versions, _) => versions.next(),
        }
    }
}
