//! What a backup job is to do, as its row keeps it.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use icecore_archive::{BackupSelector, Keys, KmsUri, Passphrase, StoreOptions};
use icecore_engine::Engine;
use icecore_mvcc::{NamePattern, Timestamp, parse_timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::jobs::handler::JobFailure;
use crate::jobs::places::JobPlaces;
use crate::mode::Mode;
use crate::options::{BackupOptions, Fingerprints, OnGcGap};

/// A backup as a job. A field that is not known is refused: what it asks for would not be done.
///
/// It holds no secret: a URI with credentials in it is refused, they come from the environment of the process
/// that runs the job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupSpec {
    /// The collection, one URI or several by locality; it is made where there is none.
    pub into: JobPlaces,
    /// The chain to extend, `LATEST` or a path; a new full without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onto: Option<String>,
    /// The time to back up, in any form that times are read in; default when the job starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Which keyspaces; as in [`BackupOptions::keyspaces`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keyspaces: Vec<String>,
    /// Whether every version is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revision_history: bool,
    /// Whether rows are read or live files copied; as in [`BackupOptions::mode`].
    #[serde(default, skip_serializing_if = "is_auto")]
    pub mode: Mode,
    /// Whether a keyspace whose history is gone is taken from zero; as in
    /// [`OnGcGap::Reexport`](crate::OnGcGap).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reexport_on_gc_gap: bool,
    /// Where the passphrase of a sealed collection is; read when the job runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase_file: Option<PathBuf>,
    /// Where keys of a sealed collection are, `file:/path` or `env:NAME`; read when the job runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kms: Vec<String>,
    /// Whether no fingerprints are made. Default: those that cost no scan of their own, as
    /// [`Fingerprints::Auto`]; and of a keyspace that a run went on with in its middle there is none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_fingerprints: bool,
    /// As [`BackupOptions::recheck`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recheck: bool,
    /// As [`BackupOptions::target_file_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_file_bytes: Option<u64>,
    /// As [`BackupOptions::threads`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// As [`StoreOptions::max_requests_per_second`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests_per_second: Option<NonZeroU32>,
}

/// Whether it is what a spec without it says.
fn is_auto(mode: &Mode) -> bool {
    *mode == Mode::Auto
}

/// The keys that a job's spec names: it never holds them, only where they are.
///
/// # Errors
/// [`Error::Archive`] when a file cannot be read or a URI is none.
pub fn keys_of(passphrase_file: Option<&Path>, kms: &[String]) -> Result<Keys> {
    let mut keys = Keys::default();
    if let Some(file) = passphrase_file {
        keys = keys.with_passphrase(Passphrase::from_file(file)?);
    }
    for uri in kms {
        keys = keys.with_kms(uri.parse()?);
    }
    Ok(keys)
}

/// Refuses what is no key's URI, and one with credentials in it: a job's row is no place for them.
///
/// # Errors
/// [`Error::Archive`], [`Error::JobRefused`].
pub fn check_kms(kms: &[String]) -> Result<()> {
    for text in kms {
        let uri: KmsUri = text.parse()?;
        if uri.has_credentials() {
            return Err(Error::JobRefused {
                reason: format!(
                    "{uri} holds credentials, which a job must not keep; set them in the environment of the process that runs jobs, and leave them out here"
                ),
            });
        }
    }
    Ok(())
}

impl BackupSpec {
    /// A full backup of the whole engine into that collection.
    #[must_use]
    pub fn into(places: impl Into<JobPlaces>) -> Self {
        Self {
            into: places.into(),
            ..Self::default()
        }
    }

    /// As a job takes it.
    ///
    /// # Errors
    /// Never in practice: it holds texts and numbers.
    pub fn to_json(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|e| Error::JobRefused {
            reason: e.to_string(),
        })
    }

    /// How its store is used, beginning from what its runner was given.
    pub(crate) fn store(&self, base: &StoreOptions) -> Result<StoreOptions> {
        let keys = match (&self.passphrase_file, self.kms.as_slice()) {
            (None, []) => base.keys.clone(),
            (file, kms) => keys_of(file.as_deref(), kms)?,
        };
        Ok(StoreOptions {
            keys,
            max_requests_per_second: self
                .max_requests_per_second
                .or(base.max_requests_per_second),
            ..base.clone()
        })
    }

    /// The options of the backup.
    pub(super) fn options(&self, now: Timestamp) -> Result<BackupOptions> {
        let defaults = BackupOptions::default();
        let onto = self.onto.as_deref().map(str::parse::<BackupSelector>);
        let keyspaces = self.keyspaces.iter().map(|text| NamePattern::parse(text));
        let keyspaces: icecore_mvcc::Result<Vec<NamePattern>> = keyspaces.collect();
        let as_of = self.as_of.as_deref().map(|text| parse_timestamp(text, now));
        let options = BackupOptions {
            as_of: as_of.transpose().map_err(icecore_engine::Error::from)?,
            onto: onto.transpose()?,
            keyspaces: keyspaces.map_err(icecore_engine::Error::from)?,
            revision_history: self.revision_history,
            mode: self.mode,
            on_gc_gap: if self.reexport_on_gc_gap {
                OnGcGap::Reexport
            } else {
                OnGcGap::Error
            },
            fingerprints: if self.no_fingerprints {
                Fingerprints::Never
            } else {
                Fingerprints::Auto
            },
            recheck: self.recheck,
            target_file_bytes: self.target_file_bytes.unwrap_or(defaults.target_file_bytes),
            threads: self.threads.unwrap_or(defaults.threads),
            ..defaults
        };
        options.validate()?;
        Ok(options)
    }

    /// Checks it, and makes its time absolute.
    pub(crate) fn admit(mut self, engine: &Engine) -> Result<Self, JobFailure> {
        self.into.admit()?;
        check_kms(&self.kms)?;
        let options = self.options(engine.now())?;
        if let Some(as_of) = options.as_of {
            engine.snapshot_at(as_of).map_err(crate::Error::from)?;
            self.as_of = Some(as_of.nanos().to_string());
        }
        Ok(self)
    }

    /// What it does, for people.
    pub(super) fn description(&self) -> String {
        let what = match &self.onto {
            Some(onto) => format!("incremental backup onto {onto} in {}", self.into),
            None => format!("full backup into {}", self.into),
        };
        match self.keyspaces.as_slice() {
            [] => what,
            keyspaces => format!("{what} of {}", keyspaces.join(", ")),
        }
    }
}
