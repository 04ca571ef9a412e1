//! The database folder: its lock, its identity file, and what makes it one of ours.
//!
//! ```text
//! DIR/ICECORE            identity: format version and engine id, JSON; written when creation is done
//! DIR/ICECORE.creating   there only while a database is being created
//! DIR/LOCK               locked exclusively by a writer, shared by read-only opens
//! DIR/data/              RocksDB
//! DIR/staging/           files on their way in or out; emptied by each open for writing, but for what
//!                        unfinished restores fetched
//! ```
//!
//! Creation: lock, `ICECORE.creating`, RocksDB, `ICECORE`, remove the marker, each step synced.
//! A crash in between leaves the marker, and the next open starts creation over: nothing
//! was acknowledged before `ICECORE` was there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use icecore_mvcc::EngineId;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The folder format that this program writes.
pub(crate) const FORMAT_VERSION: u32 = 1;

const IDENTITY: &str = "ICECORE";
const CREATING: &str = "ICECORE.creating";
const LOCK: &str = "LOCK";
const DATA: &str = "data";
const STAGING: &str = "staging";

/// What the name of a restore's folder within the staging folder begins with.
pub(crate) const RESTORE_STAGING: &str = "restore-";

/// The content of the identity file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) format_version: u32,
    pub(crate) engine_id: EngineId,
    /// The engine that this one is a checkpoint of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) forked_from: Option<EngineId>,
}

impl Identity {
    /// A new engine's identity.
    pub(crate) fn new(forked_from: Option<EngineId>) -> Self {
        let engine_id = EngineId::from_bytes(uuid::Uuid::new_v4().into_bytes());
        Self {
            format_version: FORMAT_VERSION,
            engine_id,
            forked_from,
        }
    }

    /// Writes the identity file of `dir` so that it is there whole or not at all.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::io("encode", "the identity file", std::io::Error::other(e)))?;
        let temporary = dir.join("ICECORE.tmp");
        write_synced(&temporary, &text)?;
        fs::rename(&temporary, dir.join(IDENTITY)).map_err(Error::path("rename", &temporary))?;
        sync_dir(dir)
    }
}

/// A locked database folder.
pub(crate) struct Folder {
    dir: PathBuf,
    staging: PathBuf,
    identity: Identity,
    creating: bool,
    _lock: File,
}

/// What was found at a path.
enum Found {
    Database(Identity),
    Unfinished,
    Empty,
    Nothing,
}

impl Folder {
    /// Locks `dir` for writing, and readies it for creation where it is new.
    pub(crate) fn open(dir: &Path, create: bool) -> Result<Self> {
        let found = inspect(dir)?;
        if matches!(found, Found::Empty | Found::Nothing | Found::Unfinished) && !create {
            return Err(Error::Missing {
                path: dir.to_owned(),
            });
        }
        if matches!(found, Found::Nothing) {
            fs::create_dir_all(dir).map_err(Error::path("create", dir))?;
        }
        let lock = lock(dir, true)?;
        // Look again: another process may have created it before we had the lock.
        let (identity, creating) = match inspect(dir)? {
            Found::Database(identity) => {
                // A crash may have left it after the last step of creation but one.
                remove_if_there(&dir.join(CREATING))?;
                (identity, false)
            }
            _ => (Self::start_creation(dir)?, true),
        };
        let staging = dir.join(STAGING);
        empty_staging(&staging)?;
        fs::create_dir_all(&staging).map_err(Error::path("create", &staging))?;
        Ok(Self {
            dir: dir.to_owned(),
            staging,
            identity,
            creating,
            _lock: lock,
        })
    }

    /// Locks `dir` against writers.
    pub(crate) fn open_read_only(dir: &Path) -> Result<Self> {
        let Found::Database(identity) = inspect(dir)? else {
            return Err(Error::Missing {
                path: dir.to_owned(),
            });
        };
        let lock = lock(dir, false)?;
        Ok(Self {
            dir: dir.to_owned(),
            staging: dir.join(STAGING),
            identity,
            creating: false,
            _lock: lock,
        })
    }

    fn start_creation(dir: &Path) -> Result<Identity> {
        let marker = dir.join(CREATING);
        write_synced(&marker, b"")?;
        sync_dir(dir)?;
        let data = dir.join(DATA);
        if data.exists() {
            fs::remove_dir_all(&data).map_err(Error::path("remove the unfinished", &data))?;
        }
        Ok(Identity::new(None))
    }

    /// Ends creation: from here on the folder is a database.
    pub(crate) fn finish_creation(&mut self) -> Result<()> {
        if !self.creating {
            return Ok(());
        }
        self.identity.write(&self.dir)?;
        let marker = self.dir.join(CREATING);
        fs::remove_file(&marker).map_err(Error::path("remove", &marker))?;
        sync_dir(&self.dir)?;
        if let Some(parent) = self.dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync_dir(parent)?;
        }
        self.creating = false;
        Ok(())
    }

    /// Whether the database is being created by this open.
    pub(crate) fn is_new(&self) -> bool {
        self.creating
    }

    /// The database folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// RocksDB's folder.
    pub(crate) fn data(&self) -> PathBuf {
        data_of(&self.dir)
    }

    /// Where files on their way in or out lie.
    pub(crate) fn staging(&self) -> &Path {
        &self.staging
    }

    /// Who this engine is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// RocksDB's folder within a database folder.
pub(crate) fn data_of(dir: &Path) -> PathBuf {
    dir.join(DATA)
}

