//! `scan`: reads a range of keys, in either order.

use clap::Args;
use icecore_engine::{EntryRef, Scan, ScanDirection};
use icecore_mvcc::Timestamp;
use serde::Serialize;

use crate::arguments::{AsOf, Range, Raw};
use crate::context::{Context, keyspace_at};
use crate::encoding::Encoding;
use crate::error::Result;
use crate::output::{Record, time};

#[derive(Debug, Args)]
pub(crate) struct ScanArguments {
    /// The keyspace
    keyspace: String,
    #[command(flatten)]
    range: Range,
    /// Stop after this many rows
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// From the last key to the first
    #[arg(long)]
    reverse: bool,
    #[command(flatten)]
    as_of: AsOf,
    #[command(flatten)]
    raw: Raw,
}

/// A key with its value.
#[derive(Serialize)]
pub(super) struct Row {
    key: String,
    pub(super) value: String,
    #[serde(serialize_with = "time")]
    ts: Timestamp,
}

impl Row {
    pub(super) fn new(entry: EntryRef<'_>, encoding: Encoding) -> Self {
        Self {
            key: encoding.encode(entry.key),
            value: encoding.encode(entry.value),
            ts: entry.ts,
        }
    }
}

impl Record for Row {
    const HEADER: &'static [&'static str] = &["key", "ts", "value"];

    fn cells(&self) -> Vec<String> {
        vec![self.key.clone(), self.ts.to_string(), self.value.clone()]
    }
}

/// The rows of a scan, each made by `make`.
pub(super) fn rows<R>(
    mut scan: Scan,
    make: impl Fn(EntryRef<'_>) -> R,
) -> impl Iterator<Item = Result<R>> {
    std::iter::from_fn(move || match scan.next_ref() {
        Ok(entry) => entry.map(|entry| Ok(make(entry))),
        Err(e) => Some(Err(e.into())),
    })
}

pub(crate) fn run(context: &Context, arguments: &ScanArguments) -> Result<()> {
    let encoding = arguments.raw.encoding();
    let range = arguments.range.resolve(encoding)?;
    let engine = context.open()?;
    let at = arguments.as_of.snapshot(&engine)?;
    let keyspace = keyspace_at(&engine, &arguments.keyspace, &at)?;
    let direction = match arguments.reverse {
        true => ScanDirection::Reverse,
        false => ScanDirection::Forward,
    };
    let scan = keyspace.scan(&at, &range, direction)?;
    let rows = rows(scan, |entry| Row::new(entry, encoding));
    context.list("rows", rows.take(arguments.limit.unwrap_or(usize::MAX)))
}
