//! What a schedule is to do, how one is asked for, and how it is changed.

use std::time::Duration;

use icecore_engine::Engine;
use icecore_mvcc::{Timestamp, format_duration, parse_duration, parse_timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};

use super::cron::{Cadence, FullCadence};
use crate::error::{Error, Result};
use crate::jobs::BackupSpec;
use crate::mode::Mode;
use crate::retain::{ExpireOptions, Policy};

/// The longest label, in bytes.
const MAX_LABEL_BYTES: usize = 128;

/// What happens after a backup failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It is tried again: at once, then after waits that grow to ten minutes.
    Retry,
    /// The next one is taken when its time comes. The default.
    #[default]
    Reschedule,
    /// The schedule is paused.
    Pause,
}

/// What happens when a full falls due while one of the same schedule is at work. An incremental always waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRunning {
    /// It begins beside it.
    Start,
    /// It is left out.
    Skip,
    /// It begins once the other is over. Of several that fell due meanwhile only the newest does. The default.
    #[default]
    Wait,
}

/// What is done in the collection after each backup that succeeded. Nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpkeepSpec {
    /// As [`Policy::keep_fulls`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_fulls: Option<usize>,
    /// As [`Policy::keep_for`].
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_duration"
    )]
    pub keep_for: Option<Duration>,
    /// As [`ExpireOptions::grace`].
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_duration"
    )]
    pub grace: Option<Duration>,
    /// Incrementals are merged once there are so many since the last merge, at least 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compact_after: Option<u32>,
}

impl UpkeepSpec {
    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.expires() && self.compact_after.is_none()
    }

    /// Whether backups go.
    #[must_use]
    pub const fn expires(&self) -> bool {
        self.keep_fulls.is_some() || self.keep_for.is_some()
    }

    pub(super) fn options(&self) -> ExpireOptions {
        let defaults = ExpireOptions::default();
        ExpireOptions {
            policy: Policy {
                keep_fulls: self.keep_fulls,
                keep_for: self.keep_for,
            },
            grace: self.grace.unwrap_or(defaults.grace),
            ..defaults
        }
    }

    fn check(&self) -> Result<()> {
        self.options().validate()?;
        if self.compact_after.is_some_and(|count| count < 2) {
            return refused("--compact-after is below 2: one incremental alone cannot be merged");
        }
        if self.grace.is_some() && !self.expires() {
            return refused("--grace is of no use without --keep-fulls or --keep-for");
        }
        Ok(())
    }
}

/// What a schedule is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleSpec {
    /// The backups; `onto` and `as_of` are the schedule's own affair. With [`Mode::Fast`] the fulls are fast, and
    /// so as of the moment in which they are taken.
    pub backup: BackupSpec,
    /// When a backup is taken: an incremental, or a full where all are fulls.
    pub recurring: Cadence,
    /// When a full is taken.
    pub full: FullCadence,
    /// What happens after one failed.
    #[serde(default)]
    pub on_execution_failure: OnFailure,
    /// What happens where a full is still at work when the next falls due.
    #[serde(default)]
    pub on_previous_running: OnRunning,
    /// What is done in the collection after each.
    #[serde(default, skip_serializing_if = "UpkeepSpec::is_empty")]
    pub upkeep: UpkeepSpec,
    /// What a newer version wrote beside that; kept.
    #[serde(flatten)]
    pub(super) unknown: Map<String, Value>,
}

impl ScheduleSpec {
    /// When fulls fall due.
    pub(super) fn full_cadence(&self) -> &Cadence {
        match &self.full {
            FullCadence::Always => &self.recurring,
            FullCadence::At(cadence) => cadence,
        }
    }

    /// When incrementals fall due.
    pub(super) fn incremental_cadence(&self) -> Option<&Cadence> {
        match &self.full {
            FullCadence::Always => None,
            FullCadence::At(_) => Some(&self.recurring),
        }
    }

    pub(super) fn check(&self, engine: &Engine) -> Result<()> {
        let backup = &self.backup;
        if backup.onto.is_some() || backup.as_of.is_some() {
            return refused(
                "a schedule chooses chains and times itself; leave out --onto and --as-of",
            );
        }
        if backup.mode == Mode::Fast && !backup.revision_history {
            return refused(
                "fast fulls hold every version; add --revision-history, or leave the mode to `auto`",
            );
        }
        if let FullCadence::At(full) = &self.full
            && full.period() < self.recurring.period()
        {
            return refused(&format!(
                "fulls ({full}) would come more often than backups at all ({}); swap them, or say --full-backup always",
                self.recurring
            ));
        }
        self.upkeep.check()?;
        let admitted = backup.clone().admit(engine);
        admitted
            .map(drop)
            .map_err(|failure| Error::ScheduleRefused {
                reason: failure.error,
            })
    }
}

fn refused<T>(reason: &str) -> Result<T> {
    Err(Error::ScheduleRefused {
        reason: reason.to_owned(),
    })
}

/// A schedule that is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSchedule {
    /// What it is to be called: 1 to 128 bytes on one line, and no other schedule's name.
    pub label: String,
    /// As [`ScheduleSpec::backup`].
    pub backup: BackupSpec,
    /// As [`ScheduleSpec::recurring`].
    pub recurring: Cadence,
    /// As [`ScheduleSpec::full`]; default: [`FullCadence::default_for`].
    #[serde(default)]
    pub full: Option<FullCadence>,
    /// When the first full is taken: `now`, or a time. Default: when the cadence of fulls says.
    #[serde(default)]
    pub first_run: Option<String>,
    /// As [`ScheduleSpec::on_execution_failure`].
    #[serde(default)]
    pub on_execution_failure: OnFailure,
    /// As [`ScheduleSpec::on_previous_running`].
    #[serde(default)]
    pub on_previous_running: OnRunning,
    /// As [`ScheduleSpec::upkeep`].
    #[serde(default)]
    pub upkeep: UpkeepSpec,
    /// Whether the collection may hold backups already. They are left alone, but for retention.
    #[serde(default)]
    pub ignore_existing_backups: bool,
}

