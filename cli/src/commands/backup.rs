//! `backup`: a full backup, or with `--onto` an incremental.

use std::num::NonZeroU32;
use std::time::Instant;

use clap::{Args, ValueEnum};
use icecore_archive::{
    BackupSelector, Collection, CollectionPlaces, CollectionUri, LayerKind, StoreOptions,
};
use icecore_backup::jobs::BackupSpec;
use icecore_backup::{
    BackupOptions, BackupPlan, BackupReport, KeyspaceReport, Method, Mode, OnGcGap,
};
use icecore_mvcc::{NamePattern, Timestamp};
use serde::Serialize;

use super::jobs;
use crate::arguments::{OutputFormat, Time};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::keys::KeyArguments;
use crate::output::{
    Bar, Record, human_bytes, human_count, human_rate, optional_time, or_dash, plural, since_epoch,
    time,
};
use crate::places::places;
use crate::uri::UriParser;

#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// The collection: file:///folder, s3://bucket/prefix and so on; it is made where there is none.
    /// Several URIs make one collection in several places, by locality
    #[arg(long, value_name = "URI", value_parser = UriParser, required = true)]
    into: Vec<CollectionUri>,
    #[command(flatten)]
    keys: KeyArguments,
    /// Extend the backup there, LATEST or a path, by an incremental
    #[arg(long, value_name = "LATEST|SUBDIR")]
    onto: Option<BackupSelector>,
    /// Back up the state of this time instead of now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    as_of: Option<Time>,
    /// Only these keyspaces: a name, bank.* or *; may be given several times
    #[arg(long = "keyspace", value_name = "PATTERN")]
    keyspaces: Vec<NamePattern>,
    /// Keep every version, so that any time in the layer can be restored
    #[arg(long)]
    revision_history: bool,
    /// Where garbage collection took what an incremental needs of a keyspace: fail, or take that keyspace
    /// from zero
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnGap::Error)]
    on_gc_gap: OnGap,
    /// Which keyspaces' fingerprints go into the manifest: auto those that cost no scan of their own
    #[arg(long, value_enum, default_value_t)]
    fingerprint: Fingerprints,
    /// Read every file back and compare its checksums before the backup counts as taken
    #[arg(long)]
    recheck: bool,
    /// Read rows, or copy the live files of the database, which takes a full backup as of now with revision
    /// history
    #[arg(long, value_enum, default_value_t = ModeArgument::Auto)]
    mode: ModeArgument,
    /// Tell what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Have `icecore serve-jobs` do it as a job, and print the job's id
    #[arg(long, conflicts_with = "dry_run")]
    detached: bool,
    /// With --detached, the most requests to the store begun in a second
    #[arg(long, value_name = "N", requires = "detached")]
    max_requests_per_second: Option<NonZeroU32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum OnGap {
    /// Fail, and write nothing
    Error,
    /// Take the keyspace from zero
    Reexport,
}

