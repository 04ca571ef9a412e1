//! `restore`: brings keyspaces back from a collection, into a database that is made where there
//! is none.

mod plan;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Instant;

use clap::{Args, ValueEnum};
use icecore_archive::{BackupSelector, CollectionUri, ContentHash};
use icecore_backup::jobs::{JobId, JobTable};
use icecore_engine::Engine;
use icecore_mvcc::{Clock, Fingerprint, KeyspaceName, NamePattern, SystemClock, Timestamp};
use icecore_restore::{Requests, RestoreOptions, RestoreReport};
use serde::Serialize;

use self::plan::Plan;
use super::jobs;
use crate::arguments::{OutputFormat, Time};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::jobs::restore::{RestoreSpec, holder, job_of, restores_of};
use crate::keys::KeyArguments;
use crate::output::{
    Bar, Record, human_bytes, human_count, human_rate, optional_time, or_dash, plural, since_epoch,
    time,
};
use crate::places;
use crate::uri::UriParser;

#[derive(Debug, Args)]
pub(crate) struct RestoreArguments {
    /// The collection; several URIs where it lies in several places
    #[arg(long, value_name = "URI", value_parser = UriParser, required_unless_present = "abandon")]
    from: Vec<CollectionUri>,
    #[command(flatten)]
    keys: KeyArguments,
    /// Which backup with its incrementals
    #[arg(long, value_name = "LATEST|SUBDIR", default_value = "LATEST")]
    backup: BackupSelector,
    /// Restore the state of this time [default: the end of the backup]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    as_of: Option<Time>,
    /// Only these keyspaces: a name, bank.* or *; may be given several times
    #[arg(long = "keyspace", value_name = "PATTERN")]
    keyspaces: Vec<NamePattern>,
    /// Give a keyspace another name; may be given several times
    #[arg(long = "rename", value_name = "OLD=NEW", value_parser = rename)]
    renames: Vec<(String, String)>,
    /// Put all restored keyspaces into this database, keeping their last names
    #[arg(long, value_name = "DATABASE", value_parser = KeyspaceName::parse)]
    into_database: Option<KeyspaceName>,
    /// Bring back all versions that the backup has, or only the newest
    #[arg(long, value_enum, default_value_t)]
    history: History,
    /// Bring back the keyspaces with their settings, and none of their rows
    #[arg(long)]
    schema_only: bool,
    /// Refuse a backup whose newest manifest has another hash
    #[arg(long, value_name = "HASH")]
    expect_head: Option<ContentHash>,
    /// Read what came back, print its fingerprints, and refuse it if the manifest has others
    #[arg(long)]
    check_fingerprints: bool,
    /// Tell what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Have `icecore serve-jobs` do it as a job, and print the job's id
    #[arg(long, conflicts_with_all = ["dry_run", "abandon"])]
    detached: bool,
    /// With --detached, the most requests to the store begun in a second
    #[arg(long, value_name = "N", requires = "detached")]
    max_requests_per_second: Option<NonZeroU32>,
    /// Give up the restores of this database that were interrupted, and free what they brought
    #[arg(long, conflicts_with_all = [
        "from", "passphrase_file", "kms", "backup", "as_of", "keyspaces", "renames", "into_database", "history", "schema_only",
        "expect_head", "check_fingerprints", "dry_run",
    ])]
    abandon: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum History {
    #[default]
    All,
    None,
}

impl From<History> for icecore_restore::History {
    fn from(history: History) -> Self {
        match history {
            History::All => Self::All,
            History::None => Self::None,
        }
    }
}

fn rename(text: &str) -> Result<(String, String), String> {
    let (old, new) = text
        .split_once('=')
        .ok_or("write OLD=NEW, for example bank.customers=copy.customers")?;
    for name in [old, new] {
        KeyspaceName::parse(name).map_err(|e| e.to_string())?;
    }
    Ok((old.to_owned(), new.to_owned()))
}

pub(crate) fn run(context: &Context, arguments: &RestoreArguments) -> Result<()> {
    match arguments.from.as_slice() {
        [] => abandon(context),
        from if arguments.dry_run => dry_run(context, from, arguments),
        from if arguments.detached => detach(context, from, arguments),
        from => restore(context, from, arguments),
    }
}

