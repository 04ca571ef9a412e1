//! Where a restore keeps what it fetched, until it is over.
//!
//! The folder survives the process: an interrupted restore that is run again finds there what it had
//! fetched. It goes when the restore is published or abandoned, and at the next open if a crash came
//! between.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::folder::{RESTORE_STAGING, is_of_a_restore};

/// The most signs of a restore's id that a folder's name has.
const NAME_LENGTH: usize = 200;

/// The folder's name. Of a long id its end counts, which tells restores of one backup from each other. Two
/// whose ids differ in signs alone would share one, which does no harm: a file is used only after its
/// bytes were compared.
fn name_of(restore_id: &str) -> String {
    let plain = restore_id.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() || c == '.' => c,
        _ => '-',
    });
    let cut = restore_id.chars().count().saturating_sub(NAME_LENGTH);
    let plain: String = plain.skip(cut).collect();
    format!("{RESTORE_STAGING}{plain}")
}

/// Removes a restore's folder. What cannot be removed now is removed at the next open.
pub(super) fn remove(engine: &Engine, restore_id: &str) {
    let dir = engine.staging_dir().join(name_of(restore_id));
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "a restore's staging folder was not removed");
        }
        _ => {}
    }
}

impl Engine {
    /// Where a restore keeps the files that it fetched. It need not be there.
    pub fn restore_staging_path(&self, restore_id: &str) -> PathBuf {
        self.staging_dir().join(name_of(restore_id))
    }

    /// A folder for the files that a restore fetches, made where there is none. Begin the restore first:
    /// the folder of one that is not begun goes at the next open. What is in it was left by an earlier
    /// run, perhaps in the middle of a write.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ReadOnly`].
    pub fn restore_staging_dir(&self, restore_id: &str) -> Result<PathBuf> {
        self.check_writable("restore a keyspace")?;
        let dir = self.restore_staging_path(restore_id);
        fs::create_dir_all(&dir).map_err(Error::path("create", &dir))?;
        Ok(dir)
    }

    /// Removes the folders of restores that are over.
    pub(crate) fn drop_stale_staging(&self) -> Result<()> {
        let unfinished = self.restoring();
        let kept: BTreeSet<OsString> = unfinished
            .iter()
            .map(|keyspace| name_of(&keyspace.restore_id()).into())
            .collect();
        let staging = self.staging_dir();
        for entry in fs::read_dir(staging).map_err(Error::path("list", staging))? {
            let entry = entry.map_err(Error::path("list", staging))?;
            let name = entry.file_name();
            if is_of_a_restore(&name) && !kept.contains(&name) {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(Error::path("remove", &path))?;
            }
        }
        Ok(())
    }
}
