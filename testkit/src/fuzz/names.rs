//! Names of keyspaces, patterns, paths of layers and markers: each reads back as it displays.
//!
//! An input is a text; its second line, if it has one, is the name that the first is held against.

use icecore_archive::{BackupSelector, FullPath, IncrementalPath, fuzzing};
use icecore_mvcc::{KeyspaceName, NamePattern, Timestamp};

use super::{Bug, reads_back};
use crate::failure::{Result, ensure};

/// Reads the bytes as every kind of name.
///
/// # Errors
/// The first check that does not hold.
pub fn check(bytes: &[u8], bug: Option<Bug>) -> Result<()> {
    default_paths(bytes)?;
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(());
    };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    keyspace(first, bug)?;
    pattern(first, second, bug)?;
    paths(first)?;
    if let Ok(full) = second.parse::<FullPath>() {
        // A name that is none is ignored; reading it must only not fail.
        let _ = fuzzing::is_marker(&full, first);
    }
    Ok(())
}

fn keyspace(text: &str, bug: Option<Bug>) -> Result<()> {
    let read = match bug {
        Some(Bug::NamesLoseCase) => KeyspaceName::parse(&text.to_lowercase()),
        _ => KeyspaceName::parse(text),
    };
    let Ok(name) = read else {
        return Ok(());
    };
    ensure!(name.as_str() == text, "{text:?} is read as {name:?}");
    reads_back("name", &name)?;
    let joined = match name.database() {
        "" => name.last_segment().to_owned(),
        database => format!("{database}.{}", name.last_segment()),
    };
    ensure!(joined == text, "{text:?} is {joined:?} by its parts");
    let same = name.in_database(name.database());
    ensure!(
        same.as_ref() == Ok(&name),
        "{name:?} in its own database is {same:?}"
    );
    Ok(())
}

fn pattern(text: &str, name: &str, bug: Option<Bug>) -> Result<()> {
    let Ok(pattern) = NamePattern::parse(text) else {
        return Ok(());
    };
    ensure!(
        pattern.to_string() == text,
        "{text:?} is read as {pattern:?}"
    );
    reads_back("pattern", &pattern)?;
    let Ok(name) = KeyspaceName::parse(name) else {
        return Ok(());
    };
    let matches = match (&pattern, bug) {
        (NamePattern::Database(prefix), Some(Bug::PatternsAreMerePrefixes)) => {
            name.as_str().starts_with(prefix.as_str())
        }
        _ => pattern.matches(name.as_str()),
    };
    let expected = match text.strip_suffix('*') {
        Some(prefix) => name.as_str().starts_with(prefix),
        None => name.as_str() == text,
    };
    ensure!(matches == expected, "{pattern} and {name}: {matches}");
    Ok(())
}

fn paths(text: &str) -> Result<()> {
    if let Ok(full) = text.parse::<FullPath>() {
        ensure!(
            text.trim_matches('/') == full.as_str(),
            "{text:?} is read as {full:?}"
        );
        reads_back("path", &full)?;
        ensure!(
            full.flat().replace('_', "/") == full.as_str(),
            "{full:?} is not its flat name"
        );
    }
    if let Ok(incremental) = text.parse::<IncrementalPath>() {
        ensure!(
            text == incremental.as_str(),
            "{text:?} is read as {incremental:?}"
        );
        reads_back("path", &incremental)?;
    }
    if let Ok(selector) = text.parse::<BackupSelector>() {
        reads_back("selector", &selector)?;
    }
    Ok(())
}

/// The names that layers get by their end time are names.
fn default_paths(bytes: &[u8]) -> Result<()> {
    let Some(nanos) = bytes.first_chunk::<8>() else {
        return Ok(());
    };
    let end = Timestamp::from_nanos(u64::from_be_bytes(*nanos));
    reads_back("default path", &FullPath::at(end))?;
    reads_back("default path", &IncrementalPath::at(end))
}
