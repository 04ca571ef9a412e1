//! `verify`: whether what lies in a collection is what the manifests say, and restores. Needs no database.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use icecore_archive::{BackupSelector, CollectionUri, total};
use icecore_mvcc::{Fingerprint, Timestamp};
use icecore_restore::{Sample, VerifiedLayer, VerifiedState, VerifyOptions};
use serde::Serialize;

use crate::arguments::OutputFormat;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::keys::KeyArguments;
use crate::output::{Bar, Record, human_bytes, human_count, human_rate, plural, time};
use crate::places;
use crate::uri::UriParser;

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The collection; several URIs where it lies in several places
    #[arg(long = "in", value_name = "URI", value_parser = UriParser, required = true)]
    collection: Vec<CollectionUri>,
    #[command(flatten)]
    keys: KeyArguments,
    /// Which backup: LATEST or a path [default: all of them]
    #[arg(value_name = "SUBDIR")]
    backup: Option<BackupSelector>,
    /// How closely to look
    #[arg(long, value_enum, default_value_t)]
    depth: Depth,
    /// Read only some of the files: 5% or 500MiB of them, others each time, or part 2/7
    #[arg(long, value_name = "PERCENT|N/T|SIZE")]
    sample: Option<Sample>,
    /// With --depth restore: where scratch databases are made [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Depth {
    /// Manifests are read; files must be there with their lengths
    Presence,
    /// Every file is read and its checksums compared
    #[default]
    Checksum,
    /// Every backup is restored into scratch databases, and compared with the manifests' fingerprints
    Restore,
}

impl From<Depth> for icecore_restore::Depth {
    fn from(depth: Depth) -> Self {
        match depth {
            Depth::Presence => Self::Presence,
            Depth::Checksum => Self::Checksum,
            Depth::Restore => Self::Restore,
        }
    }
}

/// What was verified.
#[derive(Serialize)]
struct Verified {
    ok: bool,
    depth: icecore_restore::Depth,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restores: Option<u64>,
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Layer {
    layer: String,
    ok: bool,
    files: u64,
    stored_bytes: u64,
    /// Files that were read whole, and their bytes.
    read_files: u64,
    read_bytes: u64,
    /// With `--depth restore`: keyspaces as they came back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    states: Vec<State>,
    problems: Vec<String>,
}

/// A keyspace as it came back.
#[derive(Serialize)]
struct State {
    keyspace: String,
    #[serde(serialize_with = "time")]
    as_of: Timestamp,
    fingerprint: Fingerprint,
    /// What it was held against.
    expected: Option<Fingerprint>,
    result: &'static str,
}

impl From<&VerifiedState> for State {
    fn from(state: &VerifiedState) -> Self {
        Self {
            keyspace: state.keyspace.clone(),
            as_of: state.at,
            fingerprint: state.found,
            expected: state.expected,
            result: match state.expected {
                None => "restored",
                Some(expected) if expected == state.found => "proven",
                Some(_) => "DIFFERS",
            },
        }
    }
}

/// A keyspace that came back, in the table.
struct StateRow<'a> {
    layer: &'a str,
    state: &'a State,
}

impl Serialize for StateRow<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.state.serialize(serializer)
    }
}

impl Record for StateRow<'_> {
    const HEADER: &'static [&'static str] = &["layer", "keyspace", "as of", "rows", "state"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.layer.to_owned(),
            self.state.keyspace.clone(),
            self.state.as_of.to_string(),
            human_count(self.state.fingerprint.rows()),
            self.state.result.to_owned(),
        ]
    }
}

impl From<&VerifiedLayer> for Layer {
    fn from(layer: &VerifiedLayer) -> Self {
        Self {
            layer: layer.path.to_string(),
            ok: layer.problems.is_empty(),
            files: layer.files,
            stored_bytes: layer.stored_bytes,
            read_files: layer.read_files,
            read_bytes: layer.read_bytes,
            states: layer.states.iter().map(State::from).collect(),
            problems: layer.problems.clone(),
        }
    }
}

