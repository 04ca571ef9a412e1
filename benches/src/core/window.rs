//! The time-bounded iterator in steady state, as a fraction of a full scan's time.
//!
//! The data set is written once and then rewritten twice, uniformly and in random order, while
//! RocksDB compacts as it will and the garbage-collection threshold follows, as it does in a server
//! with a short TTL: so the scan it is compared with has little garbage to wade through. Then a
//! share of the keys is rewritten, and that window is read, by as many threads as the scan has.

use std::thread;
use std::time::Duration;

use icecore_engine::{ChangeOptions, ChangeSet, Changes, PlanTaken, ScanDirection, Window};
use icecore_mvcc::{KeyRange, Timestamp};

use crate::bench::Bench;
use crate::data::{self, KEY_BYTES, Row};
use crate::error::{Error, Result};
use crate::measure::{alternate, timed};
use crate::report::{Report, Shape};
use crate::systems::{IcecoreStore, Store, Totals};

/// Threads of the window's read and of the full scan.
const THREADS: usize = 2;

/// Rows of one commit.
const BATCH: usize = 100;

/// How often the threshold rises while all keys are rewritten once.
const RAISES: usize = 20;

/// Uniform rewrites before measuring.
const REWRITES: u64 = 2;

const FULL_SCAN: &str = "full scan";

/// A window: which share of the keys is rewritten in it, and the bar.
struct Share {
    name: &'static str,
    per_mille: usize,
    bar: f64,
}

const SHARES: [Share; 3] = [
    Share {
        name: "changes, window of 0.1 % of the keys",
        per_mille: 1,
        bar: 150.0,
    },
    Share {
        name: "changes, window of 1 % of the keys",
        per_mille: 10,
        bar: 20.0,
    },
    Share {
        name: "changes, window of 10 % of the keys",
        per_mille: 100,
        bar: 4.0,
    },
];

/// Takes the figures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let folder = bench.folder()?;
    let store = IcecoreStore::create(folder.path().join("db").as_path(), &bench.options)?;
    let keys = bench.scale.window_keys;
    for version in 0..=REWRITES {
        let order = data::shuffled(keys as u64, version);
        for stretch in order.chunks(keys.div_ceil(RAISES)) {
            rewrite(&store, bench, stretch, version)?;
            store
                .engine
                .gc_guard()
                .raise(store.keyspace.id(), store.engine.visible())?;
        }
    }
    wait_until_quiet(&store);
    let stats = store.keyspace.stats();
    report.note(format!(
        "time-bounded iterator: {keys} keys, {:.2} GB of keys and values; {:.2} GB and {} versions stored",
        (keys * (KEY_BYTES + bench.scale.window_value_bytes)) as f64 / 1e9,
        stats.sst_bytes as f64 / 1e9,
        stats.estimated_versions,
    ));
    for (number, share) in SHARES.iter().enumerate() {
        let version = REWRITES + 1 + number as u64;
        let mut order = data::shuffled(keys as u64, version);
        order.truncate(keys * share.per_mille / 1000);
        let after = store.engine.visible();
        rewrite(&store, bench, &order, version)?;
        let window = Window {
            after,
            until: store.engine.visible(),
        };
        measure(bench, report, &store, share, window, order.len() as u64)?;
    }
    Ok(())
}

fn rewrite(store: &IcecoreStore, bench: &Bench, indices: &[u64], version: u64) -> Result<()> {
    for commit in indices.chunks(BATCH) {
        let rows: Vec<Row> = commit
            .iter()
            .map(|&index| data::row(index, version, bench.scale.window_value_bytes))
            .collect();
        store.put_batch(&rows, false)?;
    }
    Ok(())
}

/// Waits until RocksDB has nothing left to compact by itself.
fn wait_until_quiet(store: &IcecoreStore) {
    let mut before = store.keyspace.stats();
    loop {
        thread::sleep(Duration::from_secs(2));
        let now = store.keyspace.stats();
        if now == before {
            return;
        }
        before = now;
    }
}

fn measure(
    bench: &Bench,
    report: &mut Report,
    store: &IcecoreStore,
    share: &Share,
    window: Window,
    changes: u64,
) -> Result<()> {
    let row_bytes = (KEY_BYTES + bench.scale.window_value_bytes) as u64;
    let expect = |rows: u64| Totals {
        rows,
        bytes: rows * row_bytes,
    };
    let mut plan = None;
    let pair = alternate(
        bench.scale.rounds,
        |_| {
            let mut seen = Totals::default();
            let took = timed(|| {
                (seen, plan) = read_window(store, window)?;
                Ok(())
            })?;
            Error::check(share.name, "icecore", &seen, &expect(changes))?;
            Ok(took)
        },
        |_| {
            let mut seen = Totals::default();
            let took = timed(|| {
                seen = full_scan(store, window.until)?;
                Ok(())
            })?;
            Error::check(
                share.name,
                FULL_SCAN,
                &seen,
                &expect(bench.scale.window_keys as u64),
            )?;
            Ok(took)
        },
    )?;
    report.add(share.name, FULL_SCAN, &pair, Shape::millis(share.bar));
    if let Some(PlanTaken::Scan { reason }) = plan {
        report.note(format!("{}: read by a scan: {reason}", share.name));
    }
    Ok(())
}

/// Reads the window with the plan that the engine takes by itself.
fn read_window(store: &IcecoreStore, window: Window) -> Result<(Totals, Option<PlanTaken>)> {
    // Cut however few the changes are, so that each of the threads has a part, as in the scan.
    let options = ChangeOptions {
        min_part_changes: 1,
        ..ChangeOptions::default()
    };
    let parts = store.keyspace.changes_parts(
        &KeyRange::all(),
        window,
        ChangeSet::All,
        &options,
        THREADS,
    )?;
    let plan = parts.first().map(Changes::plan);
    let totals = side_by_side(parts, |part| {
        let mut totals = Totals::default();
        for row in part {
            let row = row?;
            totals.add(&row.key, row.value.as_deref().unwrap_or_default());
        }
        Ok(totals)
    })?;
    Ok((totals, plan))
}

/// Reads all rows in the fastest form there is; the middle of the keys is known.
fn full_scan(store: &IcecoreStore, at: Timestamp) -> Result<Totals> {
    let at = store.engine.snapshot_at(at)?;
    side_by_side(KeyRange::all().split_at(&[b"8"]), |range| {
        let mut scan = store.keyspace.scan(&at, &range, ScanDirection::Forward)?;
        let mut totals = Totals::default();
        while let Some(row) = scan.next_ref()? {
            totals.add(row.key, row.value);
        }
        Ok(totals)
    })
}

/// Runs each piece in a thread of its own, and adds up what they saw.
fn side_by_side<T: Send>(
    pieces: Vec<T>,
    read: impl Fn(T) -> Result<Totals> + Sync,
) -> Result<Totals> {
    let read = &read;
    thread::scope(|scope| {
        let threads: Vec<_> = pieces
            .into_iter()
            .map(|piece| scope.spawn(move || read(piece)))
            .collect();
        let mut sum = Totals::default();
        for running in threads {
            let seen = running
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            sum.rows += seen.rows;
            sum.bytes += seen.bytes;
        }
        Ok(sum)
    })
}
