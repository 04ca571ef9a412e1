//! The memory of a backup and a restore of a large keyspace.
//!
//! Each is done by a process of its own, which opens the database and does nothing else; what counts is the
//! kernel's peak of all of that process's resident memory (`VmHWM`). That is an upper bound: the engine's block
//! cache, a small one here, and its memtables are in it.

mod alone;

use std::path::Path;
use std::process::Command;

use icecore_engine::Options;
use tempfile::TempDir;

use crate::bench::Bench;
use crate::data::{self, KEY_BYTES, Row};
use crate::error::{Error, Result};
use crate::measure::{Pair, Samples};
use crate::report::{Report, Shape};
use crate::systems::{IcecoreStore, Store};

pub use alone::Work;

/// Bytes that each may take beyond the engine's caches.
const BYTES_MAX: f64 = (512 << 20) as f64;

const PEER: &str = "512 MiB";

/// Rows of one commit.
const BATCH: usize = 500;

/// Takes the figures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let folder = bench.folder()?;
    let keys = bench.scale.memory_keys as u64;
    let bytes = keys * (KEY_BYTES + bench.scale.backup_value_bytes) as u64;
    report.note(format!(
        "memory: {:.2} GB of keys and values, a process for each figure",
        bytes as f64 / 1e9
    ));
    write(bench, &folder, &data::shuffled(keys, 0), 0)?;
    measure(report, "memory of a logical full", Work::Full, &folder)?;
    let mut changed = data::shuffled(keys, 1);
    changed.truncate((keys / 10) as usize);
    write(bench, &folder, &changed, 1)?;
    let name = "memory of an incremental of 10 %";
    measure(report, name, Work::Incremental, &folder)?;
    let name = "memory of a restore";
    measure(report, name, Work::Restore, &folder)?;
    let restored = IcecoreStore::open(&alone::restored(folder.path()), &options())?;
    let Some(&key) = changed.first() else {
        return Ok(());
    };
    let row = data::row(key, 1, bench.scale.backup_value_bytes);
    let found = restored.keyspace.get(&row.key)?;
    Error::check(name, "icecore", &found, &Some(row.value))
}

/// The settings of all: a small block cache.
fn options() -> Options {
    Options {
        block_cache_bytes: 8 << 20,
        ..Options::default()
    }
}

/// Writes these rows, in a database that is closed again.
fn write(bench: &Bench, folder: &TempDir, order: &[u64], version: u64) -> Result<()> {
    let path = alone::source(folder.path());
    let store = if path.exists() {
        IcecoreStore::open(&path, &options())?
    } else {
        IcecoreStore::create(&path, &options())?
    };
    for commit in order.chunks(BATCH) {
        let row = |&index| data::row(index, version, bench.scale.backup_value_bytes);
        let rows: Vec<Row> = commit.iter().map(row).collect();
        store.put_batch(&rows, false)?;
    }
    store.engine.flush()?;
    Ok(())
}

/// Has it done by a process of its own.
fn measure(report: &mut Report, name: &'static str, work: Work, folder: &TempDir) -> Result<()> {
    let program = std::env::current_exe().map_err(Error::io("find", Path::new("this program")))?;
    let output = Command::new(&program)
        .args(["backup", "--alone", work.name(), "--dir"])
        .arg(folder.path())
        .output()
        .map_err(Error::io("run", &program))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let bytes: Option<f64> = text.trim().parse().ok().filter(|_| output.status.success());
    let bytes = bytes.ok_or_else(|| Error::WrongAnswer {
        figure: name,
        system: "the process of its own",
        found: String::from_utf8_lossy(&output.stderr).into_owned(),
        expected: "a number of bytes".to_owned(),
    })?;
    let pair = Pair {
        ours: Samples::new(vec![bytes]),
        peer: Samples::new(vec![BYTES_MAX]),
    };
    report.add(name, PEER, &pair, Shape::megabytes(Some(1.0)));
    Ok(())
}
