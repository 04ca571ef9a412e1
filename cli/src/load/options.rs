//! How a file is to be read.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The format of a file to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values (RFC 4180) with a header row.
    Csv,
    /// One JSON object on each line.
    Jsonl,
}

impl Format {
    /// The format that a file's name tells: `.csv`, `.jsonl` or `.ndjson`, each with or without `.zst`
    /// behind it.
    pub fn of_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".zst").unwrap_or(&name);
        match name.rsplit_once('.')? {
            (_, "csv") => Some(Self::Csv),
            (_, "jsonl" | "ndjson") => Some(Self::Jsonl),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        })
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "csv" => Ok(Self::Csv),
            "jsonl" => Ok(Self::Jsonl),
            _ => Err(Error::Usage(format!(
                "{text:?} is not a format: write csv or jsonl"
            ))),
        }
    }
}

/// Settings of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Columns whose texts, joined by `/`, are the key. At least one.
    pub key: Vec<String>,
    /// The file's format. Default: what its name tells.
    pub format: Option<Format>,
    /// Rows in one commit, at least 1. Default 1000. A batch of large rows ends earlier.
    pub batch_rows: usize,
}

impl LoadOptions {
    /// The defaults, with these key columns.
    pub fn new<S: Into<String>>(key: impl IntoIterator<Item = S>) -> Self {
        Self {
            key: key.into_iter().map(Into::into).collect(),
            format: None,
            batch_rows: 1000,
        }
    }

    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Usage`] names the first that is out of range.
    pub fn validate(&self) -> Result<()> {
        if self.key.is_empty() || self.key.iter().any(String::is_empty) {
            return Err(Error::Usage(
                "no key column is named; give --key COLUMN,…".to_owned(),
            ));
        }
        if self.batch_rows == 0 {
            return Err(Error::Usage(
                "a batch of 0 rows loads nothing; give --batch 1 or more".to_owned(),
            ));
        }
        Ok(())
    }
}
