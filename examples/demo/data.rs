//! The compressed tables in `examples/data`, checked against their hashes before use.

use std::fs;
use std::path::{Path, PathBuf};

use icecore_examples::text;

use crate::error::{Result, ensure};

/// Lines of a hash, two spaces and a file's name, as the tool `b3sum` writes them.
const CHECKSUMS: &str = "BLAKE3SUMS";

/// Where a table lies.
pub(crate) fn path(folder: &Path, table: &str) -> PathBuf {
    folder.join(format!("{table}.csv.zst"))
}

/// Compares every file with its hash.
pub(crate) fn check(folder: &Path) -> Result<()> {
    let (mut files, mut bytes) = (0, 0);
    for line in read(&folder.join(CHECKSUMS))?.lines() {
        let (expected, name) = line
            .split_once("  ")
            .ok_or_else(|| format!("{CHECKSUMS} has the line {line:?}"))?;
        let content = read_bytes(&folder.join(name))?;
        let found = blake3::hash(&content).to_hex();
        ensure(found.as_str() == expected, || {
            format!("{name} has the BLAKE3 hash {found}, not {expected}: it was changed or damaged")
        })?;
        files += 1;
        bytes += content.len() as u64;
    }
    ensure(files > 0, || format!("{CHECKSUMS} is empty"))?;
    println!(
        "data: {files} files of real data, {} MB compressed, as {CHECKSUMS} has them",
        text::megabytes(bytes)
    );
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    Ok(String::from_utf8(read_bytes(path)?)?)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| format!("cannot read {}: {source}", path.display()).into())
}
