//! The process that is killed, or that runs under limits which its caller set.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use icecore_archive::{BackupSelector, Collection, CollectionUri, StoreOptions};
use icecore_backup::{BackupOptions, backup};
use icecore_engine::{Batch, Durability, Engine, Keyspace, Options};
use icecore_gc::GcOptions;
use icecore_mvcc::{KeyspaceSettings, SystemClock};
use icecore_restore::{RestoreOptions, restore};

use super::script::{KEYSPACE, Line, SCOPE, WRITERS, commit, progress_key};
use crate::dice::Dice;
use crate::failure::{Failure, Result};
use crate::scratch;

/// Settings of the engine on both sides.
pub(crate) fn options() -> Options {
    let clock = Arc::new(SystemClock);
    Options {
        write_buffer_bytes: 64 << 10,
        ..scratch::small_engine(clock)
    }
}

/// Works until it is killed. With `acks_early` commits are acknowledged before they are made: the
/// planted bug.
///
/// # Errors
/// The first call that fails: none has a reason to.
pub fn work(db: &Path, collection: &Path, seed: u64, acks_early: bool) -> Result<()> {
    let engine = Engine::open(db, &options())?;
    let keyspace = match engine.keyspace(KEYSPACE) {
        Ok(keyspace) => keyspace,
        Err(_) => {
            let gc_ttl = Duration::from_millis(30);
            engine.create_keyspace(
                KEYSPACE,
                KeyspaceSettings {
                    gc_ttl,
                    ..KeyspaceSettings::default()
                },
            )?
        }
    };
    say(&Line::Ready)?;
    let uri = CollectionUri::from_local_path(collection)?;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for writer in 0..WRITERS {
            let keyspace = &keyspace;
            threads.push(scope.spawn(move || write(keyspace, writer, seed, acks_early)));
        }
        let (engine, uri) = (&engine, &uri);
        threads.push(scope.spawn(move || back_up(engine, uri, seed)));
        threads.push(scope.spawn(move || bring_back(engine, uri, seed)));
        threads.push(scope.spawn(move || collect(engine, seed)));
        // None of them ends but by an error.
        while threads.iter().all(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        for thread in threads
            .into_iter()
            .filter(std::thread::ScopedJoinHandle::is_finished)
        {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(Failure::Mismatch("a thread panicked".to_owned())));
            if let Err(failure) = ended {
                eprintln!("error: {failure}");
                std::process::exit(1);
            }
        }
        Ok(())
    })
}

/// Takes a full backup, and nothing else.
///
/// # Errors
/// What kept it.
pub fn back_up_once(db: &Path, collection: &Path) -> Result<()> {
    let engine = Engine::open(db, &options())?;
    let uri = CollectionUri::from_local_path(collection)?;
    scratch::runtime()?.block_on(async {
        let collection = Collection::create_or_open(&uri, StoreOptions::default()).await?;
        backup(&engine, &collection, &BackupOptions::default()).await?;
        Ok(())
    })
}

/// Extends the newest chain, and prints the most memory that this process ever had, in KiB, the number of
/// versions that it stored, and of how many keyspaces the commit index named them.
///
/// # Errors
/// What kept it.
pub fn extend_and_measure(db: &Path, collection: &Path) -> Result<()> {
    let engine = Engine::open(db, &options())?;
    let uri = CollectionUri::from_local_path(collection)?;
    let onto = BackupOptions {
        onto: Some(BackupSelector::Latest),
        ..BackupOptions::default()
    };
    let report = scratch::runtime()?.block_on(async {
        let collection = Collection::open(&uri, StoreOptions::default()).await?;
        Ok::<_, Failure>(backup(&engine, &collection, &onto).await?)
    })?;
    let indexed = report.keyspaces.iter();
    let indexed = indexed
        .filter(|k| k.how.starts_with("commit index"))
        .count();
    println!("{} {} {indexed}", peak_kibibytes()?, report.entries());
    Ok(())
}

/// The high-water mark of this process's resident memory, as Linux counts it.
fn peak_kibibytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|text| text.split_whitespace().next()?.parse().ok());
    number
        .ok_or_else(|| Failure::Mismatch("this system does not tell the peak of memory".to_owned()))
}

/// Restores the newest chain, and nothing else.
///
/// # Errors
/// What kept it.
pub fn restore_once(db: &Path, collection: &Path) -> Result<()> {
    let engine = Engine::open(db, &options())?;
    let uri = CollectionUri::from_local_path(collection)?;
    scratch::runtime()?.block_on(async {
        let collection = Collection::open(&uri, StoreOptions::default()).await?;
        restore(&engine, &collection, &RestoreOptions::default()).await?;
        Ok(())
    })
}

