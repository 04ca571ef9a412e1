//! Bulk load: sorted rows go in as files, at one timestamp, without passing through the log. All of
//! them become visible together or, when a row is out of order, none.

use std::time::Instant;

use icecore_engine::{Engine, Error, Options, ScanDirection};
use icecore_mvcc::{KeyRange, KeyspaceSettings};

const ROWS: u64 = 200_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let engine = Engine::open(dir.path().join("db"), &Options::default())?;
    let readings = engine.create_keyspace("plant.readings", KeyspaceSettings::default())?;
    let before = engine.snapshot();

    // Rows are made as they are taken: nothing is held in memory. A source that can fail hands its
    // error through.
    let rows = (0..ROWS).map(|n| Ok((format!("sensor/{n:08}"), (n * 17 % 1000).to_string())));
    let begun = Instant::now();
    let loaded = engine.bulk_load(&readings, rows)?;
    println!(
        "{} rows, {} bytes of files, at {} in {:.2} s",
        loaded.rows,
        loaded.file_bytes,
        loaded.ts,
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(loaded.rows, ROWS);
    let now = engine.snapshot();
    let all = readings.scan(&now, &KeyRange::all(), ScanDirection::Forward)?;
    assert_eq!(
        all.filter_map(Result::ok)
            .filter(|row| row.ts == loaded.ts)
            .count() as u64,
        ROWS
    );

    // It is a commit like any other: before it, nothing was there.
    assert_eq!(
        readings.get_at(&now, b"sensor/00000001")?.as_deref(),
        Some(&b"17"[..])
    );
    assert_eq!(readings.get_at(&before, b"sensor/00000001")?, None);

    let unsorted = [("b", "1"), ("a", "2")].map(Ok::<_, Error>);
    match engine.bulk_load(&readings, unsorted) {
        Err(error @ Error::OutOfOrder { .. }) => println!("refused: {error}"),
        other => return Err(format!("unsorted rows gave {other:?}").into()),
    }
    assert_eq!(readings.get(b"b")?, None);
    Ok(engine.close()?)
}
