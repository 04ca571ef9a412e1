//! Downloads: stream a data file to a local one, or to nowhere, and verify it on the way.
//!
//! A local store hands out an open file, which one blocking task copies; other stores stream pieces, which
//! are written a megabyte at a time. What breaks off is begun anew after a wait; what arrives and differs
//! is read once more, in case it was the way that was at fault, before the object is called corrupt.
//!
//! Sizes and checksums are of what is stored. Of a sealed object, only what is authentic is written to the
//! local file, which is handed out only when all of it is.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use object_store::{Error as StoreError, GetOptions, GetResultPayload};

use crate::error::{Error, Result};
use crate::hash::{Digest, Digester};
use crate::manifest::FileEntry;
use crate::seal::Seal;
use crate::seal::object::{Broken, Role};
use crate::seal::stream::Opener;
use crate::store::{Store, is_transient, sync_dir};

/// Bytes handed to the disk at a time.
const WRITE_BYTES: usize = 1 << 20;

/// How often an object is read that differs from what is expected.
const MISMATCHED_READS: u32 = 2;

/// What a manifest says of a file.
pub(crate) const fn expected(file: &FileEntry) -> Digest {
    Digest {
        bytes: file.stored_bytes,
        crc32: file.crc32,
        blake3: file.blake3,
    }
}

/// Reads an object, to a local file if one is given, verifies it, and opens it if it is sealed.
pub(crate) async fn read_verified(
    store: &Store,
    path: &ObjectPath,
    expected: Digest,
    seal: &Seal,
    to: Option<&Path>,
) -> Result<()> {
    let result = read_with_retries(store, path, expected, seal, to).await;
    if let (Err(_), Some(to)) = (&result, to) {
        // It may not have been made yet.
        let _ = fs::remove_file(to);
    }
    result
}

async fn read_with_retries(
    store: &Store,
    path: &ObjectPath,
    expected: Digest,
    seal: &Seal,
    to: Option<&Path>,
) -> Result<()> {
    let (mut failed, mut mismatched) = (0, 0);
    loop {
        match read_once(store, path, expected, seal, to).await {
            Ok(()) => return Ok(()),
            Err(Failure::Store(error)) if is_transient(&error) => {
                failed += 1;
                if failed >= store.retry().max_attempts.get() {
                    return Err(store.error("read", path, &error));
                }
                store.pause("read", failed, &store.reason(&error)).await;
            }
            Err(Failure::Store(StoreError::NotFound { .. })) => {
                return Err(Error::MissingObject {
                    path: path.to_string(),
                    location: store.location().to_owned(),
                });
            }
            Err(Failure::Store(error)) => return Err(store.error("read", path, &error)),
            Err(Failure::Mismatch {
                check,
                expected,
                actual,
            }) => {
                mismatched += 1;
                if mismatched >= MISMATCHED_READS {
                    metrics::counter!("icecore_archive_corrupt_files_total").increment(1);
                    let (path, location) = (path.to_string(), store.location().to_owned());
                    return Err(Error::CorruptFile {
                        path,
                        location,
                        check,
                        expected,
                        actual,
                    });
                }
                tracing::warn!(%path, check, expected, actual, "a file differs from its manifest, reading it again");
            }
            Err(Failure::Sealed(broken)) => {
                metrics::counter!("icecore_archive_corrupt_files_total").increment(1);
                return Err(broken.of(path.as_ref()));
            }
            Err(Failure::Local(error)) => return Err(error),
        }
    }
}

/// Why one read failed.
enum Failure {
    Store(StoreError),
    Mismatch {
        check: &'static str,
        expected: String,
        actual: String,
    },
    /// The bytes are those that the manifest says, and do not open.
    Sealed(Broken),
    Local(Error),
}

async fn read_once(
    store: &Store,
    path: &ObjectPath,
    expected: Digest,
    seal: &Seal,
    to: Option<&Path>,
) -> Result<(), Failure> {
    let result = store
        .objects()
        .get_opts(path, GetOptions::default())
        .await
        .map_err(Failure::Store)?;
    compare_size(expected.bytes, result.meta.size)?;
    let opener = seal.key().map(|key| {
        let (place, bytes) = (path.to_string(), expected.bytes);
        Opener::new(key.clone(), Role::DataFile, place, bytes)
    });
    let mut receiver = Receiver::open(expected, opener, to).map_err(Failure::Local)?;
    match result.payload {
        GetResultPayload::File(file, _) => {
            receiver = in_background(move || receiver.take_file(file)).await?
        }
        GetResultPayload::Stream(mut stream) => {
            let (mut pieces, mut held) = (Vec::new(), 0);
            while let Some(piece) = store
                .next_piece(&mut stream)
                .await
                .map_err(Failure::Store)?
            {
                held += piece.len();
                pieces.push(piece);
                if held >= WRITE_BYTES {
                    let full = std::mem::take(&mut pieces);
                    held = 0;
                    receiver = in_background(move || receiver.take_pieces(&full)).await?;
                }
            }
            receiver = in_background(move || receiver.take_pieces(&pieces)).await?;
        }
    }
    in_background(move || receiver.finish()).await
}

