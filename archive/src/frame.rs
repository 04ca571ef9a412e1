//! The frame around a manifest and its side files: what it is, which version, whole and undamaged.
//!
//! ```text
//! offset  bytes  what
//!      0      4  magic: "ICEM" for a manifest, "ICEF" for a file list,
//!                "ICEP" for a checkpoint
//!      4      2  format version, little-endian
//!      6      4  CRC32 (IEEE) of the payload, little-endian
//!     10      8  length of the payload in bytes, little-endian
//!     18         the payload: JSON, one zstd frame
//! ```
//!
//! Every single-byte change is found: in the header by its field's meaning, in the payload by the CRC32.
//! Lengths are checked against the bytes at hand, never used to allocate.

use std::io::Read;

use crate::error::{Error, Result};

/// The format version that is written, and the newest that is read.
pub(crate) const FORMAT_VERSION: u16 = 1;

/// Bytes before the payload.
const HEADER_BYTES: usize = 18;

/// zstd's level for payloads: they are small, and read more often than written.
const ZSTD_LEVEL: i32 = 6;

/// The largest window that a payload's decompression may ask for, as a power of two: 8 MiB, the most
/// that a writer at our level uses.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Manifest,
    FileList,
    Checkpoint,
}

impl FrameKind {
    const fn magic(self) -> [u8; 4] {
        match self {
            Self::Manifest => *b"ICEM",
            Self::FileList => *b"ICEF",
            Self::Checkpoint => *b"ICEP",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::FileList => "file list",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// Compresses and frames.
pub(crate) fn seal(kind: FrameKind, json: &[u8]) -> Result<Vec<u8>> {
    // Compression into memory fails only where memory does.
    let failed = |error: std::io::Error| Error::InvalidManifest {
        path: kind.name().to_owned(),
        reason: format!("it cannot be compressed: {error}"),
    };
    let payload = zstd::bulk::compress(json, ZSTD_LEVEL).map_err(failed)?;
    let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
    frame.extend_from_slice(&kind.magic());
    frame.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    frame.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    frame.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    frame.extend_from_slice(&payload);
    Ok(frame)
}

/// Checks a frame and decompresses its payload, to no more than the limit.
pub(crate) fn open(kind: FrameKind, path: &str, frame: &[u8], limit_bytes: u64) -> Result<Vec<u8>> {
    let path = || path.to_owned();
    let magic = kind.magic();
    let shown = frame.get(..frame.len().min(4)).unwrap_or_default();
    if !magic.starts_with(shown) {
        let (found, expected) = (crate::hex::encode(shown), crate::hex::encode(&magic));
        return Err(Error::BadMagic {
            path: path(),
            kind: kind.name(),
            found,
            expected,
        });
    }
    let header = Header::read(frame).ok_or_else(|| Error::Truncated {
        path: path(),
        expected: HEADER_BYTES as u64,
        actual: frame.len() as u64,
    })?;
    if header.version > FORMAT_VERSION {
        let (found, supported) = (u64::from(header.version), u64::from(FORMAT_VERSION));
        return Err(Error::NewerFormat {
            path: path(),
            found,
            supported,
        });
    }
    if header.version == 0 {
        return Err(Error::InvalidManifest {
            path: path(),
            reason: "format version 0 does not exist".to_owned(),
        });
    }
    let payload = frame.get(HEADER_BYTES..).unwrap_or_default();
    let (expected, actual) = (
        header.payload_bytes.saturating_add(HEADER_BYTES as u64),
        frame.len() as u64,
    );
    if actual < expected {
        return Err(Error::Truncated {
            path: path(),
            expected,
            actual,
        });
    }
    if actual > expected {
        return Err(Error::TrailingBytes {
            path: path(),
            expected,
            actual,
        });
    }
    let crc32 = crc32fast::hash(payload);
    if crc32 != header.crc32 {
        return Err(Error::FrameChecksum {
            path: path(),
            expected: header.crc32,
            actual: crc32,
        });
    }
    decompress(payload, limit_bytes).map_err(|error| match error {
        Decompress::TooLarge => Error::TooLarge {
            path: path(),
            limit_bytes,
        },
        Decompress::Failed(reason) => Error::InvalidManifest {
            path: path(),
            reason,
        },
    })
}

/// The fields between the magic and the payload.
struct Header {
    version: u16,
    crc32: u32,
    payload_bytes: u64,
}

impl Header {
    fn read(frame: &[u8]) -> Option<Self> {
        let (version, rest) = frame.get(4..)?.split_first_chunk::<2>()?;
        let (crc32, rest) = rest.split_first_chunk::<4>()?;
        let (payload_bytes, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            version: u16::from_le_bytes(*version),
            crc32: u32::from_le_bytes(*crc32),
            payload_bytes: u64::from_le_bytes(*payload_bytes),
        })
    }
}

enum Decompress {
    TooLarge,
    Failed(String),
}

fn decompress(payload: &[u8], limit_bytes: u64) -> Result<Vec<u8>, Decompress> {
    let failed = |error: std::io::Error| {
        Decompress::Failed(format!("its payload does not decompress: {error}"))
    };
    let mut decoder = zstd::Decoder::new(payload).map_err(failed)?;
    decoder
        .window_log_max(ZSTD_WINDOW_LOG_MAX)
        .map_err(failed)?;
    let mut json = Vec::new();
    decoder
        .take(limit_bytes.saturating_add(1))
        .read_to_end(&mut json)
        .map_err(failed)?;
    if json.len() as u64 > limit_bytes {
        Err(Decompress::TooLarge)
    } else {
        Ok(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn open_manifest(frame: &[u8]) -> Result<Vec<u8>> {
        open(FrameKind::Manifest, "BACKUP_MANIFEST", frame, LIMIT)
    }

    #[test]
    fn round_trip() {
        for json in [&b"{}"[..], b"", &vec![b'x'; 100_000]] {
            assert_eq!(
                open_manifest(&seal(FrameKind::Manifest, json).unwrap()).unwrap(),
                json
            );
        }
    }

    #[test]
    fn every_single_byte_change_and_every_cut_is_found() {
        let frame = seal(
            FrameKind::Manifest,
            br#"{"a":"small manifest","b":[1,2,3]}"#,
        )
        .unwrap();
        for index in 0..frame.len() {
            for change in 1..=255 {
                let mut bad = frame.clone();
                bad[index] ^= change;
                assert!(
                    open_manifest(&bad).is_err(),
                    "byte {index} changed by {change:02x} was not found"
                );
            }
            assert!(
                open_manifest(&frame[..index]).is_err(),
                "a cut at {index} was not found"
            );
        }
        let longer = [frame.as_slice(), b"x"].concat();
        assert!(matches!(
            open_manifest(&longer),
            Err(Error::TrailingBytes { .. })
        ));
    }

    #[test]
    fn each_damage_has_its_own_error() {
        let frame = seal(FrameKind::Manifest, b"{}").unwrap();
        let with = |at: usize, bytes: &[u8]| {
            let mut bad = frame.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            open_manifest(&bad).unwrap_err()
        };
        assert!(matches!(with(0, b"JUNK"), Error::BadMagic { .. }));
        assert!(matches!(
            with(4, &[2, 0]),
            Error::NewerFormat {
                found: 2,
                supported: 1,
                ..
            }
        ));
        assert!(matches!(with(4, &[0, 0]), Error::InvalidManifest { .. }));
        assert!(matches!(
            with(6, &[0, 0, 0, 0]),
            Error::FrameChecksum { expected: 0, .. }
        ));
        assert!(matches!(
            with(10, &[0xFF; 8]),
            Error::Truncated {
                expected: u64::MAX,
                ..
            }
        ));
        assert!(matches!(
            open_manifest(b"IC"),
            Err(Error::Truncated {
                expected: 18,
                actual: 2,
                ..
            })
        ));
        assert!(matches!(
            open_manifest(b""),
            Err(Error::Truncated { actual: 0, .. })
        ));
        let other = open(FrameKind::FileList, "BACKUP_FILES-0", &frame, LIMIT).unwrap_err();
        assert!(matches!(
            other,
            Error::BadMagic {
                kind: "file list",
                ..
            }
        ));
    }

    #[test]
    fn a_small_object_that_would_grow_large_is_refused_within_bounded_memory() {
        let bomb = seal(FrameKind::Manifest, &vec![0; 64 << 20]).unwrap();
        assert!(bomb.len() < 16 << 10);
        assert!(matches!(
            open_manifest(&bomb),
            Err(Error::TooLarge {
                limit_bytes: LIMIT,
                ..
            })
        ));
    }
}
