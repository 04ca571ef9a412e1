//! What a transfer needs of this machine: a staging folder, and threads that may block.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::hash::{Digest, Digester};

/// A folder for files on their way to or from a collection; removed with all that is in it when dropped.
#[derive(Debug)]
pub struct StagingFolder(TempDir);

impl StagingFolder {
    /// A new one within `parent`; `purpose` begins its name.
    ///
    /// # Errors
    /// [`Error::Staging`].
    pub fn new(parent: &Path, purpose: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("{purpose}-"))
            .tempdir_in(parent);
        folder
            .map(Self)
            .map_err(|e| staging("create a folder in", parent, &e))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Removes a staged file that is stored, or that is no longer wanted.
///
/// # Errors
/// [`Error::Staging`].
pub fn remove_staged(file: &Path) -> Result<()> {
    std::fs::remove_file(file).map_err(|e| staging("remove", file, &e))
}

fn staging(action: &'static str, path: &Path, error: &std::io::Error) -> Error {
    Error::Staging {
        action,
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Whether a local file holds exactly these bytes; `false` where there is none. Reads it whole, and
/// blocks meanwhile.
///
/// # Errors
/// [`Error::LocalFile`] when it cannot be read.
pub fn holds(path: &Path, expected: &Digest) -> Result<bool> {
    let failed = |error: std::io::Error| Error::LocalFile {
        action: "read",
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    if file.metadata().map_err(failed)?.len() != expected.bytes {
        return Ok(false);
    }
    let mut digester = Digester::default();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digester.finish() == *expected),
            Ok(read) => digester.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Runs blocking work on tokio's blocking threads; a panic there is an error here.
///
/// # Errors
/// Those of the work, and [`Error::Stopped`].
pub async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => Err(Error::Stopped {
            cause: panicked.to_string(),
        }
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staging_folder_goes_with_its_value() {
        let parent = tempfile::tempdir().unwrap();
        let staging = StagingFolder::new(parent.path(), "backup").unwrap();
        let path = staging.path().to_owned();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(path.is_dir() && name.starts_with("backup-"), "{name}");
        let file = path.join("1.sst");
        std::fs::write(&file, "x").unwrap();
        remove_staged(&file).unwrap();
        assert!(matches!(remove_staged(&file), Err(Error::Staging { .. })));
        std::fs::write(&file, "x").unwrap();
        drop(staging);
        assert!(!path.exists());
        let nowhere = StagingFolder::new(&path, "backup");
        assert!(matches!(nowhere, Err(Error::Staging { .. })));
    }

    #[test]
    fn a_file_holds_its_bytes_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.sst");
        let mut digester = Digester::default();
        digester.update(b"all of it");
        let digest = digester.finish();
        assert!(!holds(&path, &digest).unwrap(), "there is none");
        for (content, same) in [
            ("all of it", true),
            ("all of i", false),
            ("all of If", false),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(holds(&path, &digest), Ok(same), "{content}");
        }
    }

    #[tokio::test]
    async fn a_panic_of_blocking_work_is_an_error() {
        assert_eq!(blocking(|| Ok::<_, Error>(1)).await, Ok(1));
        let error = blocking(|| -> Result<()> { panic!("out of luck") }).await;
        let text = error.unwrap_err().to_string();
        assert!(text.contains("out of luck"), "{text}");
    }
}
