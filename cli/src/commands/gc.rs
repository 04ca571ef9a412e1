//! `gc`: collects garbage, and tells where that stands.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use icecore_engine::WriteRefusal;
use icecore_gc::policy::HeldBy;
use icecore_gc::{GcOptions, KeyspaceGcReport, KeyspaceGcStatus, Release, collect, status};
use icecore_mvcc::{NamePattern, Timestamp, duration_text, format_duration, parse_duration};
use serde::Serialize;

use super::protect::Listed;
use crate::arguments::OutputFormat;
use crate::context::Context;
use crate::error::Result;
use crate::output::{
    Record, human_bytes, human_count, optional_time, or_dash, plural, seconds, since_epoch, time,
};

#[derive(Debug, Subcommand)]
pub(crate) enum GcCommand {
    /// Raise the thresholds as far as TTLs, protected timestamps and readers allow, and remove
    /// what falls behind them
    Run(RunArguments),
    /// Show the thresholds and what holds them back
    Status,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Use this TTL instead of the keyspaces' own
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Only these keyspaces: a name, bank.* or *; may be given several times
    #[arg(long = "keyspace", value_name = "PATTERN")]
    keyspaces: Vec<NamePattern>,
    /// Then rewrite all files, so that the space comes back now
    #[arg(long)]
    compact: bool,
}

pub(crate) fn run(context: &Context, command: GcCommand) -> Result<()> {
    match command {
        GcCommand::Run(arguments) => collect_now(context, &arguments),
        GcCommand::Status => show(context),
    }
}

/// What holds a threshold back.
#[derive(Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
enum Held {
    Ttl,
    Record {
        id: String,
        owner: String,
        #[serde(serialize_with = "time")]
        timestamp: Timestamp,
    },
    Reader {
        #[serde(serialize_with = "time")]
        timestamp: Timestamp,
    },
    NewestCommit,
    Keyspace {
        name: String,
    },
}

impl From<&HeldBy> for Held {
    fn from(held: &HeldBy) -> Self {
        match held {
            HeldBy::Ttl => Self::Ttl,
            HeldBy::Record {
                id,
                owner,
                timestamp,
            } => Self::Record {
                id: id.to_string(),
                owner: owner.clone(),
                timestamp: *timestamp,
            },
            HeldBy::Reader { timestamp } => Self::Reader {
                timestamp: *timestamp,
            },
            HeldBy::NewestCommit => Self::NewestCommit,
            HeldBy::Keyspace { name } => Self::Keyspace { name: name.clone() },
        }
    }
}

/// What a round did.
#[derive(Serialize)]
struct Collected {
    removed_versions: u64,
    purged: Vec<String>,
    released: Vec<Released>,
    #[serde(serialize_with = "optional_time")]
    index_low_water: Option<Timestamp>,
    keyspaces: Vec<Round>,
}

/// What a round did to a keyspace.
#[derive(Serialize)]
struct Round {
    name: String,
    #[serde(with = "duration_text")]
    ttl: Duration,
    #[serde(serialize_with = "optional_time")]
    threshold_before: Option<Timestamp>,
    #[serde(serialize_with = "optional_time")]
    threshold: Option<Timestamp>,
    held_by: Held,
    #[serde(skip)]
    held_by_text: String,
    swept_keys: u64,
    removed_versions: u64,
    bytes_before: u64,
    bytes_after: u64,
}

impl From<&KeyspaceGcReport> for Round {
    fn from(report: &KeyspaceGcReport) -> Self {
        Self {
            name: report.name.clone(),
            ttl: report.ttl,
            threshold_before: since_epoch(report.threshold_before),
            threshold: since_epoch(report.threshold_after),
            held_by: Held::from(&report.held_by),
            held_by_text: report.held_by.to_string(),
            swept_keys: report.swept_keys,
            removed_versions: report.removed_versions,
            bytes_before: report.bytes_before,
            bytes_after: report.bytes_after,
        }
    }
}

impl Record for &Round {
    const HEADER: &'static [&'static str] = &[
        "keyspace",
        "ttl",
        "threshold",
        "held by",
        "swept keys",
        "removed",
        "before",
        "after",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            format_duration(self.ttl),
            or_dash(self.threshold),
            self.held_by_text.clone(),
            human_count(self.swept_keys),
            human_count(self.removed_versions),
            human_bytes(self.bytes_before),
            human_bytes(self.bytes_after),
        ]
    }
}

fn collect_now(context: &Context, arguments: &RunArguments) -> Result<()> {
    let started = Instant::now();
    let options = GcOptions {
        ttl_override: arguments.ttl,
        keyspaces: arguments.keyspaces.clone(),
        compact: arguments.compact,
        ..GcOptions::default()
    };
    let report = context.write(|engine| Ok(collect(engine, &options)?))?;
    let collected = Collected {
        removed_versions: report.removed_versions(),
        purged: report.purged.clone(),
        released: report.released.iter().map(Released::from).collect(),
        index_low_water: since_epoch(report.index_low_water),
        keyspaces: report.keyspaces.iter().map(Round::from).collect(),
    };
    if context.format == OutputFormat::Table {
        context.list("keyspaces", collected.keyspaces.iter().map(Ok))?;
        if !collected.released.is_empty() {
            context.line("")?;
            context.list("released", collected.released.iter().map(Ok))?;
            context.line("")?;
        }
    }
    let freed = report.bytes_before().saturating_sub(report.bytes_after());
    let elapsed = started.elapsed();
    let sentence = || {
        let purged = match report.purged.is_empty() {
            true => String::new(),
            false => format!(", purged {}", report.purged.join(", ")),
        };
        format!(
            "removed {}{purged}, freed {} in {:.2} s",
            plural(report.removed_versions(), "version"),
            human_bytes(freed),
            elapsed.as_secs_f64(),
        )
    };
    context.done("gc run", sentence, &collected, freed, started)
}

