//! Rewriting an SST file without some of its versions.

use std::fs;
use std::path::Path;

use icecore_mvcc::Timestamp;

use super::reader::SstScratch;
use super::sst::SstSummary;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::options::Compression;

impl Engine {
    /// Writes the versions of `from` that `keep` wants to `to`. `from` is consumed. `None` when
    /// no version is kept; then there is no `to`.
    ///
    /// # Errors
    /// [`Error::Rocks`] when either file cannot be read or written; [`Error::Corruption`].
    pub fn filter_sst(
        &self,
        from: &Path,
        to: &Path,
        compression: Compression,
        keep: &dyn Fn(&[u8], Timestamp) -> bool,
    ) -> Result<Option<SstSummary>> {
        let scratch = SstScratch::new(self.staging_dir())?;
        let file = scratch.open(&[from.to_owned()])?;
        fs::remove_file(from).map_err(Error::path("remove", from))?;
        let mut cursor = file.cursor();
        let mut writer = None;
        cursor.seek_to_first();
        while let Some(row) = cursor.row()? {
            if keep(row.key, row.ts) {
                let file = match writer.take() {
                    Some(open) => open,
                    None => self.sst_writer(to, compression)?,
                };
                writer.insert(file).add(row.key, row.ts, row.value)?;
            }
            cursor.next();
        }
        writer.map(super::sst::SstWriter::finish).transpose()
    }
}
