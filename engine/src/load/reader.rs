//! Reading SST files that belong to no keyspace of an engine.
//!
//! RocksDB's C interface has no reader for a file of its own. An [`SstScratch`] is a scratch database in
//! which each file that is opened is a column family: links to it are ingested, which costs a few
//! milliseconds whatever its size, and it is gone when its last reader is.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use icecore_mvcc::{KeyRange, Timestamp, key, value};
use tempfile::TempDir;

use super::bulk::ingest;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::read::{RowRef, successor_of};
use crate::rocks::{Cf, CfKind, Db, RawIter, RocksSettings};

/// Memory for the blocks of all files opened in one scratch database.
const BLOCK_CACHE_BYTES: usize = 16 << 20;

/// Where SST files are opened to be read. Cheap to clone; its folder goes with the last clone, file and
/// cursor. It needs no engine.
#[derive(Clone)]
pub struct SstScratch(Arc<Scratch>);

/// Fields drop in order: the database goes before its folder.
struct Scratch {
    db: Arc<Db>,
    settings: RocksSettings,
    /// Names of column families given so far.
    opened: AtomicU64,
    folder: TempDir,
}

/// Open SST files, read as one. Cheap to clone.
#[derive(Clone)]
pub struct SstFile(Arc<Opened>);

/// Fields drop in order: the column family goes before its database.
struct Opened {
    cf: Cf,
    family: String,
    /// What errors call it.
    name: String,
    scratch: Arc<Scratch>,
}

/// A position among the versions of an [`SstFile`]: keys ascending, each key's versions newest first. A
/// new one is nowhere until it is moved.
pub struct SstCursor {
    // First: an iterator goes before the file.
    iter: RawIter,
    file: SstFile,
    /// The stored key that was looked for last.
    target: Vec<u8>,
    /// The user key at the position, where it is stored escaped.
    unescaped: Vec<u8>,
}

impl SstScratch {
    /// A scratch database in a new folder within `parent`. Files on the same file system are opened by links.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be made, [`Error::Rocks`] when the database cannot.
    pub fn new(parent: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("scratch-")
            .tempdir_in(parent)
            .map_err(Error::path("create a folder in", parent))?;
        let settings = RocksSettings::new(&Options {
            auto_compactions: false,
            block_cache_bytes: BLOCK_CACHE_BYTES,
            ..Options::default()
        });
        let families = vec![("default".to_owned(), CfKind::Meta)];
        let db = Db::open(&folder.path().join("data"), &settings, families)?;
        Ok(Self(Arc::new(Scratch {
            db,
            settings,
            opened: AtomicU64::new(0),
            folder,
        })))
    }

    /// Opens a file of versions as [`SstWriter`](crate::SstWriter) writes them, or several that do not
    /// overlap. The files stay where they are, and may be removed meanwhile.
    ///
    /// The bytes must be trusted, or verified before: RocksDB checks blocks as they are read, and no more.
    ///
    /// # Errors
    /// [`Error::Io`] when a file is missing, [`Error::Rocks`] when one is no such file.
    pub fn open(&self, files: &[PathBuf]) -> Result<SstFile> {
        self.open_by(files, ingest)
    }

    /// Opens live files of a keyspace, as copied from its database: all of them, in the order of
    /// [`CapturedKeyspace::live`](crate::CapturedKeyspace::live). They are read as the database showed
    /// them: what a delete removed is not there. Otherwise as [`SstScratch::open`].
    ///
    /// # Errors
    /// [`Error::Io`] when a file is missing or refused, [`Error::Rocks`].
    pub fn open_live(&self, files: &[PathBuf]) -> Result<SstFile> {
        self.open_by(files, Cf::ingest_live_files)
    }

    fn open_by(
        &self,
        files: &[PathBuf],
        ingest: impl FnOnce(&Cf, &[PathBuf]) -> Result<()>,
    ) -> Result<SstFile> {
        let number = self.0.opened.fetch_add(1, Ordering::Relaxed);
        let family = format!("file-{number}");
        let kind = CfKind::Versioned {
            threshold: Arc::default(),
        };
        let cf = self.0.db.create_family(&family, &self.0.settings, &kind)?;
        let name = files.first().map(|file| file.display().to_string());
        // From here on its end drops the column family.
        let opened = Opened {
            cf,
            family,
            name: name.unwrap_or_else(|| "no file".to_owned()),
            scratch: Arc::clone(&self.0),
        };
        let links = self.link(number, files);
        let ingested = match &links {
            Ok(links) if links.is_empty() => Ok(()),
            Ok(links) => ingest(&opened.cf, links),
            Err(_) => Ok(()),
        };
        for link in links.iter().flatten() {
            // What was taken may be gone already; the folder goes with the scratch database.
            let _gone = fs::remove_file(link);
        }
        links.and(ingested).map(|()| SstFile(Arc::new(opened)))
    }