impl From<OnGap> for OnGcGap {
    fn from(given: OnGap) -> Self {
        match given {
            OnGap::Error => Self::Error,
            OnGap::Reexport => Self::Reexport,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Fingerprints {
    Never,
    #[default]
    Auto,
    Always,
}

impl From<Fingerprints> for icecore_backup::Fingerprints {
    fn from(fingerprints: Fingerprints) -> Self {
        match fingerprints {
            Fingerprints::Never => Self::Never,
            Fingerprints::Auto => Self::Auto,
            Fingerprints::Always => Self::Always,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ModeArgument {
    /// Fast where it can be and is worth it
    Auto,
    /// Copy live files, or fail
    Fast,
    /// Read rows
    Logical,
}

impl From<ModeArgument> for Mode {
    fn from(argument: ModeArgument) -> Self {
        match argument {
            ModeArgument::Auto => Self::Auto,
            ModeArgument::Fast => Self::Fast,
            ModeArgument::Logical => Self::Logical,
        }
    }
}

pub(crate) fn run(context: &Context, arguments: &BackupArguments) -> Result<()> {
    match (arguments.dry_run, arguments.detached) {
        (true, _) => dry_run(context, arguments),
        (_, true) => jobs::detach(context, "backup", spec(arguments)?.to_json()?),
        _ => back_up(context, arguments),
    }
}

/// The backup as a job, whose row keeps the URI.
fn spec(arguments: &BackupArguments) -> Result<BackupSpec> {
    // All of them by name: one that a job does not know must not be dropped in silence.
    let BackupArguments {
        into,
        keys,
        onto,
        as_of,
        keyspaces,
        revision_history,
        on_gc_gap,
        fingerprint,
        recheck,
        mode,
        dry_run: _,
        detached: _,
        max_requests_per_second,
    } = arguments;
    if matches!(fingerprint, Fingerprints::Always) {
        let text = "a job makes no fingerprint that would cost a scan of its own; leave `--fingerprint always` or --detached out";
        return Err(Error::Usage(text.to_owned()));
    }
    let (passphrase_file, kms) = keys.places()?;
    Ok(BackupSpec {
        into: jobs::without_secrets(into)?,
        passphrase_file,
        kms,
        onto: onto.as_ref().map(ToString::to_string),
        as_of: as_of.as_ref().map(ToString::to_string),
        keyspaces: keyspaces.iter().map(ToString::to_string).collect(),
        revision_history: *revision_history,
        mode: (*mode).into(),
        reexport_on_gc_gap: matches!(on_gc_gap, OnGap::Reexport),
        no_fingerprints: matches!(fingerprint, Fingerprints::Never),
        recheck: *recheck,
        max_requests_per_second: *max_requests_per_second,
        ..BackupSpec::default()
    })
}

fn options(arguments: &BackupArguments, as_of: Option<Timestamp>) -> BackupOptions {
    BackupOptions {
        as_of,
        onto: arguments.onto.clone(),
        keyspaces: arguments.keyspaces.clone(),
        revision_history: arguments.revision_history,
        on_gc_gap: arguments.on_gc_gap.into(),
        fingerprints: arguments.fingerprint.into(),
        recheck: arguments.recheck,
        mode: arguments.mode.into(),
        ..BackupOptions::default()
    }
}

fn back_up(context: &Context, arguments: &BackupArguments) -> Result<()> {
    let started = Instant::now();
    let places = places(&arguments.into)?;
    let report = context.write(|engine| {
        let as_of = arguments.as_of.as_ref().map(|time| time.resolve(engine));
        let mut options = options(arguments, as_of.transpose()?);
        let bar = Bar::new(context, "backing up");
        options.progress = Some(bar.progress());
        context.wait(async {
            let store = arguments.keys.store_options()?;
            let collection = Collection::create_or_open_places(&places, store).await?;
            Ok(icecore_backup::backup(engine, &collection, &options).await?)
        })
    })?;
    if context.format == OutputFormat::Table {
        let rows = report.keyspaces.iter().map(|k| Ok(Stored::from(k)));
        context.list("keyspaces", rows)?;
    }
    let elapsed = started.elapsed();
    let sentence = || {
        let (fast, at_most) = match report.method {
            Method::Fast => ("fast ", "at most "),
            Method::Logical => ("", ""),
        };
        format!(
            "{fast}{} backup {} as of {}: {at_most}{}, {} in {}{}, in {:.2} s, {}",
            kind_text(report.kind),
            report.layer,
            report.end,
            plural(report.entries(), "version"),
            human_bytes(report.stored_bytes()),
            plural(report.files(), "file"),
            reused_text(&report),
            elapsed.as_secs_f64(),
            human_rate(report.stored_bytes(), elapsed),
        )
    };
    let done = Done::from(&report);
    context.done("backup", sentence, &done, report.stored_bytes(), started)
}

/// A number of versions; of copied files it is a bound, since some hide versions of others.
pub(super) fn at_most(versions: u64, copied: bool) -> String {
    let count = human_count(versions);
    if copied { format!("≤{count}") } else { count }
}

/// How much of a fast full was there already.
fn reused_text(report: &BackupReport) -> String {
    match (report.method, report.reused_files()) {
        (Method::Logical, _) | (_, 0) => String::new(),
        (Method::Fast, files) => format!(
            " ({} in {files} of them were there already)",
            human_bytes(report.reused_bytes())
        ),
    }
}

pub(super) fn kind_text(kind: LayerKind) -> &'static str {
    match kind {
        LayerKind::Full => "full",
        LayerKind::Incremental => "incremental",
    }
}

/// What a backup did.
#[derive(Serialize)]
struct Done<'a> {
    backup: String,
    kind: LayerKind,
    #[serde(serialize_with = "optional_time")]
    start: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    end: Timestamp,
    revision_history: bool,
    method: Method,
    method_reason: &'a str,
    manifest_hash: String,
    files: u64,
    reused_files: u64,
    reused_bytes: u64,
    entries: u64,
    logical_bytes: u64,
    keyspaces: Vec<Stored<'a>>,
}

impl<'a> From<&'a BackupReport> for Done<'a> {
    fn from(report: &'a BackupReport) -> Self {
        Self {
            backup: report.layer.to_string(),
            kind: report.kind,
            start: since_epoch(report.start),
            end: report.end,
            revision_history: report.revision_history,
            method: report.method,
            method_reason: &report.method_reason,
            manifest_hash: report.manifest_hash.to_string(),
            files: report.files(),
            reused_files: report.reused_files(),
            reused_bytes: report.reused_bytes(),
            entries: report.entries(),
            logical_bytes: report.logical_bytes(),
            keyspaces: report.keyspaces.iter().map(Stored::from).collect(),
        }
    }
}

/// What was stored of a keyspace.
#[derive(Serialize)]
#[serde(transparent)]
struct Stored<'a>(&'a KeyspaceReport);

impl<'a> From<&'a KeyspaceReport> for Stored<'a> {
    fn from(report: &'a KeyspaceReport) -> Self {
        Self(report)
    }
}

impl Record for Stored<'_> {
    const HEADER: &'static [&'static str] = &[
        "keyspace", "whole", "versions", "deletes", "files", "bytes", "how",
    ];

    fn cells(&self) -> Vec<String> {
        let report = self.0;
        let copied = report.copied_files > 0;
        vec![
            report.name.clone(),
            if report.introduced { "yes" } else { "no" }.to_owned(),
            at_most(report.entries, copied),
            or_dash((!copied).then(|| human_count(report.tombstones))),
            human_count(report.files),
            human_bytes(report.stored_bytes),
            report.how.clone(),
        ]
    }
}

