//! The whole life of a backed-up database, on real data: the 336,776 flights that left New York in
//! 2013.
//!
//! 1. January to November and four small tables are loaded; a full backup with revision history.
//! 2. December comes in day by day: each day's flights as they are scheduled, then what really
//!    happened (delays corrected, cancelled flights removed). An incremental after each week.
//! 3. Garbage is collected with a TTL of a millisecond. The protected timestamp of the chain of
//!    backups holds back what the next incremental needs.
//! 4. The database folder is deleted.
//! 5. The latest state and, in another folder, the state at a moment of 16 December are restored.
//!    Fingerprints taken before the loss prove both equal to what was there.
//!
//! `cargo xtask demo` runs it; `--dir DIR` keeps everything for looking around. Exits with 1 when
//! anything is not as it was.

#![forbid(unsafe_code)]

mod arguments;
mod chain;
mod data;
mod december;
mod error;
mod flights;
mod folders;
mod garbage;
mod ledger;
mod load;
mod proof;
mod tour;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser as _;
use icecore_engine::{Engine, Options};
use icecore_examples::text;

use crate::arguments::Arguments;
use crate::chain::Backups;
use crate::december::{Half, MID_DECEMBER, WEEKS};
use crate::error::Result;
use crate::folders::Folders;
use crate::ledger::Ledger;
use crate::load::Loaded;
use crate::proof::{State, Truth};

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    // A thread of its own for the async side is not needed: backups and restores do their heavy
    // work on blocking threads.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(tell(arguments))
}

async fn tell(arguments: &Arguments) -> Result<()> {
    let begun = Instant::now();
    let folders = Folders::new(arguments.dir.as_deref())?;
    let mut ledger = Ledger::default();
    data::check(&arguments.data)?;

    let truth = live(&arguments.data, &folders, &mut ledger).await?;
    folders.lose_database()?;
    proof::restore_and_compare(&folders, &truth, &mut ledger).await?;

    println!("\n{ledger}");
    println!("Restored from the backups alone, and equal to what was there before the loss:");
    println!(
        "  LATEST             {}  {}",
        truth.end.print, truth.end.label
    );
    println!(
        "  16 December 2013   {}  {}",
        truth.mid.print, truth.mid.label
    );
    println!("All of it took {} s.", text::seconds(begun.elapsed()));
    tour::print(&folders, &truth, arguments.dir.is_some());
    Ok(())
}

/// From the empty database to the last incremental; what it then held is what must come back.
async fn live(data: &Path, folders: &Folders, ledger: &mut Ledger) -> Result<Truth> {
    let engine = Engine::open(folders.database(), &Options::default())?;
    let Loaded { mut december, rows } = load::january_to_november(&engine, data, ledger)?;
    let mut backups = Backups::open(&engine, folders).await?;
    backups.full(ledger).await?;

    let mut mid = None;
    for (number, week) in (1..).zip(WEEKS) {
        for day in week.0..=week.1 {
            december.enter_schedule(&engine, day)?;
            december.correct(&engine, day, Half::First)?;
            if day == MID_DECEMBER {
                mid = Some(State::now(
                    &engine,
                    "16 December, half of its flights flown",
                )?);
            }
            december.correct(&engine, day, Half::Second)?;
            if day == garbage::HELD_ON
                && let Some(mid) = &mid
            {
                garbage::collect_while_held(&engine, &backups, mid, ledger)?;
            }
        }
        december.close_week(week, ledger);
        backups.incremental(number, ledger).await?;
    }

    let mid = mid.ok_or("the loading never came to 16 December")?;
    let end = State::now(&engine, "the end of the year")?;
    december.check_count(rows, &end)?;
    garbage::collect_after_the_chain(&engine, &backups, &mid, &end, ledger)?;
    engine.close()?;
    Ok(Truth {
        mid,
        end,
        layers: backups.into_layers(),
        delayed: december.most_delayed()?,
    })
}
