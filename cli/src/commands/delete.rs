//! `delete`: deletes one key. Deleting a key that is not there is allowed, and writes a
//! tombstone.

use std::time::Instant;

use clap::Args;
use icecore_engine::Durability;

use super::put::Written;
use crate::arguments::Raw;
use crate::context::Context;
use crate::error::Result;

#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    /// The keyspace
    keyspace: String,
    /// The key; `--` before it lets it begin with a hyphen
    #[arg(allow_negative_numbers = true)]
    key: String,
    #[command(flatten)]
    raw: Raw,
}

pub(crate) fn run(context: &Context, arguments: &DeleteArguments) -> Result<()> {
    let started = Instant::now();
    let key = arguments.raw.encoding().decode(&arguments.key)?;
    let bytes = key.len() as u64;
    let ts = context.write(|engine| {
        let keyspace = engine.keyspace(&arguments.keyspace)?;
        Ok(keyspace.delete(key, Durability::Sync)?)
    })?;
    let written = Written {
        keyspace: &arguments.keyspace,
        key: &arguments.key,
        ts,
    };
    let sentence = || format!("deleted {} at {ts}", arguments.key);
    context.done("delete", sentence, &written, bytes, started)
}
