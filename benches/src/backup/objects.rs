//! How many objects a full makes.

use std::path::Path;

use icecore_backup::Mode;

use crate::bench::Bench;
use crate::error::{Error, Result};
use crate::measure::{Pair, Samples};
use crate::report::{Report, Shape};
use crate::source::{Source, full};

/// Objects beside the data: collection, lock, manifest, markers.
const CONSTANT: u64 = 6;

/// Takes the figures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let source = Source::load(bench)?;
    for (name, mode) in [
        ("objects of a logical full", Mode::Logical),
        ("objects of a fast full", Mode::Fast),
    ] {
        let folder = source.place(name);
        let taken = source.backup(&folder, &full(mode))?;
        let allowed = taken.stored_bytes().div_ceil(64 << 20) + 1 + CONSTANT;
        let pair = Pair {
            ours: Samples::new(vec![files_in(&folder)? as f64]),
            peer: Samples::new(vec![allowed as f64]),
        };
        let shape = Shape::count(Some(1.0));
        report.add(name, "1 per 64 MiB, and 7", &pair, shape);
    }
    Ok(())
}

/// Files in a folder, at any depth.
fn files_in(folder: &Path) -> Result<u64> {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        files += if path.is_dir() { files_in(&path)? } else { 1 };
    }
    Ok(files)
}
