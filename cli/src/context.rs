//! What a command gets: the database it works on, a runtime, and where its output goes.

use std::cell::OnceCell;
use std::future::Future;
use std::io::IsTerminal;
use std::path::Path;

use icecore_engine::{Engine, Keyspace, Options, Snapshot};

use tokio::runtime::Runtime;

use crate::arguments::{CacheArguments, GlobalArguments, OutputFormat, Progress};
use crate::database::Database;
use crate::error::{Error, Result};

/// The surroundings of one command.
pub(crate) struct Context {
    db: Option<Database>,
    /// Where files of a backup that is read in place are kept.
    pub(crate) cache: CacheArguments,
    pub(crate) format: OutputFormat,
    /// Whether progress bars are wanted and can be seen.
    pub(crate) bars: bool,
    /// Made when first needed, and one for the whole command: what one wait opened, the next may use.
    runtime: OnceCell<Runtime>,
}

impl Context {
    pub(crate) fn new(global: GlobalArguments) -> Result<Self> {
        let bars = global.progress == Progress::Auto && std::io::stderr().is_terminal();
        Ok(Self {
            db: Database::of(global.db)?,
            cache: global.cache,
            format: global.output,
            bars,
            runtime: OnceCell::new(),
        })
    }

    /// What `--db` names.
    pub(crate) fn database(&self) -> Option<&Database> {
        self.db.as_ref()
    }

    /// The database folder, for a command that also works on no backup.
    pub(crate) fn db(&self) -> Result<&Path> {
        self.folder(Error::NotOfABackup)
    }

    fn folder(&self, of_a_backup: Error) -> Result<&Path> {
        match &self.db {
            Some(Database::Folder(path)) => Ok(path),
            Some(Database::Backup(_)) => Err(of_a_backup),
            None => Err(Error::NoDatabase),
        }
    }

    /// Opens the database for reading. Others may read it at the same time.
    pub(crate) fn open(&self) -> Result<Engine> {
        Engine::open_read_only(self.db()?, &Options::default()).map_err(held)
    }

    /// Opens the database for reading; `None` where there is no database.
    pub(crate) fn open_if_there(&self) -> Result<Option<Engine>> {
        match self.open() {
            Ok(engine) => Ok(Some(engine)),
            Err(Error::Engine(icecore_engine::Error::Missing { .. })) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Opens the database for writing, runs `work`, and closes it with everything durable.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&Engine) -> Result<T>) -> Result<T> {
        self.write_with(false, work)
    }

    /// As [`Context::write`]; makes the database where there is none.
    pub(crate) fn create_or_write<T>(&self, work: impl FnOnce(&Engine) -> Result<T>) -> Result<T> {
        self.write_with(true, work)
    }

    fn write_with<T>(
        &self,
        create_if_missing: bool,
        work: impl FnOnce(&Engine) -> Result<T>,
    ) -> Result<T> {
        let options = Options {
            create_if_missing,
            ..Options::default()
        };
        let folder = self.folder(Error::BackupIsReadOnly)?;
        let engine = Engine::open(folder, &options).map_err(held)?;
        let done = work(&engine);
        let closed = engine.close();
        let done = done?;
        closed?;
        Ok(done)
    }

    /// Runs what is asynchronous to its end.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime()?.block_on(work)
    }

    fn runtime(&self) -> Result<&Runtime> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Error::io("start", "the asynchronous runtime"))?;
        Ok(self.runtime.get_or_init(|| runtime))
    }
}

/// A database that is in use, with who has it where that can be told.
fn held(error: icecore_engine::Error) -> Error {
    if let icecore_engine::Error::Locked { path } = &error
        && matches!(crate::jobs::socket::connect(path), Ok(Some(_)))
    {
        return Error::HeldByServer { path: path.clone() };
    }
    error.into()
}

/// The keyspace that had this name at the time of a snapshot: one dropped since, or the one that
/// has it now.
pub(crate) fn keyspace_at(engine: &Engine, name: &str, at: &Snapshot) -> Result<Keyspace> {
    let then = |keyspace: &Keyspace| {
        keyspace.is_dropped()
            && keyspace.name() == name
            && keyspace.descriptor().is_live_at(at.timestamp())
    };
    match engine.all_keyspaces().into_iter().find(then) {
        Some(dropped) => Ok(dropped),
        None => Ok(engine.keyspace(name)?),
    }
}
