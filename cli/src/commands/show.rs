//! `show`: what lies in a collection. Needs no database.

mod backup;
mod backups;
pub(crate) mod restorable;
mod timeline;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Result;

#[derive(Debug, Subcommand)]
pub(crate) enum ShowCommand {
    /// List the full backups, newest first, with what their incrementals add
    Backups(backups::BackupsArguments),
    /// Show the layers of one backup and what each holds
    Backup(backup::BackupArguments),
}

pub(crate) fn run(context: &Context, command: ShowCommand) -> Result<()> {
    match command {
        ShowCommand::Backups(arguments) => backups::run(context, &arguments),
        ShowCommand::Backup(arguments) => backup::run(context, &arguments),
    }
}
