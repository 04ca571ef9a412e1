//! Uploads: stream a local file to an object, digesting it on the way, in bounded memory.
//!
//! Small files go in one put, if absent. Large ones go in parts, several under way at once, each counted
//! against the collection's upload memory from before it is read until the store has it. Every attempt
//! takes a new random name, so that none can overwrite anything, whatever became of the one before; a
//! broken attempt's object, if it came to be, is junk that no manifest names.
//!
//! An acknowledgement that is lost is harmless: a put that finds its own object there compares it, and a
//! completion that fails looks for the object, which appears whole or not at all.
//!
//! Where the collection is sealed, what is uploaded is the sealed form, made as it is read: every attempt
//! seals anew, with a key of its own. Sizes and digests are of what is stored.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use object_store::{
    Error as StoreError, MultipartUpload, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions,
    PutPayload,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::fetch;
use crate::hash::{ContentHash, Digest, Digester};
use crate::ids::FileId;
use crate::manifest::FileEntry;
use crate::options::{MAX_PARTS, StoreOptions};
use crate::pool::Place;
use crate::seal::Seal;
use crate::seal::object::{Role, sealed_bytes};
use crate::seal::stream::SealingReader;
use crate::store::{Store, is_transient, no_answer};

/// Parts of one file under way at once.
const PARTS_UNDER_WAY: usize = 4;

/// A data file that was put into a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredFile {
    /// Its name.
    pub id: FileId,
    /// Its bytes.
    pub stored_bytes: u64,
    /// CRC32 (IEEE) of its bytes.
    pub crc32: u32,
    /// BLAKE3 of its bytes.
    pub blake3: ContentHash,
}

impl StoredFile {
    /// What a manifest says of a file.
    #[must_use]
    pub const fn of(file: &FileEntry) -> Self {
        Self {
            id: file.id,
            stored_bytes: file.stored_bytes,
            crc32: file.crc32,
            blake3: file.blake3,
        }
    }
}

/// Puts a local file where it belongs.
pub(crate) async fn upload(
    collection: &Collection,
    store: &Store,
    place: Place<'_>,
    local: &Path,
) -> Result<StoredFile> {
    let mut failed = 0;
    loop {
        let id = FileId::random();
        let path = place.object(id);
        let source = Source::open(local, collection.seal(), &path).await?;
        let attempt = Attempt {
            collection,
            store,
            path: &path,
        };
        let result = if source.stored_bytes < collection.options().multipart_threshold_bytes {
            attempt.put_whole(source).await
        } else {
            attempt.put_parts(source).await
        };
        match result {
            Ok(Digest {
                bytes,
                crc32,
                blake3,
            }) => {
                return Ok(StoredFile {
                    id,
                    stored_bytes: bytes,
                    crc32,
                    blake3,
                });
            }
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Attempt(error)) => {
                failed += 1;
                if !is_transient(&error) || failed >= store.retry().max_attempts.get() {
                    return Err(store.error("write", &path, &error));
                }
                store.pause("write", failed, &store.reason(&error)).await;
            }
        }
    }
}

/// Why an attempt failed.
enum Failure {
    /// Another may succeed, if the error is one that passes.
    Attempt(StoreError),
    /// None will.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// One attempt to put a file under one name.
struct Attempt<'a> {
    collection: &'a Collection,
    store: &'a Store,
    path: &'a ObjectPath,
}

