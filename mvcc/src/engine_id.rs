//! The identity of an engine: a backup chain belongs to one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, Result};

/// 16 random bytes that name one database folder for its life. A restored or forked one gets another.
///
/// Displays and serialises as a UUID's text, `7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90`; parses with or without
/// hyphens, in either case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineId([u8; 16]);

impl EngineId {
    /// The id of these bytes. Drawing them at random is the engine's work.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EngineId({self})")
    }
}

impl FromStr for EngineId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::EngineId {
            text: text.to_owned(),
        };
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        // from_str_radix would take a sign.
        if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u128::from_str_radix(&digits, 16)
            .map(|id| Self(id.to_be_bytes()))
            .map_err(|_| wrong())
    }
}

impl Serialize for EngineId {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EngineId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: EngineId = EngineId([
        0x7f, 0x3b, 0x0a, 0x52, 0x9c, 0x1d, 0x4e, 0x6f, 0x8a, 0x21, 0x0b, 0x5c, 0x6d, 0x7e, 0x8f,
        0x90,
    ]);
    const TEXT: &str = "7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90";

    #[test]
    fn golden_text() {
        assert_eq!(ID.to_string(), TEXT);
        assert_eq!(serde_json::to_string(&ID).unwrap(), format!("{TEXT:?}"));
        assert_eq!(
            serde_json::from_str::<EngineId>(&format!("{TEXT:?}")).unwrap(),
            ID
        );
    }

    #[test]
    fn hyphens_and_case_are_free() {
        assert_eq!(TEXT.replace('-', "").to_uppercase().parse(), Ok(ID));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "7f3b",
            &TEXT.replace('7', "g"),
            &format!("{TEXT}0"),
            &TEXT.replace("7f", "+f"),
            "é",
        ] {
            assert_eq!(
                text.parse::<EngineId>(),
                Err(Error::EngineId {
                    text: text.to_owned()
                })
            );
        }
    }

    proptest! {
        #[test]
        fn round_trip(bytes: [u8; 16]) {
            let id = EngineId::from_bytes(bytes);
            prop_assert_eq!(id.as_bytes(), &bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
