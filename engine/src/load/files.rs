//! SST files without an engine: written alone, and read several layers at once as one sorted run.
//!
//! Compaction of backups works in a folder of its own, on a machine that may not have the database. A
//! single SST file has no reader here, so files are read as the only files of a scratch database, whose
//! iterator merges the layers; it writes nothing but links.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use icecore_mvcc::{KeyRange, key, value};

use super::bulk::ingest;
use super::sst::SstWriter;
use crate::error::{Error, Result};
use crate::options::{Compression, Options};
use crate::read::RowRef;
use crate::rocks::{Cf, CfKind, Db, RawIter, RocksSettings};

/// Column family of a scratch database.
const SCRATCH_FAMILY: &str = "rows";

/// Memory for the blocks of files that are read, in bytes.
const SCRATCH_CACHE_BYTES: usize = 8 << 20;

/// Writes and reads SST files of versioned rows without an engine. Cheap to clone.
#[derive(Clone)]
pub struct SstFiles {
    settings: Arc<RocksSettings>,
}

impl SstFiles {
    /// Files as an engine with these options writes them: block size and bloom filter are taken from them,
    /// all else is not looked at.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn new(options: &Options) -> Result<Self> {
        options.validate()?;
        let options = Options {
            auto_compactions: false,
            block_cache_bytes: SCRATCH_CACHE_BYTES,
            ..options.clone()
        };
        Ok(Self {
            settings: Arc::new(RocksSettings::new(&options)),
        })
    }

    /// Starts an SST file, as [`Engine::sst_writer`](crate::Engine::sst_writer) does.
    ///
    /// # Errors
    /// [`Error::Rocks`] when the file cannot be made.
    pub fn writer(&self, path: &Path, compression: Compression) -> Result<SstWriter> {
        SstWriter::create(&self.settings, path, compression)
    }

    /// The rows of a range of keys in files of several layers, as one run: keys ascend, a key's versions
    /// run newest first.
    ///
    /// The files of one layer must not overlap each other, and no version may lie in two files. They stay
    /// where they are. `scratch` is a folder on the same disk, for links to them and for RocksDB's own
    /// small files.
    ///
    /// # Errors
    /// [`Error::Io`] when the scratch folder cannot be made, [`Error::Rocks`] when a file cannot be read.
    pub fn merged(
        &self,
        scratch: &Path,
        layers: &[Vec<PathBuf>],
        range: &KeyRange,
    ) -> Result<MergedRows> {
        let dir =
            tempfile::tempdir_in(scratch).map_err(Error::path("create a folder in", scratch))?;
        let cf = scratch_family(&dir.path().join("db"), &self.settings)?;
        for (number, layer) in layers.iter().enumerate() {
            let mut links = Vec::with_capacity(layer.len());
            for (position, file) in layer.iter().enumerate() {
                // Ingestion moves what it takes.
                let link = dir.path().join(format!("{number}-{position}.sst"));
                std::fs::hard_link(file, &link).map_err(Error::path("link", file))?;
                links.push(link);
            }
            if !links.is_empty() {
                ingest(&cf, &links)?;
            }
        }
        let (lower, upper) = key::range_bounds(range);
        let mut iter = RawIter::new(&cf, RawIter::scan_options(lower, upper));
        iter.seek_to_first();
        Ok(MergedRows {
            iter,
            user: Vec::new(),
            begun: false,
            _dir: dir,
        })
    }
}

/// Opens a new scratch database with one column family of versioned rows.
fn scratch_family(path: &Path, settings: &RocksSettings) -> Result<Cf> {
    let families = vec![
        ("default".to_owned(), CfKind::Meta),
        (
            SCRATCH_FAMILY.to_owned(),
            CfKind::Versioned {
                threshold: Arc::default(),
            },
        ),
    ];
    Db::open(path, settings, families)?
        .family(SCRATCH_FAMILY)
        .ok_or_else(|| Error::corrupt("a scratch database has no rows"))
}

/// The rows of several files in order. Fields drop in order: the reader goes before its folder.
pub struct MergedRows {
    iter: RawIter,
    user: Vec<u8>,
    begun: bool,
    _dir: tempfile::TempDir,
}

impl MergedRows {
    /// The next version; `None` past the last.
    ///
    /// # Errors
    /// [`Error::Rocks`] when a file cannot be read, [`Error::Corruption`] for what is no row.
    pub fn next_ref(&mut self) -> Result<Option<RowRef<'_>>> {
        if std::mem::replace(&mut self.begun, true) {
            self.iter.next();
        }
        let Some((stored, bytes)) = self.iter.item() else {
            self.iter.status()?;
            return Ok(None);
        };
        let (user, ts) = key::decode_key(stored)?;
        self.user = user;
        let value = value::decode_value(bytes)?.into_option();
        Ok(Some(RowRef {
            key: &self.user,
            ts,
            value,
        }))
    }
}
