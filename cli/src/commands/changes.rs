//! `changes`: what was written in a window of time, and how it was found.

use clap::Args;
use icecore_engine::{ChangeOptions, ChangeSet, PlanTaken, VersionRow, Window};
use icecore_mvcc::{KeyRange, Timestamp};
use serde::Serialize;
use serde_json::json;

use crate::arguments::{OutputFormat, Raw, Time};
use crate::context::{Context, keyspace_at};
use crate::error::{Error, Result};
use crate::output::{Members, Record, plural, time};

#[derive(Debug, Args)]
pub(crate) struct ChangesArguments {
    /// The keyspace
    keyspace: String,
    /// Leave out what was written at or before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    after: Time,
    /// The newest time that is in [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<Time>,
    /// Only the newest version of each key
    #[arg(long)]
    latest: bool,
    #[command(flatten)]
    raw: Raw,
}

/// A version; its value is null where it is a deletion.
#[derive(Serialize)]
struct Row {
    key: String,
    #[serde(serialize_with = "time")]
    ts: Timestamp,
    deleted: bool,
    value: Option<String>,
}

impl Record for Row {
    const HEADER: &'static [&'static str] = &["key", "ts", "what", "value"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.key.clone(),
            self.ts.to_string(),
            if self.deleted { "delete" } else { "put" }.to_owned(),
            self.value.clone().unwrap_or_default(),
        ]
    }
}

pub(crate) fn run(context: &Context, arguments: &ChangesArguments) -> Result<()> {
    let engine = context.open()?;
    let after = arguments.after.resolve(&engine)?;
    let until = match &arguments.until {
        Some(time) => time.resolve(&engine)?,
        None => engine.now(),
    };
    if after > until {
        return Err(Error::Usage(format!(
            "the window ends at {until}, before it begins at {after}; give a later --until"
        )));
    }
    let at = engine.snapshot_at(until)?;
    let keyspace = keyspace_at(&engine, &arguments.keyspace, &at)?;
    let set = match arguments.latest {
        true => ChangeSet::Latest,
        false => ChangeSet::All,
    };
    let window = Window { after, until };
    let changes = keyspace.changes(&KeyRange::all(), window, set, &ChangeOptions::default())?;
    let plan = changes.plan();
    if context.format == OutputFormat::Table {
        eprintln!("plan: {}", plan_sentence(plan));
    }
    let members = Members::from_iter([
        ("plan".to_owned(), plan_json(plan)),
        ("after".to_owned(), after.to_string().into()),
        ("until".to_owned(), until.to_string().into()),
    ]);
    let encoding = arguments.raw.encoding();
    let row = |row: VersionRow| Row {
        key: encoding.encode(&row.key),
        ts: row.ts,
        deleted: row.value.is_none(),
        value: row.value.map(|value| encoding.encode(&value)),
    };
    let rows = changes.map(|found| found.map(row).map_err(Error::from));
    context.list_with("changes", &members, rows)
}

fn plan_sentence(plan: PlanTaken) -> String {
    match plan {
        PlanTaken::Index { changes, spilled } => {
            let sorted = if spilled { ", sorted on disk" } else { "" };
            format!("commit index, {}{sorted}", plural(changes, "version"))
        }
        PlanTaken::Scan { reason } => format!("scan, because {reason}"),
    }
}

fn plan_json(plan: PlanTaken) -> serde_json::Value {
    match plan {
        PlanTaken::Index { changes, spilled } => {
            json!({ "taken": "index", "changes": changes, "spilled": spilled })
        }
        PlanTaken::Scan { reason } => json!({ "taken": "scan", "reason": reason }),
    }
}
