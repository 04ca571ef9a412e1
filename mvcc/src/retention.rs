//! The keep/drop rule: which versions garbage collection may remove.
//!
//! A keyspace has a *threshold*. Reads at or above it must be exact for ever; reads below it are refused.
//! Of a key's versions at or below the threshold only the newest can be seen by such a read: it *covers*
//! the older ones. And if that newest one is a tombstone, a read sees nothing there, with or without it.
//! Two rules follow, for two places that see different things:
//!
//! 1. **Filter** ([`Filter`]). A compaction sees some versions of a key, newest first, never surely all.
//!    It drops a version if a newer one at or below the threshold was just seen in the same run and the
//!    version is no tombstone. Seeing less, it drops less. It never drops a tombstone. The one that covers
//!    must stay: what it covers may lie in a file that this run does not see, and would come back.
//!    (A covered one could go; the filter is conservative and leaves every tombstone to the sweep.)
//! 2. **Sweep** ([`Sweep`], [`sweepable`]). It reads all versions of a key, and drops what the newest one
//!    at or below the threshold covers; that one too, if it is a tombstone. What it drops must go in one
//!    atomic batch.
//!
//! Both leave alone everything above the threshold, so the time-bounded iterator, asked for a window that
//! begins at or above the threshold, gives the same rows before and after.

use std::ops::Range;

use crate::timestamp::Timestamp;

/// What becomes of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It may go.
    Drop,
}

/// Rule 1 over one run: stored keys in order, any subset of a keyspace's versions.
///
/// Feed it each version once, ordered by key and then newest first, as a compaction meets them. A filter
/// belongs to one run; its threshold is that of the keyspace when the run began, or any lower one.
#[derive(Debug, Clone)]
pub struct Filter {
    threshold: Timestamp,
    /// Prefix of the key that the run is at; meaningless while `covered` is false.
    prefix: Vec<u8>,
    /// Whether a version of that key at or below the threshold was seen.
    covered: bool,
}

impl Filter {
    /// A filter for one run. With [`Timestamp::MIN`] it drops nothing.
    #[must_use]
    pub const fn new(threshold: Timestamp) -> Self {
        Self {
            threshold,
            prefix: Vec::new(),
            covered: false,
        }
    }

    /// Judges the next version of the run. `prefix` is what [`key::split`](crate::key::split) gives, or
    /// anything else that is equal for versions of one key and for no others. `tombstone` is called only
    /// where it matters, so a value need not be decoded for versions that stay anyway.
    pub fn visit(
        &mut self,
        prefix: &[u8],
        ts: Timestamp,
        tombstone: impl FnOnce() -> bool,
    ) -> Verdict {
        if ts > self.threshold {
            return Verdict::Keep;
        }
        if !self.covered || self.prefix != prefix {
            self.prefix.clear();
            self.prefix.extend_from_slice(prefix);
            self.covered = true;
            return Verdict::Keep;
        }
        if tombstone() {
            Verdict::Keep
        } else {
            Verdict::Drop
        }
    }
}

/// Rule 2 over all versions of one key, newest first.
#[derive(Debug, Clone)]
pub struct Sweep {
    threshold: Timestamp,
    covered: bool,
}

impl Sweep {
    /// A sweep of one key.
    #[must_use]
    pub const fn new(threshold: Timestamp) -> Self {
        Self {
            threshold,
            covered: false,
        }
    }

    /// Judges the key's next older version. Every version must be shown, from the newest at or below the
    /// threshold down; those above may be left out.
    pub const fn visit(&mut self, ts: Timestamp, tombstone: bool) -> Verdict {
        if ts.nanos() > self.threshold.nanos() {
            return Verdict::Keep;
        }
        let newest = !self.covered;
        self.covered = true;
        if newest && !tombstone {
            Verdict::Keep
        } else {
            Verdict::Drop
        }
    }
}

/// Rule 2 on a list: which of a key's versions, given newest first as (timestamp, is a tombstone), go.
///
/// They are always the last ones; the range is empty if none go.
#[must_use]
pub fn sweepable(versions: &[(Timestamp, bool)], threshold: Timestamp) -> Range<usize> {
    let mut sweep = Sweep::new(threshold);
    let kept = versions
        .iter()
        .take_while(|(ts, tombstone)| sweep.visit(*ts, *tombstone) == Verdict::Keep)
        .count();
    kept..versions.len()
}

/// Rule 1 on a list: which of a key's versions, given newest first as (timestamp, is a tombstone), a run
/// that sees exactly these drops. One verdict per version.
#[must_use]
pub fn filtered(versions: &[(Timestamp, bool)], threshold: Timestamp) -> Vec<Verdict> {
    let mut filter = Filter::new(threshold);
    versions
        .iter()
        .map(|(ts, tombstone)| filter.visit(&[], *ts, || *tombstone))
        .collect()
}

#[cfg(test)]
mod tests;