/// Has the restore done as a job.
fn detach(context: &Context, from: &[CollectionUri], arguments: &RestoreArguments) -> Result<()> {
    // All of them by name: one that a job does not know must not be dropped in silence.
    let RestoreArguments {
        from: _,
        keys,
        backup,
        as_of,
        keyspaces,
        renames,
        into_database,
        history,
        schema_only,
        expect_head,
        check_fingerprints,
        dry_run: _,
        detached: _,
        max_requests_per_second,
        abandon: _,
    } = arguments;
    let (passphrase_file, kms) = keys.places()?;
    let spec = RestoreSpec {
        from: jobs::without_secrets(from)?,
        passphrase_file,
        kms,
        backup: backup.to_string(),
        as_of: as_of.as_ref().map(ToString::to_string),
        keyspaces: keyspaces.iter().map(ToString::to_string).collect(),
        renames: BTreeMap::from_iter(renames.clone()),
        into_database: into_database.as_ref().map(ToString::to_string),
        no_history: matches!(history, History::None),
        schema_only: *schema_only,
        expect_head: *expect_head,
        check_fingerprints: *check_fingerprints,
        max_requests_per_second: *max_requests_per_second,
    };
    let spec = serde_json::to_value(spec).map_err(|e| Error::Usage(e.to_string()))?;
    jobs::detach(context, "restore", spec)
}

/// The options; relative times count back from the database's time, or from the wall clock where
/// there is none yet.
fn options(arguments: &RestoreArguments, engine: Option<&Engine>) -> Result<RestoreOptions> {
    let now = engine.map_or_else(|| SystemClock.now(), Engine::now);
    let as_of = arguments.as_of.as_ref().map(|time| time.resolve_at(now));
    Ok(RestoreOptions {
        from: arguments.backup.clone(),
        as_of: as_of.transpose()?,
        keyspaces: arguments.keyspaces.clone(),
        renames: BTreeMap::from_iter(arguments.renames.clone()),
        into_database: arguments.into_database.as_ref().map(ToString::to_string),
        history: arguments.history.into(),
        schema_only: arguments.schema_only,
        expect_head: arguments.expect_head,
        check_fingerprints: arguments.check_fingerprints,
        ..RestoreOptions::default()
    })
}

/// What giving restores up did.
#[derive(Serialize)]
struct Abandoned {
    keyspaces: Vec<String>,
    /// Jobs whose restores stay.
    jobs: Vec<JobId>,
}

fn abandon(context: &Context) -> Result<()> {
    let started = Instant::now();
    let abandoned = context.write(|engine| {
        let (unfinished, table) = (engine.restoring(), JobTable::new(engine));
        let (mut keyspaces, mut jobs) = (Vec::new(), Vec::new());
        for id in restores_of(engine) {
            if let Some(job) = job_of(&id)
                && holder(&table, job)?.is_some()
            {
                jobs.push(job);
                continue;
            }
            engine.abandon_restore(&id)?;
            let of_it = unfinished.iter().filter(|k| k.restore_id() == id);
            keyspaces.extend(of_it.map(|k| k.name().to_owned()));
        }
        Ok(Abandoned { keyspaces, jobs })
    })?;
    let sentence = || {
        let mut text = match abandoned.keyspaces.as_slice() {
            [] => "no restore of this database is unfinished".to_owned(),
            names => format!("gave up the unfinished restore of {}", names.join(", ")),
        };
        for job in &abandoned.jobs {
            text.push_str(&format!(
                "; job {job} keeps its own until `jobs cancel {job}`"
            ));
        }
        text
    };
    context.done("restore", sentence, &abandoned, 0, started)
}

fn restore(context: &Context, from: &[CollectionUri], arguments: &RestoreArguments) -> Result<()> {
    let started = Instant::now();
    let engine = context.open_if_there()?;
    let mut options = options(arguments, engine.as_ref())?;
    let is_new = engine.is_none();
    drop(engine);
    // Before a database is made: what cannot be restored should not leave an empty one behind.
    let (collection, plan) = context.wait(async {
        let collection = places::open(from, &arguments.keys).await?;
        let plan = icecore_restore::plan_restore(&collection, &options).await?;
        Ok((collection, plan))
    })?;
    if is_new {
        icecore_restore::check_space(&plan, context.db()?)?;
    }
    let report = context.create_or_write(|engine| {
        let bar = Bar::new(context, "restoring");
        options.progress = Some(bar.progress());
        let restoring = icecore_restore::restore_planned(engine, &collection, &plan, &options);
        context.wait(async { Ok(restoring.await?) })
    })?;
    let done = Done::from(&report);
    if context.format == OutputFormat::Table {
        context.list("keyspaces", done.keyspaces.iter().map(Ok))?;
        done.keyspaces
            .iter()
            .filter_map(Restored::proof)
            .try_for_each(|line| context.line(&line))?;
    }
    let elapsed = started.elapsed();
    let sentence = || {
        format!(
            "restored {}{} as of {} from {} ({}, {}) in {:.2} s, {}",
            plural(report.keyspaces.len() as u64, "keyspace"),
            without_rows(arguments),
            report.target,
            report.full,
            plural(report.layers as u64, "layer"),
            human_bytes(report.stored_bytes()),
            elapsed.as_secs_f64(),
            human_rate(report.stored_bytes(), elapsed),
        )
    };
    context.done("restore", sentence, &done, report.stored_bytes(), started)
}

