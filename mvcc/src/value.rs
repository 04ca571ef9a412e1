//! The value codec: one tag byte, then the bytes.
//!
//! | tag | meaning | bytes after it |
//! |---|---|---|
//! | `00` | tombstone: the key was deleted | none |
//! | `01` | put | the user value |
//!
//! Other tags are room for later formats and refused today. See `docs/format/values.md`.

use crate::error::{Error, Result};

/// The longest user value, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 30;
/// The tag byte of a tombstone.
pub const TAG_TOMBSTONE: u8 = 0;
/// The tag byte of a put.
pub const TAG_PUT: u8 = 1;

/// What a stored value says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value<'a> {
    /// The key was deleted.
    Tombstone,
    /// The key was set to these bytes, which may be none.
    Put(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes of a put, `None` for a tombstone.
    #[must_use]
    pub const fn into_option(self) -> Option<&'a [u8]> {
        match self {
            Self::Tombstone => None,
            Self::Put(bytes) => Some(bytes),
        }
    }

    /// Whether the key was deleted.
    #[must_use]
    pub const fn is_tombstone(self) -> bool {
        matches!(self, Self::Tombstone)
    }
}

/// Checks that a user value may be written. Empty values may.
///
/// # Errors
/// [`Error::ValueTooLong`] above [`MAX_VALUE_BYTES`].
pub const fn check_value(user: &[u8]) -> Result<()> {
    if user.len() > MAX_VALUE_BYTES {
        Err(Error::ValueTooLong { bytes: user.len() })
    } else {
        Ok(())
    }
}

/// The stored value of a put.
#[must_use]
pub fn encode_put(user: &[u8]) -> Vec<u8> {
    let mut stored = Vec::new();
    encode_into(&mut stored, Value::Put(user));
    stored
}

/// The stored value of a tombstone.
#[must_use]
pub fn encode_tombstone() -> Vec<u8> {
    vec![TAG_TOMBSTONE]
}

/// Appends a stored value to `out`, which keeps what it holds.
#[inline]
pub fn encode_into(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Tombstone => out.push(TAG_TOMBSTONE),
        Value::Put(user) => {
            out.reserve(1 + user.len());
            out.push(TAG_PUT);
            out.extend_from_slice(user);
        }
    }
}

/// Reads a stored value.
///
/// # Errors
/// [`Error::ValueEmpty`], [`Error::ValueTag`], [`Error::ValueTombstone`] if no encoding yields these bytes.
#[inline]
pub fn decode_value(stored: &[u8]) -> Result<Value<'_>> {
    match stored.split_first() {
        None => Err(Error::ValueEmpty),
        Some((&TAG_PUT, user)) => Ok(Value::Put(user)),
        Some((&TAG_TOMBSTONE, [])) => Ok(Value::Tombstone),
        Some((&TAG_TOMBSTONE, rest)) => Err(Error::ValueTombstone { bytes: rest.len() }),
        Some((&tag, _)) => Err(Error::ValueTag { tag }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_bytes() {
        // As printed in docs/format/values.md.
        assert_eq!(encode_tombstone(), [0x00]);
        assert_eq!(encode_put(b""), [0x01]);
        assert_eq!(encode_put(b"ice"), [0x01, 0x69, 0x63, 0x65]);
    }

    #[test]
    fn an_empty_put_is_no_tombstone() -> Result<()> {
        assert_eq!(
            decode_value(&encode_put(b""))?.into_option(),
            Some(&b""[..])
        );
        assert_eq!(decode_value(&encode_tombstone())?.into_option(), None);
        assert!(decode_value(&encode_tombstone())?.is_tombstone());
        Ok(())
    }

    #[test]
    fn what_no_encoding_yields_is_refused() {
        assert_eq!(decode_value(&[]), Err(Error::ValueEmpty));
        assert_eq!(decode_value(&[2, 9]), Err(Error::ValueTag { tag: 2 }));
        assert_eq!(
            decode_value(&[0, 9, 9]),
            Err(Error::ValueTombstone { bytes: 2 })
        );
    }

    #[test]
    fn the_limit_is_inclusive() {
        // Zeroed pages that nothing touches: no gigabyte of memory is used.
        let longest = vec![0; MAX_VALUE_BYTES + 1];
        assert_eq!(longest.get(1..).map(check_value), Some(Ok(())));
        assert_eq!(
            check_value(&longest),
            Err(Error::ValueTooLong {
                bytes: MAX_VALUE_BYTES + 1
            })
        );
    }

    proptest! {
        #[test]
        fn round_trip(user in any::<Option<Vec<u8>>>(), before in any::<Vec<u8>>()) {
            let value = user.as_deref().map_or(Value::Tombstone, Value::Put);
            let mut out = before.clone();
            encode_into(&mut out, value);
            let (kept, stored) = out.split_at(before.len());
            prop_assert_eq!(kept, &before[..]);
            prop_assert_eq!(decode_value(stored), Ok(value));
        }

        #[test]
        fn whatever_decodes_is_what_encoding_yields(stored in any::<Vec<u8>>()) {
            if let Ok(value) = decode_value(&stored) {
                let mut again = Vec::new();
                encode_into(&mut again, value);
                prop_assert_eq!(again, stored);
            }
        }
    }
}