fn dry_run(context: &Context, arguments: &BackupArguments) -> Result<()> {
    let places = places(&arguments.into)?;
    let engine = context.open()?;
    let as_of = arguments.as_of.as_ref().map(|time| time.resolve(&engine));
    let options = options(arguments, as_of.transpose()?);
    let plan = context.wait(async {
        let collection = open_or_pretend(&places, arguments.keys.store_options()?).await?;
        Ok(icecore_backup::dry_run(&engine, &collection, &options).await?)
    })?;
    match context.format {
        OutputFormat::Json => context.document(&Plan::from(&plan)),
        OutputFormat::Table => {
            let keyspaces = Plan::from(&plan).keyspaces;
            context.list("keyspaces", keyspaces.into_iter().map(Ok))?;
            let onto = match &plan.onto {
                Some(full) => format!(" onto {full}"),
                None => String::new(),
            };
            context.line(&format!(
                "method: {}, since {}",
                plan.method, plan.method_reason
            ))?;
            context.line(&format!(
                "would take {} backup{onto} as of {}; nothing was written",
                match plan.kind {
                    LayerKind::Full => "a full",
                    LayerKind::Incremental => "an incremental",
                },
                plan.end
            ))
        }
    }
}

/// The collection, or an empty one in memory where there is none: what is only planned may not
/// make one, nor a place of a locality.
async fn open_or_pretend(places: &CollectionPlaces, options: StoreOptions) -> Result<Collection> {
    match Collection::open_places(&places.without_localities(), options).await {
        Err(icecore_archive::Error::NoCollection { .. }) => {
            let nowhere: CollectionUri = "memory://dry-run".parse()?;
            Ok(Collection::create_or_open(&nowhere, StoreOptions::default()).await?)
        }
        opened => Ok(opened?),
    }
}

/// What a backup would do.
#[derive(Serialize)]
struct Plan {
    dry_run: bool,
    kind: LayerKind,
    onto: Option<String>,
    #[serde(serialize_with = "optional_time")]
    start: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    end: Timestamp,
    revision_history: bool,
    whole_engine: bool,
    method: Method,
    method_reason: String,
    keyspaces: Vec<Planned>,
}

impl From<&BackupPlan> for Plan {
    fn from(plan: &BackupPlan) -> Self {
        let keyspaces = plan.keyspaces.iter().map(|keyspace| Planned {
            name: keyspace.descriptor.name.clone(),
            introduced: keyspace.introduced,
            excluded: keyspace.excluded,
            after: since_epoch(keyspace.after),
            gc_gap: keyspace.gc_gap,
            estimated_bytes: keyspace.introduced.then_some(keyspace.estimated_bytes),
        });
        Self {
            dry_run: true,
            kind: plan.kind,
            onto: plan.onto.clone(),
            start: since_epoch(plan.start),
            end: plan.end,
            revision_history: plan.revision_history,
            whole_engine: plan.whole_engine,
            method: plan.method,
            method_reason: plan.method_reason.clone(),
            keyspaces: keyspaces.collect(),
        }
    }
}

/// What would be stored of a keyspace.
#[derive(Serialize)]
struct Planned {
    name: String,
    introduced: bool,
    excluded: bool,
    #[serde(serialize_with = "optional_time")]
    after: Option<Timestamp>,
    /// The threshold for which it is read whole.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "optional_time"
    )]
    gc_gap: Option<Timestamp>,
    /// Known for what is read whole only.
    estimated_bytes: Option<u64>,
}

impl Record for Planned {
    const HEADER: &'static [&'static str] = &["keyspace", "what", "after", "bytes at most"];

    fn cells(&self) -> Vec<String> {
        let what = match (self.excluded, self.introduced) {
            (true, _) => "excluded",
            (false, true) if self.gc_gap.is_some() => "whole: GC gap",
            (false, true) => "whole",
            (false, false) => "changes",
        };
        vec![
            self.name.clone(),
            what.to_owned(),
            or_dash(self.after),
            or_dash(self.estimated_bytes.map(human_bytes)),
        ]
    }
}
