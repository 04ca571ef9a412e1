//! The keys that users give: to open a sealed collection, or to make one.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::kms::KmsUri;
use crate::error::{Error, Result};

/// The longest passphrase, in bytes.
const MAX_PASSPHRASE_BYTES: u64 = 4096;

/// A passphrase. Cleared from memory when the last clone is dropped; never shown.
#[derive(Clone)]
pub struct Passphrase(Arc<Zeroizing<Vec<u8>>>);

impl Passphrase {
    /// These bytes, as they are.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] if they are none, or more than 4,096.
    pub fn new(bytes: Vec<u8>) -> Result<Self> {
        Self::checked(Zeroizing::new(bytes), "the passphrase")
    }

    /// What a file holds, without the line feed at its end if there is one.
    ///
    /// # Errors
    /// [`Error::LocalFile`]; [`Error::InvalidKey`] if nothing is left, or more than 4,096 bytes are.
    pub fn from_file(path: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| Error::LocalFile {
            action: "read",
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let file = File::open(path).map_err(failed)?;
        // Never grown, which would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE_BYTES as usize + 4));
        file.take(MAX_PASSPHRASE_BYTES + 3)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        for end in [b'\n', b'\r'] {
            if bytes.last() == Some(&end) {
                bytes.pop();
            }
        }
        Self::checked(bytes, &format!("the passphrase in {}", path.display()))
    }

    fn checked(bytes: Zeroizing<Vec<u8>>, what: &str) -> Result<Self> {
        let reason = match bytes.len() as u64 {
            0 => "it is empty",
            1..=MAX_PASSPHRASE_BYTES => return Ok(Self(Arc::new(bytes))),
            _ => "it is longer than 4096 bytes",
        };
        Err(Error::InvalidKey {
            key: what.to_owned(),
            reason: reason.to_owned(),
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(redacted)")
    }
}

/// Passphrases and keys of key-management services. Any one that fits opens a sealed collection; one that
/// is made gets a wrapper for each. Empty for collections that are not sealed.
///
/// ```
/// use icecore_archive::{Keys, Passphrase};
///
/// let keys = Keys::default()
///     .with_passphrase(Passphrase::new(b"correct horse battery staple".to_vec())?)
///     .with_kms("file:/etc/icecore/backup.key".parse()?);
/// assert_eq!(format!("{keys:?}"), "Keys(passphrases: 1, kms: [file:/etc/icecore/backup.key])");
/// # Ok::<(), icecore_archive::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Keys {
    pub(super) passphrases: Vec<Passphrase>,
    pub(super) kms: Vec<KmsUri>,
}

impl Keys {
    /// These and a passphrase.
    #[must_use]
    pub fn with_passphrase(mut self, passphrase: Passphrase) -> Self {
        self.passphrases.push(passphrase);
        self
    }

    /// These and a key of a key-management service.
    #[must_use]
    pub fn with_kms(mut self, kms: KmsUri) -> Self {
        self.kms.push(kms);
        self
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.passphrases.is_empty() && self.kms.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.passphrases.len() + self.kms.len()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kms: Vec<String> = self.kms.iter().map(ToString::to_string).collect();
        let passphrases = self.passphrases.len();
        write!(
            f,
            "Keys(passphrases: {passphrases}, kms: [{}])",
            kms.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(content: &[u8]) -> Result<Passphrase> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        std::fs::write(&path, content).unwrap();
        Passphrase::from_file(&path)
    }

    #[test]
    fn one_line_feed_at_the_end_is_no_part_of_a_passphrase() {
        for content in [&b"a b"[..], b"a b\n", b"a b\r\n"] {
            assert_eq!(from(content).unwrap().bytes(), b"a b", "{content:?}");
        }
        assert_eq!(from(b"a\n\n").unwrap().bytes(), b"a\n");
        assert_eq!(from(b" a ").unwrap().bytes(), b" a ");
        assert_eq!(from(&[b'x'; 4096]).unwrap().bytes().len(), 4096);
        assert_eq!(
            from(&[&[b'x'; 4096][..], b"\r\n"].concat())
                .unwrap()
                .bytes()
                .len(),
            4096
        );
    }

    #[test]
    fn an_empty_or_endless_passphrase_is_refused_without_being_shown() {
        for content in [&b""[..], b"\n", b"\r\n", &[b'S'; 4097], &[b'S'; 100_000]] {
            let error = from(content).unwrap_err();
            assert!(matches!(error, Error::InvalidKey { .. }), "{error}");
            assert!(!error.to_string().contains("SSS"));
        }
        assert!(matches!(
            Passphrase::new(Vec::new()),
            Err(Error::InvalidKey { .. })
        ));
        let missing = Passphrase::from_file(Path::new("/nowhere/at/all"));
        assert!(matches!(missing, Err(Error::LocalFile { .. })));
    }
}
