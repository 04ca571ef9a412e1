//! What an engine must hold, in the plainest form: every version ever written, nothing collected.

use std::collections::{BTreeMap, BTreeSet};

use icecore_mvcc::model::ModelKeyspace;
use icecore_mvcc::{KeyRange, KeyspaceId, KeyspaceSettings, Timestamp};

/// A keyspace as the model knows it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    /// Whether it came by a restore.
    pub(crate) restored: bool,
    pub(crate) dropped: Option<Timestamp>,
    /// Every version, those that collection took from the engine too.
    pub(crate) rows: ModelKeyspace,
    /// The settings, by the time they took effect.
    pub(crate) settings: BTreeMap<Timestamp, KeyspaceSettings>,
    /// Reads below this must be refused.
    pub(crate) threshold: Timestamp,
    /// Gone for good.
    pub(crate) purged: bool,
}

impl Known {
    /// A keyspace that begins empty.
    pub(crate) fn new(name: &str, created: Timestamp, settings: KeyspaceSettings) -> Self {
        Self {
            name: name.to_owned(),
            created,
            restored: false,
            dropped: None,
            rows: ModelKeyspace::new(),
            settings: BTreeMap::from([(created, settings)]),
            threshold: Timestamp::MIN,
            purged: false,
        }
    }

    /// Created by then, and not dropped by then.
    pub(crate) fn is_live_at(&self, at: Timestamp) -> bool {
        self.created <= at && self.dropped.is_none_or(|dropped| at < dropped)
    }

    /// Whether commits may go to it.
    pub(crate) const fn is_live(&self) -> bool {
        self.dropped.is_none()
    }

    /// The settings at a time.
    pub(crate) fn settings_at(&self, at: Timestamp) -> KeyspaceSettings {
        let in_force = self.settings.range(..=at).next_back();
        in_force.map(|(_, s)| s.clone()).unwrap_or_default()
    }

    /// The settings now.
    pub(crate) fn settings_now(&self) -> KeyspaceSettings {
        self.settings_at(Timestamp::MAX)
    }

    /// Its rows up to a time.
    pub(crate) fn rows_until(&self, at: Timestamp) -> ModelKeyspace {
        let mut rows = ModelKeyspace::new();
        for row in self
            .rows
            .changes(&KeyRange::all(), Timestamp::MIN, at, false)
        {
            rows.insert(&row.key, row.ts, row.value);
        }
        rows
    }
}

/// An engine as the model knows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownEngine {
    pub(crate) keyspaces: BTreeMap<KeyspaceId, Known>,
    /// Times at which something happened.
    pub(crate) times: BTreeSet<Timestamp>,
}

impl KnownEngine {
    /// Ids of the keyspaces that take commits, in the order of their ids.
    pub(crate) fn live(&self) -> Vec<KeyspaceId> {
        let live = self.keyspaces.iter().filter(|(_, k)| k.is_live());
        live.map(|(id, _)| *id).collect()
    }

    /// Those that the engine still has, dropped ones too.
    pub(crate) fn present(&self) -> impl Iterator<Item = (KeyspaceId, &Known)> {
        let present = self.keyspaces.iter().filter(|(_, k)| !k.purged);
        present.map(|(id, known)| (*id, known))
    }

    /// A time of interest, counted back from the newest: 0 is none, the following are times at which
    /// something happened, and those one nanosecond before and after.
    pub(crate) fn time(&self, age: u8) -> Option<Timestamp> {
        let back = usize::from(age).checked_sub(1)?;
        let from_newest = back / 3 % self.times.len().max(1);
        let time = *self.times.iter().rev().nth(from_newest)?;
        Some(match back % 3 {
            0 => time,
            1 => time.prev(),
            _ => time.next(),
        })
    }
}
