//! `put`: writes one key.

use std::time::Instant;

use clap::Args;
use icecore_engine::Durability;
use icecore_mvcc::Timestamp;
use serde::Serialize;

use crate::arguments::Raw;
use crate::context::Context;
use crate::error::Result;
use crate::output::time;

#[derive(Debug, Args)]
pub(crate) struct PutArguments {
    /// The keyspace
    keyspace: String,
    /// The key; `--` before it lets it begin with a hyphen
    #[arg(allow_negative_numbers = true)]
    key: String,
    /// The value
    #[arg(allow_negative_numbers = true)]
    value: String,
    #[command(flatten)]
    raw: Raw,
}

/// What a write of one key did.
#[derive(Serialize)]
pub(super) struct Written<'a> {
    pub(super) keyspace: &'a str,
    pub(super) key: &'a str,
    #[serde(serialize_with = "time")]
    pub(super) ts: Timestamp,
}

pub(crate) fn run(context: &Context, arguments: &PutArguments) -> Result<()> {
    let started = Instant::now();
    let encoding = arguments.raw.encoding();
    let key = encoding.decode(&arguments.key)?;
    let value = encoding.decode(&arguments.value)?;
    let bytes = (key.len() + value.len()) as u64;
    let ts = context.write(|engine| {
        let keyspace = engine.keyspace(&arguments.keyspace)?;
        Ok(keyspace.put(key, value, Durability::Sync)?)
    })?;
    let written = Written {
        keyspace: &arguments.keyspace,
        key: &arguments.key,
        ts,
    };
    let sentence = || format!("put {} at {ts}", arguments.key);
    context.done("put", sentence, &written, bytes, started)
}
