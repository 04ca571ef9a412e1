//! Rewriting an SST file without some of its versions.

use std::path::Path;
use std::sync::Arc;

use icecore_mvcc::{KeyRange, Timestamp, key, value};

use super::bulk::ingest;
use super::sst::SstSummary;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::options::{Compression, Options};
use crate::rocks::{CfKind, Db, RawIter, RocksSettings};

/// Column family of the scratch database.
const SCRATCH_FAMILY: &str = "rows";

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
        let families = vec![
            ("default".to_owned(), CfKind::Meta),
            (
                SCRATCH_FAMILY.to_owned(),
                CfKind::Versioned {
                    threshold: Arc::default(),
                },
            ),
        ];
        let db = Db::open(scratch.path(), &settings, families)?;
        let cf = db
            .family(SCRATCH_FAMILY)
            .ok_or_else(|| Error::corrupt("a scratch database has no rows"))?;
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
