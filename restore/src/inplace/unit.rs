//! What is opened at a time, and in which order: pure.

use std::sync::Arc;

use icecore_archive::{FileEntry, LayerPath};
use icecore_mvcc::{KeyRange, Timestamp};

use crate::plan::PlannedRestore;

/// A file to read, with where it lies and which keys it may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) layer: LayerPath,
    pub(super) file: FileEntry,
}

impl Unit {
    /// The keys that it may hold.
    pub(super) fn span(&self) -> &KeyRange {
        &self.file.span
    }

    /// No version in it is newer than this.
    pub(super) fn newest(&self) -> Timestamp {
        self.file.max_ts
    }
}

/// Everything that a keyspace's restore would apply.
pub(super) fn units(planned: &PlannedRestore) -> Vec<Arc<Unit>> {
    let each = planned.layers.iter().flat_map(|layer| {
        layer.files.iter().map(|planned| {
            Arc::new(Unit {
                layer: layer.path.clone(),
                file: planned.file.clone(),
            })
        })
    });
    each.collect()
}

/// Those that may hold a key, newest first: by their newest version, of which none is newer.
pub(super) fn holding(units: &[Arc<Unit>], key: &[u8]) -> Vec<Arc<Unit>> {
    let mut holding: Vec<_> = units
        .iter()
        .filter(|unit| unit.span().contains(key))
        .cloned()
        .collect();
    holding.sort_by_key(|unit| std::cmp::Reverse(unit.newest()));
    holding
}

/// Those that may hold keys of a range, as runs: the spans of a run follow each other without overlap, so
/// that one of its files is open at a time. As few runs as there can be.
pub(super) fn runs(units: &[Arc<Unit>], range: &KeyRange) -> Vec<Vec<Arc<Unit>>> {
    let mut wanted: Vec<_> = units
        .iter()
        .filter(|unit| unit.span().overlaps(range))
        .cloned()
        .collect();
    wanted.sort_by(|a, b| a.span().start().cmp(b.span().start()));
    let mut runs: Vec<Vec<Arc<Unit>>> = Vec::new();
    for unit in wanted {
        let follows = |run: &&mut Vec<Arc<Unit>>| {
            let end = run.last().map(|last| last.span().end());
            end.is_none_or(|end| end.is_some_and(|end| end <= unit.span().start()))
        };
        match runs.iter_mut().find(follows) {
            Some(run) => run.push(unit),
            None => runs.push(vec![unit]),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use icecore_archive::{ContentHash, FileId};

    use super::*;

    fn unit(start: &str, end: Option<&str>, max_ts: u64) -> Arc<Unit> {
        let end = end.map(|end| end.as_bytes().to_vec());
        Arc::new(Unit {
            layer: LayerPath::full_at("2022/02/09-155340.13".parse().unwrap()),
            file: FileEntry {
                id: FileId::random(),
                span: KeyRange::new(start.into(), end),
                min_ts: Timestamp::MIN,
                max_ts: Timestamp::from_nanos(max_ts),
                entries: 1,
                tombstones: 0,
                logical_bytes: 1,
                stored_bytes: 1,
                crc32: 0,
                blake3: ContentHash::of(b""),
            },
        })
    }

    fn named(runs: &[Vec<Arc<Unit>>]) -> Vec<String> {
        let name = |unit: &Arc<Unit>| unit.span().to_string();
        runs.iter()
            .map(|run| run.iter().map(name).collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn the_files_of_a_run_follow_each_other() {
        let units = [
            unit("m", Some("z"), 1),
            unit("a", Some("m"), 1),
            unit("c", Some("d"), 2),
            unit("k", None, 3),
            unit("d", Some("k"), 2),
            unit("z", None, 1),
        ];
        let all = runs(&units, &KeyRange::all());
        assert_eq!(
            named(&all),
            [
                [&units[1], &units[0], &units[5]]
                    .map(|u| u.span().to_string())
                    .join(" "),
                [&units[2], &units[4], &units[3]]
                    .map(|u| u.span().to_string())
                    .join(" "),
            ]
        );
        let some = runs(&units, &KeyRange::new(b"d".to_vec(), Some(b"k".to_vec())));
        assert_eq!(
            named(&some),
            [units[1].span().to_string(), units[4].span().to_string()]
        );
        assert_eq!(runs(&[], &KeyRange::all()), Vec::<Vec<_>>::new());
    }

    #[test]
    fn the_newest_is_looked_into_first() {
        let units = [
            unit("a", Some("m"), 1),
            unit("a", Some("b"), 3),
            unit("b", Some("c"), 9),
            unit("a", None, 2),
        ];
        let times: Vec<u64> = holding(&units, b"a")
            .iter()
            .map(|u| u.newest().nanos())
            .collect();
        assert_eq!(times, [3, 2, 1]);
    }
}
