//! One backup or restore in a process of its own, and the memory that the process took.

use std::fs;
use std::path::{Path, PathBuf};

use icecore_archive::{Collection, CollectionUri, StoreOptions};
use icecore_backup::{BackupOptions, Mode};
use icecore_engine::{Engine, Options};
use icecore_restore::RestoreOptions;

use super::options;
use crate::error::{Error, Result};
use crate::source::{THREADS, full, onto_latest, runtime};

/// What the process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// A logical full of the database `source` into `collection`.
    Full,
    /// An incremental onto it.
    Incremental,
    /// A restore of both into `restored`.
    Restore,
}

/// The database that is backed up.
pub(super) fn source(folder: &Path) -> PathBuf {
    folder.join("source")
}

/// The database that is restored.
pub(super) fn restored(folder: &Path) -> PathBuf {
    folder.join("restored")
}

impl Work {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
            Self::Restore => "restore",
        }
    }

    /// Does it under that folder; the peak of this process's resident memory, in bytes.
    ///
    /// # Errors
    /// Those of the backup or the restore.
    pub fn run(self, folder: &Path) -> Result<u64> {
        let uri = CollectionUri::from_local_path(folder.join("collection"))?;
        match self {
            Self::Full => back_up(folder, &uri, &full(Mode::Logical))?,
            Self::Incremental => back_up(folder, &uri, &onto_latest())?,
            Self::Restore => restore(folder, &uri)?,
        }
        peak_bytes()
    }
}

fn open(path: &Path) -> Result<Engine> {
    let options: Options = options();
    Ok(Engine::open(path, &options)?)
}

fn back_up(folder: &Path, uri: &CollectionUri, options: &BackupOptions) -> Result<()> {
    let engine = open(&source(folder))?;
    runtime()?.block_on(async {
        let collection = Collection::create_or_open(uri, StoreOptions::default()).await?;
        icecore_backup::backup(&engine, &collection, options).await?;
        Ok(())
    })
}

fn restore(folder: &Path, uri: &CollectionUri) -> Result<()> {
    let engine = open(&restored(folder))?;
    runtime()?.block_on(async {
        let collection = Collection::open(uri, StoreOptions::default()).await?;
        let options = RestoreOptions {
            threads: THREADS,
            ..RestoreOptions::default()
        };
        icecore_restore::restore(&engine, &collection, &options).await?;
        Ok(())
    })
}

/// The kernel's account of this process's peak of resident memory.
fn peak_bytes() -> Result<u64> {
    const LINE: &str = "VmHWM:";
    let path = Path::new("/proc/self/status");
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    let line = text.lines().find_map(|line| line.strip_prefix(LINE));
    let kib = line.and_then(|line| {
        let number = line.trim().trim_end_matches("kB").trim();
        number.parse::<u64>().ok()
    });
    kib.map(|kib| kib << 10).ok_or_else(|| Error::WrongAnswer {
        figure: "memory",
        system: "the kernel",
        found: "no such line".to_owned(),
        expected: LINE.to_owned(),
    })
}
