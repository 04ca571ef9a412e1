//! Where a key is kept that wraps the collection's: the user's own, or a key-management service's.
//!
//! | form | key |
//! |---|---|
//! | `file:/absolute/path` | 32 bytes or 64 hex digits in a file |
//! | `env:NAME` | 64 hex digits in a variable of the environment |
//! | `aws-kms:///KEY?region=REGION` | a key of AWS Key Management Service, by id, ARN or `alias/NAME` |
//!
//! `aws-kms` takes the parameters `AWS_ENDPOINT`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
//! `AWS_SESSION_TOKEN`, percent-encoded, as `s3` does; what they leave out comes from the environment.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::aws::AwsKey;
use super::raw_key;
use super::secret::Secret;
use super::wrapper::{AWS_KIND, KEY_KIND};
use crate::error::{Error, Result};

/// Names a key that wraps the key of a collection. Displays, and debugs, without credentials.
///
/// ```
/// use icecore_archive::KmsUri;
///
/// let uri: KmsUri = "file:/etc/icecore/backup.key".parse()?;
/// assert_eq!(uri.to_string(), "file:/etc/icecore/backup.key");
/// # Ok::<(), icecore_archive::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct KmsUri(pub(super) Place);

/// What a URI names.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A file that holds the key.
    File(PathBuf),
    /// A variable that holds the key.
    Variable(String),
    /// A key of AWS KMS.
    Aws(AwsKey),
}

impl KmsUri {
    /// Whether its parameters hold a credential.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        match &self.0 {
            Place::File(_) | Place::Variable(_) => false,
            Place::Aws(key) => key.has_credentials(),
        }
    }

    /// How to come by it.
    pub(super) fn source(&self) -> Result<Source<'_>> {
        match &self.0 {
            Place::File(path) => raw_key::from_file(path, &self.to_string()).map(Source::Key),
            Place::Variable(name) => {
                raw_key::from_variable(name, &self.to_string()).map(Source::Key)
            }
            Place::Aws(key) => Ok(Source::Aws(key)),
        }
    }

    /// The kind of the wrappers that it makes and opens.
    pub(super) const fn kind(&self) -> &'static str {
        match &self.0 {
            Place::File(_) | Place::Variable(_) => KEY_KIND,
            Place::Aws(_) => AWS_KIND,
        }
    }
}

/// A key, or who has it.
pub(super) enum Source<'a> {
    Key(Secret),
    Aws(&'a AwsKey),
}

impl FromStr for KmsUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // What stands before the parameters is all that is ever shown of a text that does not parse.
        let shown = text.split(['?', '#']).next().unwrap_or_default();
        let invalid = |reason: &str| Error::InvalidKey {
            key: format!("'{shown}'"),
            reason: reason.to_owned(),
        };
        let (scheme, rest) = text.split_once(':').ok_or_else(|| {
            // It may be the key itself.
            Error::InvalidKey {
                key: "what was given for a key".to_owned(),
                reason: FORMS.to_owned(),
            }
        })?;
        match scheme {
            "file" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.starts_with('/') {
                    Ok(Self(Place::File(path.into())))
                } else {
                    Err(invalid(
                        "the path of a key file must be absolute: file:/path",
                    ))
                }
            }
            "env" => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                if !rest.is_empty() && rest.bytes().all(plain) {
                    Ok(Self(Place::Variable(rest.to_owned())))
                } else {
                    Err(invalid(
                        "a variable's name is of letters, digits and '_': env:NAME",
                    ))
                }
            }
            "aws-kms" => AwsKey::parse(text)
                .map(|key| Self(Place::Aws(key)))
                .map_err(|reason| invalid(&reason)),
            _ => Err(invalid(FORMS)),
        }
    }
}

/// The forms that there are.
const FORMS: &str = "it must look like file:/path, env:NAME or aws-kms:///KEY?region=REGION";

impl fmt::Display for KmsUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(path) => write!(f, "file:{}", path.display()),
            Place::Variable(name) => write!(f, "env:{name}"),
            Place::Aws(key) => key.fmt(f),
        }
    }
}

impl fmt::Debug for KmsUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KmsUri({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_reads_and_prints() {
        for (text, printed) in [
            ("file:/etc/key", "file:/etc/key"),
            ("file:///etc/key", "file:/etc/key"),
            ("env:BACKUP_KEY", "env:BACKUP_KEY"),
        ] {
            assert_eq!(text.parse::<KmsUri>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn what_names_no_key_is_refused() {
        for text in [
            "file:",
            "file:key",
            "file://host/key",
            "env:",
            "env:a=b",
            "env:A B",
            "gcp-kms:///k",
            "x",
        ] {
            let error = text.parse::<KmsUri>().unwrap_err();
            assert!(matches!(error, Error::InvalidKey { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn a_key_given_in_place_of_its_uri_is_not_repeated() {
        for text in ["c0ffee00c0ffee00", "env:?c0ffee00c0ffee00"] {
            let error = text.parse::<KmsUri>().unwrap_err().to_string();
            assert!(!error.contains("c0ffee"), "{error}");
        }
    }
}
