//! What a marker holds: one line of JSON, then one line with the CRC32 of the first as eight hex digits.
//!
//! ```text
//! {"full":"2022/02/09-155340.13","end":1644422020130000000}
//! 5b0c1f9e
//! ```

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A marker's content.
pub(crate) fn encode<T: Serialize>(marker: &T) -> Result<Bytes> {
    // Markers hold numbers and texts, which always have JSON.
    let failed = |error: serde_json::Error| Error::InvalidManifest {
        path: "a marker".to_owned(),
        reason: format!("it cannot be written as JSON: {error}"),
    };
    let json = serde_json::to_string(marker).map_err(failed)?;
    let crc32 = crc32fast::hash(json.as_bytes());
    Ok(Bytes::from(format!("{json}\n{crc32:08x}\n")))
}

/// Checks a marker's content and reads it; what is wrong with it otherwise.
pub(crate) fn decode<T: DeserializeOwned>(content: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(content).map_err(|_| "it is not UTF-8".to_owned())?;
    let lines = text
        .strip_suffix('\n')
        .and_then(|text| text.split_once('\n'));
    let (json, crc32) = lines.ok_or("it is not two lines of text")?;
    let actual = format!("{:08x}", crc32fast::hash(json.as_bytes()));
    if crc32 != actual {
        return Err(format!(
            "its CRC32 is {actual}, its second line says otherwise"
        ));
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_single_byte_change_and_every_cut_is_found() {
        let content = encode(&("a marker", 1)).unwrap();
        assert_eq!(
            decode::<(String, u32)>(&content),
            Ok(("a marker".to_owned(), 1))
        );
        for index in 0..content.len() {
            for change in 1..=255 {
                let mut bad = content.to_vec();
                bad[index] ^= change;
                assert!(
                    decode::<(String, u32)>(&bad).is_err(),
                    "byte {index} changed by {change:02x}"
                );
            }
            assert!(
                decode::<(String, u32)>(&content[..index]).is_err(),
                "a cut at {index}"
            );
        }
        let longer = [&content[..], b"\n"].concat();
        assert!(decode::<(String, u32)>(&longer).is_err());
    }
}
