//! What is opened at a time, and in which order: pure.

use std::sync::Arc;

use icecore_archive::{FileEntry, LayerPath, total};
use icecore_mvcc::{KeyRange, Timestamp};

use crate::plan::PlannedRestore;

/// What is read as one, with where it lies and which keys it may hold: a file, or all files of a keyspace
/// that a fast full copied, which count only together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) layer: LayerPath,
    /// The first, in the order in which they are opened.
    pub(super) file: FileEntry,
    /// The others.
    pub(super) more: Vec<FileEntry>,
    span: KeyRange,
}

impl Unit {
    fn new(layer: &LayerPath, file: FileEntry, more: Vec<FileEntry>) -> Self {
        let span = more.iter().fold(file.span.clone(), |span, next| {
            let ends = span.end().zip(next.span.end());
            KeyRange::new(
                span.start().min(next.span.start()).to_vec(),
                ends.map(|(a, b)| a.max(b).to_vec()),
            )
        });
        Self {
            layer: layer.clone(),
            file,
            more,
            span,
        }
    }

    /// The files, in the order in which they are opened.
    pub(super) fn files(&self) -> impl Iterator<Item = &FileEntry> {
        std::iter::once(&self.file).chain(&self.more)
    }

    /// Whether its files are copied ones.
    pub(super) fn is_copied(&self) -> bool {
        self.file.copied.is_some()
    }

    /// The keys that it may hold.
    pub(super) fn span(&self) -> &KeyRange {
        &self.span
    }

    /// No version in it is newer than this.
    pub(super) fn newest(&self) -> Timestamp {
        self.more
            .iter()
            .fold(self.file.max_ts, |newest, next| newest.max(next.max_ts))
    }

    /// Bytes of its files.
    pub(super) fn bytes(&self) -> u64 {
        total(self.files().map(|file| file.stored_bytes))
    }
}

/// Everything that a keyspace's restore would apply.
pub(super) fn units(planned: &PlannedRestore) -> Vec<Arc<Unit>> {
    let mut units = Vec::new();
    for layer in &planned.layers {
        let files = layer.files.iter().map(|planned| planned.file.clone());
        let (copied, alone): (Vec<_>, Vec<_>) = files.partition(|file| file.copied.is_some());
        let mut copied = copied.into_iter();
        if let Some(first) = copied.next() {
            units.push(Unit::new(&layer.path, first, copied.collect()));
        }
        units.extend(
            alone
                .into_iter()
                .map(|file| Unit::new(&layer.path, file, Vec::new())),
        );
    }
    units.into_iter().map(Arc::new).collect()
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

    fn file(start: &str, end: Option<&str>, max_ts: u64) -> FileEntry {
        let end = end.map(|end| end.as_bytes().to_vec());
        FileEntry {
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
            copied: None,
            locality: None,
        }
    }

    fn layer() -> LayerPath {
        LayerPath::full_at("2022/02/09-155340.13".parse().unwrap())
    }

    fn unit(start: &str, end: Option<&str>, max_ts: u64) -> Arc<Unit> {
        Arc::new(Unit::new(&layer(), file(start, end, max_ts), Vec::new()))
    }

    #[test]
    fn files_that_count_together_are_one() {
        let more = vec![file("a", Some("c"), 9), file("k", Some("p"), 3)];
        let some = Unit::new(&layer(), file("d", Some("e"), 5), more.clone());
        let expected = KeyRange::new(b"a".to_vec(), Some(b"p".to_vec()));
        assert_eq!(some.span(), &expected);
        assert_eq!((some.newest().nanos(), some.bytes()), (9, 3));
        assert_eq!(some.files().skip(1).cloned().collect::<Vec<_>>(), more);
        let open = Unit::new(&layer(), file("d", Some("e"), 5), vec![file("f", None, 1)]);
        assert_eq!(open.span(), &KeyRange::new(b"d".to_vec(), None));
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
