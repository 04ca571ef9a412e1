//! Walks over versions: everything a full backup takes, or what a window of time holds.

use icecore_mvcc::{KeyRange, Timestamp, value};

use super::cursor::Cursor;
use super::point::damaged;
use super::scan::user_key;
use super::snapshot::Snapshot;
use crate::error::Result;
use crate::keyspace::Keyspace;

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
    /// Versions above this are passed.
    fn until(self) -> Timestamp {
        match self {
            Self::Full { at, .. } => at,
            Self::Window { until, .. } => until,
        }
    }

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
    // First: an iterator goes before the handle that keeps the folder locked.
    cursor: Cursor,
    keyspace: Keyspace,
    pick: Pick,
    /// Keeps garbage collection from passing what the walk still has to show.
    _pin: Snapshot,
    done: bool,
    /// The user key of a version, where it is stored escaped.
    unescaped: Vec<u8>,
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
        Self {
            keyspace: keyspace.clone(),
            pick,
            _pin: pin,
            cursor: Cursor::new(keyspace, range),
            done: range.is_empty(),
            unescaped: Vec::new(),
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
        if !self.advance()? {
            return Ok(None);
        }
        let Some(stored) = self.cursor.stored()? else {
            return Ok(None);
        };
        let value = value::decode_value(stored.value)
            .map_err(|e| damaged(self.keyspace.space(), e))?
            .into_option();
        let key = user_key(&self.keyspace, stored.prefix, &mut self.unescaped)?;
        self.done = false;
        Ok(Some(RowRef {
            key,
            ts: stored.ts,
            value,
        }))
    }

    /// Goes to the next version to show; `false` at the end.
    fn advance(&mut self) -> Result<bool> {
        self.cursor.advance();
        loop {
            self.cursor.skip_finished();
            let Some(stored) = self.cursor.stored()? else {
                return Ok(false);
            };
            let tombstone = stored.value.first() == Some(&value::TAG_TOMBSTONE);
            match self.pick.step(stored.ts, tombstone) {
                Step::Show => return Ok(true),
                Step::ShowLast => {
                    self.cursor.finish_key();
                    return Ok(true);
                }
                Step::Pass => self.cursor.skip_newer(self.pick.until()),
                Step::PassKey => {
                    self.cursor.finish_key();
                    self.cursor.advance();
                }
            }
        }
    }
}

impl Iterator for Versions {
    type Item = Result<VersionRow>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.next_ref() {
            Ok(Some(row)) => Some(Ok(row.to_owned())),
            Ok(None) => None,
            Err(e) => Some(Err(e)),
        }
    }
}
