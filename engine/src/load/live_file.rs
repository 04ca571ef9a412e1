//! What a live SST file says of itself at its end.
//!
//! RocksDB's C interface shows no properties of single files, so they are read from where they are: the
//! footer (of format version 6, the one that is written here) leads to the index of the blocks beside the
//! data, and that to the properties. `table/format.cc` and `table/meta_blocks.cc` of RocksDB write them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Properties, index and footer take one to three KiB.
const END_BYTES: u64 = 64 << 10;

const FOOTER_BYTES: usize = 53;
const MAGIC: [u8; 8] = 0x88e2_41b7_85f4_cff7_u64.to_le_bytes();
const FORMAT_VERSION: [u8; 4] = 6_u32.to_le_bytes();

/// A block is followed by the kind of its compression, none here, and a checksum.
const BLOCK_TRAILER_BYTES: usize = 5;

/// The session that made the file, 120 random bits, and the file's number in it: together unique.
const IDENTITY: [&[u8]; 2] = [
    b"rocksdb.creating.session.identity",
    b"rocksdb.original.file.number",
];

/// Bytes of a stored row that are not the user's: its sequence number, timestamp, terminator and tag.
const ROW_OVERHEAD_BYTES: u64 = 8 + 8 + 2 + 1;

/// A copy, by link, of a file that was live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveFile {
    /// Where the copy lies.
    pub path: PathBuf,
    /// The level that the file lay in.
    pub level: u32,
    /// Versions in it, those too that files after it hide.
    pub entries: u64,
    /// Bytes of user keys and values in it, likewise: at most that many.
    pub logical_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// The first user key.
    pub first_key: Vec<u8>,
    /// The last user key.
    pub last_key: Vec<u8>,
    /// Its length and its last bytes, with the random identity that RocksDB gave it: no two files share
    /// them, in whatever database, unless they are the same to the last byte. `None` if there is none.
    pub identity: Option<Vec<u8>>,
}

/// Entries of a block: names and values.
type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// The end of a file.
pub(super) struct FileEnd {
    pub(super) file_bytes: u64,
    /// From the properties to the end; empty where they were not found.
    end: Vec<u8>,
    properties: Entries,
}

impl FileEnd {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let read = || -> std::io::Result<(u64, Vec<u8>)> {
            let mut file = File::open(path)?;
            let file_bytes = file.metadata()?.len();
            file.seek(SeekFrom::Start(file_bytes.saturating_sub(END_BYTES)))?;
            let mut end = Vec::new();
            file.take(END_BYTES).read_to_end(&mut end)?;
            Ok((file_bytes, end))
        };
        let (file_bytes, end) = read().map_err(Error::path("read", path))?;
        let (end, properties) = parse(file_bytes, &end).unwrap_or_default();
        Ok(Self {
            file_bytes,
            end,
            properties,
        })
    }

    pub(super) fn identity(&self) -> Option<Vec<u8>> {
        let named = IDENTITY
            .iter()
            .all(|name| self.properties.contains_key(*name));
        named.then(|| [&self.file_bytes.to_be_bytes(), self.end.as_slice()].concat())
    }

    /// Bytes of user keys and values, at most; 0 if the file doesn't say.
    pub(super) fn logical_bytes(&self, entries: u64) -> u64 {
        let number = |name: &[u8]| {
            let mut value = self.properties.get(name)?.as_slice();
            varint(&mut value)
        };
        let (keys, values) = (b"rocksdb.raw.key.size", b"rocksdb.raw.value.size");
        let raw = number(keys).zip(number(values));
        raw.map_or(0, |(keys, values)| {
            keys.saturating_add(values)
                .saturating_sub(entries.saturating_mul(ROW_OVERHEAD_BYTES))
        })
    }
}

/// The bytes from the properties on, and the properties.
fn parse(file_bytes: u64, end: &[u8]) -> Option<(Vec<u8>, Entries)> {
    let footer_at = end.len().checked_sub(FOOTER_BYTES)?;
    let footer = end.get(footer_at..)?;
    if footer.get(41..45)? != FORMAT_VERSION || footer.get(45..)? != MAGIC {
        return None;
    }
    let index_bytes =
        usize::try_from(u32::from_le_bytes(footer.get(13..17)?.try_into().ok()?)).ok()?;
    let index_end = footer_at.checked_sub(BLOCK_TRAILER_BYTES)?;
    let index = end.get(index_end.checked_sub(index_bytes)?..index_end)?;
    let index = block_entries(index)?;
    let mut handle = index.get(b"rocksdb.properties".as_slice())?.as_slice();
    let (at, bytes) = (varint(&mut handle)?, varint(&mut handle)?);
    let before = file_bytes - end.len() as u64;
    let at = usize::try_from(at.checked_sub(before)?).ok()?;
    let block = end.get(at..at.checked_add(usize::try_from(bytes).ok()?)?)?;
    Some((end.get(at..)?.to_vec(), block_entries(block)?))
}

/// The entries of a block. Each is the number of bytes its key shares with the key before, that of its
/// own, that of its value, then both; the block ends with the places of some entries and their number.
fn block_entries(block: &[u8]) -> Option<Entries> {
    let places_at = block.len().checked_sub(4)?;
    let places = u32::from_le_bytes(block.get(places_at..)?.try_into().ok()?);
    let entries_end = places_at.checked_sub(usize::try_from(places).ok()?.checked_mul(4)?)?;
    let mut rest = block.get(..entries_end)?;
    let mut entries = BTreeMap::new();
    let mut key: Vec<u8> = Vec::new();
    while !rest.is_empty() {
        let mut length = || usize::try_from(varint(&mut rest)?).ok();
        let (shared, own, value) = (length()?, length()?, length()?);
        key.truncate(shared);
        key.extend_from_slice(rest.get(..own)?);
        let value_end = own.checked_add(value)?;
        entries.insert(key.clone(), rest.get(own..value_end)?.to_vec());
        rest = rest.get(value_end..)?;
    }
    Some(entries)
}

/// Takes a number in RocksDB's variable length: seven bits a byte, the lowest first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints() {
        let mut bytes: &[u8] = &[0xac, 0x02, 0x07, 0x80];
        assert_eq!(varint(&mut bytes), Some(300));
        assert_eq!(varint(&mut bytes), Some(7));
        assert_eq!(varint(&mut bytes), None);
    }

    #[test]
    fn what_is_no_table_has_no_identity() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.sst");
        for bytes in [vec![], vec![0; 10], vec![0; 200_000]] {
            std::fs::write(&path, &bytes).unwrap();
            let end = FileEnd::read(&path).unwrap();
            assert_eq!(end.file_bytes, bytes.len() as u64);
            assert_eq!((end.identity(), end.logical_bytes(5)), (None, 0));
        }
    }
}
