//! `get`: reads one key. A key that has no value at that time is a failure, so that a script can
//! tell it from an empty value.

use clap::Args;
use icecore_engine::ScanDirection;
use icecore_mvcc::KeyRange;

use super::scan::Row;
use crate::arguments::{AsOf, OutputFormat, Raw};
use crate::context::{Context, keyspace_at};
use crate::error::{Error, Result};

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
    raw: Raw,
}

pub(crate) fn run(context: &Context, arguments: &GetArguments) -> Result<()> {
    let encoding = arguments.raw.encoding();
    let key = encoding.decode(&arguments.key)?;
    let engine = context.open()?;
    let at = arguments.as_of.snapshot(&engine)?;
    let keyspace = keyspace_at(&engine, &arguments.keyspace, &at)?;
    // A scan of one key tells when the value was committed, too.
    let mut scan = keyspace.scan(&at, &KeyRange::single(&key), ScanDirection::Forward)?;
    let Some(entry) = scan.next_ref()? else {
        let as_of = arguments.as_of.as_of.is_some();
        return Err(Error::NoSuchKey {
            keyspace: arguments.keyspace.clone(),
            key: arguments.key.clone(),
            as_of: match as_of {
                true => format!(" as of {}", at.timestamp()),
                false => String::new(),
            },
        });
    };
    let row = Row::new(entry, encoding);
    match context.format {
        OutputFormat::Table => context.line(&row.value),
        OutputFormat::Json => context.document(&row),
    }
}
