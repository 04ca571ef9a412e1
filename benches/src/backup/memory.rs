//! The memory of a backup and a restore of a large keyspace.
//!
//! What counts is the kernel's peak of the whole process's resident memory (`VmHWM`), reset before each: an upper
//! bound, since memtables, caches and whatever the allocator kept from before are in it. The block cache is a
//! small one here.

use std::fs;
use std::path::Path;

use icecore_archive::{Collection, CollectionUri, StoreOptions};
use icecore_backup::Mode;
use icecore_engine::{Engine, Options};
use icecore_restore::RestoreOptions;

use crate::bench::Bench;
use crate::error::{Error, Result};
use crate::measure::{Pair, Samples};
use crate::report::{Report, Shape};
use crate::source::{Source, THREADS, full, onto_latest};

/// Bytes that each may take beyond the engine's caches.
const BYTES_MAX: f64 = (512 << 20) as f64;

const PEER: &str = "512 MiB";

/// Takes the figures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let options = Options {
        block_cache_bytes: 8 << 20,
        ..bench.options.clone()
    };
    let source = Source::of(bench, &options, bench.scale.memory_keys as u64)?;
    let folder = source.place("collection");
    report.note(format!(
        "memory: {:.2} GB of keys and values",
        source.logical_bytes() as f64 / 1e9
    ));
    let full_peak = peak(|| source.backup(&folder, &full(Mode::Logical)).map(drop))?;
    add(report, "memory of a logical full", full_peak);
    source.rewrite(100, 1)?;
    let incremental_peak = peak(|| source.backup(&folder, &onto_latest()).map(drop))?;
    add(report, "memory of an incremental of 10 %", incremental_peak);
    let target = source.place("restored");
    let engine = Engine::open(&target, &options)?;
    let restore_peak = peak(|| restore(&source, &engine, &folder))?;
    add(report, "memory of a restore", restore_peak);
    Ok(())
}

fn restore(source: &Source, engine: &Engine, from: &Path) -> Result<()> {
    source.runtime.block_on(async {
        let uri = CollectionUri::from_local_path(from)?;
        let collection = Collection::open(&uri, StoreOptions::default()).await?;
        let options = RestoreOptions {
            threads: THREADS,
            ..RestoreOptions::default()
        };
        icecore_restore::restore(engine, &collection, &options).await?;
        Ok(())
    })
}

fn add(report: &mut Report, name: &str, bytes: u64) {
    let pair = Pair {
        ours: Samples::new(vec![bytes as f64]),
        peer: Samples::new(vec![BYTES_MAX]),
    };
    report.add(name, PEER, &pair, Shape::megabytes(Some(1.0)));
}

/// The process's peak of resident memory in the course of the work.
fn peak(work: impl FnOnce() -> Result<()>) -> Result<u64> {
    let reset = Path::new("/proc/self/clear_refs");
    fs::write(reset, "5").map_err(Error::io("reset the peak in", reset))?;
    work()?;
    resident("VmHWM:")
}

/// A line of the kernel's account of this process, in bytes.
fn resident(name: &'static str) -> Result<u64> {
    let path = Path::new("/proc/self/status");
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| {
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .ok()
    });
    kib.map(|kib| kib << 10).ok_or_else(|| Error::WrongAnswer {
        figure: "memory",
        system: "the kernel",
        found: "no such line".to_owned(),
        expected: name.to_owned(),
    })
}
