//! `protect`: protected timestamps, which hold garbage collection back.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use icecore_gc::{
    Holder, ProtectRequest, ProtectedTimestamps, Purpose, RecordId, RecordStatus, Target, status,
};
use icecore_mvcc::{NamePattern, Timestamp, format_duration};
use serde::Serialize;

use crate::arguments::Time;
use crate::context::Context;
use crate::error::Result;
use crate::output::{Record, seconds, time};

#[derive(Debug, Subcommand)]
pub(crate) enum ProtectCommand {
    /// Keep every read at and after a time whole, until the record is released
    Add(AddArguments),
    /// List the records, the oldest time first
    List,
    /// Release a record
    Release(ReleaseArguments),
}

#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    /// The time to protect [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<Time>,
    /// Only in these keyspaces: a name, bank.* or *; may be given several times
    #[arg(long = "keyspace", value_name = "PATTERN")]
    keyspaces: Vec<NamePattern>,
    /// Who needs it, for the operator who finds it later
    #[arg(long, value_name = "TEXT", default_value = "icecore protect add")]
    owner: String,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseArguments {
    /// The record's id, as `protect list` shows it
    id: RecordId,
}

pub(crate) fn run(context: &Context, command: ProtectCommand) -> Result<()> {
    match command {
        ProtectCommand::Add(arguments) => add(context, &arguments),
        ProtectCommand::List => list(context),
        ProtectCommand::Release(arguments) => release(context, &arguments),
    }
}

/// A record as JSON tells it.
#[derive(Serialize)]
struct Shown {
    id: String,
    #[serde(serialize_with = "time")]
    timestamp: Timestamp,
    target: String,
    owner: String,
    #[serde(serialize_with = "time")]
    created: Timestamp,
    purpose: Purpose,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<Holder>,
}

impl From<&icecore_gc::Record> for Shown {
    fn from(record: &icecore_gc::Record) -> Self {
        Self {
            id: record.id.to_string(),
            timestamp: record.timestamp,
            target: record.target.to_string(),
            owner: record.owner.clone(),
            created: record.created,
            purpose: record.purpose,
            holder: record.holder.clone(),
        }
    }
}

fn add(context: &Context, arguments: &AddArguments) -> Result<()> {
    let started = Instant::now();
    let record = context.write(|engine| {
        let timestamp = match &arguments.at {
            Some(time) => time.resolve(engine)?,
            None => engine.now(),
        };
        let target = match arguments.keyspaces.is_empty() {
            true => Target::All,
            false => Target::Keyspaces(arguments.keyspaces.clone()),
        };
        let request = ProtectRequest::new(timestamp, target, arguments.owner.clone());
        Ok(ProtectedTimestamps::new(engine).protect(request)?)
    })?;
    let shown = Shown::from(&record);
    let sentence = || {
        format!(
            "protected {} of {} by record {}",
            shown.timestamp, shown.target, shown.id
        )
    };
    context.done("protect add", sentence, &shown, 0, started)
}

fn release(context: &Context, arguments: &ReleaseArguments) -> Result<()> {
    #[derive(Serialize)]
    struct Released {
        id: String,
    }
    let started = Instant::now();
    context.write(|engine| Ok(ProtectedTimestamps::new(engine).release(&arguments.id)?))?;
    let released = Released {
        id: arguments.id.to_string(),
    };
    let sentence = || format!("released record {}", arguments.id);
    context.done("protect release", sentence, &released, 0, started)
}

/// A record in the list.
#[derive(Serialize)]
pub(super) struct Listed {
    #[serde(flatten)]
    record: Shown,
    age_seconds: f64,
    holds: Vec<String>,
    #[serde(skip)]
    age: Duration,
}

impl From<&RecordStatus> for Listed {
    fn from(status: &RecordStatus) -> Self {
        Self {
            record: Shown::from(&status.record),
            age_seconds: seconds(status.age),
            holds: status.holds.clone(),
            age: status.age,
        }
    }
}

impl Record for &Listed {
    const HEADER: &'static [&'static str] =
        &["record", "timestamp", "age", "of", "holds back", "owner"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.record.id.clone(),
            self.record.timestamp.to_string(),
            format_duration(Duration::from_secs(self.age.as_secs())),
            self.record.target.clone(),
            match self.holds.is_empty() {
                true => "nothing".to_owned(),
                false => self.holds.join(", "),
            },
            self.record.owner.clone(),
        ]
    }
}

fn list(context: &Context) -> Result<()> {
    let engine = context.open()?;
    let records: Vec<Listed> = status(&engine)?.records.iter().map(Listed::from).collect();
    context.list("records", records.iter().map(Ok))
}