impl NewSchedule {
    /// One with the defaults of everything else.
    #[must_use]
    pub fn new(label: impl Into<String>, backup: BackupSpec, recurring: Cadence) -> Self {
        Self {
            label: label.into(),
            backup,
            recurring,
            full: None,
            first_run: None,
            on_execution_failure: OnFailure::default(),
            on_previous_running: OnRunning::default(),
            upkeep: UpkeepSpec::default(),
            ignore_existing_backups: false,
        }
    }

    pub(super) fn spec(&self, engine: &Engine) -> Result<ScheduleSpec> {
        check_label(&self.label)?;
        let full = match &self.full {
            Some(full) => full.clone(),
            None => FullCadence::default_for(&self.recurring)?,
        };
        let spec = ScheduleSpec {
            backup: self.backup.clone(),
            recurring: self.recurring.clone(),
            full,
            on_execution_failure: self.on_execution_failure,
            on_previous_running: self.on_previous_running,
            upkeep: self.upkeep.clone(),
            unknown: Map::new(),
        };
        spec.check(engine)?;
        Ok(spec)
    }

    /// Whether the first full is taken at once.
    pub(super) fn begins_now(&self) -> bool {
        let text = self.first_run.as_deref();
        text.is_some_and(|text| text.eq_ignore_ascii_case("now"))
    }

    /// When the first full is taken, if that was said and is later.
    pub(super) fn first(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let text = self.first_run.as_deref();
        let Some(text) = text.filter(|_| !self.begins_now()) else {
            return Ok(None);
        };
        let first = parse_timestamp(text, now).map_err(icecore_engine::Error::from)?;
        if first < now {
            return refused(&format!(
                "the first run, {first}, would lie in the past; say `now`"
            ));
        }
        Ok(Some(first))
    }
}

/// What is to be changed of a schedule; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleChange {
    /// As [`ScheduleSpec::recurring`].
    #[serde(default)]
    pub recurring: Option<Cadence>,
    /// As [`ScheduleSpec::full`].
    #[serde(default)]
    pub full: Option<FullCadence>,
    /// As [`ScheduleSpec::on_execution_failure`].
    #[serde(default)]
    pub on_execution_failure: Option<OnFailure>,
    /// As [`ScheduleSpec::on_previous_running`].
    #[serde(default)]
    pub on_previous_running: Option<OnRunning>,
    /// As [`UpkeepSpec::keep_fulls`]; 0 takes it away.
    #[serde(default)]
    pub keep_fulls: Option<usize>,
    /// As [`UpkeepSpec::keep_for`]; zero takes it away.
    #[serde(default, with = "optional_duration")]
    pub keep_for: Option<Duration>,
    /// As [`UpkeepSpec::grace`]; zero deletes at once.
    #[serde(default, with = "optional_duration")]
    pub grace: Option<Duration>,
    /// As [`UpkeepSpec::compact_after`]; 0 takes it away.
    #[serde(default)]
    pub compact_after: Option<u32>,
}

impl ScheduleChange {
    pub(super) fn apply(&self, spec: &mut ScheduleSpec) {
        fn set<T: Clone>(field: &mut T, change: Option<&T>) {
            if let Some(change) = change {
                field.clone_from(change);
            }
        }
        set(&mut spec.recurring, self.recurring.as_ref());
        set(&mut spec.full, self.full.as_ref());
        set(
            &mut spec.on_execution_failure,
            self.on_execution_failure.as_ref(),
        );
        set(
            &mut spec.on_previous_running,
            self.on_previous_running.as_ref(),
        );
        let upkeep = &mut spec.upkeep;
        let count = self.keep_fulls.map(|count| (count > 0).then_some(count));
        set(&mut upkeep.keep_fulls, count.as_ref());
        let age = self.keep_for.map(|age| (!age.is_zero()).then_some(age));
        set(&mut upkeep.keep_for, age.as_ref());
        set(&mut upkeep.grace, self.grace.map(Some).as_ref());
        let merge = self.compact_after.map(|count| (count > 0).then_some(count));
        set(&mut upkeep.compact_after, merge.as_ref());
        if !upkeep.expires() {
            upkeep.grace = None;
        }
    }

    pub(super) const fn moves_times(&self) -> bool {
        self.recurring.is_some() || self.full.is_some()
    }
}

fn check_label(label: &str) -> Result<()> {
    if label.is_empty() || label.len() > MAX_LABEL_BYTES {
        return refused(&format!(
            "a label has 1 to {MAX_LABEL_BYTES} bytes, this one {}",
            label.len()
        ));
    }
    if label.contains(char::is_control) || label.trim() != label || label.starts_with('-') {
        return refused(
            "a label is one line that neither begins with `-` nor begins or ends with blanks",
        );
    }
    Ok(())
}

/// Durations that may be missing, as the text of [`format_duration`].
mod optional_duration {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(format_duration).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let parsed = text.map(|text| parse_duration(&text)).transpose();
        parsed.map_err(D::Error::custom)
    }
}
