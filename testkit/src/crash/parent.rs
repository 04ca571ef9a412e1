//! The one who kills, and then looks.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use icecore_archive::{BackupSelector, Chain, Collection, CollectionUri, LayerEntry, StoreOptions};
use icecore_engine::{Durability, Engine, Keyspace, ScanDirection, Snapshot};
use icecore_mvcc::{KeyRange, Timestamp};
use icecore_restore::{RestoreOptions, restore};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::child::{options, restore_options};
use super::script::{KEYSPACE, Line, Rows, WRITERS, prefix, progress_key, state};
use crate::dice::Dice;
use crate::failure::{Failure, Result, ensure};
use crate::scratch;

/// How long a child may take to open its database.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Times that the child was killed.
    pub kills: u64,
    /// Commits that it acknowledged.
    pub commits: u64,
    /// Backups that are listed.
    pub layers: u64,
    /// Restores of them that were compared.
    pub restores: u64,
    /// Restores within the database that a kill interrupted and that were gone on with.
    pub resumed: u64,
}

/// A database, a collection, and everything that children were told of them.
pub struct Harness {
    scratch: TempDir,
    child: PathBuf,
    acks_early: bool,
    dice: Dice,
    runtime: Runtime,
    /// By writer: time and number of the acknowledged commits.
    acks: Vec<Vec<(Timestamp, u64)>>,
    /// By writer: commits that the database holds.
    held: Vec<u64>,
    times: BTreeSet<Timestamp>,
    /// Layers whose restore was compared.
    compared: BTreeSet<String>,
    summary: Summary,
}

/// A restore that the child had begun.
struct Begun {
    full: String,
    end: Timestamp,
    name: String,
    acknowledged: bool,
}

impl Harness {
    /// A harness around this program, which runs [`super::child::work`].
    ///
    /// # Errors
    /// When there is no room.
    pub fn new(child: PathBuf, seed: u64, acks_early: bool) -> Result<Self> {
        Ok(Self {
            scratch: scratch::folder()?,
            child,
            acks_early,
            dice: Dice::new(seed),
            runtime: scratch::runtime()?,
            acks: vec![Vec::new(); WRITERS],
            held: vec![0; WRITERS],
            times: BTreeSet::new(),
            compared: BTreeSet::new(),
            summary: Summary::default(),
        })
    }

    fn db(&self) -> PathBuf {
        self.scratch.path().join("db")
    }

    fn uri(&self) -> Result<CollectionUri> {
        Ok(CollectionUri::from_local_path(
            self.scratch.path().join("collection"),
        )?)
    }

