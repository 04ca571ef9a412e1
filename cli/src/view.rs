//! What is read: a database at a time, or a backup in place. Both show the same rows in the same form.

use std::path::PathBuf;

use icecore_archive::Collection;
use icecore_engine::{Engine, Entry, EntryRef, Keyspace, ScanDirection, Snapshot};
use icecore_mvcc::{Clock, KeyRange, SystemClock, Timestamp, Version};
use icecore_restore::inplace::{BackupKeyspace, BackupReader, CacheOptions, ReadOptions};

use crate::arguments::Time;
use crate::context::{Context, keyspace_at};
use crate::database::{BackupUri, Database};
use crate::error::{Error, Result};
use crate::keys::KeyArguments;

/// A database or a backup as of one time.
pub(crate) enum View<'a> {
    Database(Engine, Snapshot),
    Backup(&'a Context, BackupReader),
}

/// A keyspace as of that time.
pub(crate) enum Rows<'a> {
    Database(Keyspace, Snapshot),
    Backup(&'a Context, BackupKeyspace),
}

/// Rows of a scan.
pub(crate) type RowIter<'a, R> = Box<dyn Iterator<Item = Result<R>> + 'a>;

impl<'a> View<'a> {
    /// Opens what `--db` names; without a time, as of now or the backup's end. Keys are a sealed backup's.
    pub(crate) fn open(
        context: &'a Context,
        as_of: Option<&Time>,
        keys: &KeyArguments,
    ) -> Result<Self> {
        if let Some(Database::Backup(uri)) = context.database() {
            let backup = open_backup(context, uri, as_of, keys)?;
            return Ok(Self::Backup(context, backup));
        }
        let engine = context.open()?;
        let at = match as_of {
            Some(time) => engine.snapshot_at(time.resolve(&engine)?)?,
            None => engine.snapshot(),
        };
        Ok(Self::Database(engine, at))
    }

    /// The time that is read.
    pub(crate) fn at(&self) -> Timestamp {
        match self {
            Self::Database(_, at) => at.timestamp(),
            Self::Backup(_, backup) => backup.target(),
        }
    }

    pub(crate) fn keyspace(&self, name: &str) -> Result<Rows<'a>> {
        match self {
            Self::Database(engine, at) => {
                Ok(Rows::Database(keyspace_at(engine, name, at)?, at.clone()))
            }
            Self::Backup(context, backup) => Ok(Rows::Backup(context, backup.keyspace(name)?)),
        }
    }
}

impl<'a> Rows<'a> {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        match self {
            // A scan of one key tells when the value was committed, too.
            Self::Database(keyspace, at) => {
                let mut scan = keyspace.scan(at, &KeyRange::single(key), ScanDirection::Forward)?;
                Ok(scan.next().transpose()?)
            }
            Self::Backup(context, keyspace) => context.wait(async { Ok(keyspace.get(key).await?) }),
        }
    }

    pub(crate) fn versions(&self, key: &[u8]) -> Result<Vec<Version>> {
        match self {
            Self::Database(keyspace, at) => Ok(keyspace.versions(at, key)?),
            Self::Backup(context, keyspace) => {
                context.wait(async { Ok(keyspace.versions(key).await?) })
            }
        }
    }

    /// The rows of a range, each made by `make`.
    pub(crate) fn scan<R: 'a>(
        &self,
        range: &KeyRange,
        direction: ScanDirection,
        make: impl Fn(EntryRef<'_>) -> R + 'a,
    ) -> Result<RowIter<'a, R>> {
        match self {
            Self::Database(keyspace, at) => {
                let mut scan = keyspace.scan(at, range, direction)?;
                Ok(Box::new(std::iter::from_fn(move || {
                    match scan.next_ref() {
                        Ok(entry) => entry.map(|entry| Ok(make(entry))),
                        Err(e) => Some(Err(e.into())),
                    }
                })))
            }
            Self::Backup(context, keyspace) => {
                let context: &'a Context = context;
                let mut scan = keyspace.scan(range, direction);
                Ok(Box::new(std::iter::from_fn(move || {
                    let next = context.wait(async { Ok(scan.next().await?.map(&make)) });
                    next.transpose()
                })))
            }
        }
    }
}

fn open_backup(
    context: &Context,
    uri: &BackupUri,
    as_of: Option<&Time>,
    keys: &KeyArguments,
) -> Result<BackupReader> {
    let address = uri.parse()?;
    let now = SystemClock.now();
    let resolve = |time: Option<&Time>| time.map(|time| time.resolve_at(now)).transpose();
    let (whole, wanted) = (resolve(address.as_of.as_ref())?, resolve(as_of)?);
    if let (Some(whole), Some(wanted)) = (whole, wanted)
        && wanted > whole
    {
        return Err(Error::Usage(format!(
            "--as-of is {wanted}, after {whole}, as of which the URI opens the backup; give an earlier --as-of, or take as-of out of the URI"
        )));
    }
    let options = ReadOptions {
        from: address.from,
        as_of: wanted.or(whole),
        expect_head: None,
        cache: CacheOptions {
            dir: context.cache.dir.clone().unwrap_or_else(cache_folder),
            budget_bytes: context.cache.mib.saturating_mul(1 << 20),
        },
    };
    let store = keys.store_options()?;
    context.wait(async {
        let collection = Collection::open_places(&address.places, store).await?;
        Ok(BackupReader::open(&collection, &options).await?)
    })
}

/// Within the user's cache folder; where there is none, that of temporary files.
fn cache_folder() -> PathBuf {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = named("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(named("HOME")?).join(".cache")));
    cache
        .unwrap_or_else(std::env::temp_dir)
        .join("icecore")
        .join("backups")
}
