//! Schedules: backups that are taken as time passes, for years, by whoever has the database open.
//!
//! A schedule is a row of the system keyspace. A [`ScheduleRunner`] beside the [`JobRunner`](crate::jobs::JobRunner)
//! looks every second what falls due, writes into the row what begins, and has a backup job made for it.
//!
//! | concept | where |
//! |---|---|
//! | when it falls due | [`Cadence`], [`FullCadence`] |
//! | what it is to do | [`NewSchedule`], [`ScheduleSpec`], [`ScheduleChange`] |
//! | how it stands | [`ScheduleRow`], [`ScheduleStatus`] |
//! | making and changing schedules | [`ScheduleTable`] |
//! | what it does at a moment, without I/O | [`plan`] |
//! | running schedules | [`ScheduleRunner`], or [`Scheduler`] step by step |
//!
//! A backup is as of the time for which it fell due, whenever its job runs. Incrementals go on with the chain of the
//! schedule's newest full that succeeded, by its path, so backups that somebody else takes into the collection do
//! not come between; while a new full is under way they lengthen the chain before. The protected timestamp is handed
//! from backup to backup by the jobs.

mod carry;
mod cron;
pub mod plan;
mod row;
mod runner;
mod scheduler;
mod spec;
mod status;
mod table;
mod upkeep;

pub(crate) use carry::system_rows;
pub use cron::{Cadence, FullCadence};
pub use plan::Kind;
pub use row::{
    Due, LastRun, Outcome, Paused, Run, ScheduleChain, ScheduleRow, Stuck, Track, Upkeep,
};
pub use runner::{ScheduleOptions, ScheduleRunner};
pub use scheduler::{Looked, Scheduler};
pub use spec::{NewSchedule, OnFailure, OnRunning, ScheduleChange, ScheduleSpec, UpkeepSpec};
pub use status::ScheduleStatus;
pub use table::ScheduleTable;
