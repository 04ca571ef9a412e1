//! Golden files for tests: bytes that must not change unless the format does.
//!
//! With `ICECORE_BLESS` set, tests write them instead of comparing. A file of a released format version is
//! never written again: a new version takes a new file.

use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// Writes the file if blessing was asked for.
pub(crate) fn bless(name: &str, bytes: &[u8]) {
    if icecore_golden::file::blessing() {
        std::fs::write(path(name), bytes).unwrap();
    }
}

/// The file.
pub(crate) fn read(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// Compares with the file.
pub(crate) fn check(name: &str, actual: &[u8]) {
    bless(name, actual);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(actual), text(&read(name)), "{name} differs");
}
