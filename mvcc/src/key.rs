//! The key codec: how a user key and a timestamp become one stored key, and back.
//!
//! ```text
//! stored key = escaped user key | 00 01 | !timestamp, 8 bytes big-endian
//!              \------ prefix -------/
//! ```
//!
//! Escaping turns each `00` of the user key into `00 FF`; every other byte stands for itself. Plain
//! bytewise order of stored keys is then user key ascending, newest version first:
//!
//! - *Within a key* the prefixes are equal and the inverted timestamps decide, larger timestamps first.
//! - *Between keys* `a < b`: if they differ at some byte, so do their escapes, at the same place and in
//!   the same sense (`00` stays the least first byte). If `a` is a proper beginning of `b`, then where
//!   `a`'s terminator says `00 01`, `b` has either a byte above `00`, or `00 FF`: greater both times.
//!
//! So no prefix is the beginning of another (`00 01` occurs in none but as its end), and a prefix alone
//! sorts before every version of its key and after every version of any lesser key. That is what makes
//! the bounds of [`range_bounds`] exact. The byte-by-byte page is `docs/format/keys.md`.
//!
//! Point seeks need all of a stored key, timestamp included (the prefix extractor strips the last 8
//! bytes blindly); to reach a key's newest version seek to [`encode_key`]`(user, Timestamp::MAX)`.
//!
//! Encoding checks no limit; [`check_key`] does, once, where a key enters the engine. Decoding refuses
//! bytes that no encoding yields: [`Error::KeyTerminator`], [`Error::KeyEscape`].

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::range::KeyRange;
use crate::text;
use crate::timestamp::Timestamp;

/// The longest user key, in bytes.
pub const MAX_KEY_BYTES: usize = 65_536;
/// Length of the timestamp that ends every stored key.
pub const TIMESTAMP_BYTES: usize = 8;
/// What ends the escaped user key.
pub const TERMINATOR: [u8; 2] = [0x00, 0x01];
/// What a zero byte of the user key becomes.
const ESCAPED_ZERO: [u8; 2] = [0x00, 0xFF];
/// What a stored key has beyond its escaped user key.
const SUFFIX_BYTES: usize = TERMINATOR.len() + TIMESTAMP_BYTES;

/// Checks that a user key may be written. Empty keys may.
///
/// # Errors
/// [`Error::KeyTooLong`] above [`MAX_KEY_BYTES`].
pub const fn check_key(user: &[u8]) -> Result<()> {
    if user.len() > MAX_KEY_BYTES {
        Err(Error::KeyTooLong { bytes: user.len() })
    } else {
        Ok(())
    }
}

/// The stored key of a version.
#[must_use]
pub fn encode_key(user: &[u8], ts: Timestamp) -> Vec<u8> {
    let mut stored = Vec::new();
    encode_into(&mut stored, user, ts);
    stored
}

/// Appends the stored key of a version to `out`, which keeps what it holds.
#[inline]
pub fn encode_into(out: &mut Vec<u8>, user: &[u8], ts: Timestamp) {
    out.reserve(user.len() + SUFFIX_BYTES);
    encode_prefix_into(out, user);
    out.extend_from_slice(&encode_timestamp(ts));
}

/// What all versions of a user key begin with: the escaped key and its terminator.
#[must_use]
pub fn encode_prefix(user: &[u8]) -> Vec<u8> {
    // Room for a timestamp too: most prefixes become stored keys.
    let mut prefix = Vec::with_capacity(user.len() + SUFFIX_BYTES);
    encode_prefix_into(&mut prefix, user);
    prefix
}

/// Appends the prefix of a user key to `out`, which keeps what it holds.
#[inline]
pub fn encode_prefix_into(out: &mut Vec<u8>, user: &[u8]) {
    let mut rest = user;
    while let Some((run, after)) = split_at_zero(rest) {
        out.extend_from_slice(run);
        out.extend_from_slice(&ESCAPED_ZERO);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&TERMINATOR);
}

/// The last 8 bytes of a stored key: the timestamp inverted, so that newer sorts first.
#[must_use]
#[inline]
pub const fn encode_timestamp(ts: Timestamp) -> [u8; TIMESTAMP_BYTES] {
    (!ts.nanos()).to_be_bytes()
}

