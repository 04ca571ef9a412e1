//! SST files without an engine: what is merged from several layers is what was written, in order.

use std::collections::BTreeMap;
use std::path::PathBuf;

use icecore_engine::{Compression, Options, SstFiles};
use icecore_mvcc::{KeyRange, Timestamp};

/// A version of a key.
type Row = (Vec<u8>, Timestamp, Option<Vec<u8>>);

fn read(
    files: &SstFiles,
    dir: &std::path::Path,
    layers: &[Vec<PathBuf>],
    range: &KeyRange,
) -> Vec<Row> {
    let mut rows = files.merged(dir, layers, range).unwrap();
    let mut read = Vec::new();
    while let Some(row) = rows.next_ref().unwrap() {
        read.push((row.key.to_vec(), row.ts, row.value.map(<[u8]>::to_vec)));
    }
    assert_eq!(rows.next_ref().unwrap(), None);
    read
}

#[test]
fn layers_are_merged_in_order_and_stay_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let files = SstFiles::new(&Options::default()).unwrap();
    let mut expected: BTreeMap<(Vec<u8>, std::cmp::Reverse<Timestamp>), Option<Vec<u8>>> =
        BTreeMap::new();
    let mut layers = Vec::new();
    for layer in 0..4_u64 {
        let mut paths = Vec::new();
        // Two files: the second begins with older versions of the first one's last key.
        for half in 0..2_u64 {
            let path = dir.path().join(format!("{layer}-{half}.sst"));
            let mut writer = files.writer(&path, Compression::Lz4).unwrap();
            for n in 0..50_u64 {
                let key = format!("k{:03}", half * 49 + n).into_bytes();
                let ts = Timestamp::from_nanos(1000 * layer + 100 * (2 - half) + n % 3);
                let value = (n % 5 != 0).then(|| format!("{layer} {half} {n}").into_bytes());
                writer.add(&key, ts, value.as_deref()).unwrap();
                expected.insert((key, std::cmp::Reverse(ts)), value);
            }
            writer.finish().unwrap();
            paths.push(path);
        }
        layers.push(paths);
    }
    layers.push(Vec::new());
    let expected: Vec<Row> = expected
        .into_iter()
        .map(|((key, ts), value)| (key, ts.0, value))
        .collect();
    assert_eq!(
        read(&files, dir.path(), &layers, &KeyRange::all()),
        expected
    );
    let range = KeyRange::new(b"k010".to_vec(), Some(b"k060".to_vec()));
    let within = expected
        .iter()
        .filter(|(key, _, _)| range.contains(key))
        .cloned();
    assert_eq!(
        read(&files, dir.path(), &layers, &range),
        within.collect::<Vec<_>>()
    );
    // The files stay, and nothing else does.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 8);
    assert!(read(&files, dir.path(), &[], &KeyRange::all()).is_empty());
}

#[test]
fn a_file_that_is_none_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let files = SstFiles::new(&Options::default()).unwrap();
    let bad = dir.path().join("bad.sst");
    std::fs::write(&bad, "no file of ours").unwrap();
    assert!(
        files
            .merged(dir.path(), &[vec![bad.clone()]], &KeyRange::all())
            .is_err()
    );
    assert!(bad.exists());
}
