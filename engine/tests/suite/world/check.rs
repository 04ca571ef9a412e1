//! What engine and model are asked, and compared in.

use icecore_engine::{
    ChangeOptions, ChangePlan, ChangeSet, Error, ScanDirection, VersionRow, Window,
};
use icecore_mvcc::model::{ModelKeyspace, Row};
use icecore_mvcc::{KeyRange, Timestamp};

use super::ops::{self, Span, Stamp};
use super::{Outcome, Twin, World, failed, keys_in, same};

/// Who says what a window holds: the model, or the model with a bug planted in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oracle {
    True,
    /// Takes the beginning of the window in.
    BeginningIncluded,
    /// Leaves the end of the window out.
    EndExcluded,
}

impl Oracle {
    fn changes(
        self,
        model: &ModelKeyspace,
        range: &KeyRange,
        window: Window,
        latest: bool,
    ) -> Vec<Row> {
        let Window { after, until } = window;
        match self {
            Self::True => model.changes(range, after, until, latest),
            Self::BeginningIncluded => model.changes(range, after.prev(), until, latest),
            Self::EndExcluded => model.changes(range, after, until.prev(), latest),
        }
    }
}

fn row(row: VersionRow) -> Row {
    Row {
        key: row.key,
        ts: row.ts,
        value: row.value,
    }
}

fn rows(walk: impl Iterator<Item = Result<VersionRow, Error>>) -> Result<Vec<Row>, Error> {
    walk.map(|found| found.map(row)).collect()
}

impl World {
    /// Every kind of read of one keyspace as of one time.
    pub(super) fn check_reads(&self, space: u8, at: Stamp) -> Outcome {
        let Some(twin) = self.twin(space) else {
            return Ok(());
        };
        let at = self.stamp(at);
        let keyspace = self.keyspace(twin);
        same("the threshold", &keyspace.threshold(), &twin.threshold)?;
        let snapshot = self.db.engine().snapshot_at(at).map_err(failed)?;
        if at < twin.threshold {
            let refused = matches!(
                keyspace.get_at(&snapshot, b""),
                Err(Error::BelowThreshold { .. })
            );
            return same("a read below the threshold was refused", &refused, &true);
        }
        if twin.dropped.is_some_and(|dropped| dropped <= at) {
            let refused = matches!(
                keyspace.get_at(&snapshot, b""),
                Err(Error::KeyspaceDropped { .. })
            );
            return same("a read after the drop was refused", &refused, &true);
        }
        let range = Span {
            start: at.nanos().is_multiple_of(3).then_some(3),
            end: at.nanos().is_multiple_of(5).then_some(9),
        }
        .range();
        for direction in [ScanDirection::Forward, ScanDirection::Reverse] {
            let scan = keyspace
                .scan(&snapshot, &range, direction)
                .map_err(failed)?;
            let found: Result<Vec<Row>, Error> = scan
                .map(|e| {
                    e.map(|e| Row {
                        key: e.key,
                        ts: e.ts,
                        value: Some(e.value),
                    })
                })
                .collect();
            let expected =
                twin.model
                    .scan(&range, at, direction == ScanDirection::Reverse, usize::MAX);
            same("a scan", &found.map_err(failed)?, &expected)?;
        }
        self.check_points(twin, at)?;
        for history in [false, true] {
            let found =
                rows(keyspace.full(&range, &snapshot, history).map_err(failed)?).map_err(failed)?;
            let expected = twin
                .model
                .full(&range, at, history.then_some(twin.threshold));
            same("a full read", &found, &expected)?;
        }
        Ok(())
    }

    fn check_points(&self, twin: &Twin, at: Timestamp) -> Outcome {
        let keyspace = self.keyspace(twin);
        let snapshot = self.db.engine().snapshot_at(at).map_err(failed)?;
        let keys = keys_in(&KeyRange::all());
        let mut expected = Vec::new();
        for key in &keys {
            let value = twin.model.get(key, at).map(<[u8]>::to_vec);
            same(
                "a get",
                &keyspace.get_at(&snapshot, key).map_err(failed)?,
                &value,
            )?;
            expected.push(value);
        }
        same(
            "a multi-get",
            &keyspace.multi_get_at(&snapshot, &keys).map_err(failed)?,
            &expected,
        )?;
        if twin.dropped.is_none() {
            let key = ops::key((at.nanos() % 24) as u8);
            let now = twin.model.get(&key, Timestamp::MAX).map(<[u8]>::to_vec);
            same("a get of now", &keyspace.get(&key).map_err(failed)?, &now)?;
            let versions = keyspace.versions(&snapshot, &key).map_err(failed)?;
            let found: Vec<_> = versions.into_iter().map(|v| (v.ts, v.value)).collect();
            let expected = twin
                .model
                .full(&KeyRange::single(&key), at, Some(twin.threshold));
            same(
                "versions",
                &found,
                &expected.into_iter().map(|r| (r.ts, r.value)).collect(),
            )?;
        }
        Ok(())
    }

    /// One window by both plans and in parts.
    pub(super) fn check_window(
        &self,
        space: u8,
        (after, until): (Stamp, Stamp),
        range: &Span,
        latest: bool,
        parts: usize,
        memory_bytes: usize,
    ) -> Outcome {
        let Some(twin) = self.twin(space) else {
            return Ok(());
        };
        let keyspace = self.keyspace(twin);
        let (after, mut until) = (self.stamp(after).max(twin.threshold), self.stamp(until));
        if let Some(dropped) = twin.dropped {
            until = until.min(dropped.prev());
        }
        let (range, window) = (range.range(), Window { after, until });
        let set = if latest {
            ChangeSet::Latest
        } else {
            ChangeSet::All
        };
        let expected = self.oracle.changes(&twin.model, &range, window, latest);
        for plan in [ChangePlan::Index, ChangePlan::Scan, ChangePlan::Auto] {
            let options = ChangeOptions {
                plan,
                memory_bytes,
                min_part_changes: 1,
            };
            let what = format!(
                "{set:?} of {range} in ({}, {}] by {plan:?}",
                after.nanos(),
                until.nanos()
            );
            let pieces = match keyspace.changes_parts(&range, window, set, &options, parts) {
                Err(Error::InvalidOption { .. })
                    if plan == ChangePlan::Index && !self.covered(twin, after) =>
                {
                    continue;
                }
                pieces => pieces.map_err(failed)?,
            };
            same(
                "whether there are as many parts as may be",
                &(1..=parts).contains(&pieces.len()),
                &true,
            )?;
            let found = rows(pieces.into_iter().flatten()).map_err(failed)?;
            same(&what, &found, &expected)?;
        }
        Ok(())
    }

    /// Whether the commit index must cover what came after this time.
    fn covered(&self, twin: &Twin, after: Timestamp) -> bool {
        let descriptor = self.keyspace(twin).descriptor();
        let low_water = self.db.engine().commit_index_low_water().unwrap();
        let made_here = descriptor.index_since == Timestamp::MIN;
        after >= descriptor.index_since
            && (after >= low_water || (made_here && descriptor.created > low_water))
    }
}
