//! Rewriting an SST file without some of its versions.

use std::path::Path;

use icecore_mvcc::{KeyRange, Timestamp, key, value};

use super::bulk::ingest;
use super::files::scratch_family;
use super::sst::SstSummary;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::options::{Compression, Options};
use crate::rocks::{RawIter, RocksSettings};

impl Engine {
    /// Writes the versions of `from` that `keep` wants to `to`. `from` is consumed. `None` when
    /// no version is kept; then there is no `to`.
    ///
    /// A single SST file has no reader of its own here, so it is opened as the only file of a
    /// scratch database in the staging folder.
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
        let scratch = tempfile::tempdir_in(self.staging_dir())
            .map_err(Error::path("create a folder in", self.staging_dir()))?;
        let options = Options {
            auto_compactions: false,
            block_cache_bytes: 8 << 20,
            ..Options::default()
        };
        let settings = RocksSettings::new(&options);
        let cf = scratch_family(scratch.path(), &settings)?;
        ingest(&cf, &[from.to_owned()])?;
        let (lower, upper) = key::range_bounds(&KeyRange::all());
        let mut iter = RawIter::new(&cf, RawIter::scan_options(lower, upper));
        let mut writer = None;
        iter.seek_to_first();
        while let Some((stored, bytes)) = iter.item() {
            let (user, ts) = key::decode_key(stored)?;
            if keep(&user, ts) {
                let file = match writer.take() {
                    Some(open) => open,
                    None => self.sst_writer(to, compression)?,
                };
                writer
                    .insert(file)
                    .add(&user, ts, value::decode_value(bytes)?.into_option())?;
            }
            iter.next();
        }
        iter.status()?;
        writer.map(super::sst::SstWriter::finish).transpose()
    }
}