    /// Starts the child, kills it, and holds what is left against what was said.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn cycle(&mut self) -> Result<()> {
        let newest = self.times.last().copied().unwrap_or(Timestamp::MIN);
        let lines = self.run_child()?;
        let mut begun = Vec::new();
        let mut backups = Vec::new();
        for line in lines {
            match line {
                Line::Ready => {}
                Line::Commit { writer, number, ts } => {
                    self.acknowledged(writer, number, ts, newest)?
                }
                Line::Backup { layer, end } => backups.push((layer, end)),
                Line::Restoring { full, end, name } => begun.push(Begun {
                    full,
                    end,
                    name,
                    acknowledged: false,
                }),
                Line::Restored { name } => {
                    let restored = begun.iter_mut().filter(|restore| restore.name == name);
                    restored.for_each(|restore| restore.acknowledged = true);
                }
            }
        }
        self.summary.kills += 1;
        let engine = Engine::open(self.db(), &options())?;
        self.nothing_is_lost(&engine)?;
        self.every_listed_backup_restores(&backups, false)?;
        // Of the restores only the last can be unfinished.
        if let Some(restore) = begun.pop().filter(|restore| !restore.acknowledged) {
            self.the_restore_goes_on(&engine, &restore)?;
        }
        engine.close()?;
        Ok(())
    }

    /// Compares the restore of every layer's end, and sums up.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn finish(mut self) -> Result<Summary> {
        self.compared.clear();
        self.every_listed_backup_restores(&[], true)?;
        self.summary.commits = self.acks.iter().map(|acks| acks.len() as u64).sum();
        Ok(self.summary)
    }

    /// Everything that the child says between its start and its end by SIGKILL.
    fn run_child(&mut self) -> Result<Vec<Line>> {
        let mut command = Command::new(&self.child);
        command
            .arg("work")
            .arg(self.db())
            .arg(self.scratch.path().join("collection"))
            .arg(self.dice.roll().to_string());
        if self.acks_early {
            command.arg("acks-early");
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let (send, heard) = channel();
        let out = child.stdout.take().map(BufReader::new);
        let listener = std::thread::spawn(move || {
            let lines = out
                .into_iter()
                .flat_map(BufRead::lines)
                .map_while(std::io::Result::ok);
            // Fails once nobody listens any more.
            lines.for_each(|line| drop(send.send(line)));
        });
        let delay = Duration::from_millis(5 + self.dice.below(396) as u64);
        let from_start = self.dice.one_in(4);
        let said = listen(&mut child, &heard, delay, from_start);
        // Dead already only if it failed, and that was found out while listening.
        let _killed = child.kill();
        child.wait()?;
        let _ended = listener.join();
        let mut said = said?;
        said.extend(heard.try_iter());
        said.iter().map(|line| line.parse()).collect()
    }

    fn acknowledged(
        &mut self,
        writer: usize,
        number: u64,
        ts: Timestamp,
        newest: Timestamp,
    ) -> Result<()> {
        if !self.acks_early {
            ensure!(self.times.insert(ts), "timestamp {ts:?} was given twice");
            ensure!(
                ts > newest,
                "timestamp {ts:?} was given after {newest:?} by an earlier process"
            );
        }
        let Some(acks) = self.acks.get_mut(writer) else {
            return Err(Failure::Mismatch(format!("there is no writer {writer}")));
        };
        acks.push((ts, number));
        Ok(())
    }

    /// I1: every acknowledged commit is there, whole; and at most one more of each writer.
    fn nothing_is_lost(&mut self, engine: &Engine) -> Result<()> {
        let Ok(keyspace) = engine.keyspace(KEYSPACE) else {
            let any = self.acks.iter().any(|acks| !acks.is_empty());
            ensure!(!any, "the keyspace is gone");
            return Ok(());
        };
        let snapshot = engine.snapshot();
        for writer in 0..WRITERS {
            let held = read_state(&keyspace, &snapshot, writer)?;
            let acked = self
                .acks
                .get(writer)
                .and_then(|acks| acks.last())
                .map_or(0, |(_, number)| *number);
            let Some(before) = self.held.get_mut(writer) else {
                continue;
            };
            let acked = acked.max(*before);
            ensure!(
                (acked..=acked + 1).contains(&held),
                "writer {writer} has {held} commits, and {acked} were acknowledged"
            );
            *before = held;
        }
        let ts = keyspace.put(b"parent", b"", Durability::Sync)?;
        let newest = self.times.last().copied().unwrap_or(Timestamp::MIN);
        ensure!(
            ts > newest && self.times.insert(ts),
            "timestamp {ts:?} was given before, {newest:?} too"
        );
        Ok(())
    }

    /// I9: what is listed restores, to what was committed by then.
    fn every_listed_backup_restores(
        &mut self,
        said: &[(String, Timestamp)],
        every_layer: bool,
    ) -> Result<()> {
        let uri = self.uri()?;
        let opened = self
            .runtime
            .block_on(Collection::create_or_open(&uri, StoreOptions::default()));
        let collection = opened?;
        let chains = self.runtime.block_on(collection.chains())?;
        let listed = |path: &str, end: Timestamp| {
            let mut layers = chains.iter().flat_map(Chain::layers);
            layers.any(|layer| layer.path.to_string() == path && layer.end == end)
        };
        for (path, end) in said {
            ensure!(
                listed(path, *end),
                "backup {path} was acknowledged and is not listed"
            );
        }
        self.summary.layers = chains.iter().map(|chain| chain.layers().len() as u64).sum();
        for chain in &chains {
            let head = chain.head()?;
            for layer in chain
                .layers()
                .iter()
                .filter(|layer| every_layer || **layer == head)
            {
                if self.compared.insert(layer.path.to_string()) {
                    let place = format!("backup {}", layer.path);
                    self.restores(&collection, layer)
                        .map_err(|failure| failure.within(&place))?;
                }
            }
        }
        Ok(())
    }

    fn restores(&mut self, collection: &Collection, layer: &LayerEntry) -> Result<()> {
        let dir = self.scratch.path().join("restored");
        let engine = Engine::open(&dir, &options())?;
        let asked = RestoreOptions {
            from: BackupSelector::Full(layer.path.full().clone()),
            as_of: Some(layer.end),
            ..RestoreOptions::default()
        };
        self.runtime
            .block_on(restore(&engine, collection, &asked))?;
        self.holds_what_was_committed_by(&engine, KEYSPACE, layer.end)?;
        drop(engine);
        std::fs::remove_dir_all(dir)?;
        self.summary.restores += 1;
        Ok(())
    }

    fn holds_what_was_committed_by(
        &self,
        engine: &Engine,
        name: &str,
        end: Timestamp,
    ) -> Result<()> {
        let keyspace = engine.keyspace(name)?;
        let snapshot = engine.snapshot();
        for (writer, acks) in self.acks.iter().enumerate() {
            let held = read_state(&keyspace, &snapshot, writer)?;
            let least = acks
                .iter()
                .filter(|(ts, _)| *ts <= end)
                .map(|(_, number)| *number)
                .max();
            let later = acks
                .iter()
                .filter(|(ts, _)| *ts > end)
                .map(|(_, number)| number.saturating_sub(1))
                .min();
            let most = later.or_else(|| self.held.get(writer).copied());
            let (least, most) = (least.unwrap_or(0), most.unwrap_or(0));
            ensure!(
                (least..=most).contains(&held),
                "writer {writer} has {held} commits as of {end:?}, not {least} to {most}"
            );
        }
        Ok(())
    }

    /// I10: the same restore, run again, ends.
    fn the_restore_goes_on(&mut self, engine: &Engine, begun: &Begun) -> Result<()> {
        let place = format!("interrupted restore of {}", begun.full);
        let goes_on = || -> Result<()> {
            if engine.keyspace(&begun.name).is_err() {
                let asked = restore_options(&begun.full, begun.end, &begun.name)?;
                let uri = self.uri()?;
                self.runtime.block_on(async {
                    let collection = Collection::open(&uri, StoreOptions::default()).await?;
                    restore(engine, &collection, &asked).await?;
                    Ok::<_, Failure>(())
                })?;
            }
            ensure!(engine.restoring().is_empty(), "a hidden keyspace is left");
            self.holds_what_was_committed_by(engine, &begun.name, begun.end)
        };
        goes_on().map_err(|failure| failure.within(&place))?;
        engine.drop_keyspace(&begun.name)?;
        self.summary.resumed += 1;
        Ok(())
    }
}

