//! Temporary folders, small engines, and numbers that the environment may change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use icecore_engine::{Compression, Options};
use icecore_mvcc::Clock;
use tempfile::TempDir;

/// A folder that is removed when dropped: in memory where the machine has such a file system, since
/// hundreds of small databases would else wait for the disk's syncs.
///
/// # Errors
/// When no folder can be made.
pub fn folder() -> std::io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let named = |mut builder: tempfile::Builder<'_, '_>| {
        builder.prefix("icecore-test-");
        builder.tempdir_in(memory)
    };
    match named(tempfile::Builder::new()) {
        Ok(dir) => Ok(dir),
        Err(_) => tempfile::Builder::new().prefix("icecore-test-").tempdir(),
    }
}

/// A number from the environment, or the default where it is not set or no number.
#[must_use]
pub fn count_from_env(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Settings of an engine that is opened often and holds little.
#[must_use]
pub fn small_engine(clock: Arc<dyn Clock>) -> Options {
    Options {
        clock,
        block_cache_bytes: 1 << 20,
        write_buffer_bytes: 64 << 10,
        total_write_buffer_bytes: 1 << 20,
        background_threads: 1,
        compression: Compression::Lz4,
        last_level_compression: Compression::Lz4,
        block_bytes: 512,
        target_file_bytes: 64 << 10,
        pooled_iterators: 2,
        ..Options::default()
    }
}

/// A runtime for one thread's backups and restores.
///
/// # Errors
/// When the machine gives no threads.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
}

/// The files below a folder, which may not be there yet, or go while it is looked at.
#[must_use]
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}