/// One line in one write, so that a kill cannot tear it.
fn say(line: &Line) -> Result<()> {
    let text = format!("{line}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn write(keyspace: &Keyspace, writer: usize, seed: u64, acks_early: bool) -> Result<()> {
    let found = keyspace.get(&progress_key(writer))?;
    let done = found
        .and_then(|text| String::from_utf8(text).ok())
        .and_then(|text| text.parse().ok());
    let mut dice = Dice::new(seed.wrapping_add(writer as u64));
    for number in done.unwrap_or(0_u64) + 1.. {
        let mut batch = Batch::new();
        for (key, value) in commit(writer, number) {
            match value {
                Some(value) => batch.put(keyspace, key, value),
                None => batch.delete(keyspace, key),
            };
        }
        if acks_early {
            say(&Line::Commit {
                writer,
                number,
                ts: keyspace.engine().now(),
            })?;
            std::thread::sleep(Duration::from_millis(5));
        }
        // A kill of the process loses neither kind; only a loss of power tells them apart.
        let durability = if dice.one_in(2) {
            Durability::Sync
        } else {
            Durability::Buffered
        };
        let ts = keyspace.engine().commit(batch, durability)?;
        if !acks_early {
            say(&Line::Commit { writer, number, ts })?;
        }
        pause(&mut dice, 2000);
    }
    Ok(())
}

fn back_up(engine: &Engine, uri: &CollectionUri, seed: u64) -> Result<()> {
    let mut dice = Dice::new(seed ^ 0xB);
    let runtime = scratch::runtime()?;
    loop {
        pause(&mut dice, 20_000);
        let report = runtime.block_on(async {
            let collection = Collection::create_or_open(uri, StoreOptions::default()).await?;
            let onto = match collection.latest().await? {
                Some(_) if !dice.one_in(5) => Some(BackupSelector::Latest),
                _ => None,
            };
            let options = BackupOptions {
                keyspaces: if onto.is_none() {
                    vec![SCOPE.parse()?]
                } else {
                    Vec::new()
                },
                onto,
                revision_history: dice.one_in(2),
                ..BackupOptions::default()
            };
            Ok::<_, Failure>(backup(engine, &collection, &options).await?)
        })?;
        say(&Line::Backup {
            layer: report.layer.to_string(),
            end: report.end,
        })?;
    }
}

/// Restores the newest chain under another name, and drops it.
fn bring_back(engine: &Engine, uri: &CollectionUri, seed: u64) -> Result<()> {
    let mut dice = Dice::new(seed ^ 0xC);
    let runtime = scratch::runtime()?;
    loop {
        pause(&mut dice, 60_000);
        let restored = runtime.block_on(async {
            let collection = Collection::create_or_open(uri, StoreOptions::default()).await?;
            if collection.latest().await?.is_none() {
                return Ok(None);
            }
            let chain = collection.open_chain(&BackupSelector::Latest).await?;
            let (full, end) = (chain.full().to_string(), chain.head()?.end);
            let name = format!("copy.{}", engine.now().nanos());
            say(&Line::Restoring {
                full: full.clone(),
                end,
                name: name.clone(),
            })?;
            restore(engine, &collection, &restore_options(&full, end, &name)?).await?;
            Ok::<_, Failure>(Some(name))
        })?;
        if let Some(name) = restored {
            say(&Line::Restored { name: name.clone() })?;
            engine.drop_keyspace(&name)?;
        }
    }
}

/// The restore that a line tells of; the same on both sides, so that the parent can go on with it.
pub(crate) fn restore_options(
    full: &str,
    end: icecore_mvcc::Timestamp,
    name: &str,
) -> Result<RestoreOptions> {
    Ok(RestoreOptions {
        from: full.parse()?,
        as_of: Some(end),
        renames: BTreeMap::from([(KEYSPACE.to_owned(), name.to_owned())]),
        ..RestoreOptions::default()
    })
}

fn collect(engine: &Engine, seed: u64) -> Result<()> {
    let mut dice = Dice::new(seed ^ 0xD);
    loop {
        pause(&mut dice, 15_000);
        let options = GcOptions {
            compact: dice.one_in(10),
            ..GcOptions::default()
        };
        icecore_gc::collect(engine, &options)?;
    }
}

fn pause(dice: &mut Dice, most_micros: usize) {
    std::thread::sleep(Duration::from_micros(dice.below(most_micros) as u64));
}
