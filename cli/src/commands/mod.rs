//! The commands, one file each: the options it takes, and what it does with them.

pub(crate) mod backup;
pub(crate) mod changes;
pub(crate) mod collection;
pub(crate) mod delete;
pub(crate) mod doctor;
pub(crate) mod dump;
pub(crate) mod feed;
pub(crate) mod gc;
pub(crate) mod get;
pub(crate) mod jobs;
pub(crate) mod keyspace;
pub(crate) mod load;
pub(crate) mod protect;
pub(crate) mod put;
pub(crate) mod restore;
pub(crate) mod scan;
pub(crate) mod schedule;
pub(crate) mod serve_jobs;
pub(crate) mod show;
pub(crate) mod verify;
pub(crate) mod versions;

use crate::arguments::{Arguments, Command};
use crate::context::Context;
use crate::error::Result;

/// Runs the command that was given.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let context = Context::new(arguments.global)?;
    match arguments.command {
        Command::Keyspace(command) => keyspace::run(&context, command),
        Command::Put(arguments) => put::run(&context, &arguments),
        Command::Get(arguments) => get::run(&context, &arguments),
        Command::Delete(arguments) => delete::run(&context, &arguments),
        Command::Scan(arguments) => scan::run(&context, &arguments),
        Command::Versions(arguments) => versions::run(&context, &arguments),
        Command::Load(arguments) => load::run(&context, &arguments),
        Command::Dump(arguments) => dump::run(&context, &arguments),
        Command::Changes(arguments) => changes::run(&context, &arguments),
        Command::Feed(arguments) => feed::run(&context, &arguments),
        Command::Backup(arguments) => backup::run(&context, &arguments),
        Command::Restore(arguments) => restore::run(&context, &arguments),
        Command::Show(command) => show::run(&context, command),
        Command::Verify(arguments) => verify::run(&context, &arguments),
        Command::Collection(command) => collection::run(&context, command),
        Command::Gc(command) => gc::run(&context, command),
        Command::Protect(command) => protect::run(&context, command),
        Command::Jobs(command) => jobs::run(&context, command),
        Command::Schedule(command) => schedule::run(&context, *command),
        Command::ServeJobs(arguments) => serve_jobs::run(&context, &arguments),
        Command::Doctor(arguments) => doctor::run(&context, &arguments),
    }
}
