//! Names of keyspaces, and patterns that choose some.
//!
//! A name is one or more segments of `A-Z a-z 0-9 _ -`, joined by dots, at most 128 bytes. What stands
//! before the last dot is the *database*: `bank.customers` is keyspace `customers` of database `bank`;
//! `audit` belongs to none.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The longest keyspace name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// A valid keyspace name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyspaceName(String);

impl KeyspaceName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`Error::NameSyntax`], [`Error::NameTooLong`].
    pub fn parse(name: &str) -> Result<Self> {
        if name.len() > MAX_NAME_BYTES {
            let shown = name.chars().take(MAX_NAME_BYTES / 4).chain(['…']).collect();
            return Err(Error::NameTooLong {
                name: shown,
                bytes: name.len(),
            });
        }
        if name.split('.').all(is_segment) {
            Ok(Self(name.to_owned()))
        } else {
            Err(Error::NameSyntax {
                name: name.to_owned(),
            })
        }
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the last dot; empty if there is none.
    #[must_use]
    pub fn database(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(database, _)| database)
    }

    /// What stands after the last dot; all of it if there is none.
    #[must_use]
    pub fn last_segment(&self) -> &str {
        self.0
            .rsplit_once('.')
            .map_or(self.as_str(), |(_, last)| last)
    }

    /// The name of the same keyspace in another database; in none if that is empty.
    ///
    /// # Errors
    /// [`Error::NameSyntax`], [`Error::NameTooLong`] if the outcome is no name.
    pub fn in_database(&self, database: &str) -> Result<Self> {
        if database.is_empty() {
            return Ok(Self(self.last_segment().to_owned()));
        }
        Self::parse(&format!("{database}.{}", self.last_segment()))
    }
}

fn is_segment(segment: &str) -> bool {
    !segment.is_empty()
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

impl fmt::Display for KeyspaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyspaceName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::parse(name)
    }
}

impl AsRef<str> for KeyspaceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Which keyspaces are meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamePattern {
    /// `*`: every keyspace.
    All,
    /// `bank.*`: every keyspace whose name begins with `bank.`, however many segments follow.
    Database(KeyspaceName),
    /// `bank.customers`: that keyspace alone.
    Exact(KeyspaceName),
}

impl NamePattern {
    /// Reads `*`, `bank.*` or a name. An asterisk anywhere else is refused.
    ///
    /// # Errors
    /// [`Error::PatternSyntax`], [`Error::NameTooLong`].
    pub fn parse(pattern: &str) -> Result<Self> {
        if pattern == "*" {
            return Ok(Self::All);
        }
        let parsed = match pattern.strip_suffix(".*") {
            Some(database) => KeyspaceName::parse(database).map(Self::Database),
            None => KeyspaceName::parse(pattern).map(Self::Exact),
        };
        parsed.map_err(|error| match error {
            Error::NameSyntax { .. } => Error::PatternSyntax {
                pattern: pattern.to_owned(),
            },
            other => other,
        })
    }

    /// Whether the keyspace of this name is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Database(database) => name
                .strip_prefix(database.as_str())
                .is_some_and(|rest| rest.starts_with('.')),
            Self::Exact(exact) => exact.as_str() == name,
        }
    }
}

impl fmt::Display for NamePattern {
    /// As [`NamePattern::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Database(database) => write!(f, "{database}.*"),
            Self::Exact(name) => name.fmt(f),
        }
    }
}

impl FromStr for NamePattern {
    type Err = Error;

    fn from_str(pattern: &str) -> Result<Self> {
        Self::parse(pattern)
    }
}

#[cfg(test)]
mod tests;
