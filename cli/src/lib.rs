//! The `icecore` command line, and the loading of real data that it shares with other programs.
//!
//! The binary is [`run`]; what it promises to scripts is section by section in
//! `docs/guide/cli.md`. One file in `commands/` is one command: its options and what it does.
//! [`load`] is public because programs load files too.
//!
//! | part | what |
//! |---|---|
//! | `arguments` | the command line as a whole, and types that several commands read |
//! | `context` | the database, the runtime and the form of the output that a command gets |
//! | `keys` | what opens sealed collections |
//! | `database`, `view` | what `--db` names, and reading either kind of it |
//! | `output` | tables for people, one JSON document for programs, progress bars |
//! | `commands` | the commands |
//! | `timeline` | the picture of a backup |
//! | `jobs` | the process that runs jobs, and how others reach it |
//! | `doctor` | the examination of a database |
//! | [`load`] | CSV and JSON lines into a keyspace |

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod context;
mod database;
mod doctor;
mod encoding;
mod error;
mod jobs;
mod keys;
pub mod load;
mod output;
mod places;
mod timeline;
mod uri;
mod view;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

pub use error::{Error, Result};

/// Runs the command that the program's arguments name. Ends with 0 when it is done, 1 when it
/// failed and 2 when the command line is wrong; the error is one line on standard error.
pub fn run() -> ExitCode {
    // Ends the program by itself where the command line is wrong or asks for help.
    let arguments = arguments::Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match commands::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.is_broken_pipe() => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {}", e.line());
            ExitCode::from(e.exit_code())
        }
    }
}
