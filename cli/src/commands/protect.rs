//! `protect`: protected timestamps, which hold garbage collection back.

mod limits;

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use icecore_gc::{
    Holder, Limits, OnBreach, ProtectRequest, ProtectedTimestamps, Purpose, RecordId, RecordStatus,
    Target, status,
};
use icecore_mvcc::{NamePattern, Timestamp, format_duration};
use serde::Serialize;

use crate::arguments::Time;
use crate::context::Context;
use crate::error::Result;
use crate::output::{Record, human_bytes, seconds, time};
use limits::LimitArguments;

#[derive(Debug, Subcommand)]
pub(crate) enum ProtectCommand {
    /// Keep every read at and after a time whole, until the record is released
    Add(AddArguments),
    /// List the records, the oldest time first
    List,
    /// Move a record forward, or give it other limits
    Alter(AlterArguments),
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
    #[command(flatten)]
    limits: LimitArguments,
}

#[derive(Debug, Args)]
pub(crate) struct AlterArguments {
    /// The record's id, as `protect list` shows it
    id: RecordId,
    /// Move it forward to this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<Time>,
    #[command(flatten)]
    limits: LimitArguments,
    /// Take all its limits away, before those that are given
    #[arg(long)]
    no_limits: bool,
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
        ProtectCommand::Alter(arguments) => alter(context, &arguments),
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
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_breach: Option<OnBreach>,
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
            max_age: record.max_age.map(format_duration),
            max_bytes: record.max_bytes,
            on_breach: (record.limits() != Limits::default()).then_some(record.on_breach),
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
        let request = request.within(arguments.limits.over(Limits::default()));
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

fn alter(context: &Context, arguments: &AlterArguments) -> Result<()> {
    let started = Instant::now();
    let id = &arguments.id;
    let record = context.write(|engine| {
        let records = ProtectedTimestamps::new(engine);
        let no_such = icecore_gc::Error::NoSuchRecord { id: *id };
        let mut record = records.get(id)?.ok_or(no_such)?;
        if arguments.no_limits || !arguments.limits.is_none() {
            let present = match arguments.no_limits {
                true => Limits::default(),
                false => record.limits(),
            };
            record = records.limit(id, arguments.limits.over(present))?;
        }
        if let Some(time) = &arguments.at {
            record = records.advance(id, time.resolve(engine)?)?;
        }
        Ok(record)
    })?;
    let shown = Shown::from(&record);
    let sentence = || format!("record {id} protects {}", shown.timestamp);
    context.done("protect alter", sentence, &shown, 0, started)
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
    held_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    breach: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead: Option<String>,
    #[serde(skip)]
    age: Duration,
}

impl From<&RecordStatus> for Listed {
    fn from(status: &RecordStatus) -> Self {
        Self {
            record: Shown::from(&status.record),
            age_seconds: seconds(status.age),
            holds: status.holds.clone(),
            held_bytes: status.held_bytes,
            breach: status.breach.map(|breach| breach.to_string()),
            dead: status.dead.clone(),
            age: status.age,
        }
    }
}

impl Record for &Listed {
    const HEADER: &'static [&'static str] = &[
        "record",
        "timestamp",
        "age",
        "bytes",
        "of",
        "holds back",
        "owner",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.record.id.clone(),
            self.record.timestamp.to_string(),
            format_duration(Duration::from_secs(self.age.as_secs())),
            human_bytes(self.held_bytes),
            self.record.target.clone(),
            match self.holds.is_empty() {
                true => "nothing".to_owned(),
                false => self.holds.join(", "),
            },
            [
                Some(&self.record.owner),
                self.breach.as_ref(),
                self.dead.as_ref(),
            ]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("; "),
        ]
    }
}

fn list(context: &Context) -> Result<()> {
    let engine = context.open()?;
    let records: Vec<Listed> = status(&engine)?.records.iter().map(Listed::from).collect();
    context.list("records", records.iter().map(Ok))
}
