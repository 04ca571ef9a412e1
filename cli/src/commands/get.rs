//! `get`: reads one key. A key that has no value at that time is a failure, so that a script can
//! tell it from an empty value.

use clap::Args;
use icecore_engine::EntryRef;

use super::scan::Row;
use crate::arguments::{AsOf, OutputFormat, Raw};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::keys::KeyArguments;
use crate::view::View;

#[derive(Debug, Args)]
pub(crate) struct GetArguments {
    /// The keyspace
    keyspace: String,
    /// The key; `--` before it lets it begin with a hyphen
    #[arg(allow_negative_numbers = true)]
    key: String,
    #[command(flatten)]
    as_of: AsOf,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    raw: Raw,
}

pub(crate) fn run(context: &Context, arguments: &GetArguments) -> Result<()> {
    let encoding = arguments.raw.encoding();
    let key = encoding.decode(&arguments.key)?;
    let view = View::open(context, arguments.as_of.as_of.as_ref(), &arguments.keys)?;
    let keyspace = view.keyspace(&arguments.keyspace)?;
    let Some(entry) = keyspace.get(&key)? else {
        let as_of = arguments.as_of.as_of.is_some();
        return Err(Error::NoSuchKey {
            keyspace: arguments.keyspace.clone(),
            key: arguments.key.clone(),
            as_of: match as_of {
                true => format!(" as of {}", view.at()),
                false => String::new(),
            },
        });
    };
    let entry = EntryRef {
        key: &entry.key,
        ts: entry.ts,
        value: &entry.value,
    };
    let row = Row::new(entry, encoding);
    match context.format {
        OutputFormat::Table => context.line(&row.value),
        OutputFormat::Json => context.document(&row),
    }
}
