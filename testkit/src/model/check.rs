//! Every kind of read, compared with the model.

use icecore_engine::{
    ChangeOptions, ChangePlan, ChangeSet, Engine, Entry, Error, Keyspace, SYSTEM_KEYSPACE,
    ScanDirection, VersionRow, Window,
};
use icecore_mvcc::model::Row;
use icecore_mvcc::{KeyRange, Timestamp, Version, text};

use super::bugs::Bug;
use super::known::{Known, KnownEngine};
use super::pool;
use crate::dice::Dice;
use crate::failure::{Failure, Result, ensure};

/// How thoroughly to look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Times at which each keyspace is read.
    pub(crate) times: usize,
    /// Windows that are asked of the time-bounded iterator.
    pub(crate) windows: usize,
}

/// After each operation.
pub(crate) const GLANCE: Effort = Effort {
    times: 1,
    windows: 1,
};

/// At checks, ends and restores.
pub(crate) const LOOK: Effort = Effort {
    times: 12,
    windows: 5,
};

/// Compares an engine with what is known of it.
pub(crate) struct Checker<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) known: &'a KnownEngine,
    pub(crate) bug: Option<Bug>,
}

impl Checker<'_> {
    /// The catalog, and reads of every keyspace at times drawn by the dice.
    pub(crate) fn check(&self, dice: &mut Dice, effort: Effort) -> Result<()> {
        self.catalog(dice)?;
        for (id, known) in self.known.present() {
            let keyspace = self.engine.keyspace_by_id(id)?;
            let place = format!("keyspace {} (id {id})", known.name);
            let checked = self.keyspace(&keyspace, known, dice, effort);
            checked.map_err(|failure| failure.within(&place))?;
        }
        Ok(())
    }

    fn catalog(&self, dice: &mut Dice) -> Result<()> {
        let found: Vec<_> = self.engine.keyspaces().iter().map(Keyspace::id).collect();
        let mut expected = self.known.live();
        expected.sort_by_key(|id| self.known.keyspaces.get(id).map(|k| k.name.clone()));
        ensure!(
            found == expected,
            "live keyspaces are {found:?}, not {expected:?}"
        );
        for (id, known) in &self.known.keyspaces {
            let there = self.engine.keyspace_by_id(*id).is_ok();
            ensure!(
                there != known.purged,
                "keyspace {} is there: {there}, purged: {}",
                known.name,
                known.purged
            );
        }
        let oldest = self.engine.keyspace_by_id(SYSTEM_KEYSPACE)?.threshold();
        let at = self.some_time(dice, oldest, self.engine.now());
        let found = self.engine.descriptors_at(at)?;
        let found: Vec<_> = found
            .into_iter()
            .map(|d| (d.id, d.name, d.settings))
            .collect();
        let live = self
            .known
            .present()
            .filter(|(_, known)| known.is_live_at(at));
        let expected: Vec<_> = live
            .map(|(id, known)| (id, known.name.clone(), known.settings_at(at)))
            .collect();
        ensure!(
            found == expected,
            "the catalog as of {at:?} is {found:?}, not {expected:?}"
        );
        Ok(())
    }

    /// A time within the bounds: one at which something happened, one beside it, or a bound.
    fn some_time(&self, dice: &mut Dice, from: Timestamp, until: Timestamp) -> Timestamp {
        let within: Vec<_> = self.known.times.range(from..=until.max(from)).collect();
        let drawn = dice.pick(&within).map_or(until, |time| **time);
        let beside = match dice.below(8) {
            0 => from,
            1 => until,
            2 | 3 => drawn.prev(),
            4 => drawn.next(),
            _ => drawn,
        };
        beside.clamp(from, until.max(from))
    }

    fn keyspace(
        &self,
        keyspace: &Keyspace,
        known: &Known,
        dice: &mut Dice,
        effort: Effort,
    ) -> Result<()> {
        let (threshold, now) = (keyspace.threshold(), self.engine.now());
        ensure!(
            threshold == known.threshold,
            "the threshold is {threshold:?}, not {:?}",
            known.threshold
        );
        ensure!(
            keyspace.is_dropped() != known.is_live(),
            "dropped: {}",
            keyspace.is_dropped()
        );
        self.refusals(keyspace, known, dice)?;
        let end = known.dropped.map_or(now, Timestamp::prev);
        if end < threshold {
            return Ok(());
        }
        for _ in 0..effort.times {
            let at = self.some_time(dice, threshold, end);
            self.reads_at(keyspace, known, at, dice)
                .map_err(|failure| failure.within(&format!("as of {at:?}")))?;
        }
        for _ in 0..effort.windows {
            let after = self.some_time(dice, threshold, end);
            let until = self.some_time(dice, after, end);
            self.window(keyspace, known, Window { after, until }, dice)
                .map_err(|f| f.within(&format!("changes in ({after:?}, {until:?}]")))?;
        }
        Ok(())
    }

    /// Reads that must not be answered.
    fn refusals(&self, keyspace: &Keyspace, known: &Known, dice: &mut Dice) -> Result<()> {
        let below = known.threshold.prev();
        if below < known.threshold {
            let at = self
                .engine
                .snapshot_at(self.some_time(dice, Timestamp::MIN, below))?;
            let key = pool::key(dice.below(pool::KEYS) as u8);
            let refused = matches!(
                keyspace.get_at(&at, &key),
                Err(Error::BelowThreshold { .. })
            ) && matches!(
                keyspace.scan(&at, &KeyRange::all(), ScanDirection::Forward),
                Err(Error::BelowThreshold { .. })
            ) && matches!(
                keyspace.versions(&at, &key),
                Err(Error::BelowThreshold { .. })
            );
            ensure!(
                refused,
                "reads below the threshold, at {:?}, are answered",
                at.timestamp()
            );
            let window = Window {
                after: at.timestamp(),
                until: self.engine.now(),
            };
            let changes = keyspace.changes(
                &KeyRange::all(),
                window,
                ChangeSet::All,
                &ChangeOptions::default(),
            );
            ensure!(
                changes.is_err(),
                "changes are given from below the threshold on"
            );
        }
        if let Some(dropped) = known.dropped.filter(|dropped| *dropped >= known.threshold) {
            let at = self.engine.snapshot_at(dropped)?;
            let read = keyspace.get_at(&at, b"a");
            ensure!(
                matches!(read, Err(Error::KeyspaceDropped { .. })),
                "a read as of its drop gives {read:?}"
            );
        }
        let future = self.engine.snapshot_at(self.engine.now().next());
        ensure!(
            matches!(future, Err(Error::InFuture { .. })),
            "a read of the future is answered"
        );
        Ok(())
    }

    fn reads_at(
        &self,
        keyspace: &Keyspace,
        known: &Known,
        at: Timestamp,
        dice: &mut Dice,
    ) -> Result<()> {
        let read_at = match self.bug {
            Some(Bug::ReadsThePast) => at.prev().max(known.threshold),
            _ => at,
        };
        let snapshot = self.engine.snapshot_at(read_at)?;
        let mut ranges = vec![KeyRange::all(), pool::range(dice)];
        ranges.dedup();
        for range in &ranges {
            for (direction, reverse) in [
                (ScanDirection::Forward, false),
                (ScanDirection::Reverse, true),
            ] {
                let found = keyspace.scan(&snapshot, range, direction)?;
                let found: Vec<Row> = found
                    .map(|e| e.map(row_of_entry))
                    .collect::<Result<_, _>>()?;
                let expected = known.rows.scan(range, at, reverse, usize::MAX);
                same_rows(&found, &expected)
                    .map_err(|f| f.within(&format!("scan of {range}, {direction:?}")))?;
            }
        }
        let keys = pool::keys();
        let expected: Vec<_> = keys
            .iter()
            .map(|k| known.rows.get(k, at).map(<[u8]>::to_vec))
            .collect();
        let found = keyspace.multi_get_at(&snapshot, &keys)?;
        for ((key, found), expected) in keys.iter().zip(&found).zip(&expected) {
            same_value(key, found.as_deref(), expected.as_deref(), "multi-get")?;
        }
        for key in keys.iter().filter(|_| dice.one_in(4)) {
            let expected = known.rows.get(key, at);
            same_value(
                key,
                keyspace.get_at(&snapshot, key)?.as_deref(),
                expected,
                "get",
            )?;
            let found = keyspace.versions(&snapshot, key)?;
            let expected = known
                .rows
                .full(&KeyRange::single(key), at, Some(known.threshold));
            let expected: Vec<_> = expected
                .into_iter()
                .map(|Row { ts, value, .. }| Version { ts, value })
                .collect();
            ensure!(
                found == expected,
                "versions of {}: {found:?}, not {expected:?}",
                text::preview(key)
            );
        }
        Ok(())
    }

    /// Both plans of the time-bounded iterator, and the one it chooses.
    fn window(
        &self,
        keyspace: &Keyspace,
        known: &Known,
        window: Window,
        dice: &mut Dice,
    ) -> Result<()> {
        let range = pool::range(dice);
        let (set, latest) = if dice.one_in(2) {
            (ChangeSet::All, false)
        } else {
            (ChangeSet::Latest, true)
        };
        let expected = known
            .rows
            .changes(&range, window.after, window.until, latest);
        let asked = match self.bug {
            Some(Bug::WindowBeginsLate) => Window {
                after: window.after.next().min(window.until),
                ..window
            },
            _ => window,
        };
        let memory_bytes = if dice.one_in(3) { 64 } else { 1 << 20 };
        for plan in [ChangePlan::Index, ChangePlan::Scan, ChangePlan::Auto] {
            let options = ChangeOptions {
                plan,
                memory_bytes,
                min_part_changes: 1,
            };
            let parts =
                match keyspace.changes_parts(&range, asked, set, &options, dice.below(3) + 1) {
                    Ok(parts) => parts,
                    Err(Error::InvalidOption { .. })
                        if !self.index_must_cover(keyspace, window)? =>
                    {
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
            let rows = parts
                .into_iter()
                .flatten()
                .map(|row| row.map(row_of_version));
            let found: Vec<Row> = rows.collect::<Result<_, _>>()?;
            same_rows(&found, &expected)
                .map_err(|f| f.within(&format!("plan {plan:?}, {set:?}, range {range}")))?;
        }
        Ok(())
    }

    /// Whether the commit index has no excuse.
    fn index_must_cover(&self, keyspace: &Keyspace, window: Window) -> Result<bool> {
        let since = keyspace.descriptor().index_since;
        let low_water = self.engine.commit_index_low_water()?;
        Ok(window.after >= since && window.after >= low_water)
    }
}

fn row_of_entry(entry: Entry) -> Row {
    Row {
        key: entry.key,
        ts: entry.ts,
        value: Some(entry.value),
    }
}

fn row_of_version(row: VersionRow) -> Row {
    Row {
        key: row.key,
        ts: row.ts,
        value: row.value,
    }
}

/// Names the first row in which two lists differ.
pub(crate) fn same_rows(found: &[Row], expected: &[Row]) -> Result<()> {
    let common = found
        .iter()
        .zip(expected)
        .take_while(|(a, b)| a == b)
        .count();
    if common == found.len() && common == expected.len() {
        return Ok(());
    }
    Err(Failure::Mismatch(format!(
        "row {common} of {} is {}, not {} (of {})",
        found.len(),
        show(found.get(common)),
        show(expected.get(common)),
        expected.len()
    )))
}

fn same_value(key: &[u8], found: Option<&[u8]>, expected: Option<&[u8]>, how: &str) -> Result<()> {
    ensure!(
        found == expected,
        "{how} of {} gives {}, not {}",
        text::preview(key),
        show_value(found),
        show_value(expected)
    );
    Ok(())
}

fn show(row: Option<&Row>) -> String {
    match row {
        None => "nothing".to_owned(),
        Some(row) => format!(
            "{} at {:?} = {}",
            text::preview(&row.key),
            row.ts,
            show_value(row.value.as_deref())
        ),
    }
}

fn show_value(value: Option<&[u8]>) -> String {
    value.map_or_else(
        || "nothing".to_owned(),
        |value| format!("\"{}\"", text::preview(value)),
    )
}
