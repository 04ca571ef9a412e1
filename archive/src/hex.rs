//! Bytes as lower-case hex: how manifests spell user keys.
//!
//! One spelling for each value, so that equal manifests are equal bytes: upper case is refused.

use icecore_mvcc::KeyRange;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The bytes as hex digits.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xF)])
        .collect()
}

/// The bytes that the digits spell; `None` if they are no pairs of lower-case hex digits.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(value(*high)? << 4 | value(*low)?))
        .collect()
}

/// Bytes of a fixed length as hex digits, for `#[serde(with = …)]`.
pub(crate) mod array {
    use super::{Deserialize, Deserializer, Serializer, de, decode, encode};

    pub(crate) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let bytes = decode(&String::deserialize(deserializer)?);
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| de::Error::custom(format!("not {N} bytes of lower-case hex")))
    }
}

/// A span of user keys as `{"start": hex, "end": hex or null}`, for `#[serde(with = …)]`.
pub(crate) mod key_range {
    use super::{Deserialize, Deserializer, KeyRange, Serialize, Serializer, de, decode, encode};

    #[derive(Serialize, Deserialize)]
    struct HexRange {
        start: String,
        end: Option<String>,
    }

    pub(crate) fn serialize<S: Serializer>(
        range: &KeyRange,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        HexRange {
            start: encode(range.start()),
            end: range.end().map(encode),
        }
        .serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<KeyRange, D::Error> {
        let hex = HexRange::deserialize(deserializer)?;
        let bytes = |text: String| {
            decode(&text)
                .ok_or_else(|| de::Error::custom("a key is pairs of lower-case hex digits"))
        };
        Ok(KeyRange::new(
            bytes(hex.start)?,
            hex.end.map(bytes).transpose()?,
        ))
    }
}

/// A user key as hex digits, for `#[serde(with = …)]`.
pub(crate) mod bytes {
    use super::{Deserialize, Deserializer, Serializer, de, decode, encode};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        decode(&text).ok_or_else(|| de::Error::custom("a key is pairs of lower-case hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_each_value() {
        assert_eq!(encode(&[0x00, 0x7f, 0xa0, 0xff]), "007fa0ff");
        assert_eq!(decode("007fa0ff"), Some(vec![0x00, 0x7f, 0xa0, 0xff]));
        assert_eq!(decode(""), Some(vec![]));
        for text in ["0", "A0", "0g", "+f", "é", " 0"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
