//! `collection compact`: incrementals merged into one layer beside them.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use icecore_archive::{BackupSelector, CollectionUri};
use icecore_backup::compact::{CompactOptions, CompactReport, CompactionPlan, Left};
use icecore_backup::{compact, plan_compaction};
use icecore_mvcc::Timestamp;
use serde::Serialize;

use crate::arguments::OutputFormat;
use crate::context::Context;
use crate::error::Result;
use crate::keys::KeyArguments;
use crate::output::{
    Bar, Record, human_bytes, human_count, human_rate, optional_time, or_dash, plural, time,
};
use crate::places;
use crate::uri::UriParser;

#[derive(Debug, Args)]
pub(crate) struct CompactArguments {
    /// The collection; several URIs where it lies in several places
    #[arg(long = "in", value_name = "URI", value_parser = UriParser, required = true)]
    collection: Vec<CollectionUri>,
    #[command(flatten)]
    keys: KeyArguments,
    /// Which backup: LATEST or a path
    #[arg(value_name = "LATEST|SUBDIR", default_value = "LATEST")]
    backup: BackupSelector,
    /// Leave this many of the newest incrementals as they are
    #[arg(long, value_name = "N", default_value_t = 0)]
    keep_newest: usize,
    /// Where files lie while they are merged [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    staging: Option<PathBuf>,
    /// Tell what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// What a compaction does or did.
#[derive(Serialize)]
struct Compacted {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    backup: String,
    merged: Vec<Merged>,
    left: Vec<LeftAlone>,
}

/// A layer that is made of others.
#[derive(Serialize)]
struct Merged {
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<String>,
    #[serde(serialize_with = "time")]
    start: Timestamp,
    #[serde(serialize_with = "time")]
    end: Timestamp,
    /// The earliest time in it that can be restored.
    #[serde(serialize_with = "optional_time")]
    history_from: Option<Timestamp>,
    parts: Vec<String>,
    read_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_bytes: Option<u64>,
}

/// A layer that stays as it is.
#[derive(Serialize)]
struct LeftAlone {
    layer: String,
    reason: String,
}

impl From<&Left> for LeftAlone {
    fn from(left: &Left) -> Self {
        Self {
            layer: left.layer.to_string(),
            reason: left.reason.clone(),
        }
    }
}

impl Record for &Merged {
    const HEADER: &'static [&'static str] = &[
        "layer",
        "merged of",
        "from",
        "to",
        "history",
        "bytes read",
        "versions",
        "files",
        "bytes",
    ];

    fn cells(&self) -> Vec<String> {
        let history = if self.history_from.is_some() {
            "yes"
        } else {
            "no"
        };
        vec![
            or_dash(self.layer.clone()),
            plural(self.parts.len() as u64, "layer"),
            self.start.to_string(),
            self.end.to_string(),
            history.to_owned(),
            human_bytes(self.read_bytes),
            or_dash(self.entries.map(human_count)),
            or_dash(self.files.map(human_count)),
            or_dash(self.stored_bytes.map(human_bytes)),
        ]
    }
}

impl From<&CompactionPlan> for Compacted {
    fn from(plan: &CompactionPlan) -> Self {
        let merged = plan.merges.iter().map(|merge| Merged {
            layer: None,
            start: merge.start,
            end: merge.end,
            history_from: merge.revision_history.then_some(merge.start),
            parts: merge.parts.iter().map(ToString::to_string).collect(),
            read_bytes: merge.stored_bytes(),
            entries: None,
            files: None,
            stored_bytes: None,
        });
        Self {
            dry_run: true,
            backup: plan.full.to_string(),
            merged: merged.collect(),
            left: plan.left.iter().map(LeftAlone::from).collect(),
        }
    }
}

impl From<&CompactReport> for Compacted {
    fn from(report: &CompactReport) -> Self {
        let merged = report.merged.iter().map(|layer| Merged {
            layer: Some(layer.layer.to_string()),
            start: layer.start,
            end: layer.end,
            history_from: layer.revision_history.then_some(layer.start),
            parts: layer.parts.iter().map(ToString::to_string).collect(),
            read_bytes: layer.read_bytes,
            entries: Some(layer.entries),
            files: Some(layer.files),
            stored_bytes: Some(layer.stored_bytes),
        });
        Self {
            dry_run: false,
            backup: report.full.to_string(),
            merged: merged.collect(),
            left: report.left.iter().map(LeftAlone::from).collect(),
        }
    }
}

pub(crate) fn run(context: &Context, arguments: &CompactArguments) -> Result<()> {
    let started = Instant::now();
    let mut options = CompactOptions {
        backup: arguments.backup.clone(),
        keep_newest: arguments.keep_newest,
        staging: arguments.staging.clone(),
        ..CompactOptions::default()
    };
    if arguments.dry_run {
        let plan = context.wait(async {
            let collection = places::open(&arguments.collection, &arguments.keys).await?;
            Ok(plan_compaction(&collection, &options).await?)
        })?;
        return tell_plan(context, &plan);
    }
    let bar = Bar::new(context, "compacting");
    options.progress = Some(bar.progress());
    let report = context.wait(async {
        let collection = places::open(&arguments.collection, &arguments.keys).await?;
        Ok(compact(&collection, &options).await?)
    })?;
    bar.clear();
    let compacted = Compacted::from(&report);
    tell_layers(context, &compacted)?;
    let (bytes, elapsed) = (report.stored_bytes(), started.elapsed());
    let sentence = || match report.merged.len() {
        0 => nothing(&compacted),
        made => format!(
            "merged {} of {} into {}, {} in {:.2} s, {}",
            plural(parts(&compacted), "incremental"),
            compacted.backup,
            plural(made as u64, "layer"),
            human_bytes(bytes),
            elapsed.as_secs_f64(),
            human_rate(bytes, elapsed),
        ),
    };
    context.done("collection compact", sentence, &compacted, bytes, started)
}

fn tell_plan(context: &Context, plan: &CompactionPlan) -> Result<()> {
    let planned = Compacted::from(plan);
    if context.format == OutputFormat::Json {
        return context.document(&planned);
    }
    tell_layers(context, &planned)?;
    context.line(&match planned.merged.len() {
        0 => nothing(&planned),
        count => format!(
            "would merge {} of {} into {}, reading {}; nothing was written",
            plural(parts(&planned), "incremental"),
            planned.backup,
            plural(count as u64, "layer"),
            human_bytes(plan.stored_bytes()),
        ),
    })
}

/// The layers that are made, and why others are left.
fn tell_layers(context: &Context, compacted: &Compacted) -> Result<()> {
    if context.format == OutputFormat::Json {
        return Ok(());
    }
    if !compacted.merged.is_empty() {
        context.list("merged", compacted.merged.iter().map(Ok))?;
    }
    for left in &compacted.left {
        context.line(&format!("{} stays as it is: {}", left.layer, left.reason))?;
    }
    Ok(())
}

fn parts(compacted: &Compacted) -> u64 {
    let parts = compacted
        .merged
        .iter()
        .map(|merged| merged.parts.len() as u64);
    icecore_archive::total(parts)
}

fn nothing(compacted: &Compacted) -> String {
    format!(
        "nothing to merge: {} has {}, and it takes two that can be merged",
        compacted.backup,
        plural(compacted.left.len() as u64, "incremental"),
    )
}
