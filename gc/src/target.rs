//! What a record protects.
//!
//! In JSON `{"kind":"all"}`, `{"kind":"keyspaces","patterns":["bank.*"]}` or
//! `{"kind":"spans","spans":[{"keyspace":"bank.customers","range":{"start":"a","end":"b"}}]}`.

use std::fmt;

use icecore_mvcc::{KeyRange, KeyspaceName, NamePattern};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Some keys of one keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The keyspace, by name; a later one of the same name is meant too.
    pub keyspace: KeyspaceName,
    /// Which of its keys.
    pub range: KeyRange,
}

/// What a record protects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub enum Target {
    /// Every keyspace, those created later too.
    All,
    /// The keyspaces that a pattern matches, those created later too.
    Keyspaces(Vec<NamePattern>),
    /// Some keys. A keyspace has one threshold, so in this version the whole of it is held.
    Spans(Vec<Span>),
}

impl Target {
    /// Whether a keyspace of this name is meant, in whole or in part.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Keyspaces(patterns) => patterns.iter().any(|p| p.matches(name)),
            Self::Spans(spans) => spans.iter().any(|s| s.keyspace.as_str() == name),
        }
    }

    /// The keyspaces that it names one by one, and that must therefore exist.
    pub(crate) fn exact_names(&self) -> Vec<&str> {
        match self {
            Self::All => Vec::new(),
            Self::Keyspaces(patterns) => patterns.iter().filter_map(exact_name).collect(),
            Self::Spans(spans) => spans.iter().map(|s| s.keyspace.as_str()).collect(),
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let reason = match self {
            Self::Keyspaces(patterns) if patterns.is_empty() => {
                "names no keyspace; name one, or protect all".to_owned()
            }
            Self::Spans(spans) if spans.is_empty() => {
                "has no span; give one, or protect whole keyspaces".to_owned()
            }
            Self::Spans(spans) => match spans.iter().find(|s| s.range.is_empty()) {
                Some(span) => {
                    format!(
                        "has the span {} without a key; put its end above its start",
                        span.range
                    )
                }
                None => return Ok(()),
            },
            Self::All | Self::Keyspaces(_) => return Ok(()),
        };
        Err(Error::InvalidRequest {
            field: "target",
            reason,
        })
    }
}

/// The one name that a pattern means, if it is no wildcard.
pub(crate) fn exact_name(pattern: &NamePattern) -> Option<&str> {
    match pattern {
        NamePattern::Exact(name) => Some(name.as_str()),
        NamePattern::All | NamePattern::Database(_) => None,
    }
}

impl fmt::Display for Target {
    /// `all keyspaces`, `bank.*, nyc.flights`, or `bank.customers ["a", "b")`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = match self {
            Self::All => return f.write_str("all keyspaces"),
            Self::Keyspaces(patterns) => patterns.iter().map(ToString::to_string).collect(),
            Self::Spans(spans) => spans
                .iter()
                .map(|s| format!("{} {}", s.keyspace, s.range))
                .collect(),
        };
        f.write_str(&parts.join(", "))
    }
}

/// A target as JSON spells it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Wire {
    All,
    Keyspaces { patterns: Vec<String> },
    Spans { spans: Vec<WireSpan> },
}

#[derive(Serialize, Deserialize)]
struct WireSpan {
    keyspace: String,
    range: KeyRange,
}

impl From<Target> for Wire {
    fn from(target: Target) -> Self {
        match target {
            Target::All => Self::All,
            Target::Keyspaces(patterns) => Self::Keyspaces {
                patterns: patterns.iter().map(ToString::to_string).collect(),
            },
            Target::Spans(spans) => Self::Spans {
                spans: spans
                    .into_iter()
                    .map(|Span { keyspace, range }| WireSpan {
                        keyspace: keyspace.to_string(),
                        range,
                    })
                    .collect(),
            },
        }
    }
}

impl TryFrom<Wire> for Target {
    type Error = icecore_mvcc::Error;

    fn try_from(wire: Wire) -> Result<Self, icecore_mvcc::Error> {
        Ok(match wire {
            Wire::All => Self::All,
            Wire::Keyspaces { patterns } => Self::Keyspaces(
                patterns
                    .iter()
                    .map(|p| NamePattern::parse(p))
                    .collect::<Result<_, _>>()?,
            ),
            Wire::Spans { spans } => Self::Spans(
                spans
                    .into_iter()
                    .map(|WireSpan { keyspace, range }| {
                        KeyspaceName::parse(&keyspace).map(|keyspace| Span { keyspace, range })
                    })
                    .collect::<Result<_, _>>()?,
            ),
        })
    }
}
