//! Cuts the keys of a keyspace into ranges whose files fit into the staging folder together.

use icecore_archive::FileEntry;
use icecore_mvcc::KeyRange;

/// Ranges of user keys that together are all keys, in order. The files that overlap a range come to no more
/// than the budget, unless those that overlap each other do.
pub(super) fn ranges<'a>(
    files: impl Iterator<Item = &'a FileEntry>,
    budget_bytes: u64,
) -> Vec<KeyRange> {
    let mut files: Vec<&FileEntry> = files.collect();
    files.sort_by(|a, b| a.span.start().cmp(b.span.start()));
    let mut cuts: Vec<&[u8]> = Vec::new();
    // What overlaps the range that is being made.
    let (mut held, mut held_bytes): (Vec<&FileEntry>, u64) = (Vec::new(), 0);
    let mut begins_at = files.first().map_or(&[][..], |file| file.span.start());
    for file in files {
        let start = file.span.start();
        let together = held_bytes.saturating_add(file.stored_bytes);
        if together > budget_bytes && start > begins_at {
            cuts.push(start);
            begins_at = start;
            held.retain(|held| held.span.end().is_none_or(|end| end > start));
            held_bytes = icecore_archive::total(held.iter().map(|held| held.stored_bytes));
        }
        held_bytes = held_bytes.saturating_add(file.stored_bytes);
        held.push(file);
    }
    KeyRange::all().split_at(&cuts)
}

#[cfg(test)]
mod tests {
    use icecore_archive::{ContentHash, FileId};
    use icecore_mvcc::Timestamp;

    use super::*;

    fn file(first: &str, last: &str, stored_bytes: u64) -> FileEntry {
        FileEntry {
            id: FileId::random(),
            span: FileEntry::span_of(first.as_bytes(), last.as_bytes()),
            min_ts: Timestamp::MIN,
            max_ts: Timestamp::MAX,
            entries: 1,
            tombstones: 0,
            logical_bytes: 1,
            stored_bytes,
            crc32: 0,
            blake3: ContentHash::of(b""),
            copied: None,
            locality: None,
        }
    }

    fn cuts(files: &[FileEntry], budget_bytes: u64) -> Vec<String> {
        let ranges = ranges(files.iter(), budget_bytes);
        // Together they are all keys.
        assert!(ranges.first().unwrap().start().is_empty());
        assert_eq!(ranges.last().unwrap().end(), None);
        for pair in ranges.windows(2) {
            assert_eq!(pair[0].end(), Some(pair[1].start()));
        }
        let starts = ranges.iter().skip(1).map(KeyRange::start);
        starts
            .map(|start| String::from_utf8(start.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn what_fits_is_one_range() {
        assert!(cuts(&[], 10).is_empty());
        assert!(cuts(&[file("a", "m", 5), file("c", "z", 5)], 10).is_empty());
    }

    #[test]
    fn cuts_lie_where_files_begin() {
        let files = [
            file("a", "f", 6),
            file("b", "e", 4),
            file("g", "k", 6),
            file("h", "z", 4),
            file("m", "z", 6),
        ];
        assert_eq!(cuts(&files, 10), ["g", "m"]);
    }

    #[test]
    fn what_overlaps_stays_together_whatever_it_takes() {
        let files = [file("a", "z", 9), file("a", "z", 9), file("b", "z", 9)];
        assert_eq!(cuts(&files, 10), ["b"]);
        // No cut may be made twice, nor before the first key.
        let same = [file("a", "a", 9), file("a", "a", 9), file("a", "b", 9)];
        assert!(cuts(&same, 10).is_empty());
    }
}
