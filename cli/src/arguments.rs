//! The command line as a whole, and the types of arguments that several commands read.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use icecore_engine::{Engine, Snapshot};
use icecore_mvcc::{KeyRange, Timestamp, parse_timestamp};

use crate::commands;
use crate::database::Database;
use crate::encoding::Encoding;
use crate::error::Result;

/// An MVCC keyspace on RocksDB whose history can be read, backed up layer by layer and put back.
///
/// Times are RFC 3339 (2022-02-09T15:53:40Z), seconds with a fraction, integer nanoseconds, or
/// relative (-10s, -1h30m). Keys and values are UTF-8 with \xNN escapes. Exit codes: 0 done,
/// 1 failed, 2 usage.
#[derive(Debug, Parser)]
#[command(name = "icecore", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct GlobalArguments {
    /// The database folder, or backup:URI[?as-of=TIME][&backup=SUBDIR] to read a backup in place; several
    /// times where the backup lies in several places
    #[arg(
        long,
        global = true,
        env = "ICECORE_DB",
        hide_env_values = true,
        value_name = "DIR",
        value_parser = OsStringValueParser::new().map(Database::from)
    )]
    pub(crate) db: Vec<Database>,
    /// Tables for people, or one JSON document for programs
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) output: OutputFormat,
    /// Progress bars where standard error is a terminal, or none
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) progress: Progress,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
}

/// Where files of a backup are kept that is read in place.
#[derive(Debug, Args)]
pub(crate) struct CacheArguments {
    /// Where to keep files of a backup that is read in place [default: icecore/backups in the user's
    /// cache folder]
    #[arg(
        long = "cache-dir",
        global = true,
        env = "ICECORE_CACHE_DIR",
        value_name = "DIR"
    )]
    pub(crate) dir: Option<PathBuf>,
    /// How many MiB of them to keep; 0 keeps none
    #[arg(
        long = "cache-mib",
        global = true,
        value_name = "MIB",
        default_value_t = 1024
    )]
    pub(crate) mib: u64,
}

/// The form of what goes to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OutputFormat {
    #[default]
    Table,
    Json,
}

/// Whether to draw progress bars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Progress {
    #[default]
    Auto,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create, list, alter and drop keyspaces
    #[command(subcommand)]
    Keyspace(commands::keyspace::KeyspaceCommand),
    /// Write one key
    Put(commands::put::PutArguments),
    /// Read one key
    Get(commands::get::GetArguments),
    /// Delete one key
    Delete(commands::delete::DeleteArguments),
    /// Read a range of keys
    Scan(commands::scan::ScanArguments),
    /// Show the readable versions of one key, newest first
    Versions(commands::versions::VersionsArguments),
    /// Load a CSV or JSON-lines file
    Load(commands::load::LoadArguments),
    /// Print a keyspace as sorted JSON lines
    Dump(commands::dump::DumpArguments),
    /// Show what was written in a window of time
    Changes(commands::changes::ChangesArguments),
    /// Print what was committed, transaction by transaction, as JSON lines
    Feed(commands::feed::FeedArguments),
    /// Take a full backup, or with --onto an incremental
    Backup(commands::backup::BackupArguments),
    /// Bring keyspaces back from a backup, into a new database or one that there is
    Restore(commands::restore::RestoreArguments),
    /// Show what lies in a collection
    #[command(subcommand)]
    Show(commands::show::ShowCommand),
    /// Check that the backups in a collection can be restored
    Verify(commands::verify::VerifyArguments),
    /// Compact a collection, remove what is old, and care for its keys
    #[command(subcommand)]
    Collection(commands::collection::CollectionCommand),
    /// Collect garbage, or show where that stands
    #[command(subcommand)]
    Gc(commands::gc::GcCommand),
    /// Keep history from garbage collection
    #[command(subcommand)]
    Protect(commands::protect::ProtectCommand),
    /// List, show, pause, resume and cancel jobs
    #[command(subcommand)]
    Jobs(commands::jobs::JobsCommand),
    /// Back up as time passes: create, list, alter, pause, resume, drop and run schedules
    #[command(subcommand)]
    Schedule(Box<commands::schedule::ScheduleCommand>),
    /// Stay, and run the jobs and schedules of the database
    ServeJobs(commands::serve_jobs::ServeJobsArguments),
    /// Examine the database, without writing to it
    Doctor(commands::doctor::DoctorArguments),
}

/// A time as given on the command line: checked when it is read, resolved against the
/// database's clock when it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Time(String);

impl FromStr for Time {
    type Err = icecore_mvcc::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_timestamp(text, Timestamp::MAX)?;
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Time {
    /// The time that is meant, relative ones counted back from the database's time.
    pub(crate) fn resolve(&self, engine: &Engine) -> Result<Timestamp> {
        self.resolve_at(engine.now())
    }

    /// The time that is meant, relative ones counted back from `now`.
    pub(crate) fn resolve_at(&self, now: Timestamp) -> Result<Timestamp> {
        Ok(parse_timestamp(&self.0, now)?)
    }
}

/// The time of a read.
#[derive(Debug, Clone, Args)]
pub(crate) struct AsOf {
    /// Read as of this time instead of now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) as_of: Option<Time>,
}

impl AsOf {
    /// The snapshot of a database to read.
    pub(crate) fn snapshot(&self, engine: &Engine) -> Result<Snapshot> {
        match &self.as_of {
            Some(time) => Ok(engine.snapshot_at(time.resolve(engine)?)?),
            None => Ok(engine.snapshot()),
        }
    }
}

/// How keys and values are written.
#[derive(Debug, Clone, Args)]
pub(crate) struct Raw {
    /// Keys and values are base64, in the arguments and in the output
    #[arg(long)]
    pub(crate) base64: bool,
}

impl Raw {
    pub(crate) fn encoding(&self) -> Encoding {
        match self.base64 {
            true => Encoding::Base64,
            false => Encoding::Text,
        }
    }
}

/// A range of keys.
#[derive(Debug, Clone, Args)]
pub(crate) struct Range {
    /// Begin at this key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    from: Option<String>,
    /// End before this key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    to: Option<String>,
    /// Only keys that begin with this
    #[arg(
        long,
        value_name = "KEY",
        allow_hyphen_values = true,
        conflicts_with_all = ["from", "to"]
    )]
    prefix: Option<String>,
}

impl Range {
    pub(crate) fn resolve(&self, encoding: Encoding) -> Result<KeyRange> {
        if let Some(prefix) = &self.prefix {
            return Ok(KeyRange::prefix(&encoding.decode(prefix)?));
        }
        let decode = |text: &String| encoding.decode(text);
        let from = self.from.as_ref().map(decode).transpose()?;
        let to = self.to.as_ref().map(decode).transpose()?;
        Ok(KeyRange::new(from.unwrap_or_default(), to))
    }
}
