//! The commit index: which keys each commit wrote, in commit order.
//!
//! A record's key is the commit timestamp (8 bytes big-endian) and the record's number within
//! the commit (4 bytes big-endian). Its value is a kind byte and, by kind:
//!
//! | kind | then |
//! |---|---|
//! | 0 keys | groups of: keyspace id (varint), count (varint), count × (key length × 2 + deleted as varint, key, and for a put its size class: 1 byte) |
//! | 1 span | keyspace id (varint), first key (varint length, bytes), last key (varint length, bytes) |
//!
//! Varints are LEB128. A commit with many keys takes several records; a bulk load writes one
//! span, whose keys the reader finds by scanning. See `docs/format/commit-index.md`.

use icecore_mvcc::{KeyspaceId, Timestamp};

use super::rows::{Row, Rows};
use crate::error::{Error, Result};

/// A record is closed once it is this long; one key may still make it longer.
const RECORD_BYTES: usize = 64 << 10;

const KEYS: u8 = 0;
const SPAN: u8 = 1;

/// About how large a value is: the number of bits of its length in bytes. Lets a reader fetch
/// values in batches of bounded memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SizeClass(u8);

impl SizeClass {
    /// The class of a value of this many bytes.
    pub(crate) fn of(bytes: usize) -> Self {
        Self((usize::BITS - bytes.leading_zeros()) as u8)
    }

    /// The most bytes that a value of this class has.
    pub(crate) fn max_bytes(self) -> usize {
        1_usize
            .checked_shl(u32::from(self.0))
            .map_or(usize::MAX, |above| above - 1)
    }

    /// The class as it is stored.
    pub(crate) fn code(self) -> u8 {
        self.0
    }

    /// The class that is stored so; `None` for what no value can have.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        (u32::from(code) < usize::BITS).then_some(Self(code))
    }
}

/// One thing that a record tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// A key was put, with a value of this size, or deleted.
    Key {
        keyspace: KeyspaceId,
        key: &'a [u8],
        put: Option<SizeClass>,
    },
    /// A bulk load wrote keys between these two, both included.
    Span {
        keyspace: KeyspaceId,
        first: &'a [u8],
        last: &'a [u8],
    },
}

/// The key of record `number` of the commit at `ts`.
pub(crate) fn record_key(ts: Timestamp, number: u32) -> [u8; 12] {
    let mut key = [0; 12];
    let (time, rest) = key.split_at_mut(8);
    time.copy_from_slice(&ts.nanos().to_be_bytes());
    rest.copy_from_slice(&number.to_be_bytes());
    key
}

/// The commit timestamp in a record's key.
pub(crate) fn record_timestamp(key: &[u8]) -> Result<Timestamp> {
    let time: Option<[u8; 8]> = key.get(..8).and_then(|b| b.try_into().ok());
    match time {
        Some(time) if key.len() == 12 => Ok(Timestamp::from_nanos(u64::from_be_bytes(time))),
        _ => Err(Error::corrupt(format!(
            "commit index key of {} bytes",
            key.len()
        ))),
    }
}

/// Hands `emit` the records of a commit, numbered from 0, given its rows sorted by keyspace.
/// `record` is room for one, whatever it holds.
pub(crate) fn encode_keys(rows: &Rows, record: &mut Vec<u8>, mut emit: impl FnMut(u32, &[u8])) {
    let mut number = 0;
    let mut rest = rows.iter();
    record.clear();
    record.push(KEYS);
    while rest.len() > 0 {
        let group = first_group(rest.clone(), record.len());
        for (index, row) in rest.by_ref().take(group).enumerate() {
            if index == 0 {
                put_varint(record, u64::from(row.space.id().get()));
                put_varint(record, group as u64);
            }
            put_row(record, row);
        }
        if record.len() >= RECORD_BYTES {
            emit(number, record);
            number += 1;
            record.clear();
            record.push(KEYS);
        }
    }
    if record.len() > 1 {
        emit(number, record);
    }
}