/// What a sentence adds to the keyspaces.
fn without_rows(arguments: &RestoreArguments) -> &'static str {
    match arguments.schema_only {
        true => " without rows",
        false => "",
    }
}

fn dry_run(context: &Context, from: &[CollectionUri], arguments: &RestoreArguments) -> Result<()> {
    let engine = context.open_if_there()?;
    let options = options(arguments, engine.as_ref())?;
    let (opening, told) = context.wait(async {
        let collection = places::open(from, &arguments.keys).await?;
        let opening = Requests::from(collection.requests());
        let told = icecore_restore::dry_run(engine.as_ref(), &collection, &options).await?;
        Ok((opening, told))
    })?;
    if engine.is_none() {
        icecore_restore::check_space(&told.plan, context.db()?)?;
    }
    let plan = Plan::new(&told, opening + told.requests);
    match context.format {
        OutputFormat::Json => context.document(&plan),
        OutputFormat::Table => {
            context.list("keyspaces", plan.keyspaces.iter().map(Ok))?;
            context.list("layers", plan.layers.iter().map(Ok))?;
            if !plan.rewrites.is_empty() {
                context.list("rewrites", plan.rewrites.iter().map(Ok))?;
            }
            context.line(&plan.sentence(without_rows(arguments)))
        }
    }
}

/// What a restore did.
#[derive(Serialize)]
struct Done {
    backup: String,
    layers: usize,
    #[serde(serialize_with = "time")]
    target: Timestamp,
    entries: u64,
    keyspaces: Vec<Restored>,
    /// Labels of schedules that came along, and rest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    schedules: Vec<String>,
}

impl From<&RestoreReport> for Done {
    fn from(report: &RestoreReport) -> Self {
        let keyspaces = report.keyspaces.iter().map(|keyspace| Restored {
            name: keyspace.name.clone(),
            source: keyspace.source.clone(),
            threshold: since_epoch(keyspace.threshold),
            files: keyspace.files,
            rewritten_files: keyspace.rewritten_files,
            entries: keyspace.entries,
            stored_bytes: keyspace.stored_bytes,
            fingerprint: keyspace.fingerprint,
            proven: keyspace.fingerprint.map(|_| keyspace.proven),
        });
        Self {
            backup: report.full.to_string(),
            layers: report.layers,
            target: report.target,
            entries: report.entries(),
            keyspaces: keyspaces.collect(),
            schedules: report.schedules.clone(),
        }
    }
}

/// A keyspace that comes back.
#[derive(Serialize)]
struct Restored {
    name: String,
    /// Its name in the backup.
    source: String,
    #[serde(serialize_with = "optional_time")]
    threshold: Option<Timestamp>,
    files: u64,
    rewritten_files: u64,
    /// Versions in the files, those after the target included.
    entries: u64,
    stored_bytes: u64,
    /// Of what came back; of a plan, what the manifest says.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<Fingerprint>,
    /// Whether a manifest has the same fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    proven: Option<bool>,
}

impl Restored {
    /// What its fingerprint says of it.
    fn proof(&self) -> Option<String> {
        let says = match self.proven? {
            true => "as the manifest says",
            false => "not compared: no manifest tells one for this time",
        };
        let print = self.fingerprint?;
        Some(format!("{} has fingerprint {print}, {says}", self.name))
    }
}

impl Record for &Restored {
    const HEADER: &'static [&'static str] = &[
        "keyspace",
        "from",
        "readable since",
        "versions",
        "files",
        "rewritten",
        "bytes",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.source.clone(),
            or_dash(self.threshold),
            human_count(self.entries),
            human_count(self.files),
            human_count(self.rewritten_files),
            human_bytes(self.stored_bytes),
        ]
    }
}
