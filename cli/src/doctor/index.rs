//! Whether the commit index names what was written.

use icecore_engine::{
    ChangeOptions, ChangePlan, ChangeSet, Error, Keyspace, Result, Snapshot, VersionRow, Window,
};
use icecore_mvcc::{KeyRange, Timestamp, text};

use super::Finding;
use crate::output::plural;

/// Reads the window that the index covers once through it and once by a scan.
pub(super) fn compare(keyspace: &Keyspace, at: &Snapshot) -> Finding {
    let after = covered_after(keyspace).map_err(|e| e.to_string())?;
    if after >= at.timestamp() {
        return Ok("covers nothing".to_owned());
    }
    let window = Window {
        after,
        until: at.timestamp(),
    };
    let changes = |plan| {
        let options = ChangeOptions {
            plan,
            ..ChangeOptions::default()
        };
        keyspace.changes(&KeyRange::all(), window, ChangeSet::All, &options)
    };
    let indexed = changes(ChangePlan::Index).map_err(|e| e.to_string())?;
    let scanned = changes(ChangePlan::Scan).map_err(|e| e.to_string())?;
    let count = same(indexed, scanned)?;
    let since = match after {
        Timestamp::MIN => "the beginning".to_owned(),
        after => after.to_string(),
    };
    Ok(format!("covers {} since {since}", plural(count, "version")))
}

/// The earliest time after which the index has every version that can be read.
fn covered_after(keyspace: &Keyspace) -> Result<Timestamp> {
    let descriptor = keyspace.descriptor();
    let low_water = keyspace.engine().commit_index_low_water()?;
    let after = keyspace.threshold().max(descriptor.index_since);
    // A keyspace that was filled by commits alone has nothing from before its creation.
    let filled_here = descriptor.index_since == Timestamp::MIN;
    if filled_here && descriptor.created.prev() >= low_water {
        return Ok(after);
    }
    Ok(after.max(low_water))
}

/// Compares two answers to the same question; how many versions they have.
fn same(
    mut indexed: impl Iterator<Item = Result<VersionRow>>,
    mut scanned: impl Iterator<Item = Result<VersionRow>>,
) -> std::result::Result<u64, String> {
    let mut count = 0;
    loop {
        let next =
            |row: Option<Result<VersionRow>>| row.transpose().map_err(|e: Error| e.to_string());
        let (indexed, scanned) = (next(indexed.next())?, next(scanned.next())?);
        let missing = match (indexed, scanned) {
            (None, None) => return Ok(count),
            (Some(indexed), Some(scanned)) if indexed == scanned => {
                count += 1;
                continue;
            }
            (Some(indexed), Some(scanned)) => match order(&indexed) < order(&scanned) {
                true => (indexed, "is named but not stored"),
                false => (scanned, "is stored but not named"),
            },
            (Some(indexed), None) => (indexed, "is named but not stored"),
            (None, Some(scanned)) => (scanned, "is stored but not named"),
        };
        let (row, what) = missing;
        return Err(format!(
            "the version of key {} at {} {what} as the commit index has it",
            text::preview(&row.key),
            row.ts
        ));
    }
}

/// Keys ascend, versions of a key descend.
fn order(row: &VersionRow) -> (&[u8], std::cmp::Reverse<Timestamp>) {
    (&row.key, std::cmp::Reverse(row.ts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, u64)]) -> impl Iterator<Item = Result<VersionRow>> {
        let rows: Vec<_> = rows
            .iter()
            .map(|(key, ts)| {
                Ok(VersionRow {
                    key: key.as_bytes().to_vec(),
                    ts: Timestamp::from_nanos(*ts),
                    value: None,
                })
            })
            .collect();
        rows.into_iter()
    }

    #[test]
    fn equal_answers_are_counted() {
        let all = [("a", 3), ("a", 2), ("b", 9)];
        assert_eq!(same(rows(&all), rows(&all)), Ok(3));
    }

    #[test]
    fn each_planted_difference_is_found() {
        let all = [("a", 3), ("a", 2), ("b", 9)];
        for missing in 0..all.len() {
            let mut fewer = all.to_vec();
            let (key, ts) = fewer.remove(missing);
            let named = format!("the version of key {key} at {}", Timestamp::from_nanos(ts));
            let unnamed = same(rows(&fewer), rows(&all)).unwrap_err();
            assert!(
                unnamed.starts_with(&named) && unnamed.contains("stored but not named"),
                "{unnamed}"
            );
            let lost = same(rows(&all), rows(&fewer)).unwrap_err();
            assert!(
                lost.starts_with(&named) && lost.contains("named but not stored"),
                "{lost}"
            );
        }
    }
}
