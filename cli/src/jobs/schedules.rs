//! What is asked of the schedules of a database, by whom it is served: the process that serves it, over the socket,
//! or the command itself where there is none.

use icecore_archive::StoreOptions;
use icecore_backup::schedule::{
    Kind, NewSchedule, ScheduleChange, ScheduleRow, ScheduleStatus, ScheduleTable,
};
use serde::{Deserialize, Serialize};

use super::protocol::Answer;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub(crate) enum Asked {
    /// All schedules.
    List,
    /// Make one.
    Create { new: Box<NewSchedule> },
    /// Change one.
    Alter {
        label: String,
        change: Box<ScheduleChange>,
    },
    /// Have one rest.
    Pause { label: String },
    /// Have one go on.
    Resume { label: String },
    /// Remove one.
    Drop {
        label: String,
        #[serde(default)]
        keep_protection: bool,
    },
    /// Have one take a backup now.
    Run { label: String, full: bool },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Told {
    /// To `list`.
    All(Vec<ScheduleStatus>),
    /// To what leaves one behind; of `run`, which kind of backup.
    One(Box<ScheduleStatus>, Option<Kind>),
    /// To `drop`: the label, and how many protected timestamps were released.
    Dropped(String, usize),
}

/// Does it.
pub(crate) fn answer(table: &ScheduleTable, asked: Asked) -> icecore_backup::Result<Told> {
    let status = |row: ScheduleRow| ScheduleStatus::of(table.engine(), row);
    let one = |row: ScheduleRow| Ok(Told::One(Box::new(status(row)?), None));
    match asked {
        Asked::List => {
            let rows = table.list()?.into_iter();
            Ok(Told::All(rows.map(status).collect::<Result<_, _>>()?))
        }
        Asked::Create { new } => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|source| icecore_backup::Error::Thread { source })?;
            one(runtime.block_on(table.create(*new, &StoreOptions::default()))?)
        }
        Asked::Alter { label, change } => one(table.alter(&label, &change)?),
        Asked::Pause { label } => one(table.pause(&label)?),
        Asked::Resume { label } => one(table.resume(&label)?),
        Asked::Drop {
            label,
            keep_protection,
        } => {
            let released = table.remove(&label, keep_protection)?;
            Ok(Told::Dropped(label, released))
        }
        Asked::Run { label, full } => {
            let (row, kind) = table.run_now(&label, full)?;
            Ok(Told::One(Box::new(status(row)?), Some(kind)))
        }
    }
}

impl From<icecore_backup::Result<Told>> for Answer {
    fn from(told: icecore_backup::Result<Told>) -> Self {
        match told {
            Ok(told) => Self::Schedules(told),
            Err(error) => Self::Error(error.to_string()),
        }
    }
}
