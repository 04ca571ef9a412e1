//! The examination of a database: everything that can be read is read, and what must hold of it
//! is checked. It works on a database that is open read-only, and changes nothing.
//!
//! | check | what must hold |
//! |---|---|
//! | `catalog` | names are valid, and no two live keyspaces share one; lives end after they begin |
//! | `thresholds` | no threshold lies after the newest commit; the system keyspace's is the lowest |
//! | `protection` | every protected timestamp can be read, and no threshold has passed it |
//! | `restores` | nothing; unfinished ones are named |
//! | `versions` | every readable version of a keyspace decodes; keys ascend, versions of a key descend, none is newer than the newest commit; a scan shows exactly the newest puts |
//! | `commit index` | where the commit index covers a keyspace, it names exactly the versions that a scan finds |

mod catalog;
mod index;
mod records;
mod versions;

use icecore_engine::{Engine, Keyspace, SYSTEM_KEYSPACE, Snapshot};
use icecore_mvcc::Timestamp;
use serde::Serialize;

use crate::output::{Record, human_bytes, human_count, optional_time, or_dash, since_epoch};

/// What a check found: a remark, or the problem.
type Finding = Result<String, String>;

/// One check of one thing.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    check: &'static str,
    subject: String,
    pub(crate) ok: bool,
    detail: String,
}

impl Check {
    fn new(check: &'static str, subject: impl Into<String>, found: Finding) -> Self {
        let ok = found.is_ok();
        let (Ok(detail) | Err(detail)) = found;
        Self {
            check,
            subject: subject.into(),
            ok,
            detail,
        }
    }
}

impl Record for &Check {
    const HEADER: &'static [&'static str] = &["check", "of", "result", "detail"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.check.to_owned(),
            self.subject.clone(),
            if self.ok { "ok" } else { "FAILED" }.to_owned(),
            self.detail.clone(),
        ]
    }
}

/// What was counted in a keyspace.
#[derive(Debug, Serialize)]
pub(crate) struct Counted {
    name: String,
    id: u32,
    #[serde(serialize_with = "optional_time")]
    dropped: Option<Timestamp>,
    #[serde(serialize_with = "optional_time")]
    threshold: Option<Timestamp>,
    #[serde(flatten)]
    counts: Counts,
}

/// Counts over the readable versions of a keyspace.
#[derive(Debug, Default, Serialize)]
struct Counts {
    /// Keys that have a value.
    keys: u64,
    versions: u64,
    tombstones: u64,
    /// Bytes of all keys and values.
    bytes: u64,
    #[serde(serialize_with = "optional_time")]
    newest: Option<Timestamp>,
}

impl Record for &Counted {
    const HEADER: &'static [&'static str] = &[
        "keyspace",
        "threshold",
        "newest",
        "keys",
        "versions",
        "deletes",
        "bytes",
    ];

    fn cells(&self) -> Vec<String> {
        let dropped = if self.dropped.is_some() {
            " (dropped)"
        } else {
            ""
        };
        vec![
            format!("{}{dropped}", self.name),
            or_dash(self.threshold),
            or_dash(self.counts.newest),
            human_count(self.counts.keys),
            human_count(self.counts.versions),
            human_count(self.counts.tombstones),
            human_bytes(self.counts.bytes),
        ]
    }
}

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Examination {
    pub(crate) keyspaces: Vec<Counted>,
    pub(crate) checks: Vec<Check>,
}

impl Examination {
    /// Examines a database. `progress` gets the bytes on disk that are done, and all of them.
    pub(crate) fn of(engine: &Engine, progress: impl Fn(u64, u64)) -> Self {
        let mut found = Self::default();
        let keyspaces = every_keyspace(engine);
        found.check("catalog", "all keyspaces", catalog::names(&keyspaces));
        let thresholds = catalog::thresholds(&keyspaces, engine.visible());
        found.check("thresholds", "all keyspaces", thresholds);
        let protection = records::protection(engine);
        found.check("protection", "all keyspaces", protection);
        found.check("restores", "all keyspaces", records::restores(engine));
        let sizes: Vec<u64> = keyspaces.iter().map(size).collect();
        let total = sizes.iter().sum();
        let mut done = 0;
        for (keyspace, size) in keyspaces.iter().zip(sizes) {
            found.examine(keyspace);
            done += size;
            progress(done, total);
        }
        found
    }

    fn check(&mut self, check: &'static str, subject: impl Into<String>, found: Finding) {
        self.checks.push(Check::new(check, subject, found));
    }

    fn examine(&mut self, keyspace: &Keyspace) {
        let mut counts = Counts::default();
        match last_readable(keyspace) {
            Err(problem) => self.check("versions", keyspace.name(), Err(problem)),
            Ok(None) => {
                let remark = "dropped, and no longer readable at any time".to_owned();
                self.check("versions", keyspace.name(), Ok(remark));
            }
            Ok(Some(at)) => {
                let walked = versions::walk(keyspace, &at, &mut counts);
                self.check("versions", keyspace.name(), walked);
                self.check(
                    "commit index",
                    keyspace.name(),
                    index::compare(keyspace, &at),
                );
            }
        }
        let descriptor = keyspace.descriptor();
        self.keyspaces.push(Counted {
            name: descriptor.name,
            id: descriptor.id.get(),
            dropped: descriptor.dropped,
            threshold: since_epoch(keyspace.threshold()),
            counts,
        });
    }
}

/// The system keyspace and all others, dropped ones too.
fn every_keyspace(engine: &Engine) -> Vec<Keyspace> {
    let system = engine.keyspace_by_id(SYSTEM_KEYSPACE);
    system.into_iter().chain(engine.all_keyspaces()).collect()
}

fn size(keyspace: &Keyspace) -> u64 {
    let stats = keyspace.stats();
    stats.sst_bytes + stats.memtable_bytes
}

/// The newest time at which the keyspace can be read; `None` where there is none.
fn last_readable(keyspace: &Keyspace) -> Result<Option<Snapshot>, String> {
    let engine = keyspace.engine();
    match keyspace.descriptor().dropped {
        None => Ok(Some(engine.snapshot())),
        Some(dropped) if dropped <= keyspace.threshold() => Ok(None),
        Some(dropped) => engine
            .snapshot_at(dropped.prev())
            .map(Some)
            .map_err(|e| e.to_string()),
    }
}
