//! Parts of data files, read alone.
//!
//! Of a sealed file, whole chunks are read and opened; each proves itself and the file's length. Parts of
//! other files are as the store gives them: only [`Collection::fetch`] compares checksums, which are of
//! whole files.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use tokio::sync::OnceCell;

use super::Collection;
use crate::error::{Error, Result};
use crate::manifest::FileEntry;
use crate::path::LayerPath;
use crate::seal::object::{
    Broken, CHUNK_BYTES, Chunks, HEADER_BYTES, Header, Role, SEALED_CHUNK_BYTES, plain_bytes,
    tampered,
};
use crate::store::Store;

/// Reads parts of one data file, in any order, by any number of tasks.
#[derive(Debug)]
pub struct FileReader {
    collection: Collection,
    store: Store,
    path: Path,
    stored_bytes: u64,
    bytes: u64,
    /// Of a sealed file, from the first read on.
    chunks: OnceCell<Chunks>,
}

impl Collection {
    /// Reads parts of a data file. Sends nothing yet.
    ///
    /// # Errors
    /// [`Error::Tampered`] if the collection is sealed and no sealed file has that size;
    /// [`Error::MissingLocality`].
    pub fn file_reader(&self, layer: &LayerPath, file: &FileEntry) -> Result<FileReader> {
        let path = layer.file_object(file);
        let bytes = match self.is_sealed() {
            false => file.stored_bytes,
            true => plain_bytes(file.stored_bytes).ok_or_else(|| {
                tampered("no sealed file has the size that its manifest says").of(path.as_ref())
            })?,
        };
        Ok(FileReader {
            store: self.store_of(layer, file.locality.as_ref())?.clone(),
            collection: self.clone(),
            path,
            stored_bytes: file.stored_bytes,
            bytes,
            chunks: OnceCell::new(),
        })
    }
}

impl FileReader {
    /// Bytes of the file as it was before it was sealed.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes in that range, as far as the file has them. One request; the first of a sealed file, two.
    ///
    /// # Errors
    /// [`Error::MissingObject`]; [`Error::CorruptFile`] if the file has another size than the manifest
    /// says; [`Error::Tampered`] if it is sealed and does not open; those of the store.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let range = range.start..range.end.min(self.bytes);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if !self.collection.is_sealed() {
            return self.get(range).await;
        }
        match self.read_sealed(&range).await {
            // Once more, in case it was the way that was at fault.
            Err(Error::Tampered { path, reason }) => {
                tracing::warn!(
                    path,
                    reason,
                    "a part of a file does not open, reading it again"
                );
                self.read_sealed(&range).await
            }
            read => read,
        }
    }

    async fn read_sealed(&self, range: &Range<u64>) -> Result<Bytes> {
        let chunks = self.chunks.get_or_try_init(|| self.header()).await?;
        let chunk_bytes = CHUNK_BYTES as u64;
        let (first, after) = (range.start / chunk_bytes, range.end.div_ceil(chunk_bytes));
        let place = |chunk: u64| HEADER_BYTES as u64 + chunk * SEALED_CHUNK_BYTES as u64;
        let stored = place(first)..place(after).min(self.stored_bytes);
        let mut sealed = BytesMut::from(self.get(stored).await?);
        let mut plain = BytesMut::with_capacity(sealed.len());
        for (chunk, sealed) in (first..after).zip(sealed.chunks_mut(SEALED_CHUNK_BYTES)) {
            let opened = chunks.open(chunk, sealed);
            plain.extend_from_slice(opened.map_err(|broken| self.broken(broken))?);
        }
        let skip = (range.start - first * chunk_bytes) as usize;
        let wanted = (range.end - range.start) as usize;
        let plain = plain.freeze();
        let short = || self.broken(tampered("it ends too early"));
        (skip + wanted <= plain.len())
            .then(|| plain.slice(skip..skip + wanted))
            .ok_or_else(short)
    }

    async fn header(&self) -> Result<Chunks> {
        let Some(key) = self.collection.seal().key() else {
            return Err(self.broken(tampered("its collection is not sealed")));
        };
        let stored = self.get(0..HEADER_BYTES as u64).await?;
        let header: Result<[u8; HEADER_BYTES], _> = stored.as_ref().try_into();
        let header = header.map_err(|_| self.broken(tampered("its header is short")))?;
        let header = Header::decode(&header, Role::DataFile);
        let header = header.map_err(|broken| self.broken(broken))?;
        if header.plain_bytes != self.bytes {
            return Err(self.broken(tampered("its header says another size than its manifest")));
        }
        Chunks::new(key, &header, self.path.as_ref())
    }

    fn broken(&self, broken: Broken) -> Error {
        broken.of(self.path.as_ref())
    }

    /// Stored bytes.
    async fn get(&self, range: Range<u64>) -> Result<Bytes> {
        let store = &self.store;
        let (path, location) = (self.path.to_string(), store.location().to_owned());
        match store.get_range(&self.path, range).await? {
            None => Err(Error::MissingObject { path, location }),
            Some((bytes, size)) if size == self.stored_bytes => Ok(bytes),
            Some((_, size)) => Err(Error::CorruptFile {
                path,
                location,
                check: "size",
                expected: self.stored_bytes.to_string(),
                actual: size.to_string(),
            }),
        }
    }
}
