//! The plainest peer of a backup: `cp -r`, then fsync of every file and folder of the copy.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use crate::error::{Error, Result};

/// Its name, as printed.
pub(crate) const COPY: &str = "cp -r and fsync";

/// Copies a folder to a place where nothing is yet, and makes the copy durable.
///
/// # Errors
/// [`Error::Io`]; [`Error::CopyFailed`] when `cp` does not succeed.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp")
        .arg("-r")
        .args([from, to])
        .status()
        .map_err(Error::io("run cp -r on", from))?;
    if !status.success() {
        return Err(Error::CopyFailed {
            from: from.to_owned(),
            status,
        });
    }
    sync(to)
}

/// Makes a folder and all in it durable, the files first.
fn sync(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        if path.is_dir() {
            sync(&path)?;
        } else {
            sync_one(&path)?;
        }
    }
    sync_one(folder)
}

fn sync_one(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_all_files() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("inner")).unwrap();
        fs::write(from.join("inner/file"), "content").unwrap();
        let to = dir.path().join("to");
        copy(&from, &to).unwrap();
        assert_eq!(
            fs::read_to_string(to.join("inner/file")).unwrap(),
            "content"
        );
        assert!(copy(&dir.path().join("absent"), &to).is_err());
    }
}
