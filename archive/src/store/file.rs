//! `file://`: a local or mounted directory.
//!
//! `LocalFileSystem` with its fsync on writes each object beside its place, syncs it, links or renames it
//! into place and syncs the directory, and every directory it made. That leaves the collection's own
//! directory and those above it, which are made and synced here.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use super::Root;
use crate::error::{Error, Result};

/// Opens the directory, which is made first if it may be.
pub(super) fn open(path: &Path, location: &str, root: Root) -> Result<Arc<dyn ObjectStore>> {
    let failed = |action, reason: String| Error::LocalFile {
        action,
        path: path.to_owned(),
        reason,
    };
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => {
            return Err(failed(
                "use as a collection",
                "it is not a directory".to_owned(),
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => match root {
            Root::MustExist => {
                return Err(Error::NoCollection {
                    location: location.to_owned(),
                });
            }
            Root::MayBeCreated => {
                create_dir_synced(path)
                    .map_err(|error| failed("create directory", error.to_string()))?;
            }
        },
        Err(error) => return Err(failed("use as a collection", error.to_string())),
    }
    let store = LocalFileSystem::new_with_prefix(path)
        .map_err(|error| failed("use as a collection", super::transient::one_line(&error)))?;
    Ok(Arc::new(store.with_fsync(true)))
}

/// Makes a directory and those above it that are missing, and syncs each into its parent.
fn create_dir_synced(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.exists()).collect();
    fs::create_dir_all(path)?;
    missing
        .iter()
        .filter_map(|dir| dir.parent())
        .try_for_each(sync_dir)
}

/// Makes the entries of a directory durable. Other systems than Unix cannot open directories and need not.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(path)?.sync_all()
    } else {
        Ok(())
    }
}
