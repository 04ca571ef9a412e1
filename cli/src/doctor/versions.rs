//! The full read of a keyspace.

use icecore_engine::{Keyspace, RowRef, Snapshot};
use icecore_mvcc::{KeyRange, Timestamp, key::MAX_KEY_BYTES, text};

use super::{Counts, Finding};
use crate::output::plural;

/// Walks over every readable version beside a scan of the same time: order, bounds, and that the
/// scan shows exactly the newest puts. What was counted until a problem stays in `counts`.
pub(super) fn walk(keyspace: &Keyspace, at: &Snapshot, counts: &mut Counts) -> Finding {
    let problem = |e: icecore_engine::Error| e.to_string();
    let range = KeyRange::all();
    let mut versions = keyspace.full(&range, at, true).map_err(problem)?;
    let mut scan = keyspace
        .scan(at, &range, Default::default())
        .map_err(problem)?;
    let mut last = Last::default();
    while let Some(row) = versions.next_ref().map_err(problem)? {
        let newest = last.check(&row, at.timestamp())?;
        count(counts, &row);
        let Some(value) = row.value.filter(|_| newest) else {
            continue;
        };
        counts.keys += 1;
        let shown = scan.next_ref().map_err(problem)?;
        if !shown.is_some_and(|s| s.key == row.key && s.ts == row.ts && s.value == value) {
            return Err(format!(
                "a scan does not show key {} as written at {}",
                text::preview(row.key),
                row.ts
            ));
        }
    }
    match scan.next_ref().map_err(problem)? {
        None => Ok(format!("{} read", plural(counts.versions, "version"))),
        Some(shown) => Err(format!(
            "a scan shows key {}, which has no version",
            text::preview(shown.key)
        )),
    }
}

fn count(counts: &mut Counts, row: &RowRef<'_>) {
    counts.versions += 1;
    counts.tombstones += u64::from(row.value.is_none());
    counts.bytes += (row.key.len() + row.value.map_or(0, <[u8]>::len)) as u64;
    counts.newest = counts.newest.max(Some(row.ts));
}

/// The version seen last.
#[derive(Default)]
struct Last {
    version: Option<(Vec<u8>, Timestamp)>,
}

impl Last {
    /// Checks that a version may follow; whether it is the newest of its key.
    fn check(&mut self, row: &RowRef<'_>, at: Timestamp) -> Result<bool, String> {
        let wrong = |what: &str| {
            Err(format!(
                "the version of key {} at {} {what}",
                text::preview(row.key),
                row.ts
            ))
        };
        if row.key.len() > MAX_KEY_BYTES {
            return wrong("has too long a key");
        }
        if row.ts > at {
            return wrong("is newer than the newest commit");
        }
        let newest = match &mut self.version {
            Some((key, _)) if row.key < key.as_slice() => {
                return wrong("comes after a greater key");
            }
            Some((key, ts)) if row.key == key.as_slice() => {
                if row.ts >= *ts {
                    return wrong("comes after an older one");
                }
                *ts = row.ts;
                false
            }
            Some((key, ts)) => {
                row.key.clone_into(key);
                *ts = row.ts;
                true
            }
            None => {
                self.version = Some((row.key.to_vec(), row.ts));
                true
            }
        };
        Ok(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &[u8], ts: u64) -> RowRef<'_> {
        RowRef {
            key,
            ts: Timestamp::from_nanos(ts),
            value: None,
        }
    }

    fn check(rows: &[(&[u8], u64)]) -> Result<Vec<bool>, String> {
        let mut last = Last::default();
        rows.iter()
            .map(|(key, ts)| last.check(&row(key, *ts), Timestamp::from_nanos(100)))
            .collect()
    }

    #[test]
    fn the_first_version_of_a_key_is_its_newest() {
        let rows: [(&[u8], u64); 4] = [(b"", 5), (b"a", 9), (b"a", 8), (b"a\0", 9)];
        assert_eq!(check(&rows), Ok(vec![true, true, false, true]));
    }

    #[test]
    fn each_planted_disorder_is_found() {
        let long = vec![b'x'; MAX_KEY_BYTES + 1];
        for (rows, expected) in [
            (vec![(&b"b"[..], 5), (b"a", 5)], "comes after a greater key"),
            (vec![(b"a", 5), (b"a", 5)], "comes after an older one"),
            (vec![(b"a", 5), (b"a", 6)], "comes after an older one"),
            (vec![(b"a", 101)], "is newer than the newest commit"),
            (vec![(&long, 1)], "has too long a key"),
        ] {
            let found = check(&rows).unwrap_err();
            assert!(found.ends_with(expected), "{found}");
        }
    }
}
