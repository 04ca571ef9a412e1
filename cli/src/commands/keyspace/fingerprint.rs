//! `keyspace fingerprint`: which rows keyspaces have, told in a line each.

use clap::Args;
use icecore_engine::{Engine, Keyspace, Snapshot};
use icecore_mvcc::{Fingerprint, NamePattern, Timestamp};
use serde::Serialize;

use crate::arguments::AsOf;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::{Record, human_count, time};

#[derive(Debug, Args)]
pub(crate) struct FingerprintArguments {
    /// Which keyspaces: a name, bank.* or * [default: all of them]
    #[arg(value_name = "PATTERN")]
    keyspaces: Vec<NamePattern>,
    #[command(flatten)]
    as_of: AsOf,
}

/// What a keyspace's rows come to.
#[derive(Serialize)]
struct Row {
    keyspace: String,
    #[serde(serialize_with = "time")]
    as_of: Timestamp,
    fingerprint: Fingerprint,
}

impl Record for Row {
    const HEADER: &'static [&'static str] = &["keyspace", "as of", "rows", "fingerprint"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.keyspace.clone(),
            self.as_of.to_string(),
            human_count(self.fingerprint.rows()),
            self.fingerprint.to_string(),
        ]
    }
}

pub(super) fn run(context: &Context, arguments: &FingerprintArguments) -> Result<()> {
    let engine = context.open()?;
    let at = arguments.as_of.snapshot(&engine)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let keyspaces = selected(&engine, &at, &arguments.keyspaces)?;
    let rows = keyspaces.into_iter().map(|(name, keyspace)| {
        Ok(Row {
            keyspace: name,
            as_of: at.timestamp(),
            fingerprint: keyspace.fingerprint_at(&at, threads)?,
        })
    });
    context.list("keyspaces", rows)
}

/// The keyspaces of that time that are meant, by name.
fn selected(
    engine: &Engine,
    at: &Snapshot,
    patterns: &[NamePattern],
) -> Result<Vec<(String, Keyspace)>> {
    let then = engine.descriptors_at(at.timestamp())?;
    let unmatched = patterns
        .iter()
        .find(|pattern| !then.iter().any(|d| pattern.matches(&d.name)));
    if let Some(pattern) = unmatched {
        return Err(Error::Usage(format!(
            "no keyspace matches {pattern} as of {}; `icecore keyspace list` shows those there are",
            at.timestamp()
        )));
    }
    let is_meant = |name: &str| patterns.is_empty() || patterns.iter().any(|p| p.matches(name));
    let mut selected = Vec::new();
    for descriptor in then.into_iter().filter(|d| is_meant(&d.name)) {
        let keyspace = engine.keyspace_by_id(descriptor.id)?;
        selected.push((descriptor.name, keyspace));
    }
    selected.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(selected)
}