impl Attempt<'_> {
    fn options(&self) -> &StoreOptions {
        self.collection.options()
    }

    /// Waits until that many bytes may be held in memory.
    async fn memory(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Failure> {
        // Within bounds by the options' validation: neither a part nor a small file exceeds the memory.
        let most = self.options().upload_memory_bytes as u64;
        let permits = u32::try_from(bytes.clamp(1, most)).unwrap_or(u32::MAX);
        let memory: Arc<Semaphore> = self.collection.upload_memory().clone();
        let permit = memory.acquire_many_owned(permits).await;
        permit.map_err(|error| {
            Failure::Attempt(StoreError::Generic {
                store: "upload",
                source: error.into(),
            })
        })
    }

    async fn put_whole(&self, source: Source) -> Result<Digest, Failure> {
        let _memory = self.memory(source.stored_bytes).await?;
        let bytes = source.stored_bytes;
        let (source, piece) = source.read(bytes).await?;
        let digest = source.finish()?;
        let options = PutOptions::from(PutMode::Create);
        match self
            .store
            .objects()
            .put_opts(self.path, PutPayload::from(piece), options)
            .await
        {
            Ok(_) => Ok(digest),
            Err(StoreError::AlreadyExists { .. }) => self.compare(digest).await,
            Err(error) => Err(Failure::Final(self.store.error("write", self.path, &error))),
        }
    }

    /// The name is random and new, so what is there is ours; unless it was torn, it is whole.
    async fn compare(&self, digest: Digest) -> Result<Digest, Failure> {
        // Its bytes are compared; what they seal is not looked at.
        let as_stored = Seal::default();
        match fetch::read_verified(self.store, self.path, digest, &as_stored, None).await {
            Ok(()) => Ok(digest),
            Err(Error::CorruptFile { .. } | Error::MissingObject { .. }) => {
                let reason = "an earlier attempt left a torn object behind";
                Err(Failure::Attempt(StoreError::Generic {
                    store: "upload",
                    source: reason.into(),
                }))
            }
            Err(error) => Err(Failure::Final(error)),
        }
    }

    async fn put_parts(&self, source: Source) -> Result<Digest, Failure> {
        let store = self.store;
        let begun = store
            .objects()
            .put_multipart_opts(self.path, PutMultipartOptions::default())
            .await;
        let mut upload =
            begun.map_err(|error| Failure::Final(store.error("write", self.path, &error)))?;
        let sent = match self.send_parts(&mut upload, source).await {
            Ok(digest) => self.complete(&mut upload, digest).await,
            Err(failure) => Err(failure),
        };
        if sent.is_err() {
            // Only tidies up: the store forgets unfinished parts by itself, sooner or later.
            let _ = tokio::time::timeout(self.options().request_timeout, upload.abort()).await;
        }
        sent
    }

    async fn send_parts(
        &self,
        upload: &mut Box<dyn MultipartUpload>,
        mut source: Source,
    ) -> Result<Digest, Failure> {
        let part_bytes =
            (self.options().part_bytes as u64).max(source.stored_bytes.div_ceil(MAX_PARTS));
        // A part that is retried below us takes as long as all its attempts.
        let timeout = self
            .options()
            .request_timeout
            .saturating_mul(self.options().retry.max_attempts.get());
        let mut under_way = JoinSet::new();
        while source.left() > 0 {
            while under_way.len() >= PARTS_UNDER_WAY {
                join_part(&mut under_way).await?;
            }
            let bytes = part_bytes.min(source.left());
            let memory = self.memory(bytes).await?;
            let (rest, piece) = source.read(bytes).await?;
            source = rest;
            let part = upload.put_part(PutPayload::from(piece));
            under_way.spawn(async move {
                let sent = tokio::time::timeout(timeout, part).await;
                drop(memory);
                sent.unwrap_or_else(|_| Err(no_answer(timeout)))
            });
        }
        while !under_way.is_empty() {
            join_part(&mut under_way).await?;
        }
        source.finish().map_err(Failure::Final)
    }

    async fn complete(
        &self,
        upload: &mut Box<dyn MultipartUpload>,
        digest: Digest,
    ) -> Result<Digest, Failure> {
        let timeout = self.options().request_timeout;
        let completed = tokio::time::timeout(timeout, upload.complete()).await;
        let error = match completed.unwrap_or_else(|_| Err(no_answer(timeout))) {
            Ok(_) => return Ok(digest),
            Err(error) => error,
        };
        match self.store.objects().head(self.path).await {
            Ok(meta) if meta.size == digest.bytes => Ok(digest),
            _ => Err(Failure::Attempt(error)),
        }
    }
}

