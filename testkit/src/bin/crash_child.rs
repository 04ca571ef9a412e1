//! The process that the crash test kills: `crash_child DB COLLECTION SEED [acks-early]`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (db, collection, seed, acks_early) = match arguments.as_slice() {
        [db, collection, seed] => (db, collection, seed, false),
        [db, collection, seed, flag] if flag == "acks-early" => (db, collection, seed, true),
        _ => {
            eprintln!("usage: crash_child DB COLLECTION SEED [acks-early]");
            return ExitCode::from(2);
        }
    };
    let seed = seed.parse().unwrap_or(0);
    match icecore_testkit::crash::child::work(Path::new(db), Path::new(collection), seed, acks_early) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
