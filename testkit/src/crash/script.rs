//! What the child writes, and what it says.
//!
//! Writer `w`'s commit number `n` is a function of both: a few puts and deletes among the writer's own
//! keys, and its progress key set to `n`. So the state after `n` commits is known without running
//! them, and a database that holds any other state shows it.

use std::collections::BTreeMap;
use std::str::FromStr;

use icecore_mvcc::Timestamp;

use crate::dice::Dice;
use crate::failure::Failure;

/// The keyspace that is written.
pub(crate) const KEYSPACE: &str = "bank.accounts";

/// The selection that is backed up.
pub(crate) const SCOPE: &str = "bank.*";

/// How many writers there are.
pub(crate) const WRITERS: usize = 3;

/// Keys of each writer, besides its progress.
const KEYS: usize = 24;

/// One writer's rows: values by key.
pub(crate) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What all keys of a writer begin with.
pub(crate) fn prefix(writer: usize) -> Vec<u8> {
    format!("{writer}/").into_bytes()
}

/// Where a writer keeps the number of its last commit.
pub(crate) fn progress_key(writer: usize) -> Vec<u8> {
    format!("{writer}/progress").into_bytes()
}

/// What a writer's commit writes: each key once; none is a delete.
pub(crate) fn commit(writer: usize, number: u64) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let mut dice = Dice::new(
        number
            .wrapping_mul(WRITERS as u64)
            .wrapping_add(writer as u64),
    );
    let mut writes = BTreeMap::new();
    for _ in 0..=dice.below(5) {
        let key = format!("{writer}/{:02}", dice.below(KEYS)).into_bytes();
        let length = if dice.one_in(10) { 3000 } else { 20 };
        let value = (!dice.one_in(4)).then(|| format!("{number:0length$}").into_bytes());
        writes.insert(key, value);
    }
    writes.insert(progress_key(writer), Some(number.to_string().into_bytes()));
    writes
}

/// A writer's rows after that many commits: for each key what the last commit that wrote it left.
pub(crate) fn state(writer: usize, commits: u64) -> Rows {
    let mut newest: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    for number in (1..=commits).rev() {
        for (key, value) in commit(writer, number) {
            newest.entry(key).or_insert(value);
        }
        if newest.len() > KEYS {
            break;
        }
    }
    newest
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}

/// One line that the child says. Only what it was told: a line follows the call that it reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// The database is open, and work begins.
    Ready,
    /// A commit was acknowledged.
    Commit {
        writer: usize,
        number: u64,
        ts: Timestamp,
    },
    /// A backup was acknowledged: the layer's path and its end.
    Backup { layer: String, end: Timestamp },
    /// A restore of a chain begins, under that name; said before the call.
    Restoring {
        full: String,
        end: Timestamp,
        name: String,
    },
    /// That restore was acknowledged.
    Restored { name: String },
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Commit { writer, number, ts } => {
                write!(f, "commit {writer} {number} {}", ts.nanos())
            }
            Self::Backup { layer, end } => write!(f, "backup {layer} {}", end.nanos()),
            Self::Restoring { full, end, name } => {
                write!(f, "restoring {full} {} {name}", end.nanos())
            }
            Self::Restored { name } => write!(f, "restored {name}"),
        }
    }
}

impl FromStr for Line {
    type Err = Failure;

    fn from_str(line: &str) -> Result<Self, Failure> {
        let strange = || Failure::Mismatch(format!("the child says {line:?}"));
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().map_err(|_| strange());
        Ok(match *words.as_slice() {
            ["ready"] => Self::Ready,
            ["commit", writer, n, ts] => Self::Commit {
                writer: writer.parse().map_err(|_| strange())?,
                number: number(n)?,
                ts: Timestamp::from_nanos(number(ts)?),
            },
            ["backup", layer, end] => Self::Backup {
                layer: layer.to_owned(),
                end: Timestamp::from_nanos(number(end)?),
            },
            ["restoring", full, end, name] => Self::Restoring {
                full: full.to_owned(),
                end: Timestamp::from_nanos(number(end)?),
                name: name.to_owned(),
            },
            ["restored", name] => Self::Restored {
                name: name.to_owned(),
            },
            _ => return Err(strange()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_that_of_all_commits_in_order() {
        for writer in 0..WRITERS {
            let mut rows = Rows::new();
            for number in 1..=300 {
                for (key, value) in commit(writer, number) {
                    match value {
                        Some(value) => rows.insert(key, value),
                        None => rows.remove(&key),
                    };
                }
                assert_eq!(
                    state(writer, number),
                    rows,
                    "writer {writer} after {number}"
                );
            }
        }
    }

    #[test]
    fn lines_are_read_as_they_are_said() {
        let end = Timestamp::from_nanos(7);
        let lines = [
            Line::Ready,
            Line::Commit {
                writer: 1,
                number: 2,
                ts: end,
            },
            Line::Backup {
                layer: "2024/03/01-000000.00".to_owned(),
                end,
            },
            Line::Restoring {
                full: "a".to_owned(),
                end,
                name: "copy.1".to_owned(),
            },
            Line::Restored {
                name: "copy.1".to_owned(),
            },
        ];
        for line in lines {
            assert_eq!(line.to_string().parse::<Line>().unwrap(), line);
        }
        assert!("commit 1 2".parse::<Line>().is_err());
    }
}
