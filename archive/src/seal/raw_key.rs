//! Keys that users keep themselves: 32 bytes in a file, or 64 hex digits in a file or a variable.
//!
//! A variable cannot hold a zero byte, so 32 bytes in one are a text, and no random key.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use super::secret::{KEY_BYTES, Secret};
use crate::error::{Error, Result};

/// The key in a file.
pub(super) fn from_file(path: &Path, name: &str) -> Result<Secret> {
    let failed = |error: std::io::Error| Error::LocalFile {
        action: "read",
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let file = File::open(path).map_err(failed)?;
    // Room for more than any key, so that it never grows, which would leave copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(128));
    file.take(100).read_to_end(&mut content).map_err(failed)?;
    parse(&content, name)
}

/// The key in a variable of the environment.
pub(super) fn from_variable(variable: &str, name: &str) -> Result<Secret> {
    match std::env::var_os(variable) {
        Some(value) => {
            let value = Zeroizing::new(value.into_encoded_bytes());
            digits(&value).ok_or_else(|| invalid(name, "a key in a variable is 64 hex digits"))
        }
        None => Err(invalid(name, "the variable is not set")),
    }
}

/// 32 bytes as they are, or 64 hex digits.
fn parse(content: &[u8], name: &str) -> Result<Secret> {
    if let Ok(raw) = <[u8; KEY_BYTES]>::try_from(content) {
        return Ok(Secret::new(raw));
    }
    digits(content).ok_or_else(|| invalid(name, "a key is 32 bytes, or 64 hex digits"))
}

/// 64 hex digits, with or without an end of line.
fn digits(content: &[u8]) -> Option<Secret> {
    let digits = content.strip_suffix(b"\n").unwrap_or(content);
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    let digits = std::str::from_utf8(digits).ok()?;
    let digits = Zeroizing::new(digits.to_ascii_lowercase());
    let bytes = Zeroizing::new(crate::hex::decode(&digits)?);
    let raw: &[u8; KEY_BYTES] = bytes.as_slice().try_into().ok()?;
    Some(Secret::new(*raw))
}

fn invalid(name: &str, reason: &str) -> Error {
    Error::InvalidKey {
        key: name.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_digits_spell_the_same_key() {
        let raw: [u8; 32] = std::array::from_fn(|n| n as u8 + 200);
        let digits = crate::hex::encode(&raw);
        let upper = digits.to_ascii_uppercase();
        for content in [&raw[..], digits.as_bytes(), upper.as_bytes()] {
            assert_eq!(*parse(content, "k").unwrap(), raw);
        }
        for end in ["\n", "\r\n"] {
            assert_eq!(
                *parse(format!("{digits}{end}").as_bytes(), "k").unwrap(),
                raw
            );
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let short = "SECRET".repeat(5);
        for content in [
            "",
            "\n",
            &short,
            &format!("{}Z", "a".repeat(63)),
            &"ab".repeat(33),
        ] {
            let error = parse(content.as_bytes(), "env:K").unwrap_err();
            assert_eq!(
                error.to_string(),
                "env:K is no key to use: a key is 32 bytes, or 64 hex digits; give another one"
            );
        }
    }
}
