//! A sealed object: a header, then chunks that are encrypted and authenticated one by one.
//!
//! ```text
//! offset  bytes  what
//!      0      4  magic: "ICES"
//!      4      2  format version, little-endian
//!      6      1  role: 1 data file, 2 manifest, 3 side file
//!      7      1  size of a chunk as a power of two: 16
//!      8     16  id: random, new for every object
//!     24      8  length of what is sealed in bytes, little-endian
//!     32         chunks: 65,536 bytes each but the last, and each followed by its tag of 16
//! ```
//!
//! Each chunk is AES-256-GCM under the object's key; its nonce says which chunk it is and whether it is the
//! last; the hash of the header is authenticated with it. So each chunk can be read alone, and whichever is
//! read proves the length of the whole.

use std::io::Read;
use std::sync::Arc;

use ring::aead::{Aad, LessSafeKey, Nonce, Tag};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use super::secret::{CollectionKey, OBJECT_ID_BYTES, refused};
use super::stream::{Opener, SealingReader};
use crate::error::Result;

/// The format version that is written, and the newest that is read.
pub(crate) const FORMAT_VERSION: u16 = 1;

const MAGIC: [u8; 4] = *b"ICES";

/// Bytes before the first chunk.
pub(crate) const HEADER_BYTES: usize = 32;

/// The size of a chunk as a power of two.
const CHUNK_LOG2: u8 = 16;

/// Bytes that one chunk seals.
pub(crate) const CHUNK_BYTES: usize = 1 << CHUNK_LOG2;

/// Bytes of a chunk's tag.
pub(crate) const TAG_BYTES: usize = 16;

/// Bytes of a full chunk with its tag.
pub(crate) const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

/// The most chunks of an object: their number goes into 32 bits.
const MAX_CHUNKS: u64 = 1 << 32;

/// What an object is: it goes into the object's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    DataFile,
    Manifest,
    FileList,
    Checkpoint,
}

impl Role {
    /// As it is stored.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::DataFile => 1,
            Self::Manifest => 2,
            Self::FileList => 3,
            Self::Checkpoint => 4,
        }
    }
}

/// Why a sealed object does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A later version wrote it.
    Newer(u16),
    /// It is not what was sealed there.
    Tampered(String),
}

pub(crate) fn tampered(reason: impl Into<String>) -> Broken {
    Broken::Tampered(reason.into())
}

/// Bytes of an object that seals so many.
pub(crate) const fn sealed_bytes(plain_bytes: u64) -> u64 {
    let tags = chunks(plain_bytes).saturating_mul(TAG_BYTES as u64);
    plain_bytes
        .saturating_add(tags)
        .saturating_add(HEADER_BYTES as u64)
}

/// Bytes that an object of that size seals; `None` if no object has it.
pub(crate) const fn plain_bytes(sealed: u64) -> Option<u64> {
    let Some(body) = sealed.checked_sub(HEADER_BYTES as u64) else {
        return None;
    };
    let chunks = body.div_ceil(SEALED_CHUNK_BYTES as u64);
    let Some(plain) = body.checked_sub(chunks.saturating_mul(TAG_BYTES as u64)) else {
        return None;
    };
    if sealed_bytes(plain) == sealed {
        Some(plain)
    } else {
        None
    }
}

/// How many chunks so many bytes take: at least one, which may be empty.
pub(crate) const fn chunks(plain_bytes: u64) -> u64 {
    let chunks = plain_bytes.div_ceil(CHUNK_BYTES as u64);
    if chunks == 0 { 1 } else { chunks }
}

/// What a header says, once it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) role: Role,
    pub(crate) id: [u8; OBJECT_ID_BYTES],
    pub(crate) plain_bytes: u64,
}

impl Header {
    /// As it is stored.
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let version = FORMAT_VERSION.to_le_bytes();
        let fixed = [version[0], version[1], self.role.code(), CHUNK_LOG2];
        let mut header = [0; HEADER_BYTES];
        let parts = MAGIC.iter().chain(&fixed).chain(&self.id);
        let length = self.plain_bytes.to_le_bytes();
        for (to, from) in header.iter_mut().zip(parts.chain(&length)) {
            *to = *from;
        }
        header
    }

    /// Reads it. That it is genuine is known with the first chunk.
    pub(crate) fn decode(header: &[u8; HEADER_BYTES], role: Role) -> Result<Self, Broken> {
        let [m0, m1, m2, m3, v0, v1, code, chunk_log2, rest @ ..] = header;
        if [*m0, *m1, *m2, *m3] != MAGIC {
            return Err(tampered("it is not sealed, and all of this collection is"));
        }
        match u16::from_le_bytes([*v0, *v1]) {
            0 => return Err(tampered("format version 0 does not exist")),
            FORMAT_VERSION => {}
            newer => return Err(Broken::Newer(newer)),
        }
        if *code != role.code() {
            return Err(tampered("it was sealed as another kind of object"));
        }
        if *chunk_log2 != CHUNK_LOG2 {
            return Err(tampered("its chunks have a size that no version has"));
        }
        let (id, length) = rest.split_at(OBJECT_ID_BYTES);
        let wrong = |_| tampered("its header is short");
        Ok(Self {
            role,
            id: id.try_into().map_err(wrong)?,
            plain_bytes: u64::from_le_bytes(length.try_into().map_err(wrong)?),
        })
    }
}