impl Record for &Layer {
    const HEADER: &'static [&'static str] = &["layer", "result", "files", "bytes"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.layer.clone(),
            if self.ok { "ok" } else { "FAILED" }.to_owned(),
            human_count(self.files),
            human_bytes(self.stored_bytes),
        ]
    }
}

pub(crate) fn run(context: &Context, arguments: &VerifyArguments) -> Result<()> {
    let started = Instant::now();
    let bar = Bar::new(context, "verifying");
    let options = VerifyOptions {
        backup: arguments.backup.clone(),
        depth: arguments.depth.into(),
        sample: arguments.sample,
        scratch: arguments.scratch.clone(),
        progress: Some(bar.progress()),
        ..VerifyOptions::default()
    };
    let report = context.wait(async {
        let collection = places::open(&arguments.collection, &arguments.keys).await?;
        Ok(icecore_restore::verify(&collection, &options).await?)
    })?;
    bar.clear();
    let verified = Verified {
        ok: report.is_ok(),
        depth: report.depth,
        sample: arguments.sample.map(|sample| sample.to_string()),
        restores: matches!(arguments.depth, Depth::Restore).then_some(report.restores),
        layers: report.layers.iter().map(Layer::from).collect(),
    };
    if context.format == OutputFormat::Table {
        print(context, &verified)?;
    }
    let bytes = total(verified.layers.iter().map(|layer| layer.stored_bytes));
    let sentence = || sentence(&verified, bytes, started.elapsed());
    context.done("verify", sentence, &verified, bytes, started)?;
    let bad: Vec<&str> = verified
        .layers
        .iter()
        .filter(|layer| !layer.ok)
        .map(|layer| layer.layer.as_str())
        .collect();
    match bad.is_empty() {
        true => Ok(()),
        false => Err(Error::Unsound(format!(
            "backup layers are damaged: {}; bring their files back from a copy, or take a new full backup",
            bad.join(", ")
        ))),
    }
}

fn print(context: &Context, verified: &Verified) -> Result<()> {
    context.list("layers", verified.layers.iter().map(Ok))?;
    if verified.restores.is_some() {
        let rows = verified.layers.iter().flat_map(|layer| {
            let row = |state| StateRow {
                layer: &layer.layer,
                state,
            };
            layer.states.iter().map(row)
        });
        context.line("")?;
        context.list("states", rows.map(Ok))?;
    }
    let problems = verified.layers.iter().flat_map(|layer| &layer.problems);
    for problem in problems {
        context.line(problem)?;
    }
    Ok(())
}

/// What was done, and how much of everything that covered.
fn sentence(verified: &Verified, bytes: u64, elapsed: Duration) -> String {
    let sum = |of: fn(&Layer) -> u64| total(verified.layers.iter().map(of));
    let took = format!(
        "{} in {:.2} s, {}",
        human_bytes(bytes),
        elapsed.as_secs_f64(),
        human_rate(bytes, elapsed)
    );
    let layers = plural(verified.layers.len() as u64, "layer");
    if let Some(restores) = verified.restores {
        let states = || verified.layers.iter().flat_map(|layer| &layer.states);
        let proven = states().filter(|state| state.result == "proven").count();
        return format!(
            "restored {layers} by {}, {} of {} proven, {took}",
            plural(restores, "restore"),
            human_count(proven as u64),
            plural(states().count() as u64, "state"),
        );
    }
    if let Some(sample) = &verified.sample {
        return format!(
            "verified {sample} of {layers}: read {} of {}, {} of {took}",
            human_count(sum(|layer| layer.read_files)),
            plural(sum(|layer| layer.files), "file"),
            human_bytes(sum(|layer| layer.read_bytes)),
        );
    }
    format!("verified {layers}, {took}")
}