/// Where it stands.
#[derive(Serialize)]
struct Status {
    #[serde(serialize_with = "time")]
    now: Timestamp,
    keyspaces: Vec<Standing>,
    records: Vec<Listed>,
    releases: Vec<Released>,
    write_refusals: Vec<Refused>,
}

/// A record that was released without anybody asking.
#[derive(Serialize)]
struct Released {
    id: String,
    #[serde(serialize_with = "time")]
    released: Timestamp,
    #[serde(serialize_with = "time")]
    timestamp: Timestamp,
    owner: String,
    reason: String,
}

impl From<&Release> for Released {
    fn from(release: &Release) -> Self {
        Self {
            id: release.id.to_string(),
            released: release.released,
            timestamp: release.timestamp,
            owner: release.owner.clone(),
            reason: release.reason.clone(),
        }
    }
}

impl Record for &Released {
    const HEADER: &'static [&'static str] = &["released", "timestamp", "owner", "reason"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.released.to_string(),
            self.timestamp.to_string(),
            self.owner.clone(),
            self.reason.clone(),
        ]
    }
}

/// Why writes are refused.
#[derive(Serialize)]
struct Refused {
    record: String,
    owner: String,
    reason: String,
    #[serde(serialize_with = "time")]
    since: Timestamp,
}

impl From<&WriteRefusal> for Refused {
    fn from(refusal: &WriteRefusal) -> Self {
        Self {
            record: refusal.record.clone(),
            owner: refusal.owner.clone(),
            reason: refusal.reason.clone(),
            since: refusal.since,
        }
    }
}

impl Record for &Refused {
    const HEADER: &'static [&'static str] = &["writes refused since", "record", "owner", "reason"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.since.to_string(),
            self.record.clone(),
            self.owner.clone(),
            self.reason.clone(),
        ]
    }
}

/// Where it stands in a keyspace.
#[derive(Serialize)]
struct Standing {
    name: String,
    #[serde(serialize_with = "optional_time")]
    dropped: Option<Timestamp>,
    #[serde(with = "duration_text")]
    ttl: Duration,
    #[serde(serialize_with = "optional_time")]
    threshold: Option<Timestamp>,
    age_seconds: Option<f64>,
    held_by: Held,
    #[serde(skip)]
    held_by_text: String,
    estimated_versions: u64,
    bytes: u64,
}

impl From<&KeyspaceGcStatus> for Standing {
    fn from(status: &KeyspaceGcStatus) -> Self {
        Self {
            name: status.name.clone(),
            dropped: status.dropped,
            ttl: status.ttl,
            threshold: since_epoch(status.threshold),
            age_seconds: status.age.map(seconds),
            held_by: Held::from(&status.held_by),
            held_by_text: status.held_by.to_string(),
            estimated_versions: status.estimated_versions,
            bytes: status.bytes,
        }
    }
}

impl Record for &Standing {
    const HEADER: &'static [&'static str] = &[
        "keyspace",
        "ttl",
        "threshold",
        "held by",
        "versions",
        "bytes",
    ];

    fn cells(&self) -> Vec<String> {
        let dropped = if self.dropped.is_some() {
            " (dropped)"
        } else {
            ""
        };
        vec![
            format!("{}{dropped}", self.name),
            format_duration(self.ttl),
            or_dash(self.threshold),
            self.held_by_text.clone(),
            format!("~{}", human_count(self.estimated_versions)),
            human_bytes(self.bytes),
        ]
    }
}

fn show(context: &Context) -> Result<()> {
    let engine = context.open()?;
    let status = status(&engine)?;
    let standing = Status {
        now: status.now,
        keyspaces: status.keyspaces.iter().map(Standing::from).collect(),
        records: status.records.iter().map(Listed::from).collect(),
        releases: status.releases.iter().map(Released::from).collect(),
        write_refusals: status.write_refusals.iter().map(Refused::from).collect(),
    };
    match context.format {
        OutputFormat::Json => context.document(&standing),
        OutputFormat::Table => {
            context.list("keyspaces", standing.keyspaces.iter().map(Ok))?;
            if !standing.records.is_empty() {
                context.line("")?;
                context.list("records", standing.records.iter().map(Ok))?;
            }
            if !standing.releases.is_empty() {
                context.line("")?;
                context.list("releases", standing.releases.iter().map(Ok))?;
            }
            if !standing.write_refusals.is_empty() {
                context.line("")?;
                context.list("write_refusals", standing.write_refusals.iter().map(Ok))?;
            }
            Ok(())
        }
    }
}
