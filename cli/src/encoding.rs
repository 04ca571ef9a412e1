//! Keys and values on the command line and in the output.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use icecore_mvcc::text;

use crate::error::{Error, Result};

/// How bytes are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// UTF-8, with `\xNN` and `\\` as escapes.
    Text,
    /// Base64 with padding (RFC 4648).
    Base64,
}

impl Encoding {
    pub(crate) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Text => text::to_text(bytes),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }

    pub(crate) fn decode(self, given: &str) -> Result<Vec<u8>> {
        match self {
            Self::Text => Ok(text::from_text(given)?),
            Self::Base64 => STANDARD.decode(given).map_err(|e| {
                Error::Usage(format!(
                    "{given:?} is not base64: {e}; leave out --base64 to give plain text"
                ))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        for encoding in [Encoding::Text, Encoding::Base64] {
            let text = encoding.encode(&bytes);
            assert_eq!(encoding.decode(&text).unwrap(), bytes);
        }
    }
}
