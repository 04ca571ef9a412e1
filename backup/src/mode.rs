//! How a backup takes its files: by reading rows, or by copying the source's live files.
//!
//! A *fast full* is the live files of the source as of now, copied as they are. It takes what copying
//! takes, and files that an earlier fast full brought into the collection are not uploaded again. In
//! return it holds every version there is, in as many files as the source has, and those count only
//! together.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Below this `auto` reads rows: that takes a second, and makes few files of which all is known. Above,
/// the files of the source are large, and copying them is several times as fast.
pub const FAST_FROM_BYTES: u64 = 64 << 20;

/// Which method is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Fast where it can be and there is enough to copy, else logical. The default.
    #[default]
    Auto,
    /// Copy live files; an error where that cannot be.
    Fast,
    /// Read rows and write them to new files.
    Logical,
}

/// Which method is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Live files are copied.
    Fast,
    /// Rows are read.
    Logical,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fast => "fast",
            Self::Logical => "logical",
        })
    }
}

/// What the choice depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// It is an incremental.
    pub(crate) incremental: bool,
    /// Another time than now was asked for.
    pub(crate) as_of: bool,
    /// Every version is kept.
    pub(crate) revision_history: bool,
    /// Bytes of the files of what is backed up.
    pub(crate) bytes: u64,
}

/// Chooses a method, and says why.
///
/// # Errors
/// [`Error::NotFast`].
pub(crate) fn choose(mode: Mode, facts: Facts) -> Result<(Method, String)> {
    let hindrance = hindrance(facts);
    match (mode, hindrance) {
        (Mode::Logical, _) => Ok((Method::Logical, "it was asked for".to_owned())),
        (Mode::Fast, None) => Ok((Method::Fast, "it was asked for".to_owned())),
        (Mode::Fast, Some(reason)) => Err(Error::NotFast { reason }),
        (Mode::Auto, Some(reason)) => Ok((Method::Logical, reason.to_owned())),
        (Mode::Auto, None) if facts.bytes < FAST_FROM_BYTES => {
            let reason = format!(
                "there are fewer than {} MiB of files to copy",
                FAST_FROM_BYTES >> 20
            );
            Ok((Method::Logical, reason))
        }
        (Mode::Auto, None) => {
            let reason = "it is a full backup as of now, with every version";
            Ok((Method::Fast, reason.to_owned()))
        }
    }
}

/// Why live files cannot be copied.
const fn hindrance(facts: Facts) -> Option<&'static str> {
    if facts.incremental {
        return Some("an incremental takes what changed, and live files hold everything");
    }
    if facts.as_of {
        return Some("live files are as of now, and a time was asked for");
    }
    if !facts.revision_history {
        return Some("live files hold every version, and revision history was not asked for");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Facts = Facts {
        incremental: false,
        as_of: false,
        revision_history: true,
        bytes: FAST_FROM_BYTES,
    };

    #[test]
    fn a_full_as_of_now_with_history_is_fast() {
        assert_eq!(choose(Mode::Auto, FULL).unwrap().0, Method::Fast);
        assert_eq!(choose(Mode::Logical, FULL).unwrap().0, Method::Logical);
    }

    #[test]
    fn a_small_one_only_where_it_is_asked_for() {
        let small = Facts {
            bytes: FAST_FROM_BYTES - 1,
            ..FULL
        };
        assert_eq!(choose(Mode::Auto, small).unwrap().0, Method::Logical);
        assert_eq!(choose(Mode::Fast, small).unwrap().0, Method::Fast);
    }

    #[test]
    fn everything_else_says_why_not() {
        let others = [
            Facts {
                incremental: true,
                ..FULL
            },
            Facts {
                as_of: true,
                ..FULL
            },
            Facts {
                revision_history: false,
                ..FULL
            },
        ];
        for facts in others {
            let (method, why) = choose(Mode::Auto, facts).unwrap();
            assert_eq!(method, Method::Logical);
            let refused = choose(Mode::Fast, facts).unwrap_err().to_string();
            assert!(refused.contains(&why), "{refused}");
        }
    }
}
