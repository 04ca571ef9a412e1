//! `scan`: reads a range of keys, in either order.

use clap::Args;
use icecore_engine::{EntryRef, ScanDirection};
use icecore_mvcc::Timestamp;
use serde::Serialize;

use crate::arguments::{AsOf, Range, Raw};
use crate::context::Context;
use crate::encoding::Encoding;
use crate::error::Result;
use crate::keys::KeyArguments;
use crate::output::{Record, time};
use crate::view::View;

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
    keys: KeyArguments,
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

pub(crate) fn run(context: &Context, arguments: &ScanArguments) -> Result<()> {
    let encoding = arguments.raw.encoding();
    let range = arguments.range.resolve(encoding)?;
    let view = View::open(context, arguments.as_of.as_of.as_ref(), &arguments.keys)?;
    let keyspace = view.keyspace(&arguments.keyspace)?;
    let direction = match arguments.reverse {
        true => ScanDirection::Reverse,
        false => ScanDirection::Forward,
    };
    let rows = keyspace.scan(&range, direction, |entry| Row::new(entry, encoding))?;
    context.list("rows", rows.take(arguments.limit.unwrap_or(usize::MAX)))
}
