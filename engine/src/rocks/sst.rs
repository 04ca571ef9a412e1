//! A writer of SST files that owns its options.

use std::path::Path;

use rocksdb::SstFileWriter;

use crate::error::{Error, Result};

/// Writes one SST file.
///
/// Fields drop in order: the writer goes before the options it was made with.
pub(crate) struct RawSstWriter {
    writer: SstFileWriter<'static>,
    _options: Box<rocksdb::Options>,
}

impl RawSstWriter {
    /// Creates the file.
    pub(crate) fn create(options: rocksdb::Options, path: &Path) -> Result<Self> {
        let options = Box::new(options);
        let writer = SstFileWriter::create(&options);
        // SAFETY: the writer borrows the options, whose box does not move and is dropped after it.
        let writer: SstFileWriter<'static> = unsafe { std::mem::transmute(writer) };
        // SAFETY: `open` asks for a borrow as long as the options', but keeps no reference to the
        // writer; this one ends with the call.
        let borrowed: &'static SstFileWriter<'static> = unsafe { &*std::ptr::from_ref(&writer) };
        borrowed
            .open(path)
            .map_err(Error::rocks("create an SST file"))?;
        Ok(Self {
            writer,
            _options: options,
        })
    }

    /// Adds a row; stored keys must ascend.
    pub(crate) fn put(&mut self, stored: &[u8], value: &[u8]) -> Result<()> {
        self.writer
            .put(stored, value)
            .map_err(Error::rocks("write an SST file"))
    }

    /// Bytes written so far.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.writer.file_size()
    }

    /// Completes and syncs the file. It must have a row.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.writer
            .finish()
            .map_err(Error::rocks("finish an SST file"))
    }
}