/// Splits a stored key into its prefix (escaped key and terminator) and its timestamp, in constant time.
///
/// `None` if there is no terminator in front of the last 8 bytes. The escapes inside the prefix are not
/// looked at: [`decode_prefix`] checks them.
#[must_use]
#[inline]
pub fn split(stored: &[u8]) -> Option<(&[u8], Timestamp)> {
    let (prefix, inverted) = stored.split_last_chunk::<TIMESTAMP_BYTES>()?;
    prefix.ends_with(&TERMINATOR).then(|| {
        (
            prefix,
            Timestamp::from_nanos(!u64::from_be_bytes(*inverted)),
        )
    })
}

/// Whether these bytes are a stored key as far as [`split`] looks: the domain of the prefix extractor.
///
/// False for every prefix and every bound of [`range_bounds`].
#[must_use]
pub fn is_stored_key(bytes: &[u8]) -> bool {
    split(bytes).is_some()
}

/// The user key and timestamp of a stored key.
///
/// # Errors
/// [`Error::KeyTerminator`] and [`Error::KeyEscape`] if no encoding yields these bytes.
pub fn decode_key(stored: &[u8]) -> Result<(Vec<u8>, Timestamp)> {
    let (prefix, ts) = split(stored).ok_or_else(|| Error::KeyTerminator {
        stored: text::preview(stored),
    })?;
    Ok((decode_prefix(prefix)?, ts))
}

/// The user key of a prefix.
///
/// # Errors
/// [`Error::KeyTerminator`] and [`Error::KeyEscape`] if no encoding yields these bytes.
pub fn decode_prefix(prefix: &[u8]) -> Result<Vec<u8>> {
    let mut user = Vec::with_capacity(prefix.len().saturating_sub(TERMINATOR.len()));
    decode_prefix_into(&mut user, prefix)?;
    Ok(user)
}

/// The user key of a prefix: a part of it where nothing is escaped, which is most often, else a copy.
///
/// # Errors
/// As [`decode_prefix`].
#[inline]
pub fn user_key(prefix: &[u8]) -> Result<Cow<'_, [u8]>> {
    match prefix.strip_suffix(&TERMINATOR) {
        Some(escaped) if find_zero(escaped).is_none() => Ok(Cow::Borrowed(escaped)),
        _ => decode_prefix(prefix).map(Cow::Owned),
    }
}

/// Appends the user key of a prefix to `out`, which keeps what it holds.
///
/// # Errors
/// [`Error::KeyTerminator`] and [`Error::KeyEscape`] if no encoding yields these bytes; `out` may then
/// have grown by part of the key.
pub fn decode_prefix_into(out: &mut Vec<u8>, prefix: &[u8]) -> Result<()> {
    let escaped = prefix
        .strip_suffix(&TERMINATOR)
        .ok_or_else(|| Error::KeyTerminator {
            stored: text::preview(prefix),
        })?;
    let mut rest = escaped;
    while let Some((run, after)) = split_at_zero(rest) {
        out.extend_from_slice(run);
        out.push(0);
        rest = after
            .strip_prefix(&[0xFF])
            .ok_or_else(|| Error::KeyEscape {
                stored: text::preview(prefix),
                offset: escaped.len() - after.len() - 1,
            })?;
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// The stored keys of a range of user keys: lower bound (inclusive) and upper bound (exclusive, `None`
/// for no bound).
///
/// The lower bound is the prefix of the range's start: it sorts before all versions of the start and
/// after all versions of lesser keys. The upper bound is the prefix of the range's end, likewise. Neither
/// carries a timestamp: they are for total-order seeks and iterator bounds, not for point seeks.
#[must_use]
pub fn range_bounds(range: &KeyRange) -> (Vec<u8>, Option<Vec<u8>>) {
    (encode_prefix(range.start()), range.end().map(encode_prefix))
}

/// What lies before and after the first zero byte; `None` if there is none.
#[inline]
fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = find_zero(bytes)?;
    let (run, rest) = bytes.split_at_checked(at)?;
    Some((run, rest.split_first()?.1))
}

/// Where the first zero byte is, looking at eight bytes at a time.
#[inline]
fn find_zero(bytes: &[u8]) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest set bit marks the first zero byte; borrows spoil only the bits above it.
        // Source: Hacker's Delight, 2nd edition, section 6-1.
        let zeros = word.wrapping_sub(LOW) & !word & HIGH;
        if zeros != 0 {
            return Some(index * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    tail.iter()
        .position(|byte| *byte == 0)
        .map(|at| words.len() * 8 + at)
}

#[cfg(test)]
mod tests;
