//! The keys of sealed collections, as every command takes them that opens a collection.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use icecore_archive::{Keys, KmsUri, Passphrase, StoreOptions};

use crate::error::{Error, Result};

/// What opens a sealed collection.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KeyArguments {
    /// The collection is sealed: a file that holds its passphrase
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The collection is sealed: its key, file:/path, env:NAME or aws-kms:///KEY; may be given several times
    #[arg(long, value_name = "URI")]
    kms: Vec<KmsArgument>,
}

/// What was given for a key's URI. It is judged when it is used: one that does not parse would be repeated
/// by the parser of the command line, and may be the key itself.
#[derive(Debug, Clone)]
pub(crate) struct KmsArgument(Result<KmsUri, String>);

impl FromStr for KmsArgument {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let parsed: icecore_archive::Result<KmsUri> = text.parse();
        Ok(Self(parsed.map_err(|error| error.to_string())))
    }
}

impl KmsArgument {
    /// The URI, if it is one.
    pub(crate) fn uri(&self) -> Result<KmsUri> {
        self.0.clone().map_err(Error::Usage)
    }
}

impl KeyArguments {
    /// The keys that were given.
    pub(crate) fn keys(&self) -> Result<Keys> {
        let mut keys = Keys::default();
        if let Some(file) = &self.passphrase_file {
            keys = keys.with_passphrase(Passphrase::from_file(file)?);
        }
        for given in &self.kms {
            keys = keys.with_kms(given.uri()?);
        }
        Ok(keys)
    }

    /// Where they are, as a job keeps it: the process that runs it may have another current folder.
    pub(crate) fn places(&self) -> Result<(Option<PathBuf>, Vec<String>)> {
        let file = self.passphrase_file.as_deref().map(std::path::absolute);
        let file = file
            .transpose()
            .map_err(Error::io("find", "the passphrase file"))?;
        let kms = self.kms.iter().map(|given| {
            let uri = given.uri()?;
            // As text it would be without them, and the job without a key.
            match uri.has_credentials() {
                true => Err(Error::Usage(format!(
                    "{uri} holds credentials, which a job must not keep; set them in the environment of `icecore serve-jobs`, and leave them out here"
                ))),
                false => Ok(uri.to_string()),
            }
        });
        Ok((file, kms.collect::<Result<_>>()?))
    }

    /// How to open a collection with them.
    pub(crate) fn store_options(&self) -> Result<StoreOptions> {
        Ok(StoreOptions {
            keys: self.keys()?,
            ..StoreOptions::default()
        })
    }
}
