//! The script language of the golden tests of the engine, and of the crates above that extend it.
//!
//! A script has one database, on a clock that stands still at 100 nanoseconds until it is moved; so
//! times are small numbers, and each commit gets the next one. Nothing is flushed or compacted but by
//! command. Keys and values are in their text form, `""` is the empty one, `x*1000` is `x` a thousand
//! times. A keyspace is named, or `#2` by its id (also if it was dropped), or `system`. A time is a
//! number, or the name of a pin.
//!
//! | command | what |
//! |---|---|
//! | `reopen`, `read-only`, `crash` | close and open, open read-only, or open what a kill would leave |
//! | `clock 500`, `clock +10`, `clock` | set the wall clock, move it, show all clocks |
//! | the rest | at the head of [`catalog`], [`writes`], [`reads`], [`history`], [`physical`], [`raw`] |

mod catalog;
mod history;
mod physical;
mod raw;
mod reads;
pub mod rocks;
mod words;
mod writes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use icecore_engine::{Engine, Keyspace, Options, Publish, SYSTEM_KEYSPACE, Snapshot, Transaction};
use icecore_mvcc::{KeyspaceId, ManualClock, Timestamp};
use tempfile::TempDir;

pub use words::{Words, lines, short_times};

/// Where the clock of every script begins.
const START: u64 = 100;

/// What a command prints, or the error that it met.
pub type Outcome = Result<String, Refused>;

/// The text of an error.
pub struct Refused(String);

impl<E: std::error::Error> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// What the commands of a script work on.
pub struct Stage {
    pub clock: ManualClock,
    options: Options,
    engine: Option<Engine>,
    pins: BTreeMap<String, Snapshot>,
    transactions: BTreeMap<String, Transaction>,
    /// Restores under way, by their id.
    restores: BTreeMap<String, Vec<Publish>>,
    /// What is random, with what is printed for it.
    pub masks: Vec<(String, String)>,
    folder: PathBuf,
    _temp: TempDir,
}

/// A command that a crate above adds; `None` where it is none of its own.
pub type Extension<'a> = &'a mut dyn FnMut(&mut Stage, &str, &mut Words) -> Option<Outcome>;

/// Runs the script `file` of the folder of golden files and compares what it prints.
pub fn check(folder: &Path, file: &str, extension: Extension<'_>) {
    let mut stage = Stage::new();
    icecore_golden::script::check(&folder.join(file), |command, printed| {
        let mut words = Words::of(command);
        let verb = words.next();
        let outcome = extension(&mut stage, &verb, &mut words)
            .unwrap_or_else(|| stage.execute(&verb, &mut words));
        let output = match outcome {
            Ok(text) => {
                words.finish();
                text
            }
            Err(Refused(text)) => format!("error: {}\n", short_times(&text)),
        };
        printed.push_str(&stage.masked(output));
    });
}

impl Stage {
    fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_nanos(START));
        let options = Options {
            clock: Arc::new(clock.clone()),
            block_cache_bytes: 1 << 20,
            auto_compactions: false,
            // Far above what scripts take, so that the background never moves the mark.
            clock_reservation: Duration::from_secs(3600),
            ..Options::default()
        };
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("db");
        let engine = Engine::open(&folder, &options).unwrap();
        Self {
            clock,
            options,
            engine: Some(engine),
            pins: BTreeMap::new(),
            transactions: BTreeMap::new(),
            restores: BTreeMap::new(),
            masks: Vec::new(),
            folder,
            _temp: temp,
        }
    }

    fn execute(&mut self, verb: &str, words: &mut Words) -> Outcome {
        let run = [
            Self::lifecycle,
            catalog::run,
            writes::run,
            reads::run,
            history::run,
            physical::run,
            raw::run,
        ];
        run.iter()
            .find_map(|part| part(self, verb, words))
            .unwrap_or_else(|| panic!("no such command: {verb}"))
    }

    fn lifecycle(&mut self, verb: &str, words: &mut Words) -> Option<Outcome> {
        Some(match verb {
            "reopen" => self.close().and_then(|()| self.open(Engine::open)),
            "read-only" => self
                .close()
                .and_then(|()| self.open(Engine::open_read_only)),
            "crash" => {
                let mut left = self.folder.clone().into_os_string();
                left.push("'");
                let left = PathBuf::from(left);
                copy(&self.folder, &left);
                self.let_go();
                self.folder = left;
                self.open(Engine::open)
            }
            "clock" => match words.maybe() {
                Some(time) => {
                    match time.strip_prefix('+') {
                        Some(by) => drop(
                            self.clock
                                .advance(Duration::from_nanos(by.parse().unwrap())),
                        ),
                        None => self.clock.set(self.time(&time)),
                    }
                    Ok(String::new())
                }
                None => {
                    let (now, visible) = (self.engine().now(), self.engine().visible());
                    Ok(format!(
                        "now {}, visible {}\n",
                        now.nanos(),
                        visible.nanos()
                    ))
                }
            },
            _ => return None,
        })
    }

    fn let_go(&mut self) {
        self.pins.clear();
        self.transactions.clear();
        self.restores.clear();
        drop(self.engine.take());
    }

    fn close(&mut self) -> Result<(), Refused> {
        let engine = self.engine().clone();
        self.let_go();
        Ok(engine.close()?)
    }

    fn open(&mut self, how: fn(PathBuf, &Options) -> icecore_engine::Result<Engine>) -> Outcome {
        self.engine = Some(how(self.folder.clone(), &self.options)?);
        Ok(String::new())
    }

    fn masked(&self, text: String) -> String {
        let mask = |text: String, (what, by): &(String, String)| text.replace(what, by);
        self.masks.iter().fold(text, mask)
    }

    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("the database is open")
    }

    pub fn keyspace(&self, name: &str) -> Result<Keyspace, Refused> {
        if name == "system" {
            return Ok(self.engine().keyspace_by_id(SYSTEM_KEYSPACE)?);
        }
        Ok(match name.strip_prefix('#') {
            Some(id) => self
                .engine()
                .keyspace_by_id(KeyspaceId::new(id.parse().unwrap()))?,
            None => self.engine().keyspace(name)?,
        })
    }

    /// A time as scripts write it.
    pub fn time(&self, text: &str) -> Timestamp {
        match self.pins.get(text) {
            Some(pin) => pin.timestamp(),
            None if text == "max" => Timestamp::MAX,
            None => Timestamp::from_nanos(text.parse().expect(text)),
        }
    }

    /// The snapshot to read at: that of `at`, or of everything committed.
    fn snapshot(&self, words: &mut Words) -> Result<Snapshot, Refused> {
        Ok(match words.option("at") {
            Some(name) if self.pins.contains_key(&name) => self.pins[&name].clone(),
            Some(time) => self.engine().snapshot_at(self.time(&time))?,
            None => self.engine().snapshot(),
        })
    }
}

/// Copies a folder with all that lies in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
