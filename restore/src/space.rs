//! Whether the disk has room for a restore, asked before anything is fetched.

use std::path::Path;

use crate::error::{Error, Result};
use crate::plan::RestorePlan;
use crate::work::Ingested;

/// Checks that a database folder, which need not exist yet, lies on a file system with room for the
/// whole plan. A restore checks its engine's folder by itself.
///
/// What is needed is every file to fetch, and of each that is rewritten its size once more: files go from the
/// staging folder into the database by links, and one that is rewritten stays until what was written is in. A
/// rewritten file is taken to be as large as it was. The room that RocksDB takes later, to compact, is not
/// counted.
///
/// # Errors
/// [`Error::NoSpace`], with both figures; [`Error::Engine`] when the file system cannot be asked.
pub fn check_space(plan: &RestorePlan, folder: &Path) -> Result<()> {
    check(folder, Ingested::default().space_bytes(plan))
}

/// Checks that so many bytes are free where `folder` lies, or the nearest folder above it that exists.
pub(crate) fn check(folder: &Path, needed: u64) -> Result<()> {
    if needed == 0 {
        return Ok(());
    }
    let folder = nearest(folder);
    let found = rustix::fs::statvfs(folder).map_err(|e| {
        let subject = format!("the file system of {}", folder.display());
        icecore_engine::Error::io("ask for the free space of", subject, e.into())
    })?;
    let available = found.f_bavail.saturating_mul(found.f_frsize);
    if needed <= available {
        return Ok(());
    }
    Err(Error::NoSpace {
        folder: folder.to_owned(),
        needed,
        available,
    })
}

fn nearest(folder: &Path) -> &Path {
    let existing = folder.ancestors().find(|path| path.exists());
    // The last ancestor of a relative path is empty: it lies in the current folder.
    existing
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_can_be_is_refused_with_both_figures() {
        let error = check(Path::new("not/there/yet"), u64::MAX).unwrap_err();
        let Error::NoSpace {
            folder,
            needed,
            available,
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!((folder.as_path(), needed), (Path::new("."), u64::MAX));
        assert!(available > 0);
        check(Path::new("not/there/yet"), 1).unwrap();
        check(Path::new("/no/such/folder"), 0).unwrap();
    }

    #[test]
    fn the_nearest_folder_that_exists_is_asked() {
        assert_eq!(nearest(Path::new("src/nothing/here")), Path::new("src"));
        assert_eq!(nearest(Path::new("nothing")), Path::new("."));
        assert_eq!(nearest(Path::new("/nothing/here")), Path::new("/"));
    }
}