    /// Links that the scratch database may take away.
    fn link(&self, number: u64, files: &[PathBuf]) -> Result<Vec<PathBuf>> {
        let link = |(at, file): (usize, &PathBuf)| {
            let link = self.0.folder.path().join(format!("{number}-{at}.sst"));
            match fs::hard_link(file, &link) {
                Ok(()) => Ok(link),
                // Of another file system, or one without links.
                Err(_) => fs::copy(file, &link)
                    .map(|_| link)
                    .map_err(Error::path("open", file)),
            }
        };
        files.iter().enumerate().map(link).collect()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if Arc::strong_count(&self.scratch) == 1 {
            // The whole database goes.
            return;
        }
        if let Err(error) = self.scratch.db.drop_family(&self.family) {
            tracing::warn!(file = self.name, %error, "a file that was read could not be let go");
        }
    }
}

impl SstFile {
    /// A new position in it.
    #[must_use]
    pub fn cursor(&self) -> SstCursor {
        let (lower, upper) = key::range_bounds(&KeyRange::all());
        SstCursor {
            iter: RawIter::new(&self.0.cf, RawIter::scan_options(lower, upper)),
            file: self.clone(),
            target: Vec::new(),
            unescaped: Vec::new(),
        }
    }
}

impl SstCursor {
    /// To the first version of the first key.
    pub fn seek_to_first(&mut self) {
        self.iter.seek_to_first();
    }

    /// To the oldest version of the last key.
    pub fn seek_to_last(&mut self) {
        self.iter.seek_to_last();
    }

    /// To the key's newest version at or before `at`; where it has none, to the first version of the next
    /// key. With [`Timestamp::MAX`]: to the first version at or after the key.
    pub fn seek(&mut self, key: &[u8], at: Timestamp) {
        self.target.clear();
        key::encode_into(&mut self.target, key, at);
        self.iter.seek(&self.target);
    }

    /// To the first version of the first key after this one.
    pub fn seek_after(&mut self, key: &[u8]) {
        let prefix = key::encode_prefix(key);
        successor_of(&prefix, &mut self.target);
        self.iter.seek(&self.target);
    }

    /// To the oldest version of the last key before this one.
    pub fn seek_before(&mut self, key: &[u8]) {
        self.target.clear();
        key::encode_prefix_into(&mut self.target, key);
        // A prefix alone sorts before all versions of its key.
        self.iter.seek_for_prev(&self.target);
    }

    /// One version on. Does nothing at an end.
    pub fn next(&mut self) {
        self.iter.next();
    }

    /// One version back. Does nothing at an end.
    pub fn prev(&mut self) {
        self.iter.prev();
    }

    /// The version at the position; `None` at an end.
    ///
    /// # Errors
    /// [`Error::Rocks`] when the end was reached because of a failure, such as a damaged block;
    /// [`Error::Corruption`] for a row that is none of ours.
    pub fn row(&mut self) -> Result<Option<RowRef<'_>>> {
        let Some((stored, bytes)) = self.iter.item() else {
            return self.iter.status().map(|()| None);
        };
        let corrupt = |what: &dyn fmt::Display| {
            Error::corrupt(format!("a row of {}: {what}", self.file.0.name))
        };
        let (prefix, ts) = key::split(stored).ok_or_else(|| corrupt(&"it has no timestamp"))?;
        let value = value::decode_value(bytes).map_err(|e| corrupt(&e))?;
        let key = match key::user_key(prefix).map_err(|e| corrupt(&e))? {
            Cow::Borrowed(key) => key,
            Cow::Owned(key) => {
                self.unescaped = key;
                &self.unescaped
            }
        };
        Ok(Some(RowRef {
            key,
            ts,
            value: value.into_option(),
        }))
    }
}
