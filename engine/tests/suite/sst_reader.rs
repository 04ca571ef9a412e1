//! Reading SST files without an engine.

use std::fs;
use std::path::{Path, PathBuf};

use icecore_engine::{Compression, Engine, Error, SstCursor, SstScratch};
use icecore_mvcc::Timestamp;

use crate::common::{Row, scratch, small, ts};

/// Writes a file of rows, which must be in order.
fn write(folder: &Path, name: &str, rows: &[Row]) -> PathBuf {
    let engine = Engine::open(folder.join("db"), &small()).unwrap();
    let path = folder.join(name);
    let mut writer = engine.sst_writer(&path, Compression::Lz4).unwrap();
    for (key, at, value) in rows {
        writer.add(key, ts(*at), value.as_deref()).unwrap();
    }
    writer.finish().unwrap();
    engine.close().unwrap();
    path
}

/// Keys that are stored escaped and not, one empty, with several versions and a tombstone.
fn rows() -> Vec<Row> {
    let row = |key: &[u8], at, value: Option<&str>| (key.to_vec(), at, value.map(Into::into));
    vec![
        row(b"", 5, Some("empty key")),
        row(b"a", 9, None),
        row(b"a", 7, Some("old")),
        row(b"a\0", 8, Some("zero")),
        row(b"a\0", 2, Some("")),
        row(b"a\0\0", 1, Some("zeros")),
        row(b"b", 6, Some("last")),
        row(b"b", 3, None),
    ]
}

fn here(cursor: &mut SstCursor) -> Option<Row> {
    let row = cursor.row().unwrap()?;
    Some((
        row.key.to_vec(),
        row.ts.nanos(),
        row.value.map(<[u8]>::to_vec),
    ))
}

#[test]
fn every_row_is_read_in_both_directions() {
    let folder = scratch();
    let file = write(folder.path(), "rows.sst", &rows());
    let scratch = SstScratch::new(folder.path()).unwrap();
    let open = scratch.open(std::slice::from_ref(&file)).unwrap();
    // It stays, and need not.
    fs::remove_file(&file).unwrap();
    let mut cursor = open.cursor();
    assert_eq!(here(&mut cursor), None, "a new cursor is nowhere");
    cursor.seek_to_first();
    let mut forward = Vec::new();
    while let Some(row) = here(&mut cursor) {
        forward.push(row);
        cursor.next();
    }
    assert_eq!(forward, rows());
    cursor.seek_to_last();
    let mut backward = Vec::new();
    while let Some(row) = here(&mut cursor) {
        backward.insert(0, row);
        cursor.prev();
    }
    assert_eq!(backward, rows());
}

#[test]
fn seeks_land_as_they_say() {
    let folder = scratch();
    let file = write(folder.path(), "rows.sst", &rows());
    let scratch = SstScratch::new(folder.path()).unwrap();
    let mut cursor = scratch.open(&[file]).unwrap().cursor();
    let rows = rows();
    let keys: Vec<&[u8]> = vec![
        b"", b"\0", b"a", b"a\0", b"a\0\0", b"a\0\0\0", b"aa", b"b", b"c",
    ];
    for key in keys {
        for at in (0..=10).map(ts).chain([Timestamp::MAX]) {
            cursor.seek(key, at);
            let expected = rows
                .iter()
                .find(|(k, t, _)| k.as_slice() > key || (k == key && ts(*t) <= at));
            assert_eq!(here(&mut cursor).as_ref(), expected, "seek {key:?} {at}");
        }
        cursor.seek_after(key);
        let expected = rows.iter().find(|(k, _, _)| k.as_slice() > key);
        assert_eq!(here(&mut cursor).as_ref(), expected, "after {key:?}");
        cursor.seek_before(key);
        let expected = rows.iter().rfind(|(k, _, _)| k.as_slice() < key);
        assert_eq!(here(&mut cursor).as_ref(), expected, "before {key:?}");
    }
}

#[test]
fn several_files_are_read_as_one_and_apart() {
    let folder = scratch();
    let rows = rows();
    let first = write(folder.path(), "1.sst", &rows[..4]);
    let second = write(folder.path(), "2.sst", &rows[4..]);
    let scratch = SstScratch::new(folder.path()).unwrap();
    let all = |files: &[PathBuf]| {
        let mut cursor = scratch.open(files).unwrap().cursor();
        cursor.seek_to_first();
        let mut read = Vec::new();
        while let Some(row) = here(&mut cursor) {
            read.push(row);
            cursor.next();
        }
        read
    };
    assert_eq!(all(&[]), []);
    assert_eq!(all(std::slice::from_ref(&first)), rows[..4]);
    assert_eq!(all(&[first, second.clone()]), rows);
    assert_eq!(all(&[second]), rows[4..]);
}

#[test]
fn a_cursor_outlives_its_file_and_scratch_which_then_leave_nothing() {
    let folder = scratch();
    let file = write(folder.path(), "rows.sst", &rows());
    let scratch = SstScratch::new(folder.path()).unwrap();
    let before = fs::read_dir(folder.path()).unwrap().count();
    let mut cursor = scratch.open(&[file]).unwrap().cursor();
    drop(scratch);
    cursor.seek_to_first();
    assert_eq!(here(&mut cursor).as_ref(), rows().first());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);
    drop(cursor);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before - 1);
}

#[test]
fn what_is_no_file_of_rows_is_an_error_and_the_next_one_opens() {
    let folder = scratch();
    let good = write(folder.path(), "rows.sst", &rows());
    let bad = folder.path().join("bad.sst");
    fs::write(
        &bad,
        b"not an SST file, but long enough to have a footer of its own: no",
    )
    .unwrap();
    let scratch = SstScratch::new(folder.path()).unwrap();
    assert!(matches!(scratch.open(&[bad]), Err(Error::Rocks { .. })));
    let missing = folder.path().join("missing.sst");
    assert!(matches!(scratch.open(&[missing]), Err(Error::Io { .. })));
    let mut cursor = scratch.open(&[good]).unwrap().cursor();
    cursor.seek_to_first();
    assert_eq!(here(&mut cursor).as_ref(), rows().first());
}