/// How many of these rows, at least one, go into a record that has `bytes` already: those of one
/// keyspace, until it is full.
fn first_group<'a>(rows: impl Iterator<Item = Row<'a>>, mut bytes: usize) -> usize {
    let mut keyspace = None;
    rows.take_while(|row| {
        let id = row.space.id();
        let fits = *keyspace.get_or_insert(id) == id && bytes < RECORD_BYTES;
        bytes += row.key_bytes() + 5;
        fits
    })
    .count()
    .max(1)
}

fn put_row(record: &mut Vec<u8>, row: Row<'_>) {
    let (user, put) = (row.user_key(), row.put());
    put_varint(record, (user.len() as u64) << 1 | u64::from(put.is_none()));
    record.extend_from_slice(&user);
    record.extend(put.map(|value| SizeClass::of(value.len()).code()));
}

/// The record of a bulk load.
pub(crate) fn encode_span(keyspace: KeyspaceId, first: &[u8], last: &[u8]) -> Vec<u8> {
    let mut record = vec![SPAN];
    put_varint(&mut record, u64::from(keyspace.get()));
    for key in [first, last] {
        put_varint(&mut record, key.len() as u64);
        record.extend_from_slice(key);
    }
    record
}

/// Calls `each` for everything that a record tells.
pub(crate) fn decode<'a>(
    record: &'a [u8],
    mut each: impl FnMut(Change<'a>) -> Result<()>,
) -> Result<()> {
    let damaged = || Error::corrupt("commit index record is damaged");
    let (kind, mut rest) = record.split_first().ok_or_else(damaged)?;
    match *kind {
        KEYS => {
            while !rest.is_empty() {
                let keyspace = take_id(&mut rest).ok_or_else(damaged)?;
                let count = take_varint(&mut rest).ok_or_else(damaged)?;
                for _ in 0..count {
                    let head = take_varint(&mut rest).ok_or_else(damaged)?;
                    let key = take(&mut rest, head >> 1).ok_or_else(damaged)?;
                    let put = if head & 1 == 0 {
                        Some(take_class(&mut rest).ok_or_else(damaged)?)
                    } else {
                        None
                    };
                    each(Change::Key { keyspace, key, put })?;
                }
            }
            Ok(())
        }
        SPAN => {
            let keyspace = take_id(&mut rest).ok_or_else(damaged)?;
            let mut key = || {
                let length = take_varint(&mut rest)?;
                take(&mut rest, length)
            };
            let (first, last) = (key().ok_or_else(damaged)?, key().ok_or_else(damaged)?);
            if !rest.is_empty() {
                return Err(damaged());
            }
            each(Change::Span {
                keyspace,
                first,
                last,
            })
        }
        other => Err(Error::corrupt(format!(
            "commit index record of unknown kind {other}"
        ))),
    }
}

/// Appends a LEB128 varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Takes a LEB128 varint off the front; `None` for one that `put_varint` does not write.
pub(crate) fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut n = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        n |= bits << shift;
        if byte & 0x80 == 0 {
            // No bits beyond the 64th, and no needless last byte.
            let whole = (bits << shift) >> shift == bits && (bits != 0 || shift == 0);
            return whole.then_some(n);
        }
    }
    None
}

fn take_class(rest: &mut &[u8]) -> Option<SizeClass> {
    let (code, after) = rest.split_first()?;
    *rest = after;
    SizeClass::from_code(*code)
}

fn take_id(rest: &mut &[u8]) -> Option<KeyspaceId> {
    take_varint(rest)
        .and_then(|id| u32::try_from(id).ok())
        .map(KeyspaceId::new)
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_one_form_each() {
        for n in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::MAX >> 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, n);
            let mut rest = bytes.as_slice();
            assert_eq!((take_varint(&mut rest), rest.len()), (Some(n), 0), "{n}");
        }
        let mut over = vec![0xff; 9];
        over.push(0x02);
        for refused in [&[][..], &[0x80], &[0x80, 0x00], &[0x81, 0x80, 0x00], &over] {
            assert_eq!(take_varint(&mut &*refused), None, "{refused:02x?}");
        }
    }

    #[test]
    fn what_stands_behind_a_span_is_damage() {
        let mut record = encode_span(KeyspaceId::new(7), b"a", b"z");
        assert!(decode(&record, |_| Ok(())).is_ok());
        record.push(0);
        assert!(decode(&record, |_| Ok(())).is_err());
    }
}
