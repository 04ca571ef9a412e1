//! Fetched files: kept on disk by the hash of their content, verified, opened, and let go.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use icecore_archive::{Collection, ContentHash, Digest, FileEntry, FileId, blocking, total};
use icecore_engine::SstFile;
use tokio::sync::OnceCell;

use super::CacheOptions;
use super::session::Session;
use super::unit::Unit;
use crate::error::Result;

/// Files that a reader holds open for the next read, at most.
const HELD_FILES: usize = 64;

/// What the name of a kept file ends with, after the hash of its content.
const SUFFIX: &str = ".sst";

/// The files of one reader. Fields drop in order: what is open goes before the folder it lies in.
pub(super) struct FileCache {
    /// Held open for the next read; the least recently used go first.
    held: Mutex<Held>,
    session: Arc<Session>,
    collection: Collection,
    options: CacheOptions,
}

/// A file that was brought, and is not open yet.
struct Staged {
    staged: PathBuf,
    /// Its place in the cache, and whether it is to go there.
    cached: PathBuf,
    keep: bool,
    entry: FileEntry,
}

#[derive(Default)]
struct Held {
    files: HashMap<FileId, HeldFile>,
    /// Rises with each use.
    clock: u64,
}

struct HeldFile {
    used: u64,
    bytes: u64,
    /// Filled by whoever needs it first; others wait.
    file: Arc<OnceCell<SstFile>>,
}

impl FileCache {
    pub(super) async fn open(collection: &Collection, options: &CacheOptions) -> Result<Self> {
        let dir = options.dir.clone();
        let session = blocking(move || Session::new(&dir)).await?;
        Ok(Self {
            collection: collection.clone(),
            options: options.clone(),
            session: Arc::new(session),
            held: Mutex::default(),
        })
    }

    /// A unit, open: one that is open already, one from the cache, or a fetched one.
    pub(super) async fn open_unit(&self, unit: &Unit) -> Result<SstFile> {
        let cell = self.hold(unit);
        let opened = cell.get_or_try_init(|| self.bring(unit)).await?;
        Ok(opened.clone())
    }

    /// A place for the unit among those held, after others were let go for it.
    fn hold(&self, unit: &Unit) -> Arc<OnceCell<SstFile>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.take(unit.file.id, unit.bytes(), self.options.budget_bytes)
    }

    async fn bring(&self, unit: &Unit) -> Result<SstFile> {
        let mut brought: Vec<Staged> = Vec::new();
        for file in unit.files() {
            match self.stage(unit, file).await {
                Ok(staged) => brought.push(staged),
                Err(error) => {
                    // The reader may live on for long, and these would take room until its end.
                    for file in &brought {
                        let _gone = fs::remove_file(&file.staged);
                    }
                    return Err(error);
                }
            }
        }
        let is_copied = unit.is_copied();
        let (session, options) = (Arc::clone(&self.session), self.options.clone());
        blocking(move || {
            let staged: Vec<PathBuf> = brought.iter().map(|file| file.staged.clone()).collect();
            let opened = match is_copied {
                true => session.scratch.open_live(&staged),
                false => session.scratch.open(&staged),
            };
            for file in &brought {
                if file.keep && opened.is_ok() {
                    keep(&file.staged, &file.cached, &file.entry, &options);
                }
                // The scratch database has links of its own.
                let _gone = fs::remove_file(&file.staged);
            }
            Ok(opened?)
        })
        .await
    }

    /// Brings a file into the session's folder, verified.
    async fn stage(&self, unit: &Unit, file: &FileEntry) -> Result<Staged> {
        let staged = self.session.path(&format!("{}.sst", file.id));
        let cached = self.options.dir.join(format!("{}{SUFFIX}", file.blake3));
        let (from, to, entry) = (cached.clone(), staged.clone(), file.clone());
        let found = blocking(move || Ok::<_, crate::Error>(take_out(&from, &to, &entry))).await?;
        let outcome = if found { "hit" } else { "miss" };
        metrics::counter!("icecore_restore_cache_files_total", "outcome" => outcome).increment(1);
        if !found {
            self.collection.fetch(&unit.layer, file, &staged).await?;
            metrics::counter!("icecore_restore_fetched_bytes_total").increment(file.stored_bytes);
        }
        Ok(Staged {
            staged,
            cached,
            entry: file.clone(),
            // Of a sealed collection nothing is kept in clear.
            keep: !found && !self.collection.is_sealed(),
        })
    }
}

