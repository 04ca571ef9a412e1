//! Walks over versions: everything a full backup takes, or what a window of time holds.

use icecore_mvcc::{KeyRange, Timestamp, key, value};

use super::point::damaged;
use super::scan::split;
use super::snapshot::Snapshot;
use super::{STEPS_BEFORE_SEEK, successor_of};
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::rocks::RawIter;

/// One version of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// The user key.
    pub key: Vec<u8>,
    /// When it was committed.
    pub ts: Timestamp,
    /// The value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
}

/// One version of one key, borrowed until the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRef<'a> {
    /// The user key.
    pub key: &'a [u8],
    /// When it was committed.
    pub ts: Timestamp,
    /// The value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
}

impl RowRef<'_> {
    /// A copy that can be kept.
    pub fn to_owned(self) -> VersionRow {
        VersionRow {
            key: self.key.to_vec(),
            ts: self.ts,
            value: self.value.map(<[u8]>::to_vec),
        }
    }
}

/// Which versions a walk shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// Every version in `(floor, at]`, and the newest at or below `floor` if it is a put.
    Full { at: Timestamp, floor: Timestamp },
    /// Every version in `(after, until]`, or only the newest of each key.
    Window {
        after: Timestamp,
        until: Timestamp,
        latest: bool,
    },
}

/// What to do with a version, and then with the rest of its key.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Show,
    ShowLast,
    Pass,
    PassKey,
}

impl Pick {
    fn step(self, ts: Timestamp, tombstone: bool) -> Step {
        match self {
            Self::Full { at, .. } if ts > at => Step::Pass,
            Self::Full { floor, .. } if ts > floor => Step::Show,
            Self::Full { .. } if tombstone => Step::PassKey,
            Self::Full { .. } => Step::ShowLast,
            Self::Window { until, .. } if ts > until => Step::Pass,
            Self::Window { after, .. } if ts <= after => Step::PassKey,
            Self::Window { latest: true, .. } => Step::ShowLast,
            Self::Window { .. } => Step::Show,
        }
    }
}

/// A running walk over versions: keys ascending, each key's versions newest first.
pub struct Versions {
    keyspace: Keyspace,
    pick: Pick,
    /// Keeps garbage collection from passing what the walk still has to show.
    _pin: Snapshot,
    iter: RawIter,
    started: bool,
    done: bool,
    /// Prefix of the key whose other versions are of no interest; empty if there is none.
    passing: Vec<u8>,
    key: Vec<u8>,
    scratch: Vec<u8>,
}

impl Keyspace {
    /// What a full backup as of a snapshot takes: without `history` the newest put of each key;
    /// with it every version back to the threshold, and the put that reads at the threshold see.
    ///
    /// # Errors
    /// [`crate::Error::BelowThreshold`], [`crate::Error::KeyspaceDropped`]; the rows may give
    /// [`crate::Error::Rocks`] or [`crate::Error::Corruption`].
    pub fn full(&self, range: &KeyRange, at: &Snapshot, history: bool) -> Result<Versions> {
        self.check_snapshot(at)?;
        let ts = at.timestamp();
        let mut versions = Versions::new(self, range, Pick::Full { at: ts, floor: ts }, at.clone());
        if history {
            // Only now: what the threshold allowed to be dropped before the view was taken lies
            // below it.
            versions.pick = Pick::Full {
                at: ts,
                floor: self.threshold(),
            };
        }
        Ok(versions)
    }

    /// As [`Keyspace::full`] with history, from a time that the caller holds: every version in
    /// `(floor, at]`, and the put that reads at `floor` see.
    ///
    /// # Errors
    /// As [`Keyspace::full`].
    pub fn full_since(
        &self,
        range: &KeyRange,
        at: &Snapshot,
        floor: &Snapshot,
    ) -> Result<Versions> {
        self.check_snapshot(floor)?;
        self.check_snapshot(at)?;
        let pick = Pick::Full {
            at: at.timestamp(),
            floor: floor.timestamp().min(at.timestamp()),
        };
        Ok(Versions::new(self, range, pick, floor.clone()))
    }

    /// A snapshot at the oldest time that this keyspace can be read; it holds the threshold there.
    ///
    /// # Errors
    /// As [`crate::Engine::snapshot_at`].
    pub fn oldest_snapshot(&self) -> Result<Snapshot> {
        loop {
            let threshold = self.threshold();
            let snapshot = self.engine().snapshot_at(threshold)?;
            if self.threshold() == threshold {
                return Ok(snapshot);
            }
        }
    }
}

impl Versions {
    pub(crate) fn new(keyspace: &Keyspace, range: &KeyRange, pick: Pick, pin: Snapshot) -> Self {
        let (lower, upper) = key::range_bounds(range);
        Self {
            keyspace: keyspace.clone(),
            pick,
            _pin: pin,
            iter: RawIter::new(keyspace.space().cf(), RawIter::scan_options(lower, upper)),
            started: false,
            done: range.is_empty(),
            passing: Vec::new(),
            key: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The next version, without copying it. `None` at the end.
    ///
    /// # Errors
    /// [`crate::Error::Rocks`] or [`crate::Error::Corruption`]; the walk ends with it.
    pub fn next_ref(&mut self) -> Result<Option<RowRef<'_>>> {
        if self.done {
            return Ok(None);
        }
        self.done = true;
        let Some(ts) = self.advance()? else {
            return Ok(None);
        };
        let bytes = self.iter.item().map(|(_, bytes)| bytes).unwrap_or_default();
        let value = value::decode_value(bytes)
            .map_err(|e| damaged(self.keyspace.space(), e))?
            .into_option();
        self.done = false;
        Ok(Some(RowRef {
            key: &self.key,
            ts,
            value,
        }))
    }

    fn advance(&mut self) -> Result<Option<Timestamp>> {
        if self.started {
            self.iter.next();
        } else {
            self.started = true;
            self.iter.seek_to_first();
        }
        let mut steps = 0;
        loop {
            let Some((stored, bytes)) = self.iter.item() else {
                return self.iter.status().map(|()| None);
            };
            let (prefix, ts) = split(stored)?;
            if !self.passing.is_empty() && prefix == self.passing {
                steps += 1;
                if steps > STEPS_BEFORE_SEEK {
                    successor_of(&self.passing, &mut self.scratch);
                    self.iter.seek(&self.scratch);
                    steps = 0;
                } else {
                    self.iter.next();
                }
                continue;
            }
            let step = self
                .pick
                .step(ts, bytes.first() == Some(&value::TAG_TOMBSTONE));
            if matches!(step, Step::ShowLast | Step::PassKey) {
                self.passing.clear();
                self.passing.extend_from_slice(prefix);
                steps = 0;
            }
            if matches!(step, Step::Show | Step::ShowLast) {
                self.key.clear();
                key::decode_prefix_into(&mut self.key, prefix)
                    .map_err(|e| damaged(self.keyspace.space(), e))?;
                return Ok(Some(ts));
            }
            self.iter.next();
        }
    }
}

impl Iterator for Versions {
    type Item = Result<VersionRow>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_ref() {
            Ok(Some(row)) => Some(Ok(row.to_owned())),
            Ok(None) => None,
            Err(e) => Some(Err(e)),
        }
    }
}
