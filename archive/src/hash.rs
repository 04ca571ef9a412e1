//! Content hashes, and the three figures by which a file is known: size, CRC32 and BLAKE3.
//!
//! CRC32 (IEEE, as in zlib) finds damage in transfer; BLAKE3 identifies the content.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 32 bytes of BLAKE3. Displays, parses and serialises as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// A hash that was computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

/// The text is not 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a content hash is 64 lower-case hex digits")]
pub struct ParseHashError;

impl FromStr for ContentHash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let bytes = crate::hex::decode(text).ok_or(ParseHashError)?;
        bytes.try_into().map(Self).map_err(|_| ParseHashError)
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// What a file's bytes come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// Length in bytes.
    pub bytes: u64,
    /// CRC32 (IEEE).
    pub crc32: u32,
    /// BLAKE3.
    pub blake3: ContentHash,
}

impl Digest {
    /// Reads a local file whole.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut digester = Digester::default();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(digester.finish()),
                Ok(read) => digester.update(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Computes a [`Digest`] piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Digester {
    bytes: u64,
    crc32: crc32fast::Hasher,
    blake3: blake3::Hasher,
}

impl Digester {
    /// Takes the next piece.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.crc32.update(piece);
        self.blake3.update(piece);
    }

    /// Bytes taken so far.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of everything taken.
    pub(crate) fn finish(self) -> Digest {
        Digest {
            bytes: self.bytes,
            crc32: self.crc32.finalize(),
            blake3: ContentHash::from_bytes(*self.blake3.finalize().as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors() {
        let mut digester = Digester::default();
        digester.update(b"1234");
        digester.update(b"56789");
        let digest = digester.finish();
        assert_eq!(digest.bytes, 9);
        // The check value of CRC-32/ISO-HDLC, and the empty input of BLAKE3's reference implementation.
        assert_eq!(digest.crc32, 0xcbf4_3926);
        assert_eq!(digest.blake3, ContentHash::of(b"123456789"));
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(ContentHash::of(b"").to_string(), empty);
        assert_eq!(empty.parse(), Ok(ContentHash::of(b"")));
    }

    #[test]
    fn a_file_has_the_digest_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes = vec![7; (256 << 10) + 1];
        std::fs::write(&path, &bytes).unwrap();
        let mut digester = Digester::default();
        digester.update(&bytes);
        assert_eq!(Digest::of_file(&path).unwrap(), digester.finish());
        assert!(Digest::of_file(folder.path()).is_err());
    }

    #[test]
    fn other_texts_are_refused() {
        let good = ContentHash::of(b"x").to_string();
        for text in [
            &good[1..],
            &good.to_uppercase(),
            &format!("{good}00"),
            "",
            &good.replace(&good[..1], "g"),
        ] {
            assert_eq!(text.parse::<ContentHash>(), Err(ParseHashError), "{text}");
        }
    }
}