/// Collects what the child says for a while, counted from its start or from when it is ready.
fn listen(
    child: &mut Child,
    heard: &Receiver<String>,
    delay: Duration,
    from_start: bool,
) -> Result<Vec<String>> {
    let mut said = Vec::new();
    let mut until = Instant::now() + if from_start { delay } else { PATIENCE };
    loop {
        match heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if !from_start && said.is_empty() {
                    until = Instant::now() + delay;
                }
                said.push(line);
            }
            Err(RecvTimeoutError::Timeout) => {
                ensure!(
                    from_start || !said.is_empty(),
                    "the child does not open its database"
                );
                return Ok(said);
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = child.wait()?;
                return Err(Failure::Mismatch(format!(
                    "the child ended by itself: {status}"
                )));
            }
        }
    }
}

/// A writer's progress, after its rows were found to be just those of that many commits.
fn read_state(keyspace: &Keyspace, snapshot: &Snapshot, writer: usize) -> Result<u64> {
    let range = KeyRange::prefix(&prefix(writer));
    let mut rows = Rows::new();
    for entry in keyspace.scan(snapshot, &range, ScanDirection::Forward)? {
        let entry = entry?;
        rows.insert(entry.key, entry.value);
    }
    let progress = rows
        .get(&progress_key(writer))
        .map(|text| String::from_utf8_lossy(text).into_owned());
    let held = progress.and_then(|text| text.parse().ok()).unwrap_or(0);
    ensure!(
        rows == state(writer, held),
        "writer {writer}'s rows are not those after {held} commits"
    );
    Ok(held)
}
