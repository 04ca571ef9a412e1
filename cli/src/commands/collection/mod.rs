//! `collection`: what is done to a collection as a whole. Needs no database.

mod compact;
mod expire;
mod keys;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Result;

#[derive(Debug, Subcommand)]
pub(crate) enum CollectionCommand {
    /// Merge the incrementals of a backup into one layer, in the object store
    Compact(compact::CompactArguments),
    /// List, add and remove the keys that open a sealed collection
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Remove backups by count and age, and what nothing refers to
    Expire(expire::ExpireArguments),
}

pub(crate) fn run(context: &Context, command: CollectionCommand) -> Result<()> {
    match command {
        CollectionCommand::Compact(arguments) => compact::run(context, &arguments),
        CollectionCommand::Keys(command) => keys::run(context, command),
        CollectionCommand::Expire(arguments) => expire::run(context, &arguments),
    }
}
