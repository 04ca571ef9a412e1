//! `verify`: whether what lies in a collection is what the manifests say. Needs no database.

use std::time::Instant;

use clap::{Args, ValueEnum};
use icecore_archive::{BackupSelector, Collection, CollectionUri, total};
use icecore_restore::{VerifiedLayer, VerifyOptions};
use serde::Serialize;

use crate::arguments::OutputFormat;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::keys::KeyArguments;
use crate::output::{Bar, Record, human_bytes, human_count, human_rate, plural};

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The collection
    #[arg(long = "in", value_name = "URI")]
    collection: CollectionUri,
    #[command(flatten)]
    keys: KeyArguments,
    /// Which backup: LATEST or a path [default: all of them]
    #[arg(value_name = "SUBDIR")]
    backup: Option<BackupSelector>,
    /// How closely to look
    #[arg(long, value_enum, default_value_t)]
    depth: Depth,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Depth {
    /// Manifests are read; files must be there with their lengths
    Presence,
    /// Every file is read and its checksums compared
    #[default]
    Checksum,
}

impl From<Depth> for icecore_restore::Depth {
    fn from(depth: Depth) -> Self {
        match depth {
            Depth::Presence => Self::Presence,
            Depth::Checksum => Self::Checksum,
        }
    }
}

/// What was verified.
#[derive(Serialize)]
struct Verified {
    ok: bool,
    depth: icecore_restore::Depth,
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Layer {
    layer: String,
    ok: bool,
    files: u64,
    stored_bytes: u64,
    problems: Vec<String>,
}

impl From<&VerifiedLayer> for Layer {
    fn from(layer: &VerifiedLayer) -> Self {
        Self {
            layer: layer.path.to_string(),
            ok: layer.problems.is_empty(),
            files: layer.files,
            stored_bytes: layer.stored_bytes,
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
        progress: Some(bar.progress()),
        ..VerifyOptions::default()
    };
    let report = context.wait(async {
        let store = arguments.keys.store_options()?;
        let collection = Collection::open(&arguments.collection, store).await?;
        Ok(icecore_restore::verify(&collection, &options).await?)
    })?;
    bar.clear();
    let verified = Verified {
        ok: report.is_ok(),
        depth: report.depth,
        layers: report.layers.iter().map(Layer::from).collect(),
    };
    if context.format == OutputFormat::Table {
        context.list("layers", verified.layers.iter().map(Ok))?;
        for problem in verified.layers.iter().flat_map(|layer| &layer.problems) {
            context.line(problem)?;
        }
    }
    let bytes = total(verified.layers.iter().map(|layer| layer.stored_bytes));
    let elapsed = started.elapsed();
    let sentence = || {
        format!(
            "verified {}, {} in {:.2} s, {}",
            plural(verified.layers.len() as u64, "layer"),
            human_bytes(bytes),
            elapsed.as_secs_f64(),
            human_rate(bytes, elapsed),
        )
    };
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