fn inspect(dir: &Path) -> Result<Found> {
    let metadata = match fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => return Err(Error::path("look at", dir)(e)),
    };
    if !metadata.is_dir() {
        return Err(not_ours(dir, "it is a file, not a folder"));
    }
    let identity = dir.join(IDENTITY);
    match fs::read(&identity) {
        Ok(bytes) => return parse_identity(dir, &bytes).map(Found::Database),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(Error::path("read", &identity)(e)),
    }
    if dir.join(CREATING).exists() {
        return Ok(Found::Unfinished);
    }
    for entry in fs::read_dir(dir).map_err(Error::path("list", dir))? {
        let entry = entry.map_err(Error::path("list", dir))?;
        if entry.file_name() != LOCK {
            return Err(not_ours(dir, "it holds files but no ICECORE identity file"));
        }
    }
    Ok(Found::Empty)
}

fn parse_identity(dir: &Path, bytes: &[u8]) -> Result<Identity> {
    /// The one field that every format version has.
    #[derive(Deserialize)]
    struct Versioned {
        format_version: u32,
    }
    let Ok(Versioned { format_version }) = serde_json::from_slice(bytes) else {
        return Err(not_ours(dir, "its ICECORE file cannot be read"));
    };
    if format_version == 0 {
        return Err(not_ours(
            dir,
            "its ICECORE file names format version 0, which never was",
        ));
    }
    if format_version > FORMAT_VERSION {
        return Err(Error::NewerFormat {
            path: dir.to_owned(),
            found: format_version,
            supported: FORMAT_VERSION,
        });
    }
    serde_json::from_slice(bytes).map_err(|_| not_ours(dir, "its ICECORE file is damaged"))
}

fn not_ours(dir: &Path, reason: &str) -> Error {
    Error::NotADatabase {
        path: dir.to_owned(),
        reason: reason.to_owned(),
    }
}

fn lock(dir: &Path, exclusive: bool) -> Result<File> {
    let path = dir.join(LOCK);
    let file = match OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
    {
        Ok(file) => file,
        // A read-only file system can still be locked through a descriptor open for reading.
        Err(_) if !exclusive && path.exists() => {
            File::open(&path).map_err(Error::path("open", &path))?
        }
        Err(e) => return Err(Error::path("open", &path)(e)),
    };
    let locked = if exclusive {
        file.try_lock()
    } else {
        file.try_lock_shared()
    };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked {
            path: dir.to_owned(),
        }),
        Err(TryLockError::Error(e)) => Err(Error::path("lock", &path)(e)),
    }
}

/// Removes what is in the staging folder but for what interrupted restores fetched: those are known once
/// RocksDB is open, and the others' folders go then.
fn empty_staging(staging: &Path) -> Result<()> {
    let entries = match fs::read_dir(staging) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::path("list", staging)(e)),
    };
    for entry in entries {
        let entry = entry.map_err(Error::path("list", staging))?;
        let is_dir = entry
            .file_type()
            .map_err(Error::path("look at", staging))?
            .is_dir();
        let path = entry.path();
        if !is_dir {
            fs::remove_file(&path).map_err(Error::path("remove", &path))?;
        } else if !is_of_a_restore(&entry.file_name()) {
            fs::remove_dir_all(&path).map_err(Error::path("remove", &path))?;
        }
    }
    Ok(())
}

/// Whether a folder within the staging folder is a restore's.
pub(crate) fn is_of_a_restore(name: &std::ffi::OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with(RESTORE_STAGING))
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::path("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Writes a file and syncs it.
fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path).map_err(Error::path("create", path))?;
    file.write_all(bytes).map_err(Error::path("write", path))?;
    file.sync_all().map_err(Error::path("sync", path))
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(Error::path("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_creation_starts_over() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("db");
        let folder = Folder::open(&dir, true).unwrap();
        fs::create_dir_all(folder.data()).unwrap();
        fs::write(folder.data().join("half"), b"x").unwrap();
        drop(folder);
        assert!(matches!(
            Folder::open(&dir, false),
            Err(Error::Missing { .. })
        ));
        let mut folder = Folder::open(&dir, true).unwrap();
        assert!(folder.is_new());
        assert!(!folder.data().exists());
        folder.finish_creation().unwrap();
        drop(folder);
        assert!(!Folder::open(&dir, true).unwrap().is_new());
    }

    #[test]
    fn what_is_not_ours_is_refused_and_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("thesis.txt"), b"x").unwrap();
        let refused = Folder::open(temp.path(), true).map(|_| ()).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("holds files but no ICECORE identity file"),
            "{refused}"
        );
        assert!(!temp.path().join(LOCK).exists());
        let file = temp.path().join("thesis.txt");
        let refused = Folder::open(&file, true).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("is a file"), "{refused}");
    }

    #[test]
    fn a_newer_format_is_named() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(
            temp.path().join(IDENTITY),
            br#"{"format_version":7,"shape":"unknown"}"#,
        )
        .unwrap();
        let refused = Folder::open(temp.path(), true).map(|_| ()).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("format version 7, this program reads up to 1"),
            "{refused}"
        );
    }

    #[test]
    fn one_writer_or_many_readers() {
        let temp = tempfile::tempdir().unwrap();
        let mut writer = Folder::open(temp.path(), true).unwrap();
        writer.finish_creation().unwrap();
        assert!(matches!(
            Folder::open(temp.path(), true),
            Err(Error::Locked { .. })
        ));
        assert!(matches!(
            Folder::open_read_only(temp.path()),
            Err(Error::Locked { .. })
        ));
        drop(writer);
        let _first = Folder::open_read_only(temp.path()).unwrap();
        let _second = Folder::open_read_only(temp.path()).unwrap();
        assert!(matches!(
            Folder::open(temp.path(), true),
            Err(Error::Locked { .. })
        ));
    }
}
