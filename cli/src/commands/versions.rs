//! `versions`: the readable versions of one key, newest first.

use clap::Args;
use icecore_mvcc::{Timestamp, Version};
use serde::Serialize;

use crate::arguments::Raw;
use crate::context::Context;
use crate::error::Result;
use crate::keys::KeyArguments;
use crate::output::{Record, time};
use crate::view::View;

#[derive(Debug, Args)]
pub(crate) struct VersionsArguments {
    /// The keyspace
    keyspace: String,
    /// The key; `--` before it lets it begin with a hyphen
    #[arg(allow_negative_numbers = true)]
    key: String,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    raw: Raw,
}

/// A version; its value is null where it is a deletion.
#[derive(Serialize)]
struct Row {
    #[serde(serialize_with = "time")]
    ts: Timestamp,
    deleted: bool,
    value: Option<String>,
}

impl Record for Row {
    const HEADER: &'static [&'static str] = &["ts", "what", "value"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.ts.to_string(),
            if self.deleted { "delete" } else { "put" }.to_owned(),
            self.value.clone().unwrap_or_default(),
        ]
    }
}

pub(crate) fn run(context: &Context, arguments: &VersionsArguments) -> Result<()> {
    let encoding = arguments.raw.encoding();
    let key = encoding.decode(&arguments.key)?;
    let view = View::open(context, None, &arguments.keys)?;
    let versions = view.keyspace(&arguments.keyspace)?.versions(&key)?;
    let row = |version: Version| {
        Ok(Row {
            ts: version.ts,
            deleted: version.value.is_none(),
            value: version.value.map(|value| encoding.encode(&value)),
        })
    };
    context.list("versions", versions.into_iter().map(row))
}
