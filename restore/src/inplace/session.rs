//! A reader's own folder within the cache: what it has open lies there, and goes with it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};

use icecore_engine::SstScratch;
use tempfile::TempDir;

use crate::error::Result;

/// What the names of these folders begin with.
const PREFIX: &str = "icecore-session-";
/// In each: locked while its reader lives. In the cache's folder: locked while one of these is made.
const LOCK: &str = "LOCK";

/// Fields drop in order: the database goes before the folder it lies in, and the lock last.
pub(super) struct Session {
    pub(super) scratch: SstScratch,
    folder: TempDir,
    _lock: File,
}

impl Session {
    /// Makes one in the cache's folder, which is made where there is none; removes those of readers that
    /// were killed.
    pub(super) fn new(cache: &Path) -> Result<Self> {
        make_private(cache).map_err(io_error("create", cache))?;
        // Held while folders appear and are looked at: one that is not locked yet is not a dead one.
        let making = open_lock(cache)?;
        making.lock().map_err(io_error("lock", &cache.join(LOCK)))?;
        remove_dead(cache);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(cache)
            .map_err(io_error("create a folder in", cache))?;
        let lock = open_lock(folder.path())?;
        lock.lock()
            .map_err(io_error("lock", &folder.path().join(LOCK)))?;
        Ok(Self {
            scratch: SstScratch::new(folder.path())?,
            folder,
            _lock: lock,
        })
    }

    /// Where a file is put on its way to being opened.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Makes a folder that only its owner reads. One that exists stays as it is.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn open_lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let opened = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    Ok(opened.map_err(io_error("open", &path))?)
}

/// Removes the folders of readers that are gone. What cannot be removed is left for the next one.
fn remove_dead(cache: &Path) {
    let Ok(entries) = fs::read_dir(cache) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // One without a lock to take is none of ours, or died before it had one.
        let lock = File::open(entry.path().join(LOCK));
        if !lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            continue;
        }
        let folder = entry.path();
        if let Err(error) = fs::remove_dir_all(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "what a killed reader left cannot be removed");
        }
    }
}

/// A failure of the operating system.
pub(super) fn io_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> icecore_engine::Error {
    let subject = path.display().to_string();
    move |error| icecore_engine::Error::io(action, subject, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(cache: &Path) -> usize {
        let entries = fs::read_dir(cache).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(PREFIX)).count()
    }

    #[test]
    fn a_session_goes_with_its_reader_and_the_next_removes_those_of_the_killed() {
        let parent = tempfile::tempdir().unwrap();
        let cache = parent.path().join("a/b");
        let first = Session::new(&cache).unwrap();
        let second = Session::new(&cache).unwrap();
        assert_eq!(sessions(&cache), 2, "a live one was removed");
        drop(second);
        assert_eq!(sessions(&cache), 1);
        // As a kill leaves it: the folder, and nobody who holds its lock.
        let killed = cache.join("icecore-session-killed");
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join(LOCK), "").unwrap();
        fs::write(killed.join("x.sst"), "rows").unwrap();
        let other = cache.join("icecore-session-of-somebody");
        fs::create_dir(&other).unwrap();
        let third = Session::new(&cache).unwrap();
        assert!(!killed.exists() && other.exists());
        assert_eq!(sessions(&cache), 3);
        drop((first, third));
        assert_eq!(sessions(&cache), 1);
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_reads_the_folder() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let cache = parent.path().join("cache");
        let _session = Session::new(&cache).unwrap();
        let mode = fs::metadata(&cache).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