/// Waits for the next part that ends. Dropping the set gives up the others.
async fn join_part(under_way: &mut JoinSet<Result<(), StoreError>>) -> Result<(), Failure> {
    match under_way.join_next().await {
        Some(Ok(sent)) => sent.map_err(Failure::Attempt),
        Some(Err(error)) => Err(Failure::Attempt(error.into())),
        None => Ok(()),
    }
}

/// A local file that is read from start to end as it is to be stored, and digested.
struct Source {
    path: std::path::PathBuf,
    content: Content,
    stored_bytes: u64,
    digester: Digester,
}

/// Reads a file as it is, or as its sealed form.
enum Content {
    Plain(File),
    Sealed(Box<SealingReader<File>>),
}

impl Content {
    /// The file itself.
    fn file(&mut self) -> &mut File {
        match self {
            Self::Plain(file) => file,
            Self::Sealed(reader) => reader.inner(),
        }
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Sealed(reader) => reader.read(buffer),
        }
    }
}

impl Source {
    /// Opens a file that is to be stored at `place`.
    async fn open(path: &Path, seal: &Seal, place: &ObjectPath) -> Result<Self> {
        let path = path.to_owned();
        let (key, place) = (seal.key().cloned(), place.to_string());
        let failed = |path: &Path, error: &io::Error| local(path, error.to_string());
        in_background(path.clone(), move || {
            let file = File::open(&path).map_err(|error| failed(&path, &error))?;
            let file_bytes = file
                .metadata()
                .map_err(|error| failed(&path, &error))?
                .len();
            let (content, stored_bytes) = match key {
                None => (Content::Plain(file), file_bytes),
                Some(key) => {
                    let (id, role) = (rand::random(), Role::DataFile);
                    let reader = SealingReader::new(&key, id, role, &place, file, file_bytes)?;
                    (Content::Sealed(Box::new(reader)), sealed_bytes(file_bytes))
                }
            };
            Ok(Self {
                path,
                content,
                stored_bytes,
                digester: Digester::default(),
            })
        })
        .await
    }

    /// Bytes not read yet.
    const fn left(&self) -> u64 {
        self.stored_bytes.saturating_sub(self.digester.bytes())
    }

    /// The next bytes, exactly that many.
    async fn read(mut self, bytes: u64) -> Result<(Self, Bytes)> {
        in_background(self.path.clone(), move || {
            // Bounded by the upload memory, which was acquired before.
            let mut piece = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
            let shorter = || "it became shorter meanwhile".to_owned();
            let read = (&mut self.content).take(bytes).read_to_end(&mut piece);
            read.map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => local(&self.path, shorter()),
                _ => local(&self.path, error.to_string()),
            })?;
            if piece.len() as u64 != bytes {
                return Err(local(&self.path, shorter()));
            }
            self.digester.update(&piece);
            Ok((self, Bytes::from(piece)))
        })
        .await
    }

    /// The digest of the whole file.
    fn finish(mut self) -> Result<Digest> {
        let mut byte = [0];
        match self.content.file().read(&mut byte) {
            Ok(0) => Ok(self.digester.finish()),
            Ok(_) => Err(local(&self.path, "it became longer meanwhile".to_owned())),
            Err(error) => Err(local(&self.path, error.to_string())),
        }
    }
}

/// Runs blocking work off the runtime's threads.
async fn in_background<T: Send + 'static>(
    path: std::path::PathBuf,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(local(&path, error.to_string())))
}

fn local(path: &Path, reason: String) -> Error {
    Error::LocalFile {
        action: "read",
        path: path.to_owned(),
        reason,
    }
}
