//! Rewriting SST files without some of their versions: one alone, or live files as one.

use std::path::{Path, PathBuf};

use icecore_mvcc::Timestamp;

use super::reader::{SstFile, SstScratch};
use super::sst::{SstSummary, SstWriter};
use crate::engine::Engine;
use crate::error::Result;
use crate::options::Compression;

/// How files are to be written anew.
#[derive(Clone, Copy)]
pub struct Rewrite<'a> {
    /// The compression of the new files.
    pub compression: Compression,
    /// Size at which a file is closed, in bytes.
    pub target_bytes: u64,
    /// Which versions stay: user key and timestamp.
    pub keep: &'a dyn Fn(&[u8], Timestamp) -> bool,
}

impl Engine {
    /// Writes the versions of `from` that `keep` wants to `to`. `from` stays. `None` when no version is
    /// kept; then there is no `to`.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) and [`Error::Rocks`](crate::Error::Rocks) when a file cannot be read or
    /// written; [`Error::Corruption`](crate::Error::Corruption).
    pub fn filter_sst(
        &self,
        from: &Path,
        to: &Path,
        compression: Compression,
        keep: &dyn Fn(&[u8], Timestamp) -> bool,
    ) -> Result<Option<SstSummary>> {
        let scratch = SstScratch::new(self.staging_dir())?;
        let file = scratch.open(&[from.to_owned()])?;
        let rewrite = Rewrite {
            compression,
            target_bytes: u64::MAX,
            keep,
        };
        let written = self.write_rows(&file, rewrite, &mut || to.to_owned())?;
        Ok(written.into_iter().next())
    }

    /// Writes what the live files of a keyspace show together, as far as it is wanted, to files in `dir`
    /// that can be ingested one by one. The live files must come in the order of
    /// [`CapturedKeyspace::live`](crate::CapturedKeyspace::live); they stay as they are.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) and [`Error::Rocks`](crate::Error::Rocks) when a file cannot be read or
    /// written; [`Error::Corruption`](crate::Error::Corruption).
    pub fn flatten_live_files(
        &self,
        live: &[PathBuf],
        dir: &Path,
        rewrite: Rewrite<'_>,
    ) -> Result<Vec<SstSummary>> {
        let file = SstScratch::new(self.staging_dir())?.open_live(live)?;
        let mut number = 0_u32;
        let mut name = || {
            number += 1;
            dir.join(format!("flat-{number}.sst"))
        };
        self.write_rows(&file, rewrite, &mut name)
    }

    fn write_rows(
        &self,
        from: &SstFile,
        rewrite: Rewrite<'_>,
        name: &mut dyn FnMut() -> PathBuf,
    ) -> Result<Vec<SstSummary>> {
        let mut cursor = from.cursor();
        let mut writer: Option<SstWriter> = None;
        let mut written = Vec::new();
        cursor.seek_to_first();
        while let Some(row) = cursor.row()? {
            if (rewrite.keep)(row.key, row.ts) {
                let file = match writer.take() {
                    Some(open) => open,
                    None => self.sst_writer(&name(), rewrite.compression)?,
                };
                let file = writer.insert(file);
                file.add(row.key, row.ts, row.value)?;
                if file.file_bytes() >= rewrite.target_bytes
                    && let Some(full) = writer.take()
                {
                    written.push(full.finish()?);
                }
            }
            cursor.next();
        }
        if let Some(last) = writer {
            written.push(last.finish()?);
        }
        Ok(written)
    }
}
