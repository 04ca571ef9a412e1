//! `dump`: a keyspace as JSON lines in key order. The same state gives the same bytes, apart from
//! the times.

use clap::Args;
use icecore_engine::{EntryRef, ScanDirection};
use icecore_mvcc::{KeyRange, Timestamp};
use serde::Serialize;

use crate::arguments::{AsOf, Raw};
use crate::context::Context;
use crate::error::Result;
use crate::keys::KeyArguments;
use crate::output::optional_time;
use crate::view::View;

#[derive(Debug, Args)]
pub(crate) struct DumpArguments {
    /// The keyspace
    keyspace: String,
    #[command(flatten)]
    as_of: AsOf,
    #[command(flatten)]
    keys: KeyArguments,
    /// Leave the times out
    #[arg(long)]
    no_ts: bool,
    #[command(flatten)]
    raw: Raw,
}

/// A key with its value, as a line.
#[derive(Serialize)]
struct Line {
    key: String,
    value: String,
    #[serde(
        serialize_with = "optional_time",
        skip_serializing_if = "Option::is_none"
    )]
    ts: Option<Timestamp>,
}

pub(crate) fn run(context: &Context, arguments: &DumpArguments) -> Result<()> {
    let view = View::open(context, arguments.as_of.as_of.as_ref(), &arguments.keys)?;
    let keyspace = view.keyspace(&arguments.keyspace)?;
    let encoding = arguments.raw.encoding();
    let with_ts = !arguments.no_ts;
    let line = move |entry: EntryRef<'_>| Line {
        key: encoding.encode(entry.key),
        value: encoding.encode(entry.value),
        ts: with_ts.then_some(entry.ts),
    };
    let rows = keyspace.scan(&KeyRange::all(), ScanDirection::Forward, line)?;
    context.lines("rows", rows)
}
