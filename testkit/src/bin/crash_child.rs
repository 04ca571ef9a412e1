//! The process that the crash tests kill or starve.
//!
//! `crash_child work DB COLLECTION SEED [acks-early]`, `crash_child backup DB COLLECTION`,
//! `crash_child restore DB COLLECTION`, `crash_child incremental DB COLLECTION`, which says how much memory it
//! took.

use std::path::Path;
use std::process::ExitCode;

use icecore_testkit::crash::child::{back_up_once, extend_and_measure, restore_once, work};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *words.as_slice() {
        ["work", db, collection, seed] => {
            work(Path::new(db), Path::new(collection), number(seed), false)
        }
        ["work", db, collection, seed, "acks-early"] => {
            work(Path::new(db), Path::new(collection), number(seed), true)
        }
        ["backup", db, collection] => back_up_once(Path::new(db), Path::new(collection)),
        ["restore", db, collection] => restore_once(Path::new(db), Path::new(collection)),
        ["incremental", db, collection] => extend_and_measure(Path::new(db), Path::new(collection)),
        _ => {
            eprintln!(
                "usage: crash_child work DB COLLECTION SEED [acks-early] | backup DB COLLECTION | restore DB COLLECTION | incremental DB COLLECTION"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}