impl Held {
    fn take(&mut self, id: FileId, bytes: u64, budget_bytes: u64) -> Arc<OnceCell<SstFile>> {
        self.clock += 1;
        let used = self.clock;
        let place = self.files.entry(id).or_insert_with(|| HeldFile {
            used,
            bytes,
            file: Arc::default(),
        });
        place.used = used;
        let cell = Arc::clone(&place.file);
        self.let_go(id, budget_bytes);
        cell
    }

    /// Lets the least recently used go until the rest is within the budget. Readers that are at one keep it.
    fn let_go(&mut self, but: FileId, budget_bytes: u64) {
        loop {
            let bytes = total(self.files.values().map(|held| held.bytes));
            if bytes <= budget_bytes && self.files.len() <= HELD_FILES {
                return;
            }
            let others = self.files.iter().filter(|(id, _)| **id != but);
            let Some(oldest) = others.min_by_key(|(_, held)| held.used).map(|(id, _)| *id) else {
                return;
            };
            self.files.remove(&oldest);
        }
    }
}

/// Links a file out of the cache, if it is there and its bytes are those of the manifest. A link that a read
/// left, which did not come to its end, gives way.
fn take_out(cached: &Path, staged: &Path, entry: &FileEntry) -> bool {
    let _gone = fs::remove_file(staged);
    if fs::hard_link(cached, staged).is_err() {
        return false;
    }
    // Through the link: whatever another process does to the cache meanwhile, these are the bytes.
    match Digest::of_file(staged) {
        Ok(digest) if digest.bytes == entry.stored_bytes && digest.blake3 == entry.blake3 => {
            touch(staged);
            return true;
        }
        Ok(_) => {
            tracing::warn!(file = %cached.display(), "a file in the cache is damaged, and is fetched again");
        }
        Err(error) => {
            tracing::warn!(file = %cached.display(), %error, "a file in the cache cannot be read, and is fetched again");
        }
    }
    for damaged in [cached, staged] {
        let _gone = fs::remove_file(damaged);
    }
    false
}

/// Notes that it was used now. One that cannot be touched goes earlier than it might.
fn touch(file: &Path) {
    let touched = File::open(file).and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = touched {
        tracing::debug!(file = %file.display(), %error, "a cached file cannot be touched");
    }
}

/// Puts a fetched file into the cache, and takes out what that is too much. A link appears whole, so other
/// processes see no file that is being written. Where nothing can be kept, the next reader fetches again.
fn keep(staged: &Path, cached: &Path, entry: &FileEntry, options: &CacheOptions) {
    // What is stored sealed is longer than what was fetched, and is not kept in clear.
    let is_as_stored = fs::metadata(staged).is_ok_and(|found| found.len() == entry.stored_bytes);
    if !is_as_stored || entry.stored_bytes > options.budget_bytes {
        return;
    }
    match fs::hard_link(staged, cached) {
        Ok(()) => touch(cached),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            tracing::debug!(file = %cached.display(), %error, "a file cannot be kept in the cache");
            return;
        }
    }
    if let Err(error) = evict(&options.dir, options.budget_bytes) {
        tracing::warn!(folder = %options.dir.display(), %error, "the cache cannot be kept within its budget");
    }
}

/// Whether it has the name of a kept file. Nothing else is removed: the folder may be somebody's.
fn is_kept(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    let hash = name.and_then(|name| name.strip_suffix(SUFFIX));
    hash.is_some_and(|hash| hash.parse::<ContentHash>().is_ok())
}

/// Removes what was not used for longest until the rest is within the budget. Several processes may do so
/// at once: what another removed first counts as removed.
fn evict(dir: &Path, budget_bytes: u64) -> io::Result<()> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if !is_kept(&path) {
            continue;
        }
        match fs::metadata(&path) {
            Ok(found) => files.push((found.modified()?, found.len(), path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    files.sort();
    let mut bytes = total(files.iter().map(|(_, bytes, _)| *bytes));
    for (_, size, path) in files {
        if bytes <= budget_bytes {
            break;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => bytes = bytes.saturating_sub(size),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