/// Seals and opens the chunks of one object.
#[derive(Debug)]
pub(crate) struct Chunks {
    /// Its `Debug` says the algorithm alone.
    key: LessSafeKey,
    header_hash: [u8; SHA256_OUTPUT_LEN],
    plain_bytes: u64,
}

impl Chunks {
    /// Of the object with that header at that place.
    pub(crate) fn new(key: &CollectionKey, header: &Header, place: &str) -> Result<Self> {
        let mut header_hash = [0; SHA256_OUTPUT_LEN];
        header_hash.copy_from_slice(digest(&SHA256, &header.encode()).as_ref());
        Ok(Self {
            key: key.object_key(&header.id, header.role, place)?,
            header_hash,
            plain_bytes: header.plain_bytes,
        })
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> u64 {
        chunks(self.plain_bytes)
    }

    /// Bytes that a chunk seals; zero beyond the last.
    pub(crate) fn plain_bytes_of(&self, chunk: u64) -> usize {
        let before = chunk.saturating_mul(CHUNK_BYTES as u64);
        let left = self.plain_bytes.saturating_sub(before);
        usize::try_from(left.min(CHUNK_BYTES as u64)).unwrap_or(CHUNK_BYTES)
    }

    /// Seven zero bytes, the chunk's number in big-endian, and 1 for the last chunk.
    fn nonce(&self, chunk: u64) -> Option<Nonce> {
        if chunk >= self.count() || chunk >= MAX_CHUNKS {
            return None;
        }
        let [n0, n1, n2, n3] = u32::try_from(chunk).ok()?.to_be_bytes();
        let last = u8::from(chunk + 1 == self.count());
        Some(Nonce::assume_unique_for_key([
            0, 0, 0, 0, 0, 0, 0, n0, n1, n2, n3, last,
        ]))
    }

    /// Encrypts a chunk in place; its tag.
    pub(crate) fn seal(&self, chunk: u64, plain: &mut [u8]) -> Option<Tag> {
        let nonce = self.nonce(chunk)?;
        let aad = Aad::from(self.header_hash);
        self.key.seal_in_place_separate_tag(nonce, aad, plain).ok()
    }

    /// Decrypts a chunk, tag included, in place; what it sealed.
    pub(crate) fn open<'a>(&self, chunk: u64, sealed: &'a mut [u8]) -> Result<&'a [u8], Broken> {
        let failed = || {
            tampered(format!(
                "chunk {chunk} does not open: its bytes, its place or its length are not those it was sealed with"
            ))
        };
        if sealed.len() != self.plain_bytes_of(chunk) + TAG_BYTES {
            return Err(failed());
        }
        let nonce = self.nonce(chunk).ok_or_else(failed)?;
        let aad = Aad::from(self.header_hash);
        match self.key.open_in_place(nonce, aad, sealed) {
            Ok(plain) => Ok(plain),
            Err(_) => Err(failed()),
        }
    }
}

/// Seals a whole object.
pub(crate) fn seal(
    key: &CollectionKey,
    id: [u8; OBJECT_ID_BYTES],
    role: Role,
    place: &str,
    plain: &[u8],
) -> Result<Vec<u8>> {
    let bytes = plain.len() as u64;
    let mut reader = SealingReader::new(key, id, role, place, plain, bytes)?;
    let mut sealed = Vec::new();
    // Reading from memory does not fail.
    reader.read_to_end(&mut sealed).map_err(|_| refused())?;
    Ok(sealed)
}

/// Opens a whole object.
pub(crate) fn open(
    key: &Arc<CollectionKey>,
    role: Role,
    place: &str,
    sealed: &[u8],
) -> Result<Vec<u8>, Broken> {
    let mut plain = Vec::new();
    let mut opener = Opener::new(key.clone(), role, place.to_owned(), sealed.len() as u64);
    opener.take(sealed, &mut |bytes| {
        plain.extend_from_slice(bytes);
        Ok::<(), Broken>(())
    })?;
    opener.finish()?;
    Ok(plain)
}