/// Runs blocking work off the runtime's threads.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::Store(error.into()))?
}

/// Takes bytes as they arrive.
struct Receiver {
    digester: Digester,
    expected: Digest,
    /// Of sealed objects.
    opener: Option<Opener>,
    /// Why the object did not open; its checksums are still compared.
    broken: Option<Broken>,
    target: Target,
}

/// Where it goes.
struct Target(Option<(File, std::path::PathBuf)>);

impl Target {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        match &mut self.0 {
            Some((file, to)) => file
                .write_all(bytes)
                .map_err(|error| Stop::Local(local("write", to, &error))),
            None => Ok(()),
        }
    }
}

/// Why opening stopped.
enum Stop {
    Broken(Broken),
    Local(Error),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl Receiver {
    fn open(expected: Digest, opener: Option<Opener>, to: Option<&Path>) -> Result<Self> {
        // A new file, whatever was there: it may be the same one as another name has, which others read.
        let create = |to: &Path| {
            match std::fs::remove_file(to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(local("replace", to, &error));
                }
                _ => {}
            }
            match File::create_new(to) {
                Ok(file) => Ok((file, to.to_owned())),
                Err(error) => Err(local("create", to, &error)),
            }
        };
        Ok(Self {
            digester: Digester::default(),
            expected,
            opener,
            broken: None,
            target: Target(to.map(create).transpose()?),
        })
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.digester.update(bytes);
        // Never more than the manifest says: an object that grows must not fill the disk.
        if self.digester.bytes() > self.expected.bytes {
            return compare_size(self.expected.bytes, self.digester.bytes());
        }
        let Self { opener, target, .. } = self;
        let taken = match opener {
            None => target.write(bytes),
            Some(_) if self.broken.is_some() => Ok(()),
            Some(opener) => opener.take(bytes, &mut |plain| target.write(plain)),
        };
        match taken {
            Ok(()) => Ok(()),
            Err(Stop::Local(error)) => Err(Failure::Local(error)),
            Err(Stop::Broken(broken)) => {
                self.broken = Some(broken);
                Ok(())
            }
        }
    }

    fn take_pieces(mut self, pieces: &[Bytes]) -> Result<Self, Failure> {
        pieces.iter().try_for_each(|piece| self.take(piece))?;
        Ok(self)
    }

    fn take_file(mut self, mut from: File) -> Result<Self, Failure> {
        let mut buffer = vec![0; WRITE_BYTES];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(self),
                Ok(read) => self.take(buffer.get(..read).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Failure::Store(StoreError::Generic {
                        store: "LocalFileSystem",
                        source: error.into(),
                    }));
                }
            }
        }
    }

    /// Compares, then makes the file durable.
    fn finish(self) -> Result<(), Failure> {
        let (expected, actual) = (self.expected, self.digester.finish());
        compare_size(expected.bytes, actual.bytes)?;
        let crc32 = |crc32: u32| format!("{crc32:08x}");
        compare("CRC32", expected.crc32, actual.crc32, crc32)?;
        compare("BLAKE3", expected.blake3, actual.blake3, |hash| {
            hash.to_string()
        })?;
        let unfinished = self.opener.and_then(|opener| opener.finish().err());
        if let Some(broken) = self.broken.or(unfinished) {
            return Err(Failure::Sealed(broken));
        }
        let Some((file, to)) = self.target.0 else {
            return Ok(());
        };
        file.sync_all()
            .map_err(|error| Failure::Local(local("sync", &to, &error)))?;
        let parent = to
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        sync_dir(parent).map_err(|error| Failure::Local(local("sync", parent, &error)))
    }
}

fn compare_size(expected: u64, actual: u64) -> Result<(), Failure> {
    compare("size", expected, actual, |bytes| bytes.to_string())
}

fn compare<T: PartialEq + Copy>(
    check: &'static str,
    expected: T,
    actual: T,
    text: impl Fn(T) -> String,
) -> Result<(), Failure> {
    if expected == actual {
        return Ok(());
    }
    Err(Failure::Mismatch {
        check,
        expected: text(expected),
        actual: text(actual),
    })
}

fn local(action: &'static str, path: &Path, error: &io::Error) -> Error {
    Error::LocalFile {
        action,
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
