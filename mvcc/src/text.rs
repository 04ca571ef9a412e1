//! Keys and values as text, for people, the command line and JSON.
//!
//! UTF-8 stands for itself. A backslash is `\\`. Control characters (`00` to `1F`, `7F`, and U+0080 to
//! U+009F) and bytes that are no UTF-8 are `\xNN` each byte, lower-case digits. Every byte string has
//! exactly one such text, and that text is one line.
//!
//! ```
//! use icecore_mvcc::text;
//! assert_eq!(text::to_text(b"bank\\42\x00\xff"), r"bank\\42\x00\xff");
//! assert_eq!(text::from_text(r"bank\\42\x00\xff")?, b"bank\\42\x00\xff");
//! # Ok::<(), icecore_mvcc::Error>(())
//! ```

use std::fmt::Write as _;

use crate::error::{Error, Result};

/// How many bytes of a key an error or a log line shows.
const PREVIEW_BYTES: usize = 64;

/// The text of some bytes.
#[must_use]
pub fn to_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                control if control.is_control() => {
                    push_hex(&mut text, control.encode_utf8(&mut [0; 4]).as_bytes());
                }
                plain => text.push(plain),
            }
        }
        push_hex(&mut text, chunk.invalid());
    }
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string never fails.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// The bytes of a text: `\xNN` (digits in either case) and `\\` are escapes, all else stands for itself.
///
/// # Errors
/// [`Error::TextEscape`] where a backslash begins neither.
pub fn from_text(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let (byte, after) = unescape(escape).ok_or_else(|| Error::TextEscape {
            text: text.to_owned(),
            offset: text.len() - escape.len() - 1,
        })?;
        bytes.push(byte);
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// The byte of an escape, given what follows its backslash, and the text after it.
fn unescape(escape: &str) -> Option<(u8, &str)> {
    if let Some(after) = escape.strip_prefix('\\') {
        return Some((b'\\', after));
    }
    let (digits, after) = escape.strip_prefix('x')?.split_at_checked(2)?;
    // from_str_radix would take a sign.
    let digits =
        Some(digits).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    Some((u8::from_str_radix(digits, 16).ok()?, after))
}

/// The text of some bytes for an error or a log line: at most 64 of them, then how many there are in all.
#[must_use]
pub fn preview(bytes: &[u8]) -> String {
    match bytes.split_at_checked(PREVIEW_BYTES) {
        Some((shown, hidden)) if !hidden.is_empty() => {
            format!("{}… ({} bytes)", to_text(shown), bytes.len())
        }
        _ => to_text(bytes),
    }
}

/// Bytes in JSON as their text: `#[serde(with = "icecore_mvcc::text::as_text")]`.
pub mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    /// Writes the bytes as text.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::to_text(bytes))
    }

    /// Reads the bytes from text.
    ///
    /// # Errors
    /// Those of [`from_text`](super::from_text), and the deserializer's own.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        super::from_text(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Bytes that may be missing in JSON as their text or `null`:
/// `#[serde(with = "icecore_mvcc::text::as_optional_text", default)]`.
pub mod as_optional_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    /// Writes the bytes as text, or `null`.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_some(&super::to_text(bytes)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads the bytes from text or `null`.
    ///
    /// # Errors
    /// Those of [`from_text`](super::from_text), and the deserializer's own.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::from_text(&text))
            .transpose()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
