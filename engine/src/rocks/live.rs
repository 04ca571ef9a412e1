//! Live files of a database: which there are, and taking in those of another. The options for that are
//! not in the wrapper, so they are built here over RocksDB's C interface.

use std::ffi::{CStr, CString, c_char};
use std::path::{Path, PathBuf};
use std::ptr;

use librocksdb_sys as ffi;
use rocksdb::{AsColumnFamilyRef, AsRawPtr, ReadTier};

use super::db::{Cf, Db};
use super::iter::RawIter;
use crate::error::{Error, Result};

/// A live SST file, as RocksDB describes it.
pub(crate) struct FileInfo {
    /// Its name in the database's folder.
    pub(crate) name: String,
    pub(crate) family: String,
    pub(crate) level: u32,
    pub(crate) first_key: Vec<u8>,
    pub(crate) last_key: Vec<u8>,
    /// Puts and physical deletes in it.
    pub(crate) entries: u64,
    /// Physical deletes in it.
    pub(crate) deletes: u64,
}

/// While it lives, no file of the database is deleted.
pub(crate) struct HeldFiles<'a> {
    db: &'a Db,
}

impl Drop for HeldFiles<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.db.raw().enable_file_deletions() {
            tracing::warn!(%error, "obsolete files are kept until the database is opened again");
        }
    }
}

impl Db {
    /// Keeps all files that are live, and will be, until the guard goes.
    pub(crate) fn hold_files(&self) -> Result<HeldFiles<'_>> {
        self.raw()
            .disable_file_deletions()
            .map_err(Error::rocks("hold the live files"))?;
        Ok(HeldFiles { db: self })
    }

    /// The live files of all column families at one moment. Those of each family go from the deepest
    /// level up, and those of level 0 from the oldest on: a row of a later file hides that of an earlier.
    pub(crate) fn live_files_oldest_first(&self) -> Result<Vec<FileInfo>> {
        let files = self.raw().live_files();
        let mut files = files.map_err(Error::rocks("list the live files"))?;
        // RocksDB lists a family from level 0 down, and of level 0 the newest first.
        files.reverse();
        files.sort_by_key(|file| std::cmp::Reverse(file.level));
        let known = files.into_iter().map(|file| {
            let name = file.name.trim_start_matches('/').to_owned();
            let (Some(first_key), Some(last_key)) = (file.start_key, file.end_key) else {
                return Err(Error::corrupt(format!(
                    "file {name} has no first and last key"
                )));
            };
            Ok(FileInfo {
                name,
                family: file.column_family_name,
                level: u32::try_from(file.level).unwrap_or_default(),
                first_key,
                last_key,
                entries: file.num_entries,
                deletes: file.num_deletions,
            })
        });
        known.collect()
    }
}

impl Cf {
    /// An iterator over what is in memory only. It holds that in memory while it lives.
    pub(crate) fn memory_iter(&self, lower: Vec<u8>, upper: Option<Vec<u8>>) -> RawIter {
        let mut options = RawIter::scan_options(lower, upper);
        options.set_read_tier(ReadTier::Memtable);
        RawIter::new(self, options)
    }

    /// How many physical deletes are in memory only.
    pub(crate) fn deletes_in_memory(&self) -> u64 {
        self.property("rocksdb.num-deletes-active-mem-table")
            .saturating_add(self.property("rocksdb.num-deletes-imm-mem-tables"))
    }

    /// How many SST files it has.
    pub(crate) fn file_count(&self) -> usize {
        self.db()
            .get_column_family_metadata_cf(self.handle())
            .file_count
    }

    /// Takes in, by links, live files of another column family: all or none of them. They must come in the
    /// order of [`Db::live_files_oldest_first`], in one call, into a family that has none of their keys.
    /// Their sequence numbers stay as they are.
    pub(crate) fn ingest_live_files(&self, files: &[PathBuf]) -> Result<()> {
        let paths: Vec<CString> = files
            .iter()
            .map(|file| c_path(file))
            .collect::<Result<_>>()?;
        let pointers: Vec<*const c_char> = paths.iter().map(|path| path.as_ptr()).collect();
        let options = IngestOptions::for_live_files();
        let mut error: *mut c_char = ptr::null_mut();
        // SAFETY: the database and the family are open while `self` lives; the paths are terminated and
        // live until after the call, as many as is said; the options live as long; `error` is null, as
        // the C interface wants it.
        unsafe {
            ffi::rocksdb_ingest_external_file_cf(
                self.db().as_raw_ptr(),
                self.handle().inner(),
                pointers.as_ptr(),
                pointers.len(),
                options.0,
                &raw mut error,
            );
        }
        take_error(error).map_or(Ok(()), |text| {
            let refused = std::io::Error::other(text);
            Err(Error::io("ingest", "copied files of a backup", refused))
        })
    }
}

/// RocksDB's options of an ingestion.
struct IngestOptions(*mut ffi::rocksdb_ingestexternalfileoptions_t);

impl IngestOptions {
    fn for_live_files() -> Self {
        // SAFETY: each call takes the options that were just made, and a flag.
        unsafe {
            let options = ffi::rocksdb_ingestexternalfileoptions_create();
            ffi::rocksdb_ingestexternalfileoptions_set_allow_db_generated_files(options, 1);
            // The three that RocksDB asks for with it; and links, since a call that fails leaves its
            // files where they are.
            ffi::rocksdb_ingestexternalfileoptions_set_snapshot_consistency(options, 0);
            ffi::rocksdb_ingestexternalfileoptions_set_allow_blocking_flush(options, 0);
            ffi::rocksdb_ingestexternalfileoptions_set_link_files(options, 1);
            Self(options)
        }
    }
}

impl Drop for IngestOptions {
    fn drop(&mut self) {
        // SAFETY: made by `create`, and freed here only.
        unsafe { ffi::rocksdb_ingestexternalfileoptions_destroy(self.0) }
    }
}

/// The text of an error that a call of the C interface reports, which is freed.
fn take_error(error: *mut c_char) -> Option<String> {
    if error.is_null() {
        return None;
    }
    // SAFETY: not null, so RocksDB made it: a terminated text that is the caller's to free, once.
    unsafe {
        let text = CStr::from_ptr(error).to_string_lossy().into_owned();
        ffi::rocksdb_free(error.cast());
        Some(text)
    }
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|e| Error::path("ingest", path)(std::io::Error::other(e)))
}
